"""The cache of directories in seeded worlds: system calls that take time, events that are held back, pages in between.

Every entry of an answer must have been so at some moment of the request; and it must be no older than what the feed had
looked at when the request began.
"""

from __future__ import annotations

import itertools
import os
import random

import pytest

from peer.agent import directory_snapshots
from peer.agent.directory_snapshots import DirectorySnapshots
from peer.agent.metadata_cache import MetadataCache

NAMES = (b"x", b"y", b"z")
MADE = ((b"d",), (b"e",), (b"d", b"s"), (b"e", b"s"))
PLACES = (*MADE, (b"f",), (b"f", b"s"))
STEPS = 400
DEEPEST = 4


class Model:
    """Files in `top`. Each call does something, and something else may happen wherever `between` is called."""

    def __init__(self, top, seed):
        self.top, self.random = os.fsencode(top), random.Random(seed)
        self.cache = MetadataCache(believed=1e9)
        self.pages = DirectorySnapshots(self.cache)
        self.pages.prove_by(self.proves)
        self.history = {}
        """What has been there, in order: (directory's inode number, name) -> states."""
        self.complete, self.published = {}, {}
        """Up to where the history of a name is complete, and was looked at by the feed."""
        self.queue, self.busy, self.depth, self.hits, self.brief = [], False, 0, 0, itertools.count()
        for place in MADE:
            os.mkdir(self.path(place))
        self.tree = {place: self.identity(place) for place in PLACES}
        self.see()

    # --- how things are

    def path(self, place):
        return b"/".join((self.top, *place))

    def identity(self, place):
        try:
            status = os.stat(self.path(place))
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def state(self, place):
        try:
            status = GENUINE(self.path(place), follow_symlinks=False)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mode, status.st_nlink, status.st_size, status.st_ctime_ns

    def see(self):
        """Note what is there now; the names that are other than they were, and how."""
        changed = {}
        for place in PLACES:
            directory = self.identity(place)
            if directory is None:
                continue
            for name in (*NAMES, b"s"):
                states = self.history.setdefault((directory[1], name), [None])
                state = self.state((*place, name))
                if state != states[-1]:
                    states.append(state)
                    changed[directory[1], name] = len(states) - 1
        return changed

    def proves(self, path, identity):
        return not self.queue and not self.busy and self.tree.get(path) == identity

    # --- what happens

    def between(self):
        if self.depth < DEEPEST and self.random.random() < 0.4:
            self.act()

    def act(self):
        self.depth += 1
        self.random.choice((self.change, self.change, self.tell, self.tell, self.tell, self.page, self.page))()
        self.depth -= 1

    def place(self):
        return (*self.random.choice(PLACES), self.random.choice(NAMES))

    def change(self):
        """A system call: first it is to be seen, then inotify tells, then it returns."""
        path, other = self.place(), self.place()
        kind = self.random.choice(("make", "remove", "chmod", "chmod", "rename", "link", "brief", "move"))
        told = [("changed", (path, path[:-1]))]
        try:
            if kind == "make":
                os.close(os.open(self.path(path), os.O_CREAT | os.O_EXCL))
            elif kind == "remove":
                os.unlink(self.path(path))
            elif kind == "chmod":
                os.chmod(self.path(path), self.random.randrange(0o1000))
                told = [("changed", (path,))]
            elif kind == "rename":
                os.rename(self.path(path), self.path(other))
                told = [("swept", (path, other)), ("changed", (path[:-1], other[:-1]))]
            elif kind == "link":
                os.link(self.path(path), self.path(other))
                told = [("changed", (other, other[:-1])), ("linked", ())]
            elif kind == "brief":
                brief = self.top + b"/brief%d" % next(self.brief)
                os.link(self.path(path), brief)
                os.unlink(brief)
                told = [("linked", ())]
            else:
                path, other = self.random.choice([((b"d",), (b"f",)), ((b"f",), (b"d",)), ((b"d", b"s"), (b"e", b"s"))])
                os.rename(self.path(path), self.path(other))
                told = [("swept", (path, other)), ("changed", (path[:-1], other[:-1]))]
        except OSError:
            return
        changed = self.see()
        self.between()
        self.queue += told
        for key, index in changed.items():
            self.complete[key] = max(index, self.complete.get(key, 0))
        if self.random.random() < 0.3:  # a client asked for it
            self.between()
            for each in told:
                self.pass_on(*each)

    def tell(self):
        """The watcher reads what is in the queue and passes it on."""
        if self.busy:
            return
        self.busy = True
        read, self.queue = self.queue, []
        for kind, paths in read:
            self.between()
            if kind == "swept":
                for path in PLACES:
                    self.tree[path] = self.identity(path)
            self.pass_on(kind, paths)
        self.between()
        self.busy = False

    def pass_on(self, kind, paths):
        getattr(self.cache, kind)(*([paths] if kind == "changed" else paths))
        self.between()
        for path in paths:  # the feed looks
            directory = self.identity(path[:-1]) if path[:-1] in PLACES else None
            if directory is not None:
                key = directory[1], path[-1]
                self.published[key] = len(self.history.get(key, [None])) - 1
        self.between()
        self.cache.told()

    def page(self):
        place = self.random.choice(PLACES)
        try:
            descriptor = os.open(self.path(place), os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return
        inode = os.fstat(descriptor).st_ino
        keys = [(inode, name) for name in (*NAMES, b"s")]
        oldest = {key: max(self.complete.get(key, 0), self.published.get(key, 0)) for key in keys}
        hits = self.cache.counts().hits
        try:
            page = self.pages.page(descriptor, place, after=b"", limit=10, metadata=True)
        finally:
            os.close(descriptor)
        self.hits += self.cache.counts().hits - hits
        found = {entry.name: entry.metadata for entry in page.entries}
        for key in keys:
            metadata = found.get(key[1])
            said = metadata and (metadata.inode, metadata.mode, metadata.links, metadata.size, metadata.ctime_ns)
            allowed = self.history.get(key, [None])[oldest[key] :]
            assert said in allowed, (place, key, said, allowed)


GENUINE = os.stat


@pytest.mark.parametrize("seed", range(40))
def test_every_answer_was_so_while_it_was_asked_for(tmp_path, monkeypatch, seed):
    model = Model(tmp_path, seed)

    def look(name, **more):
        if "dir_fd" in more and name != b".":
            model.between()
        status = GENUINE(name, **more)
        if "dir_fd" in more:
            model.between()
        return status

    scan = directory_snapshots._scan

    def look_through(*arguments):
        model.between()
        found = scan(*arguments)
        model.between()
        return found

    monkeypatch.setattr(os, "stat", look)
    monkeypatch.setattr(directory_snapshots, "_scan", look_through)
    for _ in range(STEPS):
        model.act()
        if model.random.random() < 0.5:  # else hardly ever is all told, and nothing is answered from what is known
            model.tell()
            model.page()
    assert model.hits > 30
