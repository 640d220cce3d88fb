"""What a supervisor that was killed may have left where the kernel does not end children with their parent."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil

from localcloud.directory import SERVERS


def end_leftovers(directory: Path) -> None:
    """End the PostgreSQL servers whose data is in `directory`. Call it only where no supervisor has that directory."""
    for pid_file in (directory / SERVERS).glob("*/data/postmaster.pid"):
        data = str(pid_file.parent)
        with contextlib.suppress(OSError, ValueError, IndexError, psutil.Error):
            process = psutil.Process(int(pid_file.read_text(encoding="utf-8").splitlines()[0]))
            if data in process.cmdline():  # and not somebody else who got its number
                process.send_signal(signal.SIGQUIT)
                process.wait(5)
