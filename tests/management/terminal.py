"""A terminal for commands that prompt."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import pytest


class Terminal(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, *seen: str, unseen: Iterable[str] = ()) -> list[str]:
    """Provide the answers to the next prompts.

    Args:
        seen: lines typed with echo: answers to yes/no questions and values that are not sensitive.
        unseen: values typed without echo.

    Returns:
        The prompts of the values without echo; the list grows.
    """
    prompts: list[str] = []
    waiting = iter(unseen)

    def getpass(prompt: str) -> str:
        prompts.append(prompt)
        return next(waiting)

    monkeypatch.setattr("sys.stdin", Terminal("".join(f"{line}\n" for line in seen)))
    monkeypatch.setattr("getpass.getpass", getpass)
    return prompts


class Meanwhile:
    """A terminal that runs an action before it answers yes."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        self.action()
        return "y\n"
