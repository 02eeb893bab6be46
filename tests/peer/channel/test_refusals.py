"""Every refusal is a sentence of its own; where a key is in doubt, it names both fingerprints."""

from __future__ import annotations

from peer.channel.refusals import explained
from schema.session_messages import Refusal, RefusalCode


def test_every_code_has_its_own_sentence():
    assert len({explained(Refusal(code, "SHA256:seen"), "SHA256:pinned") for code in RefusalCode}) == len(RefusalCode)


def test_a_key_that_is_not_the_pinned_one_is_shown_beside_it():
    said = explained(Refusal(RefusalCode.UNDECIPHERABLE, "SHA256:seen"), "SHA256:pinned")
    assert "SHA256:seen" in said
    assert "SHA256:pinned" in said


def test_what_an_agent_writes_there_is_shown_as_it_is():
    assert "{pinned}" in explained(Refusal(RefusalCode.UNDECIPHERABLE, "{pinned}"), "SHA256:pinned")
