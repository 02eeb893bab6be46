from __future__ import annotations

from peer.mount.kernel_read_ahead import widen


def test_the_kernel_is_asked_to_read_whole_transfers(tmp_path):
    setting = tmp_path / "0:39"
    setting.write_text("128")
    assert widen("0:39", str(tmp_path / "{device}"))
    assert setting.read_text() == "1024"


def test_without_the_right_nothing_happens(tmp_path):
    assert not widen("0:39", str(tmp_path / "{device}"))
