"""The codec of what is kept: back as it was, or one error."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from peer.errors import KeptDataRefused
from peer.mount.kept_metadata.records import (
    MAX_PIECE,
    NAMES,
    PIECE,
    KeptDetails,
    KeptDirectory,
    KeptName,
    decoded,
    encoded,
)
from peer.mount.metadata_node import PACKED_SIZE

PACKED = bytes(PACKED_SIZE)
NAME = st.binary(min_size=1, max_size=20)
DETAILS = st.builds(
    KeptDetails,
    st.integers(0, 1),
    st.none() | st.binary(min_size=1, max_size=9),
    st.none() | st.lists(NAME, max_size=2).map(tuple),
    st.none() | st.dictionaries(NAME, st.none() | st.binary(max_size=9), max_size=2),
)
RECORD = st.builds(
    KeptDirectory,
    st.lists(NAME, max_size=3).map(tuple),
    st.lists(st.builds(KeptName, NAME, st.sampled_from((b"", PACKED))), min_size=2, max_size=4).map(tuple),
    st.lists(DETAILS, max_size=2).map(tuple),
    st.booleans(),
)


@hypothesis.given(st.lists(RECORD, max_size=5))
def test_records_come_back_as_they_were(records):
    assert [record for piece in encoded(records) for record in decoded(piece)] == records


@hypothesis.given(st.lists(RECORD, min_size=1, max_size=2), st.data())
def test_a_bent_piece_is_records_or_one_error(records, data):
    piece = bytearray(next(encoded(records)))
    for _ in range(data.draw(st.integers(1, 3))):
        piece[data.draw(st.integers(0, len(piece) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded(piece)
    except KeptDataRefused:
        return


@pytest.mark.parametrize(
    "bent",
    [
        [[[], [[b"n", PACKED[1:]]], [], False]],
        [[[], [[b"", PACKED]], [], False]],
        [[[], [[b"n", PACKED]], [[1, None, None, None]], False]],
        [[[], [[b"n", PACKED]] * (NAMES + 1), [], False]],
        [[[], [[b"n", PACKED]], [], 3]],
        {},
    ],
)
def test_what_is_beyond_a_bound_is_refused(bent):
    with pytest.raises(KeptDataRefused):
        decoded(msgspec.msgpack.encode(bent))


def test_pieces_end_where_they_are_long_enough():
    record = KeptDirectory((b"d",), (KeptName(b"n" * 255, PACKED),) * NAMES)
    pieces = list(encoded([record] * 3))
    assert len(pieces) == 3
    assert all(PIECE <= len(piece) <= MAX_PIECE for piece in pieces)
