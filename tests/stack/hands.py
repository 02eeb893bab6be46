"""A process that has files open on a mount and does with them what it is told.

Whoever starts a program closes his own files in the new process, and a file on a mount is flushed by that: a test that
held it itself could not start the agent that must answer.
"""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.stack.processes import PATIENCE

_LOOP = """
import errno, fcntl, posix, sys
for line in sys.stdin:
    try:
        answer = repr(eval(line))
    except OSError as error:
        answer = errno.errorcode[error.errno]
    print(answer, flush=True)
"""


class Hands:
    """Call it with a function of `os` or `fcntl` and its arguments; it answers or raises as the function would."""

    def __init__(self, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def __call__(self, function: Callable[..., object], *arguments: object):
        self.ask(function, *arguments)
        return self.answer()

    def ask(self, function: Callable[..., object], *arguments: object) -> None:
        """Tell it without waiting for the answer."""
        plain = tuple(os.fspath(each) if isinstance(each, Path) else each for each in arguments)
        assert self.process.stdin is not None
        self.process.stdin.write(f"{function.__module__}.{function.__name__}(*{plain!r})\n")

    def answer(self):
        """What the function gave. Raises `OSError` where it did."""
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        if said in errno.errorcode.values():
            number = getattr(errno, said)
            raise OSError(number, os.strerror(number))
        return ast.literal_eval(said)

    def close(self) -> None:
        """Kill it. Fails if it does not die, which is what becomes of a process in a call that nobody can end."""
        with self.process:
            self.process.kill()
            self.process.wait(PATIENCE)
