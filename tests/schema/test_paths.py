"""Paths are tuples of names, and a name leads nowhere else."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import pytest

from schema.limits import MAX_DEPTH, MAX_NAME, MAX_PATH
from schema.paths import PathError, checked, checked_name, display, parse


@pytest.mark.parametrize("name", [b"a", b"...", b".hidden", b"\xff\xfe", b"a b\n", b" ", b"-rf", b"x" * MAX_NAME])
def test_any_bytes_but_slash_and_nul_are_a_name(name: bytes) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"a\0", b"\0"])
def test_what_leads_elsewhere_is_no_name(name: bytes) -> None:
    with pytest.raises(PathError) as refused:
        checked_name(name)
    assert not refused.value.too_long


def test_a_long_name_is_told_from_a_bad_one() -> None:
    with pytest.raises(PathError) as refused:
        checked_name(b"x" * (MAX_NAME + 1))
    assert refused.value.too_long


@pytest.mark.parametrize("path", [(b"d",) * (MAX_DEPTH + 1), (b"x" * MAX_NAME,) * (MAX_PATH // MAX_NAME + 1)])
def test_a_long_path_is_too(path: tuple[bytes, ...]) -> None:
    with pytest.raises(PathError) as refused:
        checked(path)
    assert refused.value.too_long


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"", ()),
        (b"/", ()),
        (b"/a", (b"a",)),
        (b"a//b/", (b"a", b"b")),
        (b"/srv/\xff", (b"srv", b"\xff")),
    ],
)
def test_text_is_taken_apart(text: bytes, path: tuple[bytes, ...]) -> None:
    assert parse(text) == path


@pytest.mark.parametrize("text", [b"/a/../b", b"./a", b"/a/.", b"/a\0b"])
def test_text_that_goes_up_is_refused(text: bytes) -> None:
    with pytest.raises(PathError):
        parse(text)


@hypothesis.given(st.binary(max_size=60))
def test_what_was_parsed_is_checked(text: bytes) -> None:
    try:
        path = parse(text)
    except PathError:
        return
    assert checked(path) == path
    assert all(b"/" not in name and name not in (b"", b".", b"..") for name in path)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), "/"),
        ((b"a", b"b c"), "/a/b c"),
        ((b"\xff",), "/\\xff"),
        ((b"a\nb",), "/a\\nb"),
        (("ü".encode(),), "/ü"),
        ((b"\x1b[31m",), "/\\x1b[31m"),
    ],
)
def test_a_path_is_shown_on_one_line(path: tuple[bytes, ...], shown: str) -> None:
    assert display(path) == shown
