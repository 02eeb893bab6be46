"""`python -m pytest tests/simulation/coherence --worlds N` runs as many worlds as asked for."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--worlds", type=int, default=None, help="run so many worlds of the coherence model")
