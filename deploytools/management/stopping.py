"""Ctrl-C and SIGTERM while tenants are migrated: the first lets those that run finish, the second ends them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Stop:
    """What the signals have asked for.

    Attributes:
        signum: the first signal, 0 before it.
    """

    signum: int = 0

    def __bool__(self) -> bool:
        return self.signum != 0

    @property
    def exit_code(self) -> int:
        """What a shell says of a process that the signal ended: 130 or 143."""
        return 128 + self.signum if self.signum else 0


@contextmanager
def stopping(first: Callable[[], None], again: Callable[[], None]) -> Iterator[Stop]:
    """Within it a signal sets the `Stop` that is yielded.

    Args:
        first: called on the first signal.
        again: called on each further one.
    """
    stop = Stop()

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop:
            again()
            return
        stop.signum = signum
        first()

    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Within it SIGTERM ends the command with 143: without a handler the first process of a container ignores it."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
