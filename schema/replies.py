"""What an agent answers: one struct a shape, or `Failure`.

The one rule: a reply to a changing operation carries what the file looks like afterwards, so nobody must ask.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from schema.attributes import FileMetadata, FileVersion, VolumeStatistics
from schema.changes import FEED_KEY_SIZE, ChangeBatch, Moment
from schema.known_names import AppearedName, ChangedName, VerifiedDirectory
from schema.limits import MAX_PAGE_ENTRIES, MAX_TOPIC, MAX_XATTR_VALUE, MIN_TOPIC
from schema.paths import Name
from schema.requests import U32, U64, Count, LinkTarget, LockMode

_Text = Annotated[str, msgspec.Meta(max_length=1024)]


class ReplyBody(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Base of all replies.

    `as_of` is how far the change feed had come before the agent looked; None where no feed covers what was asked for
    (it is not under watch, or was not when the agent looked): then the answer is good for a limited time only. So are,
    in an answer about many files, the attributes of those with several links: another name may be out of sight.
    """

    as_of: Moment | None = None


class Failure(ReplyBody, frozen=True, tag=0):
    """The operation was not done: a code of `failure_codes`, and a sentence for people."""

    code: Annotated[str, msgspec.Meta(max_length=32)]
    message: _Text = ""


class Done(ReplyBody, frozen=True, tag=1):
    """It is done and there is nothing to say."""


class Attached(ReplyBody, frozen=True, tag=2):
    """Who the agent is: the ids it acts under, whether it preserves the caller's, whether `path` is read-only.

    `boot` is a random number made when the agent started: handles of another boot are gone.
    """

    boot: U64
    uid: U32
    gid: U32
    preserves_identity: bool
    read_only: bool
    metadata: FileMetadata


class Metadata(ReplyBody, frozen=True, tag=3):
    """The attributes of the file."""

    metadata: FileMetadata


class DirectoryEntry(msgspec.Struct, frozen=True, array_like=True):
    """A name, its inode and type bits (S_IFMT of st_mode), and where they were asked for its attributes."""

    name: Name
    inode: U64
    type: U32
    metadata: FileMetadata | None = None


class DirectoryPage(ReplyBody, frozen=True, tag=4):
    """Entries in byte order of their names; `complete` when no name comes after them."""

    entries: Annotated[tuple[DirectoryEntry, ...], msgspec.Meta(max_length=MAX_PAGE_ENTRIES)]
    complete: bool


class OpenedFile(ReplyBody, frozen=True, tag=5):
    """A handle, never 0, good until it is closed or the agent restarts; `data` as `OpenFile.first_bytes` asked.

    `generation` tells a file from a later one that got the same inode number (FS_IOC_GETVERSION of ioctl_iflags(2), or
    made of name_to_handle_at(2)); 0 where the file system does not say. `now_ns` is the agent's clock before it read
    `data` and looked at the attributes, in nanoseconds since the epoch: by it their times are old or recent. It is 0
    while somebody else has the file open for writing: then nothing is known by them.
    """

    handle: Annotated[int, msgspec.Meta(ge=1)]
    metadata: FileMetadata
    generation: U64 = 0
    data: memoryview = memoryview(b"")
    now_ns: int = 0


class FileData(ReplyBody, frozen=True, tag=6):
    """Bytes of a file.

    With `version` they are proven to be of its content, which is final: whatever is written later has another version.
    None while that is not sure, for a file that was changed a moment before it was read or that is open for writing.
    """

    data: memoryview
    version: FileVersion | None = None


class Written(ReplyBody, frozen=True, tag=7):
    """How many bytes were written, all of them unless the disk was full half way, and the attributes afterwards."""

    size: Count
    metadata: FileMetadata


class SymlinkTarget(ReplyBody, frozen=True, tag=8):
    """What a symbolic link says, as stored."""

    target: LinkTarget


class Volume(ReplyBody, frozen=True, tag=9):
    """The state of a file system."""

    statistics: VolumeStatistics


class XattrValue(ReplyBody, frozen=True, tag=10):
    """The value of one extended attribute."""

    value: Annotated[bytes, msgspec.Meta(max_length=MAX_XATTR_VALUE)]


class XattrNames(ReplyBody, frozen=True, tag=11):
    """Names of extended attributes; XATTR_LIST_MAX bounds them together."""

    names: Annotated[
        tuple[Annotated[bytes, msgspec.Meta(min_length=1, max_length=255)], ...], msgspec.Meta(max_length=65_536)
    ]


class LockState(ReplyBody, frozen=True, tag=12):
    """The first lock that stands in the way; `mode` UNLOCK when none does. `pid` 0 when the holder is not known."""

    mode: LockMode
    start: Count = 0
    length: Count = 0
    pid: U32 = 0


class Copied(ReplyBody, frozen=True, tag=13):
    """Bytes copied, 0 at the end of the source; and the target's attributes."""

    size: Count
    metadata: FileMetadata


class Position(ReplyBody, frozen=True, tag=14):
    """An offset in a file."""

    offset: Count


class Following(ReplyBody, frozen=True, tag=15):
    """Where the change feed is: its topic, the key that its batches are sealed with, and how far it has come.

    `next_number` is the number that the next change of `epoch` will have. A batch, if only an empty one, comes every
    `heartbeat` seconds at least. `sent` is the time of this answer by the clock of `ChangeBatch.sent`.
    """

    topic: Annotated[bytes, msgspec.Meta(min_length=MIN_TOPIC, max_length=MAX_TOPIC)]
    key: Annotated[bytes, msgspec.Meta(min_length=FEED_KEY_SIZE, max_length=FEED_KEY_SIZE)]
    epoch: U64
    next_number: U64
    heartbeat: Annotated[float, msgspec.Meta(gt=0, le=3600)]
    sent: Annotated[float, msgspec.Meta(ge=0, lt=2**53)] = 0.0


class Changes(ReplyBody, frozen=True, tag=16):
    """A part of the feed; there may be more after it."""

    batch: ChangeBatch


class VerifiedMetadata(ReplyBody, frozen=True, tag=17):
    """What differs from what `VerifyMetadata` said is known; what is not mentioned is as it was known to be.

    `directories` are those asked about, in order; of the names in one that was not `found` nothing is said. `changed`
    goes by a name's index in the request. `as_of` counts for the directories that are `covered`.
    """

    directories: Annotated[tuple[VerifiedDirectory, ...], msgspec.Meta(max_length=MAX_PAGE_ENTRIES)]
    changed: Annotated[tuple[ChangedName, ...], msgspec.Meta(max_length=MAX_PAGE_ENTRIES)] = ()
    appeared: Annotated[tuple[AppearedName, ...], msgspec.Meta(max_length=MAX_PAGE_ENTRIES)] = ()


AnyReply = (
    Failure
    | Done
    | Attached
    | Metadata
    | DirectoryPage
    | OpenedFile
    | FileData
    | Written
    | SymlinkTarget
    | Volume
    | XattrValue
    | XattrNames
    | LockState
    | Copied
    | Position
    | Following
    | Changes
    | VerifiedMetadata
)


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to the request numbered `id`."""

    id: U64
    body: AnyReply
