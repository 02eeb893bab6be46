"""Who may import what, each rule with its reason. The floors themselves are import-linter contracts in setup.cfg."""

from __future__ import annotations

import configparser
import fnmatch
import sys

import pytest

from tests.architecture.source import CHECKOUT, modules

# (reason, rooms that the rule is for, what they must not import, rooms among them that may)
NEVER = [
    (
        "a session is a function of bytes, times and random numbers that are handed in: so it can be simulated",
        ["peer.session"],
        ["zmq", "threading", "time", "os", "socket", "select", "pathlib", "io", "secrets", "random", "logging"],
        [],
    ),
    (
        "what decides about requests is a function of frames and times: so it can be simulated",
        [
            "peer.channel.requester_core",
            "peer.channel.pending_requests",
            "peer.channel.reply_cache",
            "peer.channel.packing",
        ],
        ["zmq", "threading", "time", "os", "socket", "select", "pathlib", "secrets", "random"],
        [],
    ),
    (
        "the routing core is a function of frames, time and state: so it can be simulated",
        [
            "broker.relay",
            "broker.tokens",
            "broker.quota",
            "broker.routing_table",
            "broker.spool",
            "broker.feed_admission",
            "broker.delivery",
            "broker.outgoing",
        ],
        ["zmq", "threading", "time", "os", "socket", "select", "pathlib", "secrets", "random"],
        [],
    ),
    (
        "sockets are in three places, so that nothing else waits for the network",
        ["broker", "peer", "schema", "scripts"],
        ["zmq"],
        ["broker.server", "broker.zap", "peer.link"],
    ),
    (
        "one module knows which FUSE binding there is",
        ["broker", "peer", "schema", "scripts"],
        ["mfusepy", "fuse", "fusepy"],
        ["peer.mount.fuse_binding"],
    ),
    (
        "ciphers are the session's business; keys are made and named where certificates are",
        ["broker", "peer", "schema", "scripts"],
        ["nacl", "cryptography", "hmac"],
        ["peer.session", "peer.certificates", "peer.pinned_peers", "broker.key_file"],
    ),
    (
        "programs and trials stand on top: nothing leans on them",
        ["broker", "peer", "schema"],
        ["scripts"],
        [],
    ),
    (
        "tests know the code, never the other way round; test-only dependencies stay out of it",
        ["broker", "peer", "schema", "scripts"],
        ["tests", "pytest", "hypothesis", "dissononce", "noise"],
        [],
    ),
    (
        "what is imported by name escapes these rules, but for the binding, which is one of two, the programs of the "
        "console command, and a version that is only asked for",
        ["broker", "peer", "schema", "scripts"],
        ["importlib"],
        ["peer.mount.fuse_binding", "scripts.remotefs", "broker.server.loop"],
    ),
    (
        "a pickle from a peer would run its code; a shell would read names of files as commands",
        ["broker", "peer", "schema", "scripts"],
        ["pickle", "marshal", "shelve", "os.system", "os.popen"],
        [],
    ),
]


@pytest.mark.parametrize(("reason", "rooms", "forbidden", "allowed"), NEVER, ids=[rule[0] for rule in NEVER])
def test_nothing_is_imported_where_it_must_not_be(reason, rooms, forbidden, allowed):
    wrong = {
        module.name: found
        for module in modules()
        if module.within(*rooms) and not module.within(*allowed) and (found := module.imports_any(*forbidden))
    }
    assert not wrong, reason


@pytest.mark.parametrize(("reason", "rooms", "forbidden", "allowed"), NEVER, ids=[rule[0] for rule in NEVER])
def test_every_rule_is_about_rooms_that_exist(reason, rooms, forbidden, allowed):
    names = {module.name for module in modules()}
    for room in [*rooms, *allowed]:
        assert room in names, f"{room} is gone: change the rule ({reason})"


def test_the_language_needs_the_standard_library_and_msgspec_only():
    foreign = {
        module.name: sorted(
            name
            for name in module.imports
            if name.partition(".")[0] not in {*sys.stdlib_module_names, "msgspec", "schema"}
        )
        for module in modules()
        if module.within("schema")
    }
    assert {name: found for name, found in foreign.items() if found} == {}


def test_the_relay_cannot_read_what_it_must_not_know():
    spoken = ["envelope", "identity", "key_file", "limits", "log_lines", "pace", "relay_messages", "settings"]
    wrong = {
        module.name: found
        for module in modules()
        if module.within("broker")
        and (
            found := set(module.imports_any("peer", "schema"))
            - set(module.imports_any(*(f"schema.{x}" for x in spoken)))
        )
    }
    assert wrong == {}


# Where the name on the registry is not the name that is imported. Supervisor is run, never imported.
IMPORTED_AS = {"PyNaCl": {"nacl"}, "pyzmq": {"zmq"}, "mfusepy": {"mfusepy", "fuse"}, "supervisor": set()}


def test_setup_cfg_names_what_is_imported_and_nothing_else():
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    required = [line.split()[0] for line in setup["options"]["install_requires"].splitlines() if line]
    declared = set().union(*(IMPORTED_AS.get(name, {name}) for name in required))
    known = {*sys.stdlib_module_names, "broker", "peer", "schema", "scripts"}
    imported = {name.partition(".")[0] for module in modules() for name in module.imports} - known
    assert imported <= declared
    # What is loaded by name (the FUSE binding) or not yet (the watcher) would show here.
    assert declared - imported <= {"mfusepy", "fuse", "watchdog"}


def test_every_package_is_installed():
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    patterns = setup["options.packages.find"]["include"].split()
    for module in modules():
        package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
        assert any(fnmatch.fnmatchcase(package, pattern) for pattern in patterns), package
