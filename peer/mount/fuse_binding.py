"""The one module that loads libfuse: mfusepy on libfuse 3, on libfuse 2 where only that exists, fusepy as last resort.

The one rule: every exception of a callback becomes an errno here and nowhere else, and none is lost: what is not a
failure that the operation may report is logged with its traceback and answered EIO.

mfusepy's FUSE class runs libfuse's own main loop (fuse_main(3)): it parses options, mounts, serves from a pool of C
threads until told to `leave`, and unmounts. Each callback runs on one of those threads.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import dataclasses
import errno
import functools
import importlib
import logging
import os
import re
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from peer.errors import OperationFailed, PeerError
from peer.mount import fuse_capabilities
from peer.mount.fuse_structures import Connection2, Context, RecordLockStructure
from peer.mount.fuse_translation import Callbacks, RecordLock, Translation
from schema.failure_codes import errno_of
from schema.limits import MAX_DATA, MAX_GROUPS
from schema.paths import PathError

log = logging.getLogger(__name__)


def _load() -> Any:
    """The binding module; which libfuse it loads is fixed by the environment at its import."""
    if "FUSE_LIBRARY_PATH" not in os.environ and "FUSE_LIBRARY_NAME" not in os.environ:
        # Left alone, mfusepy takes libfuse 2 where both are installed.
        os.environ["FUSE_LIBRARY_NAME"] = "fuse3" if ctypes.util.find_library("fuse3") else "fuse"
    if os.environ.get("REMOTEFS_FUSE_BINDING", "mfusepy") != "fusepy":
        try:
            return importlib.import_module("mfusepy")
        except ModuleNotFoundError as missing:
            if missing.name != "mfusepy":
                raise
    return importlib.import_module("fuse")


_module: Final = _load()
_library: Final = _module._libfuse  # noqa: SLF001 - the loaded library is offered under no other name
_version: Final = int(_library.fuse_version())
LIBFUSE: Final[tuple[int, int]] = divmod(_version, 10) if _version < 100 else divmod(_version, 100)
"""Major and minor version of the loaded libfuse."""

_THREE: Final = LIBFUSE[0] >= 3
_IS_MFUSEPY: Final = hasattr(_module, "fuse_version_major")

_ENDED_BY_SIGNAL: Final = 8
"""What libfuse 3 answers for an end by signal, and for an error of its loop as well."""
_MAX_THREADS: Final = 512
"""Workers of libfuse; each process that waits for a lock keeps one, and the one that gives it back needs one too."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KernelOptions:
    """What the kernel is told about a mount. Timeouts in seconds."""

    source: str
    """As df(1) shows it."""
    attribute_timeout: float
    """For attributes and names; that there is no such name is not believed at all. See `Session.believe`."""
    allow_other: bool
    default_permissions: bool
    posix_acl: bool
    read_only: bool


class CallContext(NamedTuple):
    """Who makes the system call behind a callback; `thread` is 0 where it is in a pid namespace that we cannot see."""

    uid: int
    gid: int
    thread: int
    umask: int


class LibraryFailed(PeerError):
    """libfuse ended with an error; `status` is what fuse_main(3) returned, and libfuse wrote why to standard error."""

    def __init__(self, status: int) -> None:
        super().__init__(f"libfuse ended with status {status}")
        self.status = status


def _kernel() -> tuple[int, int]:
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function of libfuse with prototypes of our own, apart from those that the binding set on the same library."""
    return ctypes.CFUNCTYPE(result, *arguments)(ctypes.cast(getattr(_library, name), ctypes.c_void_p).value or 0)


_get_context = _function("fuse_get_context", ctypes.POINTER(Context))
_fuse_interrupted = _function("fuse_interrupted", ctypes.c_int)
_fuse_getgroups = _function("fuse_getgroups", ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_uint))
_get_session = _function("fuse_get_session", ctypes.c_void_p, ctypes.c_void_p)
_session_exited = _function("fuse_session_exited", ctypes.c_int, ctypes.c_void_p)
_session_exit = _function("fuse_session_exit", None, ctypes.c_void_p)
_thread = threading.local()
"""`answering` while the thread is in a callback: libfuse's word on the caller is sound nowhere else."""
if _THREE:
    _inval_inode = _function(
        "fuse_lowlevel_notify_inval_inode",
        ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_longlong, ctypes.c_longlong,
    )  # fmt: skip
    _inval_entry = _function(
        "fuse_lowlevel_notify_inval_entry",
        ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t,
    )  # fmt: skip
_EXPIRES: Final = _THREE and hasattr(_library, "fuse_lowlevel_notify_expire_entry") and _kernel() >= (6, 2)
"""Whether a name can be made to be looked up anew (FUSE_EXPIRE_ONLY); an older kernel would take it away instead."""
if _EXPIRES:
    _expire_entry = _function(
        "fuse_lowlevel_notify_expire_entry",
        ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int,
    )  # fmt: skip
    _EXPIRE_ONLY: Final = 1  # FUSE_LL_EXPIRE_ONLY; later versions of libfuse know nothing else and take no flags


def _keep_thread_state() -> None:
    """Have Python keep what it makes for a thread of libfuse's when that calls for the first time.

    It would make and drop it for each call (PyGILState_Ensure), which takes as long as a short callback does. Where
    libfuse ends threads that are idle, what is kept of them would stay for good.
    """
    if LIBFUSE >= (3, 12):  # it ends none: see `max_idle_threads`
        ctypes.pythonapi.PyGILState_Ensure()


def number_of(failure: BaseException) -> int:
    """The errno that a system call reports for what a callback raised. The one place where this is decided."""
    if isinstance(failure, OperationFailed):
        return errno_of(failure.code)
    if isinstance(failure, PathError):
        return errno.ENAMETOOLONG if failure.too_long else errno.EINVAL
    if isinstance(failure, OSError) and failure.errno is not None and failure.errno > 0:
        return failure.errno
    log.error("a callback failed in a way that no system call reports", exc_info=failure)
    return errno.EIO


class Session:
    """The running mount: who calls, whether they gave up, and what the kernel is asked to forget.

    The three `forget_*` and `expire_entry` must not run on a thread of a callback (`kernel_cache` says why); each
    answers 0 or an errno: ENOENT when the kernel holds nothing of the kind, ENOSYS where that cannot be said.
    """

    def __init__(self) -> None:
        self._session: int | None = None
        self._config: Any = None
        self._lock = threading.Lock()

    def begin(self, config: Any) -> None:
        """Take hold of the session that calls us; `config` is libfuse's live struct fuse_config."""
        self._session = _get_session(_get_context().contents.fuse)
        self._config = config

    def end(self) -> None:
        """Let go of the session, which is about to be freed."""
        with self._lock:
            self._session = self._config = None

    def leave(self) -> None:
        """Have libfuse's loop end when it wakes up next, if it has not ended."""
        with self._lock:
            if self._session is not None:
                _session_exit(self._session)

    @property
    def serving(self) -> bool:
        """Whether this thread answers a callback: elsewhere there is no call to ask about."""
        return self._session is not None and getattr(_thread, "answering", False)

    def context(self) -> CallContext:
        """Who makes the call that this thread answers."""
        context = _get_context().contents
        return CallContext(context.uid, context.gid, context.pid, context.umask & 0o777)

    def groups(self) -> tuple[int, ...]:
        """The caller's supplementary groups as of now; none where it is gone or in a pid namespace of its own."""
        room = 64
        while True:
            buffer = (ctypes.c_uint * room)()
            count = _fuse_getgroups(room, buffer)
            if count <= room:
                return tuple(buffer[: max(count, 0)])
            if room >= MAX_GROUPS:
                return tuple(buffer[:room])
            room = min(count, MAX_GROUPS)

    def interrupted(self) -> bool:
        """Whether the caller was sent a signal, or the mount is ending: stop waiting."""
        if not self.serving:
            return self._session is None
        return bool(_fuse_interrupted()) or self.ending

    @property
    def ending(self) -> bool:
        """Whether the mount is on its way out: it ends once all callbacks have returned."""
        return self._session is not None and bool(_session_exited(self._session))

    @property
    def keeps_names(self) -> bool:
        """Whether `keep_names` works: libfuse 3 reads its configuration anew at each unlink."""
        return self._config is not None

    def keep_names(self, keep: bool) -> None:
        """Let libfuse rename an open file that is removed, rather than forget its name (`hard_remove` of fuse.h)."""
        if self._config is not None:
            self._config.hard_remove = 0 if keep else 1

    @property
    def hears(self) -> bool:
        """Whether the kernel can be told of changes: what it may believe for long depends on it."""
        return self._config is not None

    expires_names = _EXPIRES
    """Whether `expire_entry` works."""

    def believe(self, attributes: float, names: float, absences: float) -> None:
        """What is answered from now on, the kernel may believe for so many seconds; no effect on libfuse 2."""
        config = self._config
        if config is not None:
            config.attr_timeout, config.entry_timeout, config.negative_timeout = attributes, names, absences

    def forget_attributes(self, node: int) -> int:
        """Drop the attributes of inode `node`; touches no page and takes no lock of an inode."""
        return self._notify(_inval_inode, node, -1, 0) if _THREE else errno.ENOSYS

    def forget_file(self, node: int) -> int:
        """Drop attributes and pages of inode `node`; waits for pages that are being read or written."""
        return self._notify(_inval_inode, node, 0, 0) if _THREE else errno.ENOSYS

    def forget_entry(self, parent: int, name: bytes) -> int:
        """Drop what `name` means in the directory inode `parent`, also that it means nothing; locks the directory."""
        return self._notify(_inval_entry, parent, name, len(name)) if _THREE else errno.ENOSYS

    def expire_entry(self, parent: int, name: bytes) -> int:
        """Have `name` in `parent` looked up anew at its next use; who works in or below it stays where they are."""
        if not _EXPIRES:
            return errno.ENOSYS
        return self._notify(_expire_entry, parent, name, len(name), _EXPIRE_ONLY)

    def _notify(self, function: Callable[..., Any], *arguments: Any) -> int:
        session = self._session
        return errno.ENOTCONN if session is None else -int(function(session, *arguments))


class _Mount(Translation, _module.FUSE):  # type: ignore[misc,name-defined]  # the class of a module found at run time
    """libfuse's main loop with our translation in place of the binding's own."""

    new_stat = _module.c_stat

    def __init__(
        self, operations: Callbacks, mountpoint: str, options: KernelOptions, started: Callable[[Any], None]
    ) -> None:
        self._options = options
        self._started = started
        keywords = self._command_line(options)
        super().__init__(operations, mountpoint, raw_fi=True, foreground=True, **keywords)

    @staticmethod
    def _command_line(options: KernelOptions) -> dict[str, Any]:
        """Options of mount.fuse(8). A backslash keeps a comma from ending an option."""
        keywords: dict[str, Any] = {
            "fsname": options.source.replace("\\", "\\\\").replace(",", "\\,"),
            "subtype": "remotefs",
            "allow_other": options.allow_other,
            "default_permissions": options.default_permissions,
            "ro": options.read_only,
            "max_read": MAX_DATA,
        }
        if not _THREE:
            keywords |= {
                "use_ino": True,
                "hard_remove": True,
                "big_writes": True,
                "attr_timeout": options.attribute_timeout,
                "entry_timeout": options.attribute_timeout,
                "negative_timeout": 0,
            }
        elif LIBFUSE >= (3, 12):
            keywords |= {"max_threads": _MAX_THREADS, "max_idle_threads": _MAX_THREADS}
        return keywords

    def _wrapper(self, function: Callable[..., int | None], *arguments: Any) -> int:
        if not hasattr(_thread, "answering"):
            _keep_thread_state()
        _thread.answering = True
        try:
            return function(*arguments) or 0
        except BaseException as failure:  # noqa: BLE001 - beyond this frame is C, which cannot carry an exception
            return -number_of(failure)
        finally:
            _thread.answering = False

    def init_fuse_3(self, connection: Any, config: Any) -> None:
        fuse_capabilities.configure(connection.contents, three=_THREE, posix_acl=self._options.posix_acl)
        settings, options = config.contents, self._options
        settings.use_ino = 1
        settings.hard_remove = 1
        settings.nullpath_ok = 1
        settings.attr_timeout = settings.entry_timeout = options.attribute_timeout
        settings.negative_timeout = 0
        settings.direct_io = settings.kernel_cache = settings.auto_cache = 0
        if LIBFUSE >= (3, 17):
            # Without it, the high-level interface has the kernel never say that a caller was sent a signal. The price
            # is a SIGUSR1 to the thread that answers, which ends nothing: libfuse catches it, and Python goes on.
            settings.intr = 1
        self._started(settings)

    def init_fuse_2(self, connection: Any) -> None:
        fuse_capabilities.configure(connection.contents, three=_THREE, posix_acl=self._options.posix_acl)
        self._started(None)


class _FusepyMount(_Mount):
    """The same under fusepy's names, all of them libfuse 2's."""

    getattr = Translation.getattr_fuse_2
    rename = Translation.rename_fuse_2
    chmod = Translation.chmod_fuse_2
    chown = Translation.chown_fuse_2
    truncate = Translation.truncate_fuse_2
    utimens = Translation.utimens_fuse_2
    readdir = Translation.readdir_fuse_2

    def init(self, connection: int) -> None:
        self.init_fuse_2(ctypes.cast(connection, ctypes.POINTER(Connection2)))

    def lock(self, path: bytes | None, info: Any, command: int, lock: Any) -> None:
        super().lock(path, info, command, ctypes.cast(lock, ctypes.POINTER(RecordLockStructure)))


def run(operations: Callbacks, mountpoint: str, options: KernelOptions, started: Callable[[Any], None]) -> None:
    """Mount and serve until unmounted or told to leave; call it on the main thread.

    `started` is called, on a callback's thread, once mounted, with the configuration for `Session.begin`.
    Raises `LibraryFailed` when libfuse could not mount.
    """
    served = False

    @functools.wraps(started)
    def note(config: Any) -> None:
        nonlocal served
        served = True
        started(config)

    try:
        (_Mount if _IS_MFUSEPY else _FusepyMount)(operations, mountpoint, options, note)
    except RuntimeError as ended:
        status = ended.args[0] if ended.args and isinstance(ended.args[0], int) else 0
        if not served or status != _ENDED_BY_SIGNAL:
            raise LibraryFailed(status) from ended


__all__ = ["LIBFUSE", "CallContext", "KernelOptions", "LibraryFailed", "RecordLock", "Session", "number_of", "run"]
