"""Mounting a file system on a directory, until it is unmounted.

The one rule: when `mount` returns, nothing is mounted there any more, and no thread waits for what was.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from typing import Any, Final

from peer.filesystem import FileSystem
from peer.mount import fuse_binding, kernel_read_ahead
from peer.mount.adapter import Mounted
from peer.mount.connection import Connection
from peer.mount.ending_signals import Ending, heard_here
from peer.mount.identity_map import IdentityMap, IdentityMode, MappedIdentity, PreservedIdentity
from peer.mount.kernel_cache import Answers, KernelCache
from peer.mount.mountpoint import MountError, mount_at, prepare
from peer.mount.node_ids import NodeIds
from peer.mount.operations import Operations
from peer.mount.removed_files import RemovedFiles
from peer.mount.replaced_files import ReplacedFiles
from peer.mount.symlink_policy import SymlinkPolicy
from schema.paths import RelativePath, display
from schema.replies import Attached
from schema.requests import Attach, Caller

log = logging.getLogger(__name__)

_STATUS: Final = {
    1: "libfuse refused an option",
    3: "libfuse refused an option",
    4: "the kernel or fusermount3 refused to mount",
}
"""What fuse_main(3) means by its status."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """How a directory of an agent is mounted. Timeouts in seconds."""

    agent: str
    """The agent's id, for df(1) to show."""
    remote_path: RelativePath = ()
    """The directory that becomes the root of the mount, below the agent's ``/``."""
    identity: IdentityMode = "map"
    symlinks: SymlinkPolicy = "as-is"
    allow_other: bool = False
    """Users other than the mounting one may use the mount; unless that is root, /etc/fuse.conf must allow it."""
    attribute_timeout: float = 1.0
    """How long the kernel believes what it is told of files and names, unless `answers` sees to more."""


def _identity(options: MountOptions, attached: Attached) -> IdentityMap:
    if options.identity == "preserve":
        return PreservedIdentity()
    return MappedIdentity(attached.uid, attached.gid, os.getuid(), os.getgid())


def _refuse_to_pretend(options: MountOptions, attached: Attached) -> None:
    if options.identity == "preserve" and not attached.preserves_identity:
        raise MountError(
            f"the agent {options.agent} does not preserve identities for this client: set preserve_identity in its "
            'rule, or mount with identity = "map"'
        )


def mount(
    filesystem: FileSystem,
    mountpoint: str,
    options: MountOptions,
    *,
    session: fuse_binding.Session | None = None,
    answers: Answers | None = None,
    ready: Callable[[KernelCache], None] = lambda _: None,
) -> None:
    """Mount `filesystem` on `mountpoint` and serve it until it is unmounted or SIGTERM, SIGINT or SIGHUP comes.

    Call it on the main thread, which it keeps. `session` is handed in by who wants to know, while it waits for an
    answer, whether its caller has given up. `answers` hears what the kernel is answered. `ready` is called once
    mounted, on another thread, with the room that makes the kernel forget. A mount that is busy at the end is detached
    and goes when its last user does.

    Raises `MountError` when the directory cannot be mounted on, `OperationFailed` when `options.remote_path` cannot
    be attached.
    """
    directory = prepare(mountpoint)
    root = options.remote_path
    with heard_here():  # nothing is there yet that would be left
        attached = filesystem.attach(Attach(root), Caller(os.getuid(), os.getgid()))
    _refuse_to_pretend(options, attached)
    identity = _identity(options, attached)
    session = session or fuse_binding.Session()
    connection = Connection()
    kernel = KernelCache(session, NodeIds(os.fsencode(directory), root), answers)
    removed = RemovedFiles(session.keep_names) if fuse_binding.LIBFUSE[0] >= 3 else None
    replaced = ReplacedFiles(kernel, removed) if removed is not None else None
    mounted = Mounted(
        filesystem=filesystem,
        root=root,
        attached=attached,
        edge=session,
        identity=identity,
        symlinks=options.symlinks,
        kernel=kernel,
        removed=removed,
        replaced=replaced,
    )
    preserved = options.identity == "preserve"
    ending = Ending(session.leave)

    def started(config: Any) -> None:
        try:
            session.begin(config)
            kernel.begin()
            if replaced is not None:
                replaced.begin()
            entry = mount_at(directory)
            if entry is not None:
                connection.begin(entry.device)
                kernel_read_ahead.widen(entry.device)
            ready(kernel)
        finally:
            ending.serving()

    try:
        with ending.heard():
            fuse_binding.run(
                Operations(mounted, connection.end, session.end),
                directory,
                fuse_binding.KernelOptions(
                    source=f"remotefs#{options.agent}:{display(root)}",
                    attribute_timeout=options.attribute_timeout,
                    allow_other=options.allow_other,
                    # Without these the agent decides, whose user's rights are the mounting user's.
                    default_permissions=preserved or options.allow_other,
                    posix_acl=preserved,
                    read_only=attached.read_only,
                ),
                started,
            )
    except fuse_binding.LibraryFailed as failure:
        reason = _STATUS.get(failure.status, str(failure))
        raise MountError(f"{mountpoint} could not be mounted: {reason} (its own words are above)") from failure
    finally:
        connection.end()
    log.info("%s is unmounted", mountpoint)
