"""What the files of the hammer hold: records that say who wrote them and where they belong.

The one rule: a content is a whole number of records, and each record names its tag (unique to one write of one process)
and its own place, so that a byte which stands where nobody wrote it is recognised without knowing the history.
"""

from __future__ import annotations

import re
from typing import Final

RECORD: Final = 32
"""Bytes."""
HOLE: Final = 0
"""The tag of records that nobody wrote: zeros where a file was extended."""

Content = tuple[tuple[int, int], ...]
"""(tag, number of records) in a row, from the start of the file; neighbours have different tags."""

_FORM: Final = re.compile(rb"([0-9a-f]{16}) ([0-9]{13}) \n")
_ZEROS: Final = bytes(RECORD)


class Torn(ValueError):
    """The bytes are not records in their places."""


def records(tag: int, first: int, count: int) -> bytes:
    """The bytes of `count` records of `tag`, the first of which is the file's record number `first`."""
    return b"".join(b"%016x %013d \n" % (tag, number) for number in range(first, first + count))


def parse(data: bytes) -> Content:
    """Which records `data`, a file from its start, is made of. Raises `Torn`."""
    runs: list[list[int]] = []
    for place in range(0, len(data), RECORD):
        record = data[place : place + RECORD]
        found = _FORM.fullmatch(record)
        if found is not None and int(found[2]) * RECORD == place:
            tag = int(found[1], 16)
        elif record == _ZEROS:
            tag = HOLE
        else:
            raise Torn(f"at byte {place} of {len(data)}: {record!r}")
        if runs and runs[-1][0] == tag:
            runs[-1][1] += 1
        else:
            runs.append([tag, 1])
    return tuple((tag, count) for tag, count in runs)


def length(content: Content) -> int:
    """Records in `content`."""
    return sum(count for _, count in content)


def cut(content: Content, count: int) -> Content:
    """`content` truncated or extended to `count` records."""
    kept, left = [], count
    for tag, run in content:
        if left > 0:
            kept.append((tag, min(run, left)))
        left -= run
    if left > 0:
        return extended(tuple(kept), HOLE, left)
    return tuple(kept)


def extended(content: Content, tag: int, count: int) -> Content:
    """`content` with `count` records of `tag` after it."""
    if content and content[-1][0] == tag:
        return (*content[:-1], (tag, content[-1][1] + count))
    return (*content, (tag, count)) if count else content


def patched(content: Content, first: int, tag: int, count: int) -> Content:
    """`content` with `count` records of `tag` written over it from record `first` on, which is not beyond its end."""
    patched = extended(cut(content, first), tag, count)
    behind = first + count
    for other, run in content:
        if behind < run:
            patched = extended(patched, other, run - max(behind, 0))
        behind -= run
    return patched
