"""Files that hold credentials: read when nobody else can, written for nobody else, deleted when they have served."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

from deploytools.errors import ConfigurationError, Refused
from deploytools.secret.document import Document, parse
from deploytools.secret.value import Secret

STANDARD_INPUT = "-"


def read_document(file: str) -> Document:
    """The JSON object in `file`, or on standard input.

    Raises:
        ConfigurationError: it cannot be read.
        Refused: others than its owner may read it.
        SecretNotJson: it is not one JSON object.
    """
    if file == STANDARD_INPUT:
        text = _standard_input()
        if text is None:
            raise ConfigurationError("Standard input cannot be read: it is not UTF-8 text.", hint="Give it as UTF-8.")
        return parse(text, source="Standard input")
    path = Path(file)
    try:
        mode = path.stat().st_mode
        text = _decoded(Secret(path.read_bytes()))
    except OSError as error:
        raise _unreadable(file, error.strerror) from error
    if text is None:
        raise _unreadable(file, "it is not UTF-8 text")
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(f"{file} holds credentials and others may read it.", hint=f"Run: chmod 600 {shlex.quote(file)}")
    return parse(text, source=file)


def _standard_input() -> Secret[str] | None:
    """What is on standard input; None where it is not UTF-8. The error ends here: it holds what was read."""
    try:
        return Secret(sys.stdin.read())
    except UnicodeDecodeError:
        return None


def _decoded(content: Secret[bytes]) -> Secret[str] | None:
    """As `_standard_input`, of a file."""
    try:
        return Secret(content.reveal().decode())
    except UnicodeDecodeError:
        return None


def _unreadable(file: str, reason: str | None) -> ConfigurationError:
    return ConfigurationError(f"{file} cannot be read: {reason}.", hint="Name a JSON file, or - for standard input.")


def is_deletable(file: str | None) -> bool:
    """Whether there is a file that could be left behind: not standard input, not a pipe."""
    return file not in (None, STANDARD_INPUT) and Path(str(file)).is_file()


def delete(file: str, read: Document) -> None:
    """Delete `file`, and what it points to where it is a link.

    Args:
        read: what was read of it; a file that holds something else by now is left alone.

    Raises:
        ConfigurationError: it changed meanwhile, or cannot be deleted. The secret has been written.
    """
    try:
        is_same = read_document(file) == read
        if is_same:
            Path(file).resolve().unlink()
            Path(file).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The secret is written, but {file} cannot be deleted: {error.strerror}.", hint=f"Run: {removal(file)}"
        ) from error
    if not is_same:
        raise ConfigurationError(
            f"The secret is written, but {file} has changed since it was read, and was not deleted.",
            hint="Run it again with the file as it is now.",
        )


def removal(file: str) -> str:
    """The command that deletes `file`, to be typed."""
    return f"rm {shlex.quote(file)}"


def check_output(output: Path | None, file: str | None) -> None:
    """Before anything is done: whether a report can be written to `output`, and would not go over FILE.

    Raises:
        Refused: it is FILE itself.
        ConfigurationError: it cannot be written.
    """
    if output is None:
        return
    if file not in (None, STANDARD_INPUT) and _is_same(output, Path(str(file))):
        raise Refused(f"Nothing was done: --output would write over {file}.", hint="Name another --output.")
    if output.is_dir():
        raise ConfigurationError(f"The report cannot be written to {output}: it is a directory.", hint="Name a file.")
    if not output.parent.is_dir():
        raise ConfigurationError(
            f"The report cannot be written to {output}: there is no directory {output.parent}.",
            hint=f"Run: mkdir -p {shlex.quote(str(output.parent))}",
        )
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise ConfigurationError(
            f"The report cannot be written to {output}: this user may not.", hint="Name another --output."
        )


def _is_same(output: Path, file: Path) -> bool:
    """Whether both name one file, by whatever links, be it there or not."""
    try:
        return output.samefile(file)
    except OSError:
        return output.resolve() == file.resolve()


def write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read; one that is there is not overwritten.

    Raises:
        ConfigurationError: it is there, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        reason = "it exists" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigurationError(f"{path} cannot be written: {reason}.", hint="Name another file.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
