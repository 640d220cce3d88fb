"""A TCP proxy on loopback that cuts a connection before the server receives a statement or after it executes it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """The listening side of the proxy.

    Attributes:
        port: port to connect to.
        mode: ``pass``, ``before`` (cut the connection instead of forwarding the client's next bytes) or ``after``
            (forward them, and cut the connection when the server responds).
        cut: set once a connection was cut.
    """

    port: int
    mode: str = "pass"
    cut: threading.Event = field(default_factory=threading.Event)

    def upward(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(65_536):
            if self.mode == "before":
                self._cut(client, server)
                return
            server.sendall(data)

    def downward(self, client: socket.socket, server: socket.socket) -> None:
        while data := server.recv(65_536):
            if self.mode == "after":
                self._cut(client, server)
                return
            client.sendall(data)

    def _cut(self, *sockets: socket.socket) -> None:
        self.mode = "pass"
        self.cut.set()
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(host: str, port: int) -> Iterator[Proxy]:
    """Run a proxy in front of the server at `host`:`port`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Proxy(listener.getsockname()[1])
        threading.Thread(target=_accept, args=(made, listener, (host, port)), daemon=True).start()
        yield made
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(made: Proxy, listener: socket.socket, address: tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(made, client, address), daemon=True).start()


def _serve(made: Proxy, client: socket.socket, address: tuple[str, int]) -> None:
    with client, socket.create_connection(address) as server:
        down = threading.Thread(target=_pump, args=(made.downward, client, server), daemon=True)
        down.start()
        _pump(made.upward, client, server)
        down.join()


def _pump(pump: Callable[[socket.socket, socket.socket], None], client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        pump(client, server)
    for each in (client, server):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
