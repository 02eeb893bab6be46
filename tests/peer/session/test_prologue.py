"""Two different agreements never give the same prologue."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from peer.session.prologue import prologue

short = st.text(alphabet="ab/", max_size=4)
agreements = st.tuples(st.integers(0, 2), short, short)


def test_the_bytes() -> None:
    assert prologue(1, "laptop", "server") == b"RemoteFS\x00\x01\x00\x06laptop\x00\x06server"


@given(one=agreements, other=agreements)
@settings(deadline=None)
def test_is_unambiguous(one: tuple[int, str, str], other: tuple[int, str, str]) -> None:
    assert (prologue(*one) == prologue(*other)) == (one == other)
