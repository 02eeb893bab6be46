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
from tests.simulation.coherence.remote import NOBODY, PATHS
from tests.simulation.coherence.world import World

Kept = list[KeptDirectory]


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
        after = self.mount(before.name)
        after.inbox = before.inbox
        self.clients[self.clients.index(before)] = after
        self._walks.pop(before.name, None)
        records = self._kept.get(before.name, [])
        for record in records[: self.random.choice((1, 100, 100))]:
            self._restore(after, record)
        return f"{len(records)} records"

    def _step_verify(self) -> str:
        client = self.client()
        walk = self._walk(client)
        if not walk.walking:
            walk.begin(())
        return self._verify(client, walk)

    _step_verify_again = _step_verify_more = _step_verify

    def _step_verify_late(self) -> str:
        """Before the answer comes, something happens on the remote machine, and the client hears of it."""
        client = self.client()
        walk = self._walk(client)
        if not walk.walking:
            walk.begin(())

        def news() -> None:
            self.remote.write(self._change())
            while self.remote.unnoticed:
                self.remote.notice()
            self.carry()
            while client.inbox:
                client.follower.heard(client.inbox.pop(0), self.now)

        return self._verify(client, walk, news)

    _step_list_again = _step_list_more = World._step_list
    """What was restored whole shows in listings only."""

    def _walk(self, client: Client) -> BulkVerification:
        return self._walks.setdefault(client.name, BulkVerification(client.known, self._salts.randbytes, few=self._few))

    def _verify(self, client: Client, walk: BulkVerification, before_answer: Callable[[], None] = lambda: None) -> str:
        question = walk.next()
        if question is None:
            return "nothing"
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
