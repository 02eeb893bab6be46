"""A SOCKS5 proxy (RFC 1928) that takes whoever asks to one host: CONNECT by name or IPv4 address, no authentication."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading

_NAME, _IPV4 = 3, 1


class Proxy(contextlib.AbstractContextManager["Proxy"]):
    """On a port of its own. `asked_for` is what it was asked to connect to, `host` where it connects instead."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.asked_for: set[tuple[str, int]] = set()
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._server.server_address)

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    proxy: Proxy


class _Connection(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._carry(self._greet())

    def _carry(self, port: int) -> None:
        with socket.create_connection((self.server.proxy.host, port), timeout=10) as there:
            there.settimeout(None)
            self.wfile.write(struct.pack(">BBBB4sH", 5, 0, 0, _IPV4, bytes(4), 0))
            back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
            back.start()
            _copy(self.connection, there)
            back.join()

    def _greet(self) -> int:
        """The port that is asked for."""
        _, methods = self._read(">BB")
        self.rfile.read(methods)
        self.wfile.write(b"\5\0")
        _, command, _, kind = self._read(">BBBB")
        assert command == 1
        if kind == _NAME:
            (length,) = self._read(">B")
            host = self.rfile.read(length).decode()
        else:
            assert kind == _IPV4
            host = socket.inet_ntoa(self.rfile.read(4))
        (port,) = self._read(">H")
        self.server.proxy.asked_for.add((host, port))
        return port

    def _read(self, layout: str) -> tuple[int, ...]:
        data = self.rfile.read(struct.calcsize(layout))
        if len(data) < struct.calcsize(layout):
            raise EOFError
        return struct.unpack(layout, data)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
        with contextlib.suppress(OSError):
            end.shutdown(how)
