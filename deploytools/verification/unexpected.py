"""Unexpected exceptions of facts and checks. Their text is not reported: it could contain a credential."""

from __future__ import annotations

from deploytools.errors import DeployError

#: Lists that the exceptions are added to, for ``--traceback``. They are not logged: handlers of logs do not redact.
recorders: list[list[BaseException]] = []


def unexpected_error(operation: str, error: Exception) -> DeployError:
    """Record the exception and return the error that is reported instead.

    Args:
        operation: the subject of the message, for example ``Reading secret``.
    """
    for errors in recorders:
        errors.append(error)
    return DeployError(
        f"{operation} raised {type(error).__name__}.",
        hint="Run the command again with --traceback, and report the traceback.",
    )
