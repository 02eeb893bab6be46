"""The same world with mounts that end, or are killed, and come back with what they knew: all at once or long ago.

The one rule: what comes from before is never shown unless the agent has said since that it holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from peer.errors import OperationFailed
from peer.mount.bulk_verification import BulkVerification
from peer.mount.kept_metadata.records import KeptDirectory
from peer.mount.kept_metadata.snapshot import Part
from tests.simulation.coherence.client import Client
from tests.simulation.coherence.machine import NOBODY, PATHS, Path
from tests.simulation.coherence.own_changes import named
from tests.simulation.coherence.world import World

Kept = list[KeptDirectory]
NOTHING: Final = "nothing"
"""Said by a step that had nothing to ask."""


class RestartingWorld(World):
    """`restore(client, record)` puts back what was kept."""

    def __init__(self, seed: int, restore: Callable[[Client, KeptDirectory], None] | None = None) -> None:
        super().__init__(seed)
        self._restore: Final = restore or (lambda client, record: client.known.restore(record))
        self._kept: Final[dict[str, Kept]] = {}
        self._walks: Final[dict[str, BulkVerification]] = {}
        self._salts: Final = random.Random(seed)
        self._few: Final = seed % 3
        self.confirmed = 0
        """Names that were known again without their attributes being sent."""

    def rest(self) -> None:
        super().rest()
        for client in self.clients:
            walk = self._walk(client)
            walk.begin(())
            while walk.walking:
                self._verify(client, walk)

    # What may happen besides.

    def _step_save(self) -> None:
        client = self.client()
        self._kept[client.name] = _all_known(client)

    def _step_restart(self) -> str:
        if self.depth or self.random.random() < 0.5:
            return "not now"
        before = self.client()
        if self.random.random() < 0.5:
            self._kept[before.name] = _all_known(before)
        for _ in range(self.random.randrange(3)):
            self.remote.write(self._change())
        after = self.mount(before.name)
        after.inbox = before.inbox
        self.clients[self.clients.index(before)] = after
        self._walks.pop(before.name, None)
        records = self._kept.get(before.name, [])
        for record in records[: self.random.choice((1, 100, 100))]:
            self._restore(after, record)
        self._come_back(after, [(*record.path, kept.name) for record in records for kept in record.names])
        return f"{len(records)} records"

    def _come_back(self, client: Client, kept: list[Path]) -> None:
        """It is asked at once for what was `kept`, which may have changed meanwhile; then it is told what holds."""
        for path in self.random.sample(kept, min(len(kept), 2)):
            client.look(path)
        client.follower.step()
        self._verify_late(client)

    def _step_verify(self) -> str:
        client = self.client()
        walk = self._walk(client)
        if not walk.walking:
            walk.begin(())
        return self._verify(client, walk)

    _step_verify_again = _step_verify_more = _step_verify

    def _step_verify_late(self) -> str:
        return self._verify_late(self.client())

    def _verify_late(self, client: Client) -> str:
        """Before the answer comes, something happens that the client knows of; once it is there, that is looked at."""
        walk, change = self._walk(client), self._change()
        about = [path for path in named(change) if path]
        if not walk.walking:
            walk.begin(())

        def heard() -> None:
            """On the remote machine."""
            self.remote.write(change)
            self.tell(client)

        def done() -> None:
            """By the client itself."""
            client.change(change, about[0])

        said = self._verify(client, walk, self.random.choice((heard, done)))
        for path in about if said != NOTHING else ():
            client.look(path)
            client.list(path[:-1])
        return said

    _step_list_again = _step_list_more = World._step_list
    """What was restored whole shows in listings only."""

    def _walk(self, client: Client) -> BulkVerification:
        return self._walks.setdefault(client.name, BulkVerification(client.known, self._salts.randbytes, few=self._few))

    def _verify(self, client: Client, walk: BulkVerification, before_answer: Callable[[], None] = lambda: None) -> str:
        question = walk.next()
        if question is None:
            return NOTHING
        try:
            answer = client.files.inner.verify_metadata(question.request, NOBODY)
        except OperationFailed as failure:
            return failure.code
        before_answer()
        walk.answered(question, answer)
        self.confirmed += sum(each.count for each in question.request.directories) - len(answer.changed)
        return f"{len(question.request.names)} names, {len(answer.changed)} changed"


def _all_known(client: Client) -> Kept:
    parts: list[Part] = [client.known.part(path, range(100)) for path in PATHS]
    return [part.record for part in parts if part.record.names or part.record.whole]
