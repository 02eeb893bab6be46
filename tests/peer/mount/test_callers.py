"""Who is let go while he waits for an answer: the dying, those who wait for locks, and all once the mount ends."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass

import pytest

from peer.mount.callers import LAST_WORDS, GivenUp, was_killed
from peer.mount.fuse_binding import CallContext
from schema.requests import GetMetadata, LockFile, LockMode, LockStyle

STAT = GetMetadata((), 1)
LOCK = LockFile(1, owner=1, style=LockStyle.FCNTL, mode=LockMode.EXCLUSIVE)


@dataclass
class Call:
    """A callback under way, for a thread of our own process."""

    serving: bool = True
    signalled: bool = False
    ending: bool = False

    def interrupted(self):
        return self.signalled or self.ending

    def context(self):
        return CallContext(0, 0, os.getpid(), 0)


def test_without_a_signal_everybody_waits():
    assert not GivenUp(Call())(STAT)
    assert not GivenUp(Call())(LOCK)


def test_a_signal_ends_the_wait_for_a_lock_and_no_other_while_the_process_lives():
    given_up = GivenUp(Call(signalled=True))
    assert given_up(LOCK)
    assert not given_up(STAT)


def test_outside_a_callback_nobody_gives_up():
    assert not GivenUp(Call(serving=False, signalled=True))(LOCK)


def test_a_mount_that_ends_lets_all_go_after_their_last_words():
    call, now = Call(), [100.0]
    given_up = GivenUp(call, lambda: now[0])
    assert not given_up(STAT)
    call.ending = True
    assert not given_up(STAT)
    assert given_up(LOCK)
    now[0] += LAST_WORDS
    assert given_up(STAT)


def test_a_thread_that_is_gone_or_about_to_die_was_killed():
    assert not was_killed(os.getpid())
    assert not was_killed(0)  # one that we cannot see
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not was_killed(process.pid)
        process.kill()
        process.wait(10)
        assert process.returncode == -signal.SIGKILL
        assert was_killed(process.pid)


@pytest.mark.parametrize("pending", ["SigPnd", "ShdPnd"])
def test_a_pending_sigkill_is_seen_in_either_mask(monkeypatch, tmp_path, pending):
    status = tmp_path / "status"
    masks = {"SigPnd": 0, "ShdPnd": 0, pending: 1 << (signal.SIGKILL - 1)}
    status.write_text("Name:\tcat\n" + "".join(f"{key}:\t{mask:016x}\n" for key, mask in masks.items()))
    monkeypatch.setattr("peer.mount.callers.open", lambda *_: status.open("rb"), raising=False)
    assert was_killed(7)
