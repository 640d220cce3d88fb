"""A fake of ``aws ssm start-session`` and ``ssh -L`` that parses their arguments and forwards the port.

FAKE_TARGET: port on this machine to forward to. FAKE_LOG: file for the arguments. FAKE_MODE: ``fail`` (exit with an
error) or ``silent`` (never listen).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path


def local_port(arguments: list[str]) -> int:
    if "--parameters" in arguments:
        parameters = json.loads(arguments[arguments.index("--parameters") + 1])
        return int(parameters["localPortNumber"][0])
    return int(arguments[arguments.index("-L") + 1].split(":")[1])


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    target_reader, target_writer = await asyncio.open_connection("127.0.0.1", int(os.environ["FAKE_TARGET"]))
    await asyncio.gather(copy(reader, target_writer), copy(target_reader, writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def main() -> None:
    Path(os.environ["FAKE_LOG"]).write_text(json.dumps(sys.argv))
    mode = os.environ.get("FAKE_MODE", "")
    if mode == "fail":
        sys.exit(
            "An error occurred (TargetNotConnected) when calling the StartSession operation: i-0 is not connected."
        )
    if mode == "silent":
        await asyncio.sleep(3600)
    await asyncio.sleep(0.3)
    server = await asyncio.start_server(forward, "127.0.0.1", local_port(sys.argv))
    await server.serve_forever()


asyncio.run(main())
