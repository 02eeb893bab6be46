"""Requests and replies to bytes and back, and nothing beyond a bound."""

from __future__ import annotations

import types
import typing
from typing import Any

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from schema.attributes import FileMetadata
from schema.changes import Moment
from schema.codec import CodecError, decode_reply, decode_request, encode, encode_into
from schema.known_names import AppearedName, ChangedName, VerifiedDirectory
from schema.limits import (
    MAX_BODY,
    MAX_DATA,
    MAX_DEPTH,
    MAX_GROUPS,
    MAX_IN_FLIGHT,
    MAX_LINK_TARGET,
    MAX_NAME,
    MAX_PAGE_ENTRIES,
    MAX_XATTR_NAME,
    MAX_XATTR_VALUE,
)
from schema.replies import AnyReply, DirectoryEntry, DirectoryPage, Reply, VerifiedMetadata
from schema.requests import AnyRequest, Caller, ListDir, Request, WriteFile

REQUESTS = typing.get_args(AnyRequest)
REPLIES = typing.get_args(AnyReply)
ME = Caller(1000, 1000, (4, 24), 0o22)
LARGEST = 2**64 - 1


def plain(message: Request | Reply) -> Any:
    """`message` as plain arrays and numbers, to be bent."""
    return msgspec.msgpack.decode(encode(message))


def same(one: Any, other: Any) -> bool:
    """Equal, with a view on bytes equal to those bytes."""
    return plain(one) == plain(other)


@st.composite
def of_type(draw: st.DrawFn, kind: Any) -> Any:
    """A value within the bounds of a field's type."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        base, *metas = typing.get_args(kind)
        return draw(_bounded(base, metas))
    return draw(_bounded(kind, []))


def _bounded(kind: Any, metas: list[Any]) -> st.SearchStrategy[Any]:
    bounds = {
        name: getattr(meta, name)
        for meta in metas
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length")
        if getattr(meta, name) is not None
    }
    shortest = bounds.get("min_length", 0)
    longest = min(bounds.get("max_length", 5), max(5, shortest))
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        base, *more = typing.get_args(kind)
        return _bounded(base, [*metas, *more])
    if origin in (typing.Union, types.UnionType):
        return st.one_of([_bounded(each, []) for each in typing.get_args(kind)])
    if origin is tuple:
        return st.lists(_bounded(typing.get_args(kind)[0], []), min_size=shortest, max_size=min(longest, 3)).map(tuple)
    if kind is bool:
        return st.booleans()
    if kind is int:
        return st.integers(bounds.get("ge", bounds.get("gt", -(2**62)) + ("gt" in bounds)), bounds.get("le", 2**63 - 1))
    if kind is float:
        return st.floats(0.5, 60.0)
    if kind is bytes:
        return st.binary(min_size=shortest, max_size=longest)
    if kind is memoryview:
        return st.binary(max_size=50).map(memoryview)
    if kind is str:
        return st.text(max_size=10)
    if kind is type(None):
        return st.none()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _struct(kind)
    return st.sampled_from(list(kind))


def _struct(kind: type[Any]) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: of_type(hints[name]) for name in kind.__struct_fields__})


@pytest.mark.parametrize("kind", REQUESTS)
@hypothesis.settings(max_examples=15)
@hypothesis.given(data=st.data())
def test_every_request_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    request = Request(1, 0, ME, data.draw(_struct(kind)), (3, 4), (2,))
    assert same(decode_request(encode(request)), request)


@pytest.mark.parametrize("kind", REPLIES)
@hypothesis.settings(max_examples=15)
@hypothesis.given(data=st.data())
def test_every_reply_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    reply = Reply(LARGEST, data.draw(_struct(kind)))
    assert same(decode_reply(encode(reply)), reply)


@pytest.mark.parametrize("kinds", [REQUESTS, REPLIES], ids=["requests", "replies"])
def test_every_tag_is_one_number_of_its_own(kinds: tuple[type[Any], ...]) -> None:
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert all(isinstance(tag, int) for tag in tags)
    assert len(set(tags)) == len(tags)


def body(tag: int, *fields: Any) -> list[Any]:
    return [1, 0, [1, 1], [tag, *fields]]


NAME = b"n" * MAX_NAME
BEYOND = [
    ("a name", body(2, [NAME + b"n"], 0)),
    ("an empty name", body(2, [b""], 0)),
    ("depth", body(2, [b"d"] * (MAX_DEPTH + 1), 0)),
    ("a handle below 0", body(8, -1, 0, 1)),
    ("a read", body(8, 1, 0, MAX_DATA + 1)),
    ("an offset", body(8, 1, 2**63, 1)),
    ("an offset below 0", body(8, 1, -1, 1)),
    ("permission bits", body(3, [b"f"], 0, 0o10000)),
    ("a mode", body(13, [b"f"], 0o200000)),
    ("access bits", body(4, [b"f"], 8)),
    ("entries of a page", body(5, [], b"", MAX_PAGE_ENTRIES + 1)),
    ("no entries of a page", body(5, [], b"", 0)),
    ("first bytes", body(6, [b"f"], 0, MAX_DATA + 1)),
    ("open flags", body(6, [b"f"], 2**32)),
    ("a link target", body(18, [b"f"], b"t" * (MAX_LINK_TARGET + 1))),
    ("an empty link target", body(18, [b"f"], b"")),
    ("rename flags", body(16, [b"a"], [b"b"], 8)),
    ("an attribute's name", body(22, [b"f"], 0, b"n" * (MAX_XATTR_NAME + 1))),
    ("an empty attribute's name", body(22, [b"f"], 0, b"")),
    ("an attribute's value", body(23, [b"f"], 0, b"n", b"v" * (MAX_XATTR_VALUE + 1))),
    ("attribute flags", body(23, [b"f"], 0, b"n", b"v", 3)),
    ("a lock's style", body(26, 1, 1, 2, 0)),
    ("a lock's mode", body(26, 1, 1, 0, 3)),
    ("a wait", body(26, 1, 1, 0, 0, 0, 0, 30_001)),
    ("whence", body(30, 1, 0, 2)),
    ("an operation", body(250)),
    ("groups", [1, 0, [1, 1, list(range(MAX_GROUPS + 1))], [32]]),
    ("a user id", [1, 0, [2**32, 1], [32]]),
    ("a umask", [1, 0, [1, 1, [], 0o1000], [32]]),
    ("ids that wait", [*body(32), list(range(MAX_IN_FLIGHT + 1))]),
    ("ids that were abandoned", [*body(32), [], list(range(MAX_IN_FLIGHT + 1))]),
]


@pytest.mark.parametrize(("what", "bent"), BEYOND, ids=[what for what, _ in BEYOND])
def test_a_request_beyond_a_bound_is_refused_by_its_number(what: str, bent: list[Any]) -> None:
    with pytest.raises(CodecError, match="malformed body") as refused:
        decode_request(msgspec.msgpack.encode(bent))
    assert refused.value.id == 1


def test_each_of_those_is_taken_at_its_bound() -> None:
    for bent in (body(8, 0, 2**63 - 1, MAX_DATA), body(2, [NAME] * 3, 0), body(5, [], b"", MAX_PAGE_ENTRIES)):
        decode_request(msgspec.msgpack.encode(bent))


@pytest.mark.parametrize(
    "bent",
    [
        [1, [0, "C" * 33]],
        [1, [0, "EIO", "m" * 1025]],
        [1, [5, 0, [1] * 13]],
        [1, [4, [[b"n", 1, 0]] * (MAX_PAGE_ENTRIES + 1), True]],
        [1, [4, [[NAME + b"n", 1, 0]], True]],
        [1, [7, -1, [1] * 13]],
        [1, [8, b"t" * (MAX_LINK_TARGET + 1)]],
        [1, [10, b"v" * (MAX_XATTR_VALUE + 1)]],
        [1, [99]],
        [1, None],
    ],
)
def test_a_reply_beyond_a_bound_is_refused_by_its_number(bent: list[Any]) -> None:
    with pytest.raises(CodecError) as refused:
        decode_reply(msgspec.msgpack.encode(bent))
    assert refused.value.id == 1


@pytest.mark.parametrize("number", [-1, 2**64 - 1, "1", None, 1.5])
def test_a_number_that_is_none_is_not_given_back(number: object) -> None:
    with pytest.raises(CodecError) as refused:
        decode_request(msgspec.msgpack.encode([number, 0, [1, 1], [250]]))
    assert refused.value.id == (number if number == 2**64 - 1 else None)


def test_a_body_that_is_too_long_is_not_even_looked_at() -> None:
    with pytest.raises(CodecError, match="at most"):
        decode_request(bytes(MAX_BODY + 1))


def test_deep_nesting_is_one_error() -> None:
    with pytest.raises(CodecError):
        decode_request(b"\x91" * 100_000)


@hypothesis.example(b"\x92\x01\x92\x00\xa1\x80")  # a failure whose code is no text
@hypothesis.given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_one_error(noise: bytes) -> None:
    for decode in (decode_request, decode_reply):
        try:
            decode(noise)
        except CodecError:
            continue


@hypothesis.given(st.data())
def test_a_bent_message_is_a_message_or_one_error(data: st.DataObject) -> None:
    good = bytearray(encode(Request(7, 6, ME, WriteFile(3, 9, memoryview(b"some data")), (1,), (2,))))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    try:
        decode_request(cut)
    except CodecError:
        return


def test_bulk_is_a_view_and_no_copy() -> None:
    encoded = encode(Request(1, 1, ME, WriteFile(1, 0, memoryview(b"x" * 1000))))
    request = decode_request(encoded)
    assert isinstance(request.body, WriteFile)
    assert request.body.data.obj is encoded


def test_encoding_into_a_buffer_leaves_what_is_before_it() -> None:
    message = Request(1, 1, ME, ListDir((b"a",)))
    buffer = bytearray(b"head" + bytes(5000))
    encode_into(message, buffer, 4)
    assert bytes(buffer) == b"head" + encode(message)


def test_a_request_of_an_older_client_waits_for_nothing() -> None:
    request = decode_request(msgspec.msgpack.encode(body(32)))
    assert (request.waiting, request.abandoned) == ((), ())


def test_the_largest_page_fits_into_a_body() -> None:
    worst = FileMetadata(*[-(2**63)] * 13)
    entry = DirectoryEntry(NAME, LARGEST, 2**32 - 1, worst)
    page = DirectoryPage(
        (entry,) * MAX_PAGE_ENTRIES, complete=True, as_of=Moment(*[LARGEST] * len(Moment.__struct_fields__))
    )
    assert len(encode(Reply(LARGEST, page))) <= MAX_BODY


def test_the_largest_write_fits_into_a_body() -> None:
    waiting = tuple(range(LARGEST - MAX_IN_FLIGHT + 1, LARGEST + 1))
    caller = Caller(2**32 - 1, 2**32 - 1, (2**32 - 1,) * MAX_GROUPS)
    write = WriteFile(LARGEST, 2**63 - 1, memoryview(bytes(MAX_DATA)))
    request = Request(LARGEST, LARGEST, caller, write, waiting, waiting)
    assert len(encode(request)) <= MAX_BODY
    assert decode_request(encode(request)).waiting == waiting


def test_the_largest_answer_about_known_names_fits_into_a_body() -> None:
    worst = FileMetadata(*[-(2**63)] * 13)
    last = MAX_PAGE_ENTRIES - 1
    verified = VerifiedMetadata(
        (VerifiedDirectory(found=True),) * MAX_PAGE_ENTRIES,
        (ChangedName(last, worst),) * MAX_PAGE_ENTRIES,
        (AppearedName(last, NAME, worst),) * MAX_PAGE_ENTRIES,
    )
    assert len(encode(Reply(LARGEST, verified))) <= MAX_BODY
