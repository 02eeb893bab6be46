"""Records, and what is not one."""

from __future__ import annotations

import pytest

from tests.stack.hammer.payload import HOLE, RECORD, Torn, cut, extended, parse, patched, records


def test_what_is_written_is_recognised():
    data = records(7, 0, 3) + records(9, 3, 2) + bytes(2 * RECORD)
    assert parse(data) == ((7, 3), (9, 2), (HOLE, 2))
    assert parse(b"") == ()


@pytest.mark.parametrize(
    "data",
    [
        records(7, 0, 2)[:-1],
        records(7, 1, 1),
        records(7, 0, 1) + records(7, 0, 1),
        records(7, 0, 1)[:16] + bytes(16),
        b"x" * RECORD,
    ],
    ids=["cut within a record", "moved", "repeated", "half a hole", "not ours"],
)
def test_what_nobody_wrote_is_torn(data):
    with pytest.raises(Torn):
        parse(data)


def test_what_is_done_to_records_is_done_to_the_content():
    content = ((7, 3), (9, 2))
    assert extended(content, 9, 1) == ((7, 3), (9, 3))
    assert cut(content, 4) == ((7, 3), (9, 1))
    assert cut(content, 6) == ((7, 3), (9, 2), (HOLE, 1))
    assert cut(content, 0) == ()
    assert patched(content, 1, 5, 3) == ((7, 1), (5, 3), (9, 1))
    assert patched(content, 4, 5, 9) == ((7, 3), (9, 1), (5, 9))
    data = bytearray(records(7, 0, 3) + records(9, 3, 2))
    data[RECORD : 4 * RECORD] = records(5, 1, 3)
    assert parse(bytes(data)) == patched(content, 1, 5, 3)
