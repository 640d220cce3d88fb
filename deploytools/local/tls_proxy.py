"""A TLS proxy for a PostgreSQL server that was built without TLS. To clients it looks like a server with TLS.

It handles the messages before a session (SSLRequest, GSSENCRequest, CancelRequest), refuses plaintext sessions as
``hostssl`` does, and relays everything else. Direct TLS (``sslnegotiation=direct``) is not supported.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from types import TracebackType

from deploytools.local.ports import LOOPBACK

CANCEL_REQUEST, SSL_REQUEST, GSSENC_REQUEST = 80877102, 80877103, 80877104
MAX_STARTUP_LENGTH = 10_000  # bytes, as in the server
CHUNK = 1 << 16


class TlsProxy:
    """A context manager: relays the TLS clients of `listener` to the server at `server_port`, in its own thread."""

    def __init__(self, listener: socket.socket, server_port: int, context: ssl.SSLContext) -> None:
        self._listener = listener
        self._server_port = server_port
        self._context = context
        self._started, self._stopped = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="TLS proxy", daemon=True)

    def __enter__(self) -> TlsProxy:
        self._thread.start()
        self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # It cancels the open connections at the end.
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._handle, sock=self._listener, backlog=256)
        self._started.set()
        await self._stopped.wait()
        server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._negotiate(reader, writer)
        except (OSError, EOFError, struct.error):  # A side has disconnected, or the client sent something else.
            writer.transport.abort()
        finally:
            await _close(writer)

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            header = await reader.readexactly(8)
            length, code = struct.unpack("!II", header)
            if not 8 <= length <= MAX_STARTUP_LENGTH:
                return
            if code == GSSENC_REQUEST:
                writer.write(b"N")
            elif code == SSL_REQUEST:
                await self._serve_tls(reader, writer)
                return
            else:
                body = await reader.readexactly(length - 8)
                if code == CANCEL_REQUEST:
                    await self._pass_cancel(header + body)
                else:
                    writer.write(_refusal(body, writer))
                return

    async def _serve_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._server_port)
        try:
            writer.write(b"S")
            await writer.start_tls(self._context)
            await _relay(reader, writer, server_reader, server_writer)
        finally:
            await _close(server_writer)

    async def _pass_cancel(self, request: bytes) -> None:
        server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._server_port)
        try:
            server_writer.write(request)
            await server_reader.read()  # The server closes after it has sent the signal; libpq waits for that.
        finally:
            await _close(server_writer)


async def _relay(
    client_reader: asyncio.StreamReader,
    client_writer: asyncio.StreamWriter,
    server_reader: asyncio.StreamReader,
    server_writer: asyncio.StreamWriter,
) -> None:
    """Relay both directions until the server closes, which it does after the client has."""
    upward = asyncio.create_task(_pump(client_reader, server_writer))
    try:
        await _pump(server_reader, client_writer)
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):  # A killed client: report its end to the server.
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    if writer.can_write_eof():  # TLS has no half-close.
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _refusal(startup: bytes, writer: asyncio.StreamWriter) -> bytes:
    """Return the ErrorResponse of a server whose pg_hba.conf has only ``hostssl`` lines."""
    words = startup.split(b"\0")
    parameters = dict(zip(words[::2], words[1::2], strict=False))
    user = parameters.get(b"user", b"").decode(errors="replace")
    database = parameters.get(b"database", b"").decode(errors="replace") or user
    host = writer.get_extra_info("peername")[0]
    message = f'no pg_hba.conf entry for host "{host}", user "{user}", database "{database}", no encryption'
    fields = {"S": "FATAL", "V": "FATAL", "C": "28000", "M": message}
    body = b"".join(f"{code}{value}\0".encode() for code, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body
