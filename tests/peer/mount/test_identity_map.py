from __future__ import annotations

from peer.mount.identity_map import MappedIdentity, PreservedIdentity

MAPPED = MappedIdentity(agent_uid=1000, agent_gid=100, local_uid=501, local_gid=20)


def test_the_agents_user_appears_as_the_mounting_one_and_back():
    assert MAPPED.shown(1000, 100) == (501, 20)
    assert (MAPPED.remote_uid(501), MAPPED.remote_gid(20)) == (1000, 100)


def test_other_ids_pass_as_they_are():
    assert MAPPED.shown(0, 7) == (0, 7)
    assert (MAPPED.remote_uid(0), MAPPED.remote_gid(7)) == (0, 7)


def test_user_and_group_are_mapped_apart():
    assert MAPPED.shown(1000, 5) == (501, 5)
    assert MAPPED.shown(5, 100) == (5, 20)


def test_preserved_ids_are_not_touched():
    preserved = PreservedIdentity()
    assert preserved.shown(1000, 100) == (1000, 100)
    assert (preserved.remote_uid(501), preserved.remote_gid(20)) == (501, 20)


def test_only_an_agent_that_acts_as_the_caller_needs_its_groups():
    assert PreservedIdentity().groups_matter
    assert not MAPPED.groups_matter
