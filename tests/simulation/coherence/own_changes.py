"""What a client of the coherence model changed itself: nothing older may be shown of that.

The one rule: a change counts for each path at which something was another thing afterwards. By the names that it was
asked for, and where it put another file or none, nothing at all of before may be shown; where it only changed a file
that it reached by another name or by a handle, that file not as it was before, for the client need not have heard that
this is what is there now.

Nor need it have heard that a file has the second name by which it changed it. It is told so by the answer, if that says
what the file is like then, by the feed, or by what it knew of that name before (a kernel looks a name up before it does
anything with it). Told in none of these ways, it shows the file by other names as if somebody else had changed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schema.requests import AnyRequest, CreateFile, CreateLink, SetMetadata, WriteFile
from tests.simulation.coherence.machine import Path, Value, is_linked
from tests.simulation.coherence.remote import Remote

Files = Mapping[Path, int | None]
"""Inode numbers."""

_SAYS_WHAT_IT_CHANGED = CreateFile | CreateLink | SetMetadata | WriteFile
"""Requests whose answers say what the file is like after."""


def named(request: AnyRequest) -> list[Path]:
    """The paths that are asked for, empty where there are fewer."""
    return [getattr(request, field, ()) for field in ("path", "existing", "source", "destination")]


class Low(NamedTuple):
    """The earliest moment whose state may still be shown of a path, and of files there by their inode numbers.

    `linked` is that of files with several names, which may change by another name. What is `untold` of files is not
    known from what was heard: only what was before.
    """

    path: int
    linked: int
    files: Mapping[int, int]
    untold: Mapping[int, int]

    def of(self, value: Value) -> int:
        """The earliest moment at which `value` may have been seen."""
        if value is None:
            return self.path
        return self.of_file(value[0].inode, linked=is_linked(value[0]))

    def of_file(self, inode: int, *, linked: bool) -> int:
        """The same of the file with that inode number, if it is there."""
        heard = self.linked if linked else self.path
        return max(min(heard, self.untold.get(inode, heard)), self.files.get(inode, 0))


class OwnChanges:
    """The moments of the history of `remote` at which one client changed something."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._names: dict[Path, int] = {}
        self._files: dict[tuple[Path, int], int] = {}

    def done(self, request: AnyRequest, moment: int, changed: Sequence[Path], *told: Files) -> None:
        """`request` led to the state at `moment`, by which there is something else at each path `changed`.

        The client was `told` of files at paths: before it asked, or until it was answered.
        """
        names = named(request)
        says = isinstance(request, _SAYS_WHAT_IT_CHANGED) or getattr(request, "handle", 0)
        known = {files.get(name) for name in names for files in told}
        for path in changed:
            was, became = (self._remote.file_at(path, at) for at in (moment - 1, moment))
            if was != became or any(name[: len(path)] == path for name in names if name):
                self.name(path, moment)
            elif became is not None and (says or became in known):
                self._files[path, became] = max(self._files.get((path, became), 0), moment)

    def name(self, path: Path, moment: int) -> None:
        """From now on nothing of before `moment` may be shown at `path`."""
        self._names[path] = max(self._names.get(path, 0), moment)

    def low(self, path: Path, heard: int, aged: int, told: Mapping[int, int], untold: Mapping[int, int]) -> Low:
        """What may be shown of `path` by one who has heard of everything up to the moment `heard`.

        `aged` is the moment of which it must know however it looks at files with several names. It was `told` of files
        by any name, but not all that is `untold`.
        """
        files = dict(told)
        for (name, file), moment in self._files.items():
            if name == path:
                files[file] = max(files.get(file, 0), moment)
        own = self._names.get(path, 0)
        return Low(max(heard, own), max(aged, own), files, untold)
