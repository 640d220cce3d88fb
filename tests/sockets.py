"""Ports of broken servers: one that does not respond, one that opens late."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine, Iterator
from typing import Any


def free_port() -> int:
    """Return a port that no process uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def late_port(seconds: float, *, to: int) -> Iterator[int]:
    """A port that refuses connections for some seconds and then forwards them to the port `to`."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))  # Bound but not listening: connections are refused.
    port = server.getsockname()[1]
    loop, stopped = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: _run(loop, _serve(server, seconds, to, stopped)))
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
    loop.run_until_complete(main)
    loop.close()


async def _serve(server: socket.socket, seconds: float, to: int, stopped: asyncio.Event) -> None:
    forwards: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        forwards.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    await asyncio.sleep(seconds)
    async with await asyncio.start_server(forward, sock=server):
        await stopped.wait()
    await asyncio.gather(*forwards)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()
