"""What one process of the hammer does to the names.

The one rule: a change is noted with the moment before its first system call that shows and the one after its last, and
with what it leaves; one that failed is noted as that which may yet take effect.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.stack.hammer.hand import Hand
from tests.stack.hammer.history import ABSENT, FOREVER, Change, Kind, Look, State
from tests.stack.hammer.ledger import Ledger, Page
from tests.stack.hammer.names import DIRECTORIES, FREE, NAMES, ORDERED, rests
from tests.stack.hammer.payload import RECORD, Content, cut, extended, length, patched, records

_MODE = 0o644
_MODES = (0o600, 0o640, 0o644, 0o660, 0o755)
_DIRECTORY = State(Kind.DIRECTORY)
_MOST = 3000
"""Records after which a file is not appended to."""


@dataclass(frozen=True)
class _Deed:
    """One change: see `Change`. `page` is that of a name whose changes are made one after another."""

    operation: str
    name: str
    after: State
    page: Page | None
    gradual: bool = False
    to: str = ""


class Changes:
    """The changes of one process.

    `repeated`: a request may be done twice, because the agent may forget that it did it; so what is refused may have
    taken effect.
    """

    def __init__(self, hand: Hand, ledger: Ledger, *, repeated: bool) -> None:
        self._hand = hand
        self._tree = hand.tree
        self._rng = hand.rng
        self._ledger = ledger
        self._repeated = repeated
        self._tag = hand.process << 40
        self._spare = hand.tree / f".spare-{hand.process}"

    def any(self) -> None:
        """One change of any kind, if the name that it falls on is free for it."""
        name = self._rng.choice(NAMES)
        if rests(name, time.monotonic_ns()):
            return
        if name in FREE:
            self._rng.choices((self._replace_free, self._unlink_free, self._link_free), (6, 2, 1))[0](name)
            return
        with self._ledger.hold(name) as page:
            if page is None:
                return
            if name in DIRECTORIES:
                self._make_or_remove(name, page)
            elif page.doubtful:
                self._replace(name, page)
            elif page.state.kind is Kind.ABSENT:
                self._rng.choice((self._create, self._replace))(name, page)
            else:
                ways = (
                    self._replace,
                    self._write,
                    self._append,
                    self._truncate,
                    self._patch,
                    self._chmod,
                    self._unlink,
                    self._move,
                )
                self._rng.choices(ways, (4, 4, 3, 2, 2, 1, 2, 2))[0](name, page)

    # Names whose changes are made one after another.

    def _create(self, name: str, page: Page) -> None:
        content = self._content()
        deed = _Deed("create", name, State(Kind.FILE, content, _MODE), page, gradual=True)
        self._do(deed, lambda: self._fill(name, content, os.O_CREAT | os.O_EXCL))

    def _write(self, name: str, page: Page) -> None:
        content = self._content()
        deed = _Deed("write", name, State(Kind.FILE, content, page.state.mode), page, gradual=True)
        self._do(deed, lambda: self._fill(name, content, os.O_TRUNC))

    def _append(self, name: str, page: Page) -> None:
        before, tag, count = page.state.content, self._next_tag(), self._rng.randint(1, 40)
        if length(before) > _MOST:
            self._write(name, page)
            return
        data = records(tag, length(before), count)
        after = State(Kind.FILE, extended(before, tag, count), page.state.mode)
        self._do(_Deed("append", name, after, page, gradual=True), lambda: self._put(name, os.O_APPEND, data, 0))

    def _patch(self, name: str, page: Page) -> None:
        before, tag, count = page.state.content, self._next_tag(), self._rng.randint(1, 40)
        first = self._rng.randint(0, length(before))
        data = records(tag, first, count)
        after = State(Kind.FILE, patched(before, first, tag, count), page.state.mode)
        self._do(_Deed("patch", name, after, page, gradual=True), lambda: self._put(name, 0, data, first * RECORD))

    def _truncate(self, name: str, page: Page) -> None:
        count = self._rng.randint(0, length(page.state.content) + 3)
        after = State(Kind.FILE, cut(page.state.content, count), page.state.mode)
        # The kernel of a mount may show zeros for what it reads beyond an end that is being drawn nearer.
        self._do(
            _Deed("truncate", name, after, page, gradual=True), lambda: os.truncate(self._tree / name, count * RECORD)
        )

    def _chmod(self, name: str, page: Page) -> None:
        after = State(Kind.FILE, page.state.content, self._rng.choice(_MODES))
        self._do(_Deed("chmod", name, after, page), lambda: os.chmod(self._tree / name, after.mode or 0))

    def _unlink(self, name: str, page: Page) -> None:
        self._do(_Deed("unlink", name, ABSENT, page), lambda: os.unlink(self._tree / name))

    def _replace(self, name: str, page: Page) -> None:
        after = self._prepare(name)
        if after is not None:
            self._do(_Deed("replace", name, after, page), lambda: os.replace(self._spare, self._tree / name))

    def _move(self, name: str, page: Page) -> None:
        """Over another name of the kind."""
        other = self._rng.choice([each for each in ORDERED if each != name])
        with self._ledger.hold(other) as target:
            if target is None or rests(other, time.monotonic_ns()):
                return
            after, start = page.state, time.monotonic_ns()
            failure = self._try(lambda: os.replace(self._tree / name, self._tree / other))
            self._done(_Deed("move away", name, ABSENT, page, to=other), start, failure)
            if not isinstance(failure, FileNotFoundError) or self._repeated:
                self._done(_Deed("move", other, after, target), start, failure)

    def _make_or_remove(self, name: str, page: Page) -> None:
        if page.doubtful:
            return
        if page.state.kind is Kind.ABSENT:
            self._do(_Deed("mkdir", name, _DIRECTORY, page), lambda: os.mkdir(self._tree / name))
        else:
            self._do(_Deed("rmdir", name, ABSENT, page), lambda: os.rmdir(self._tree / name))

    # Names that everybody changes at once.

    def _replace_free(self, name: str) -> None:
        after = self._prepare(name)
        if after is not None:
            self._do(_Deed("replace", name, after, None), lambda: os.replace(self._spare, self._tree / name))

    def _unlink_free(self, name: str) -> None:
        self._do(_Deed("unlink", name, ABSENT, None), lambda: os.unlink(self._tree / name))

    def _link_free(self, name: str) -> None:
        after = self._prepare(name)
        if after is not None:
            self._do(_Deed("link", name, after, None), lambda: os.link(self._spare, self._tree / name))
            self._try(lambda: os.unlink(self._spare))

    # Inside.

    def _prepare(self, name: str) -> State | None:
        """A file with a content of its own, to be given the name `name`."""
        content = self._content()
        start = time.monotonic_ns()
        failure = self._try(lambda: self._fill(self._spare.name, content, os.O_CREAT | os.O_TRUNC))
        if failure is not None:
            self._hand.trouble("prepare", name, start, failure)
            return None
        return State(Kind.FILE, content, _MODE)

    def _content(self) -> Content:
        size = self._rng.choices((self._rng.randint(1, 60), self._rng.randint(60, 1500), 10_000), (12, 3, 0.2))[0]
        return ((self._next_tag(), size),)

    def _next_tag(self) -> int:
        self._tag += 1
        return self._tag

    def _fill(self, name: str, content: Content, flags: int) -> None:
        ((tag, count),) = content
        self._put(name, flags, records(tag, 0, count), 0)

    def _put(self, name: str, flags: int, data: bytes, offset: int) -> None:
        """Write `data` in a few pieces, and close."""
        file = os.open(self._tree / name, os.O_WRONLY | flags, _MODE)
        try:
            if offset:
                os.lseek(file, offset, os.SEEK_SET)
            pieces = self._rng.randint(1, 3)
            step = -(-len(data) // RECORD // pieces) * RECORD
            for at in range(0, len(data), step):
                left = data[at : at + step]
                while left:
                    left = left[os.write(file, left) :]
        finally:
            os.close(file)

    def _do(self, deed: _Deed, change: Callable[[], None]) -> None:
        start = time.monotonic_ns()
        failure = self._try(change)
        self._done(deed, start, failure)

    def _try(self, change: Callable[[], None]) -> OSError | None:
        try:
            change()
        except OSError as failure:
            return failure
        return None

    def _done(self, deed: _Deed, start: int, failure: OSError | None) -> None:
        """Write down `deed`, which was begun at `start`."""
        end, page = time.monotonic_ns(), deed.page
        hand, name, operation = self._hand, deed.name, deed.operation
        if isinstance(failure, (FileNotFoundError, FileExistsError)) and (page is None or not self._repeated):
            # Somebody was faster, or so it seemed: that is a look.
            there = Kind.DIRECTORY if name in DIRECTORIES else Kind.FILE
            kind = there if isinstance(failure, FileExistsError) else Kind.ABSENT
            hand.note(Look(hand.process, hand.root, name, f"refused {operation}", start, end, kind))
            if self._repeated:
                hand.note(Change(hand.process, hand.root, name, operation, start, end, deed.after, sure=False))
            return
        if failure is not None:
            hand.trouble(operation, name, start, failure)
            end = FOREVER
        before = None if page is None else page.state
        sure = failure is None
        what = (operation, start, end, deed.after, before, deed.gradual, sure, deed.to)
        hand.note(Change(hand.process, hand.root, name, *what))
        if page is not None:
            page.state = deed.after
            page.doubtful = page.doubtful or not sure
