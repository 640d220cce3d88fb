"""TLS for a PostgreSQL server that was built without it: clients see what a server with TLS would show them.

It speaks the few messages that come before the session (SSLRequest, GSSENCRequest, CancelRequest), refuses plaintext
sessions as `hostssl` does, and passes all else on as bytes. Left out: TLS without asking first (sslnegotiation=direct).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct

from localcloud.ports import LOOPBACK

CANCEL_REQUEST, SSL_REQUEST, GSSENC_REQUEST = 80877102, 80877103, 80877104
LONGEST_STARTUP = 10_000  # bytes, as in the server
CHUNK = 1 << 16


class TlsFront:
    """Listens on `listener`, and connects each TLS client to the server at `server_port`."""

    def __init__(self, listener: socket.socket, server_port: int, context: ssl.SSLContext) -> None:
        self._listener = listener
        self._server_port = server_port
        self._context = context

    async def start(self) -> asyncio.Server:
        """Begin to listen. Clients that come before the server is ready are dropped, as by a port with nobody there."""
        return await asyncio.start_server(self._handle, sock=self._listener, backlog=256)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._negotiate(reader, writer)
        except (OSError, EOFError, struct.error):  # either side went away, or the client speaks something else
            writer.transport.abort()
        finally:
            await _close(writer)

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            header = await reader.readexactly(8)
            length, code = struct.unpack("!II", header)
            if not 8 <= length <= LONGEST_STARTUP:
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
            await (
                server_reader.read()
            )  # the server closes when it has sent the signal, and so do we: libpq waits for it
        finally:
            await _close(server_writer)


async def _relay(
    client_reader: asyncio.StreamReader,
    client_writer: asyncio.StreamWriter,
    server_reader: asyncio.StreamReader,
    server_writer: asyncio.StreamWriter,
) -> None:
    """Pass bytes both ways until the server has closed: it does when it has seen the client's end."""
    upward = asyncio.create_task(_pump(client_reader, server_writer))
    try:
        await _pump(server_reader, client_writer)
    finally:
        upward.cancel()
        await asyncio.gather(upward, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):  # a client that was killed: its server process must hear of the end, too
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    if writer.can_write_eof():  # TLS has no half-close: there the end of one direction is the end of both
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _refusal(startup: bytes, writer: asyncio.StreamWriter) -> bytes:
    """The ErrorResponse of a server whose pg_hba.conf has only `hostssl` lines."""
    words = startup.split(b"\0")
    parameters = dict(zip(words[::2], words[1::2], strict=False))
    user = parameters.get(b"user", b"").decode(errors="replace")
    database = parameters.get(b"database", b"").decode(errors="replace") or user
    host = writer.get_extra_info("peername")[0]
    message = f'no pg_hba.conf entry for host "{host}", user "{user}", database "{database}", no encryption'
    fields = {"S": "FATAL", "V": "FATAL", "C": "28000", "M": message}
    body = b"".join(f"{code}{value}\0".encode() for code, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", len(body) + 4) + body
