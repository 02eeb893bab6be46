"""Mounts for the tests below, and what to do where there is no FUSE."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mounted.trial import DEVICE, Trial, mounted

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _fuse() -> None:
    """Without /dev/fuse these tests are skipped; in CI they fail, since there nobody would notice."""
    if not DEVICE.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{DEVICE} is missing: mounted tests cannot run")
        pytest.skip(f"{DEVICE} is missing")


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """One mount with default options for all tests of a module."""
    with mounted(tmp_path_factory.mktemp("mount")) as trial:
        yield trial


@pytest.fixture
def here(mount: Trial) -> Path:
    """An empty directory of the test's own on the module's mount."""
    path = mount.local / f"test{next(_numbers)}"
    path.mkdir()
    return path


@pytest.fixture
def there(mount: Trial, here: Path) -> Path:
    """The same directory as the agent has it."""
    return mount.remote / here.name


@pytest.fixture
def anew(tmp_path: Path) -> Path:
    """A directory for a test that makes mounts of its own."""
    return tmp_path


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="changes users")
