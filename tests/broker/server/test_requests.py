"""The request plane on real sockets: who gets in, what gets through, and what a hostile peer gains (nothing)."""

from __future__ import annotations

import resource
import socket as plain_socket

import msgspec
import pytest
import zmq

from broker.config import BrokerTable
from broker.errors import KeyFileError, StartupError
from broker.server import Server
from schema.envelope import Header, Kind, decode_header
from schema.relay_messages import AuthRequest, AuthResponse, Error, PeerGone, Ping, Pong, RelayErrorCode
from tests.broker.server.net import Keys, Net, until


def test_two_peers_talk_through_it(net: Net) -> None:
    net.start()
    laptop, server = net.registered("laptop", 10), net.registered("server", 11)
    for size in (0, 1, 5000, 100_000, 2_000_000):
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        laptop.send(b"server", body)
        sender, header, received = server.receive()
        assert (sender, received) == (laptop.address, body)
        assert decode_header(header) == Header(Kind.SEALED, 1, 1)
        server.send(sender, received)
        assert laptop.receive()[2] == body


def test_a_key_that_nobody_authorised_gets_nothing(net: Net) -> None:
    server = net.start()
    stranger = net.open(zmq.DEALER, Keys(), 0)
    stranger.send_multipart([b"", b"x", b"y"])
    until(lambda: server.counters.authentications["refused"] > 0)
    assert not stranger.poll(200)
    assert not server.relay.table.lanes


def test_without_curve_nothing_is_heard(net: Net) -> None:
    server = net.start()
    bare = net.bare(zmq.DEALER)
    bare.connect(server.endpoints[0])
    bare.send_multipart([b"", b"x", b"y"])
    assert not bare.poll(300)
    assert sum(server.counters.refused.values()) == 0
    assert net.registered("laptop").token, "others are served as before"


def test_the_wrong_server_key_never_sends_a_message(net: Net) -> None:
    server = net.start()
    fooled = net.bare(zmq.DEALER)
    fooled.curve_serverkey = Keys().public85
    fooled.curve_publickey, fooled.curve_secretkey = net.keys["laptop"].public85, net.keys["laptop"].secret85
    fooled.connect(server.endpoints[0])
    fooled.send_multipart([b"", b"x", b"y"])
    assert not fooled.poll(300)
    assert sum(server.counters.refused.values()) == 0


def test_the_routing_id_of_another_wins_nothing(net: Net) -> None:
    net.start()
    server, phone = net.registered("server", 11), net.connect("phone", routing_id=b"laptop")
    error = phone.ask(AuthRequest(1))
    assert isinstance(error, Error)
    assert error.code is RelayErrorCode.MALFORMED
    phone.send(b"server")
    error = phone.hear()
    assert isinstance(error, Error)
    assert error.code is RelayErrorCode.UNREGISTERED
    assert server.silent()


def test_the_sender_is_the_authenticated_one(net: Net) -> None:
    net.start()
    nas, phone = net.registered("nas", 5), net.registered("phone", 6)
    phone.send(b"nas", b"I am laptop")
    assert nas.receive()[0] == phone.address


def test_unpaired_peers_do_not_reach_each_other(net: Net) -> None:
    net.start()
    nas, laptop = net.registered("nas"), net.registered("laptop")
    laptop.send(b"nas", counter=44)
    error = laptop.hear()
    assert isinstance(error, Error)
    assert (error.code, error.counter, error.address) == (RelayErrorCode.NOT_PAIRED, 44, b"nas")
    assert nas.silent()


def test_an_expired_token_is_refused_and_registering_mends_it(net: Net) -> None:
    net.start(token_seconds=1.0)  # of which the new one has half before it when it is used, on a busy machine too
    server, laptop = net.registered("server"), net.registered("laptop")
    until(lambda: isinstance(laptop.ask(Ping()), Error))
    laptop.send(b"server")
    error = laptop.hear()
    assert isinstance(error, Error)
    assert error.code is RelayErrorCode.BAD_TOKEN
    assert server.silent(0.05)
    laptop.register()
    laptop.send(b"server", b"again")
    assert server.receive()[2] == b"again"


def test_a_ping_is_answered_with_a_token(net: Net) -> None:
    net.start()
    laptop = net.registered("laptop")
    pong = laptop.ask(Ping(77))
    assert isinstance(pong, Pong)
    assert pong.echo == 77


def test_an_oversized_frame_ends_its_connection_and_nothing_else(net: Net) -> None:
    net.start(max_message_bytes=100_000)
    server, laptop, other = net.registered("server"), net.registered("laptop", 1), net.registered("laptop", 2)
    laptop.send(b"server", bytes(100_500))
    error = laptop.hear()
    assert isinstance(error, Error)
    assert error.code is RelayErrorCode.TOO_LARGE, "a little too large is said so"
    laptop.send(b"server", bytes(5_000_000))
    until(lambda: not any(i.number == 1 for i in net.server.relay.table.instances_of("laptop")))
    laptop.register(1)
    laptop.send(b"server", b"small")
    assert server.receive()[2] == b"small", "the next connection starts afresh"
    other.send(b"server", b"unharmed")
    assert server.receive()[2] == b"unharmed"


@pytest.mark.parametrize("frames", [[b"x"], [b"server", b"short", b"body"], [b""] * 500, [bytes(50_000)] * 9])
def test_malformed_messages_are_refused_and_the_connection_goes_on(net: Net, frames: list[bytes]) -> None:
    net.start()
    laptop = net.registered("laptop")
    laptop.socket.send_multipart(frames)
    error = laptop.hear()
    assert isinstance(error, Error)
    assert error.code is RelayErrorCode.MALFORMED
    assert isinstance(laptop.ask(Ping()), Pong)


def test_a_receiver_that_does_not_read_costs_its_sender_congestion_and_the_broker_no_memory(net: Net) -> None:
    net.start(socket_queue=4, spool_route_bytes=4 * 1024 * 1024, spool_total_bytes=8 * 1024 * 1024)
    # One that reads nothing: its own queue and socket buffer take a little, then everything stands still.
    sluggish = net.registered("server", rcvhwm=1, rcvbuf=65_536)
    brisk, laptop = net.registered("laptop", 2), net.registered("laptop", 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    body, congested, sent = bytes(1024 * 1024), 0, 0
    while not congested:
        assert sent < 200, "no back-pressure"
        laptop.send(b"server", body, sent)
        sent += 1
        while laptop.socket.poll(20):
            error = laptop.hear()
            assert isinstance(error, Error)
            assert error.code is RelayErrorCode.CONGESTED
            assert error.retry_after > 0
            congested += 1
    assert net.server.spool.bytes <= 4 * 1024 * 1024 + 4096
    for counter in range(sent, sent + 50):
        laptop.send(b"server", body, counter)
        assert isinstance(laptop.hear(), Error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 120 * 1024, f"{grown} KiB for {sent + 50} MiB sent"
    assert isinstance(brisk.ask(Ping()), Pong), "others are served meanwhile"
    # It wakes up: what was taken and not refused arrives, in order.
    first = sluggish.receive()
    counters = [decode_header(first[1]).counter]
    while sluggish.socket.poll(1000):
        counters.append(decode_header(sluggish.receive()[1]).counter)
    assert counters == sorted(counters)
    assert counters[0] == 0


def test_the_end_of_a_program_is_told_at_once(net: Net) -> None:
    net.start(heartbeat_seconds=600.0)
    server, laptop = net.registered("server", 11), net.registered("laptop")
    laptop.send(b"server")
    server.receive()
    server.socket.close()
    assert laptop.hear() == PeerGone(server.address)
    laptop.send(b"server")
    error = laptop.hear()
    assert isinstance(error, Error)
    assert error.code is RelayErrorCode.NO_ROUTE


def test_silence_is_the_end_as_well(net: Net) -> None:
    net.start(heartbeat_seconds=0.1)
    assert net.registered("server", 11).token  # so it was there, maybe not for as long as to be seen
    until(lambda: net.server.relay.table.live_peers == 0)


def test_a_broker_that_restarted_asks_its_peers_to_register_again(net: Net) -> None:
    net.start()
    server, laptop = net.registered("server", 11), net.registered("laptop", 10)
    net.restart_on_the_same_ports()
    for peer in (server, laptop):
        error = peer.ask(Ping())
        assert isinstance(error, Error)
        assert error.code is RelayErrorCode.UNREGISTERED
    server.register(11)
    laptop.register(10)
    laptop.send(b"server", b"again")
    assert server.receive()[2] == b"again"


def test_a_certificate_that_appears_is_admitted_and_one_that_goes_is_cut_off_live(net: Net) -> None:
    net.start()
    server, laptop = net.registered("server", 11), net.registered("laptop", 10)
    laptop.send(b"server", b"while it lasts")
    assert server.receive()[2] == b"while it lasts"
    net.revoke("laptop")
    assert server.hear() == PeerGone(laptop.address)
    told = laptop.hear()
    assert isinstance(told, Error)
    assert told.code is RelayErrorCode.NOT_PAIRED
    laptop.send(b"server", b"still there?")
    laptop.tell(AuthRequest(10))
    until(lambda: net.server.counters.refused["not-authorised"] == 2)
    assert server.silent(0.1)
    assert len(net.server.relay.table.lanes) == 1
    # The same key cannot come back; a new certificate of the same id can, without a restart.
    refused = net.server.counters.authentications["refused"]
    ghost = net.connect("laptop")
    ghost.tell(AuthRequest(12))
    until(lambda: net.server.counters.authentications["refused"] > refused)
    net.authorize("laptop")
    until(lambda: "laptop" in net.server.admission.peers.values())
    assert net.registered("laptop", 13).token
    old = laptop.ask(AuthRequest(14))
    assert isinstance(old, Error), "the connection of the old key stays refused"


def test_a_peer_that_came_before_its_certificate_gets_in_when_that_appears(net: Net) -> None:
    server = net.start(handshake_seconds=0.3)
    net.revoke("laptop")
    until(lambda: "laptop" not in server.admission.peers.values())
    early = net.connect("laptop")
    early.tell(AuthRequest(1))
    until(lambda: server.counters.authentications["refused"] > 0)
    net.certify("laptop")
    assert isinstance(early.hear(), AuthResponse)


def test_too_much_is_refused_with_the_time_to_wait(net: Net) -> None:
    net.start(messages_per_second=20, burst_seconds=1.0)
    net.registered("server")
    laptop = net.registered("laptop")
    for counter in range(40):
        laptop.send(b"server", counter=counter)
    error = laptop.hear()
    assert isinstance(error, Error)
    assert error.code is RelayErrorCode.RATE_LIMITED
    assert error.retry_after > 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_every_address_is_served_by_a_star(net: Net, host: str) -> None:
    net.settings = msgspec.structs.replace(net.settings, broker=BrokerTable("relay", "tcp://*:*"))
    port = net.start().endpoints[0].rpartition(":")[2]
    laptop = net.connect("laptop")
    laptop.socket.ipv6 = True
    laptop.socket.disconnect(net.server.endpoints[0])
    laptop.socket.connect(f"tcp://{host}:{port}")
    assert laptop.register().token


def test_a_fault_of_ours_does_not_end_the_service(
    net: Net, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = net.start()
    laptop = net.registered("laptop")
    with monkeypatch.context() as broken:
        broken.setattr(server.relay, "receive", lambda *_: 1 / 0)
        laptop.tell(Ping())
        until(lambda: "ZeroDivisionError" in caplog.text)
    assert isinstance(laptop.ask(Ping()), Pong)


def test_a_port_in_use_is_one_clear_sentence(net: Net) -> None:
    with plain_socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = msgspec.structs.replace(net.settings, broker=BrokerTable("relay", f"tcp://127.0.0.1:{port}"))
        with pytest.raises(StartupError, match=f"cannot listen on tcp://127.0.0.1:{port}: the port is in use"):
            Server(settings)


def test_a_key_file_that_others_can_read_is_not_used(net: Net) -> None:
    net.settings.security.key_file.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"mode 0640.*chmod 600"):
        Server(net.settings)
