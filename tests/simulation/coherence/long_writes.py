"""Programs on the remote machine that write for long: write(2) sets the times of a file, and then it copies.

The one rule: inotify(7) tells of a write when it is done. Until that is heard of, the file may be shown as it was
before; and what is read of it meanwhile belongs to no version, since the times stay as they are while the bytes change.
"""

from __future__ import annotations

import dataclasses

from schema.changes import Moment
from schema.paths import RelativePath

BEGUN, COPIED, DONE = "begun", "copied", "done"
"""Steps of a write."""


@dataclasses.dataclass
class LongWrite:
    """Of `data` over the file of this `inode`, opened at `path`, which was as it had been until the moment `before`.

    So many bytes are `copied`. `told` is the epoch and number of the feed by which one knows that it is done.
    """

    handle: int
    path: RelativePath
    inode: int
    data: bytes
    before: int
    copied: int = 0
    told: tuple[int, int] | None = None


class LongWrites:
    """Those of one machine, one at a time."""

    def __init__(self) -> None:
        self.current: LongWrite | None = None
        self._untold: list[LongWrite] = []

    def begin(self, write: LongWrite) -> None:
        self.current = write
        self._untold.append(write)

    def is_written(self, inode: int) -> bool:
        """Whether somebody has the file open for writing."""
        return self.current is not None and self.current.inode == inode

    def lost(self, epoch: int, now: int) -> None:
        """A new epoch begins at the moment `now`: what is asked for then is as it is then."""
        for write in self._untold:
            write.told = write.told or (epoch, 0)
        if self.current is not None:
            self.begin(dataclasses.replace(self.current, before=now, told=None))

    def untold(self, until: Moment) -> dict[int, int]:
        """The files of which not all had been told by then, with the moments up to which it had."""
        heard = until.epoch, until.number
        return {
            write.inode: write.before for write in reversed(self._untold) if write.told is None or write.told > heard
        }
