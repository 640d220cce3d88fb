"""Signal handling of all commands: record a signal, end the command, or end the process at once.

Python allows only the main thread to install handlers. In any other thread the context managers install none, and
everything else works. A signal that the process ignores, for example SIGHUP with ``nohup``, stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # The entrypoint of a container imports this module before it handles SIGTERM.
if TYPE_CHECKING:
    from types import FrameType

#: Seconds after which a signal whose exception was dropped is handled again, at most. The pauses are spread by the
#: golden ratio: equal ones can meet the same callback each time.
AGAIN_SECONDS, GOLDEN_RATIO = 0.01, 0.618


class Shutdown:
    """The first signal that requested the end of the run; false before it."""

    signum = 0

    def __bool__(self) -> bool:
        return self.signum != 0

    @property
    def exit_code(self) -> int:
        """The exit code that shells use for the signal: 130 for SIGINT, 143 for SIGTERM, 0 without a signal."""
        return 128 + self.signum if self.signum else 0


@contextmanager
def handled(handle: Callable[[int], object], *signums: signal.Signals) -> Iterator[None]:
    """Call `handle` with the number of each of these signals. A program that is started inherits no handler."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {signum: found for signum in signums if (found := signal.getsignal(signum)) != signal.SIG_IGN}
    for signum in previous:
        signal.signal(signum, lambda signum, frame: handle(signum))
    try:
        yield
    finally:
        for signum, before in previous.items():
            signal.signal(signum, before)


@contextmanager
def graceful_shutdown(on_first: Callable[[], object], on_repeat: Callable[[], object]) -> Iterator[Shutdown]:
    """Record SIGINT and SIGTERM in a `Shutdown` instead of ending the process."""
    shutdown = Shutdown()

    def handle(signum: int) -> None:
        if shutdown:
            on_repeat()
            return
        shutdown.signum = signum
        on_first()

    with handled(handle, signal.SIGINT, signal.SIGTERM):
        yield shutdown


@contextmanager
def exit_on_signals() -> Iterator[list[int]]:
    """End the process on SIGTERM and SIGHUP with 128 + the number of the signal, running every ``finally`` on the way.

    Without a handler the first process of a container (PID 1) ignores SIGTERM. A handler of SIGTERM that is installed
    already, as that of the container's entrypoint, is kept.

    Python drops an exception that a handler raises while a finalizer or the callback of a weak reference runs. The
    signal is then handled again within `AGAIN_SECONDS`.

    Yields:
        The signals received. If they are not removed, they also end a block that has caught the `SystemExit`.
    """
    received: list[int] = []
    if callable(signal.getsignal(signal.SIGTERM)):
        yield received
        return

    def handle(signum: int) -> None:
        received.append(signum)
        raise SystemExit(128 + received[0])

    def handle_dropped(dropped: sys.UnraisableHookArgs) -> None:
        if received and dropped.exc_type is SystemExit:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS * (1 + len(received) * GOLDEN_RATIO % 1) / 2)
        else:
            previous(dropped)

    previous, sys.unraisablehook = sys.unraisablehook, handle_dropped
    try:
        with handled(handle, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            try:
                yield received
            finally:
                if received:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    except Exception:
        if not received:
            raise
    finally:
        sys.unraisablehook = previous
    if received:
        raise SystemExit(128 + received[0])


def exit_process_on(*signums: signal.Signals, report: Callable[[int], object] = int) -> None:
    """From now on, end the process at once on these signals, even if a thread is blocked. No ``finally`` runs.

    Args:
        report: called with the number of the signal before.
    """

    def handle(signum: int, frame: FrameType | None) -> None:
        try:
            report(signum)
        finally:
            os._exit(128 + signum)

    for signum in signums:
        signal.signal(signum, handle)
