from __future__ import annotations

import pytest

from tests.peer.mount.block_store.shop import Shop


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path / "blocks")
    yield shop
    shop.close()
