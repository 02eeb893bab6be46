"""`python -m pytest tests/simulation --seed N` runs one world again."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="run only the simulated world of this seed")
