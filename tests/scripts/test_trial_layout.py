from __future__ import annotations

import stat
from pathlib import Path

import pytest

from broker import config as broker_config
from peer.certificates import read_own_keys, read_relay_key
from peer.config import read_agent, read_client
from peer.pinned_peers import PinnedPeers
from scripts.trial.errors import TrialError
from scripts.trial.layout import Layout, Plan, make_directories, write_all, write_sample, written_plan


@pytest.fixture(
    params=["plain", "with blank", 'quote"d', "back\\slash", "100%d", "\u00fcn\u00efc\u00f6de \U0001f600", "del\x7f"]
)
def home(request, tmp_path):
    """A home whose name must be written with care."""
    return tmp_path / request.param


@pytest.fixture
def written(home):
    """A layout with everything written, and its plan."""
    layout = Layout(home)
    make_directories(layout)
    write_sample(layout, layout.mount)
    plan = Plan(layout.export, layout.mount, 12_000)
    write_all(layout, plan)
    return layout, plan


def test_what_is_written_is_what_the_programs_read(written):
    layout, plan = written
    broker_file, agent_file, client_file = layout.settings_files
    broker, agent, client = broker_config.load(broker_file), read_agent(agent_file), read_client(client_file)
    assert broker.endpoints == (
        "tcp://127.0.0.1:12000",
        client.relay.feed_in.replace("localhost", "127.0.0.1"),
        client.relay.feed_out,
    )
    assert agent.relay == client.relay
    assert agent.access.allowed_paths == (plan.export,)
    assert [local for _, local in client.mounts] == [plan.mount]
    assert written_plan(layout) == plan


def test_the_three_know_each_other_and_nobody_else(written):
    layout, _ = written
    broker_file, agent_file, client_file = layout.settings_files
    broker, agent, client = broker_config.load(broker_file), read_agent(agent_file), read_client(client_file)
    server = read_own_keys(agent.security.key_file, agent.security.cert_file, agent.id)
    laptop = read_own_keys(client.security.key_file, client.security.cert_file, client.id)
    assert read_relay_key(agent.security.relay_cert) == read_relay_key(client.security.relay_cert)
    assert PinnedPeers(agent.security.trusted).identity_key_of("laptop") == laptop.certificate.identity_key
    assert PinnedPeers(client.security.trusted).identity_key_of("server") == server.certificate.identity_key
    assert len(PinnedPeers(agent.security.trusted)) == len(PinnedPeers(client.security.trusted)) == 1
    assert sorted(path.name for path in broker.security.authorized.iterdir()) == ["laptop.cert", "server.cert"]
    assert broker.peer_pairs == {("laptop", "server")}


def test_writing_again_keeps_the_keys_and_takes_the_new_plan(written):
    layout, _ = written
    keys = {path.name: path.read_bytes() for path in layout.keys.iterdir()}
    other = Plan(Path("/srv/other"), Path("/mnt/other"), 13_000)
    write_all(layout, other)
    assert {path.name: path.read_bytes() for path in layout.keys.iterdir()} == keys
    assert written_plan(layout) == other


def test_others_cannot_enter_the_home(written):
    layout, _ = written
    for directory in (layout.home, layout.keys, layout.run):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_sample_that_was_changed_is_kept(tmp_path):
    layout = Layout(tmp_path)
    write_sample(layout, layout.mount)
    (layout.export / "README.txt").write_text("mine")
    write_sample(layout, layout.mount)
    assert (layout.export / "README.txt").read_text() == "mine"


def test_a_name_that_no_settings_file_can_hold_is_one_sentence(tmp_path):
    layout = Layout(tmp_path)
    make_directories(layout)
    with pytest.raises(TrialError, match="is not UTF-8"):
        write_all(layout, Plan(tmp_path / "\udcff", layout.mount, 12_000))
