"""On whose behalf a thread makes system calls, so that the agent's kernel decides as it would for a local program.

For a caller whose identity is preserved that is: file-system ids and supplementary groups of the caller, and no
capability at all unless the caller is root. Then permissions, ownership of new files, set-group-id directories,
sticky directories, the clearing of set-id bits and default ACLs need no line of code here. The umask is always the
caller's, since only the kernel knows when a default ACL takes its place (acl(5)).

The one rule: what a thread is on leaving is what it was on entering. A thread that cannot be put back must do nothing
more, so that failure ends the process.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Iterator
from typing import Final

from peer.agent import system_calls
from schema.requests import Caller

_log: Final = logging.getLogger(__name__)

_NEEDED: Final = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "SETGID": 6, "SETUID": 7}
"""Bits of the capabilities(7) without which nobody's identity can be preserved."""


def can_preserve_identity() -> bool:
    """Whether this process may act under the ids of others: root, with the capabilities that make it so."""
    effective = system_calls.capget().effective
    return os.geteuid() == 0 and all(effective >> bit & 1 for bit in _NEEDED.values())


class ActingAs:
    """Puts threads in the place of callers. One instance an agent, made in its main thread."""

    def __init__(self) -> None:
        self._uid: Final = os.geteuid()
        self._gid: Final = os.getegid()
        self._groups: Final = tuple(os.getgroups())
        self._capabilities: Final = system_calls.capget()
        self._nothing: Final = self._capabilities._replace(effective=0)
        self._thread: Final = threading.local()
        self._one_umask: Final = threading.Lock()

    @contextlib.contextmanager
    def umask_of(self, caller: Caller) -> Iterator[None]:
        """The caller's umask, in this thread alone."""
        with contextlib.ExitStack() as stack:
            if not self._has_own_umask():
                stack.enter_context(self._one_umask)
            before = os.umask(caller.umask)
            try:
                yield
            finally:
                os.umask(before)

    @contextlib.contextmanager
    def identity_of(self, caller: Caller) -> Iterator[None]:
        """The caller's ids, groups and rights, in this thread alone. Needs `can_preserve_identity`.

        Raises `PermissionError` (EPERM) for an id that this system cannot take on.
        """
        if (caller.uid, caller.gid, caller.groups) == (self._uid, self._gid, self._groups):
            yield
            return
        try:
            self._become(caller)
            yield
        finally:
            self._come_back()

    def _become(self, caller: Caller) -> None:
        system_calls.setgroups_of_thread(caller.groups)
        if system_calls.setfsgid(caller.gid) != caller.gid or system_calls.setfsuid(caller.uid) != caller.uid:
            raise PermissionError(errno.EPERM, f"cannot act as uid {caller.uid}, gid {caller.gid}")
        if caller.uid != 0:
            # setfsuid(2) drops the capabilities on files only: CAP_SETFCAP, CAP_SYS_ADMIN (trusted.* attributes) and
            # CAP_SYS_RESOURCE (reserved blocks, quotas) would stay.
            system_calls.capset(self._nothing)

    def _come_back(self) -> None:
        try:
            system_calls.capset(self._capabilities)
            if system_calls.setfsuid(self._uid) != self._uid or system_calls.setfsgid(self._gid) != self._gid:
                raise PermissionError(errno.EPERM, "setfsuid or setfsgid refused the agent's own id")
            system_calls.setgroups_of_thread(self._groups)
            # Coming back to root raises the capabilities on files anew, whatever they were before.
            system_calls.capset(self._capabilities)
        except OSError:
            _log.critical("a thread cannot give up a caller's identity: the agent ends here", exc_info=True)
            os.abort()

    def _has_own_umask(self) -> bool:
        own: bool | None = getattr(self._thread, "has_own_umask", None)
        if own is None:
            try:
                system_calls.unshare_umask()
                own = True
            except PermissionError:  # a container whose seccomp filter refuses unshare(2): one creation at a time
                own = False
            self._thread.has_own_umask = own
        return own
