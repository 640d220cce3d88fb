"""Signal handling of the commands: end at once, or finish what is running.

Python allows only the main thread to install signal handlers. In any other thread both context managers install none,
and everything else works.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

#: Seconds after which a signal whose exception was dropped is handled again.
AGAIN_SECONDS = 0.01


@dataclass
class Shutdown:
    """The first signal that requested the end of the run; false before it."""

    signum: int = 0

    def __bool__(self) -> bool:
        return self.signum != 0

    @property
    def exit_code(self) -> int:
        """The exit code that shells use for the signal: 130 for SIGINT, 143 for SIGTERM, 0 without a signal."""
        return 128 + self.signum if self.signum else 0


@contextmanager
def graceful_shutdown(on_first: Callable[[], None], on_repeat: Callable[[], None]) -> Iterator[Shutdown]:
    """Record SIGINT and SIGTERM in a `Shutdown` instead of ending the process."""
    shutdown = Shutdown()

    def handle(signum: int, frame: FrameType | None) -> None:
        if shutdown:
            on_repeat()
            return
        shutdown.signum = signum
        on_first()

    with _installed(handle, signal.SIGINT, signal.SIGTERM):
        yield shutdown


@contextmanager
def exit_on_sigterm(*others: signal.Signals) -> Iterator[None]:
    """End the process with exit code 143 on SIGTERM, running every ``finally`` on the way.

    Without a handler the first process of a container (PID 1) ignores SIGTERM. A handler that is installed already, as
    that of the container's entrypoint, is kept.

    Python drops an exception that a handler raises while a finalizer or the callback of a weak reference runs. The
    signal is then handled again after `AGAIN_SECONDS`.

    Args:
        others: further signals that end the process, unless it ignores them (``nohup``).
    """
    if callable(signal.getsignal(signal.SIGTERM)):
        yield
        return
    received: list[int] = []

    def handle(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        raise SystemExit(128 + received[0])

    def handle_dropped(dropped: sys.UnraisableHookArgs) -> None:
        if received and dropped.exc_type is SystemExit:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        else:
            previous(dropped)

    handled = [signum for signum in others if signal.getsignal(signum) != signal.SIG_IGN]
    previous, sys.unraisablehook = sys.unraisablehook, handle_dropped
    try:
        with _installed(handle, signal.SIGTERM, signal.SIGALRM, *handled):
            try:
                yield
            finally:
                if received:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    except Exception:
        if not received:
            raise
    finally:
        sys.unraisablehook = previous
    if received:  # Dropped by code that catches everything.
        raise SystemExit(128 + received[0])


@contextmanager
def _installed(handler: Callable[[int, FrameType | None], None], *signums: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {signum: signal.signal(signum, handler) for signum in signums}
    try:
        yield
    finally:
        for signum, before in previous.items():
            signal.signal(signum, before)
