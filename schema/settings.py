"""Reading a TOML file into a frozen struct, strictly: what is not understood is an error that says what to write.

The one rule: a settings error names the file, the key and, for a name that is not known, the nearest right spelling.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

T = TypeVar("T")

_AT_PATH: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>\$.*)`)?$", re.DOTALL)
_ADDRESS: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):(?P<port>\d{1,5})")
_MAX_PORT: Final = 65_535
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>.*)`")


class SettingsError(ValueError):
    """A settings file that cannot be used; the message names the file, the key and what to do."""


def read_settings(path: Path, settings: type[T]) -> T:
    """Read the TOML file `path` into the msgspec struct type `settings`.

    Structs should be declared with ``forbid_unknown_fields=True`` so that a misspelt key is found. A field of type
    `Path` becomes absolute: ``~`` is the home directory and a relative path counts from the directory of the settings
    file. Raises `SettingsError` for a file that is missing or unreadable, for bad TOML, an unknown key or a wrong
    type.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text (byte {error.start})") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    try:
        return msgspec.convert(document, settings, dec_hook=_PathDecoder(path.absolute().parent))
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {_explain(str(error), settings)}") from error


def split_address(address: str) -> tuple[str, int]:
    """``HOST:PORT`` (an IPv6 host in brackets) as host and port. Raises `ValueError`."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) > _MAX_PORT:
        raise ValueError(f"{address!r} is not HOST:PORT")
    return found["host"].strip("[]"), int(found["port"])


class _PathDecoder:
    """What msgspec asks for the types that it does not know: paths, which count from `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, wanted: type[Any], value: Any) -> Path:
        if wanted is not Path:
            raise NotImplementedError(f"settings have no fields of type {wanted.__name__}")
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("Expected a path")
        try:
            return self._directory / Path(value).expanduser()
        except RuntimeError as error:
            raise ValueError(f"{value!r} begins with a home directory that is not known") from error


def _explain(complaint: str, settings: type[Any]) -> str:
    found = _AT_PATH.match(complaint)
    what = found["what"] if found else complaint
    steps = _steps(found["path"] if found else None)
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    unknown = _UNKNOWN.match(what)
    if unknown is None:
        return f"{place or 'top level'}: {what}"
    known = _fields_at(settings, steps)
    near = difflib.get_close_matches(unknown["key"], known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
    where = f"[{place}]" if place else "the top level"
    return f"unknown key {unknown['key']!r} in {where}; {hint}"


def _steps(path: str | None) -> list[str | int]:
    """``$.client.mount_points[0]`` as ``["client", "mount_points", 0]``."""
    steps: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path or ""):
        steps.append(name or (int(index) if index.isdigit() else 0))
    return steps


def _fields_at(settings: type[Any], steps: list[str | int]) -> list[str]:
    info: Any = msgspec.inspect.type_info(settings)
    for step in steps:
        info = _plain(info)
        if isinstance(step, int):
            info = info.item_type
        elif isinstance(info, msgspec.inspect.StructType):
            info = next(field.type for field in info.fields if field.encode_name == step)
        else:
            info = info.value_type
    info = _plain(info)
    return [field.encode_name for field in info.fields] if isinstance(info, msgspec.inspect.StructType) else []


def _plain(info: Any) -> Any:
    """The one member of an optional type that may hold keys."""
    if isinstance(info, msgspec.inspect.UnionType):
        for member in info.types:
            if isinstance(member, msgspec.inspect.StructType | msgspec.inspect.ListType | msgspec.inspect.DictType):
                return member
    return info
