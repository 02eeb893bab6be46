"""One broker a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.server.net import Net


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    """Certificates and pairs laptop-server, phone-nas; the test starts the broker with the limits it wants."""
    net = Net(tmp_path)
    yield net
    net.close()
