"""A person at a terminal, for commands that ask."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import pytest


class Terminal(io.StringIO):
    """Standard input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def answer(monkeypatch: pytest.MonkeyPatch, *seen: str, unseen: Iterable[str] = ()) -> list[str]:
    """Answers to come.

    Args:
        seen: lines typed with echo: answers to yes-or-no questions, and values that are not sensitive.
        unseen: what is typed without echo.

    Returns:
        The prompts without echo, as they come.
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
    """A terminal at which somebody does something else before he says yes."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        self.action()
        return "y\n"
