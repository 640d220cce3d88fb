"""Runs a command in the environment of a cloud: it ends with us, gets the signals that we get, gives its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from localcloud.errors import LocalCloudError
from localcloud.processes import dies_with_us

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Forwarding:
    """Passes signals on to a command; those that come before there is one wait for it."""

    process_id: int | None = None
    waiting: list[int] = field(default_factory=list)

    def __call__(self, number: int, frame: FrameType | None = None) -> None:
        if number == signal.SIGINT and _in_foreground():
            return  # the terminal has sent it to the command as well: twice would mean "at once"
        if self.process_id is None:
            self.waiting.append(number)
            return
        with suppress(ProcessLookupError):
            os.kill(self.process_id, number)

    def begin(self, process_id: int) -> None:
        self.process_id = process_id
        for number in self.waiting:
            self(number)


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run `command` to its end, whatever signals come. Returns its exit code, or 128 + n when signal n ended it.

    Raises:
        LocalCloudError: there is no such command.
    """
    with _forwarding() as forwarding:
        try:
            process = subprocess.Popen(command, env=dict(environment), preexec_fn=dies_with_us(signal.SIGTERM))
        except OSError as exc:
            raise LocalCloudError(
                f"{command[0]} cannot be run: {exc.strerror}.", hint="Check its name and your PATH."
            ) from exc
        forwarding.begin(process.pid)
        code = process.wait()
    return 128 - code if code < 0 else code


@contextmanager
def _forwarding() -> Iterator[_Forwarding]:
    forwarding = _Forwarding()
    heeded = [number for number in FORWARDED if signal.getsignal(number) != signal.SIG_IGN]  # not those of nohup
    before = {number: signal.signal(number, forwarding) for number in heeded}
    try:
        yield forwarding
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
