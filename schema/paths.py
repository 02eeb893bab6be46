"""Paths as they travel: tuples of validated byte components. A path string never crosses the wire.

The one rule: a `RelativePath` that passed `checked` can name nothing outside the directory it is walked from, whatever
is in it, as long as the walk follows no symbolic link.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from schema.limits import MAX_DEPTH, MAX_NAME, MAX_PATH

Name = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
"""One component: any bytes but ``/`` and NUL, not ``.`` or ``..``."""

RelativePath = Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_DEPTH)]
"""Components from the agent's ``/`` downwards; the empty tuple is ``/`` itself."""

_FORBIDDEN = frozenset((b".", b"..", b""))


class PathError(ValueError):
    """A path that must not be walked. `too_long` tells ENAMETOOLONG from EINVAL."""

    def __init__(self, message: str, *, too_long: bool = False) -> None:
        super().__init__(message)
        self.too_long = too_long


def checked_name(name: bytes) -> bytes:
    """Give `name` back if it can be one component. Raises `PathError`."""
    if len(name) > MAX_NAME:
        raise PathError(f"a name has at most {MAX_NAME} bytes, this one {len(name)}", too_long=True)
    if name in _FORBIDDEN or b"/" in name or b"\0" in name:
        raise PathError(f"not a file name: {name!r}")
    return name


def checked(path: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Give `path` back if each component is a name and the whole is within bounds. Raises `PathError`."""
    joined = b"/".join(path)
    if joined.count(b"/") >= len(path) or b"\0" in joined or not _FORBIDDEN.isdisjoint(path):
        for name in path:
            checked_name(name)  # says which
    if path and max(map(len, path)) > MAX_NAME:
        checked_name(max(path, key=len))
    if len(path) > MAX_DEPTH or sum(map(len, path)) > MAX_PATH:
        raise PathError(f"a path has at most {MAX_DEPTH} components and {MAX_PATH} bytes", too_long=True)
    return path


def parse(text: bytes) -> tuple[bytes, ...]:
    """The components of a slash-separated path; empty ones vanish, as in path_resolution(7). Raises `PathError`."""
    return checked(tuple(part for part in text.split(b"/") if part))


def display(path: tuple[bytes, ...]) -> str:
    """`path` for people, absolute, on one line: bytes that do not print are escaped."""
    text = "/" + b"/".join(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
