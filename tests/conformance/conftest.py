"""The fixtures of the suite: every test that takes `files` runs on every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.driver import Files
from tests.conformance.implementations import IMPLEMENTATIONS, Subject


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """One file system under test. The marker ``needs(feature)`` skips those that lack it."""
    with IMPLEMENTATIONS[request.param](tmp_path) as subject:
        for marker in request.node.iter_markers("needs"):
            if marker.args[0] in subject.lacks:
                pytest.skip(f"{request.param} has no {marker.args[0]} here")
        yield subject


@pytest.fixture
def files(subject: Subject) -> Iterator[Files]:
    """The empty directory of the file system under test."""
    files = Files(subject.filesystem, subject.root)
    yield files
    files.close_all()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(feature): skipped on file systems that lack the feature by their nature")
