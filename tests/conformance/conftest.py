"""The fixtures of the suite: every test that takes `files` runs on every implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.driver import Files
from tests.conformance.implementations import IMPLEMENTATIONS, Factory, Subject
from tests.conformance.installation import Installation, installation_in


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Broker and agent, running, and what reaches them."""
    with installation_in(tmp_path_factory.mktemp("installation")) as installation:
        yield installation


@pytest.fixture(params=IMPLEMENTATIONS)
def factory(request: pytest.FixtureRequest) -> Factory:
    """What makes the file system under test."""
    return IMPLEMENTATIONS[request.param].factory(request)


@pytest.fixture
def subject(factory: Factory, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """One file system under test. The marker ``needs(feature)`` skips those that lack it."""
    with factory(tmp_path) as subject:
        for marker in request.node.iter_markers("needs"):
            if marker.args[0] in subject.lacks:
                pytest.skip(f"there is no {marker.args[0]} here")
        yield subject


@pytest.fixture
def files(subject: Subject) -> Iterator[Files]:
    """The empty directory of the file system under test."""
    files = Files(subject.filesystem, subject.root)
    yield files
    files.close_all()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(feature): skipped on file systems that lack the feature by their nature")
