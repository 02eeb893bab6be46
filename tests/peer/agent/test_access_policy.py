from __future__ import annotations

import pytest

from peer.agent.access_policy import AccessPolicy, AccessRules, ClientRule
from peer.errors import OperationFailed
from schema.paths import parse

POLICY = AccessPolicy(
    AccessRules(
        allowed_paths=(parse(b"/srv"), parse(b"/srv/deep/er"), parse(b"/home/me")),
        read_only_paths=(parse(b"/srv/fixed"), parse(b"/home/me/a/b")),
        clients=(
            ClientRule("narrow", allowed_paths=(parse(b"/srv/some"), parse(b"/elsewhere"))),
            ClientRule("wide", allowed_paths=((),)),
            ClientRule("reader", read_only=True),
            ClientRule("shut", allowed_paths=()),
            ClientRule("trusted", preserve_identity=True),
        ),
    )
)


@pytest.mark.parametrize(
    ("client", "path", "export", "below"),
    [
        ("any", b"/srv", b"/srv", b""),
        ("any", b"/srv/x/y", b"/srv", b"x/y"),
        ("any", b"/srv/deep", b"/srv", b"deep"),
        ("any", b"/srv/deep/er", b"/srv/deep/er", b""),
        ("any", b"/srv/deep/er/x", b"/srv/deep/er", b"x"),
        ("any", b"/srv/deep/erx", b"/srv", b"deep/erx"),
        ("any", b"/home/me/x", b"/home/me", b"x"),
        ("narrow", b"/srv/some", b"/srv", b"some"),
        ("narrow", b"/srv/some/x", b"/srv", b"some/x"),
        ("wide", b"/home/me/x", b"/home/me", b"x"),
    ],
)
def test_a_path_leads_into_the_closest_export(client, path, export, below):
    grant = POLICY.grant(client, parse(path))
    assert (grant.export, grant.below) == (parse(export), parse(below))


@pytest.mark.parametrize(
    ("client", "path"),
    [
        ("any", b"/"),
        ("any", b"/etc/passwd"),
        ("any", b"/srvx"),
        ("any", b"/sr"),
        ("any", b"/home"),
        ("any", b"/home/you"),
        ("narrow", b"/srv"),
        ("narrow", b"/srv/somewhat"),
        ("narrow", b"/home/me/x"),
        ("narrow", b"/elsewhere/x"),
        ("wide", b"/etc"),
        ("shut", b"/srv/x"),
    ],
)
def test_all_else_is_refused_by_name(client, path):
    with pytest.raises(OperationFailed, match=f"EACCES: {path.decode()} ") as caught:
        POLICY.grant(client, parse(path))
    assert caught.value.code == "EACCES"


@pytest.mark.parametrize(
    ("client", "path", "read_only", "holds_read_only"),
    [
        ("any", b"/srv", False, True),
        ("any", b"/srv/x", False, False),
        ("any", b"/srv/fixed", True, True),
        ("any", b"/srv/fixed/x", True, False),
        ("any", b"/srv/fixedx", False, False),
        ("any", b"/home/me/a", False, True),
        ("any", b"/home/me/a/b/c", True, False),
        ("reader", b"/srv/x", True, False),
        ("narrow", b"/srv/some/x", False, False),
    ],
)
def test_read_only_holds_at_and_below(client, path, read_only, holds_read_only):
    grant = POLICY.grant(client, parse(path))
    assert (grant.read_only, grant.holds_read_only) == (read_only, holds_read_only)


def test_identities_are_preserved_for_whom_it_is_said():
    assert POLICY.preserves_identity("trusted")
    assert not POLICY.preserves_identity("any")
    everybody = AccessPolicy(AccessRules(((b"srv",),), preserve_identity=True, clients=(ClientRule("x"),)))
    assert everybody.preserves_identity("any")
    assert everybody.preserves_identity("x")
    but_one = AccessRules(((b"srv",),), preserve_identity=True, clients=(ClientRule("x", preserve_identity=False),))
    assert not AccessPolicy(but_one).preserves_identity("x")


def test_an_export_of_everything_covers_everything():
    policy = AccessPolicy(AccessRules(((),)))
    assert policy.grant("any", (b"a", b"b")).below == (b"a", b"b")


def test_an_unprintable_name_is_one_line_of_bounded_length():
    with pytest.raises(OperationFailed) as caught:
        POLICY.grant("any", (b"\n\xff" + b"x" * 250,) * 100)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 500
