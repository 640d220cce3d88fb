"""The one error of these programs: what happened, and what to do next."""

from __future__ import annotations


class OperationError(Exception):
    """Ends a program.

    Args:
        message: one sentence, what happened.
        hint: what to do next.
        code: the exit code.
    """

    def __init__(self, message: str, *, hint: str, code: int = 2) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code

    def explain(self) -> str:
        """The two lines that a person sees."""
        return f"error: {self}\nhint: {self.hint}"
