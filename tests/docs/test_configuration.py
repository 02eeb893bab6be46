"""The configuration reference and the structs say the same, key by key."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from broker import config as broker
from peer import config as peer

REFERENCE = Path(__file__).parents[2] / "docs" / "configuration.md"
TABLES = {
    "`[client]`": peer.ClientTable,
    "`mount_points`": peer.MountPoint,
    "`[security]`": peer.SecurityTable,
    "`[cache]`": peer.CacheTable,
    "`[mount]`": peer.MountTable,
    "`[network]`": peer.NetworkTable,
    "`[timeouts]`": peer.TimeoutsTable,
    "`[log]`": peer.LogTable,
    "`[agent]`": peer.AgentTable,
    "`[access]`": peer.AccessTable,
    "`[[clients]]`": peer.ClientRule,
    "`[limits]`": peer.LimitsTable,
    "`[audit]`": peer.AuditTable,
    "`[feed]`": peer.FeedTable,
    "`[metrics]` of the agent": peer.MetricsTable,
    "`[broker]`": broker.BrokerTable,
    "`[security]` of the broker": broker.SecurityTable,
    "`[[pairs]]`": broker.Pair,
    "`[limits]` of the broker": broker.Limits,
    "`[metrics]`": broker.MetricsTable,
    "`[log]` of the broker": broker.LogTable,
}


def documented():
    """Rows by heading: {heading: {key: default}}."""
    found = {}
    rows = {}
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            rows = found.setdefault(line.removeprefix("### "), {})
        elif line.startswith("## "):
            rows = {}
        elif row := re.match(r"\| `(\w+)` \| (.*?) ?\| ", line):
            rows[row[1]] = row[2]
    return found


def test_every_table_is_documented_and_no_other():
    assert documented().keys() == TABLES.keys()


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_documented_and_no_other(heading):
    assert list(documented()[heading]) == [field.encode_name for field in msgspec.structs.fields(TABLES[heading])]


@pytest.mark.parametrize("heading", TABLES)
def test_documented_defaults_are_the_true_ones(heading):
    for field in msgspec.structs.fields(TABLES[heading]):
        said = documented()[heading][field.encode_name]
        if field.required:
            assert said == "", field.encode_name
        elif said.startswith("`"):
            value = msgspec.toml.decode(f"value = {said.strip('`')}")["value"]
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert value == default, field.encode_name
        else:
            assert field.default in (None, ""), field.encode_name
