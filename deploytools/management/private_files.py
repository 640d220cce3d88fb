"""Read, write and delete files that contain credentials. Only their owner can read them (mode 0600)."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

from deploytools.errors import ConfigurationError, Refused, SecretTooLarge
from deploytools.secrets.document import BOM, MAXIMUM_BYTES, Document, Secret, parse

STANDARD_INPUT = "-"


def read_document(file: str) -> Document:
    """Read the JSON object in `file`, or on standard input.

    Raises:
        ConfigurationError: the file cannot be read.
        Refused: other users can read the file.
        SecretNotJson: the content is not one JSON object.
    """
    path, source = (None, "standard input") if file == STANDARD_INPUT else (Path(file), file)
    try:
        mode = path.stat().st_mode if path else 0
        text = _read_text(path)
    except OSError as error:
        raise _unreadable(source, error.strerror) from error
    if text is None:
        raise _unreadable(source, "it is not UTF-8 text")
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Refused(
            f"{file} contains credentials, and other users can read it.", hint=f"Run: chmod 600 {shlex.quote(file)}"
        )
    return parse(text, source=source if path else "Standard input")


def _read_text(path: Path | None) -> Secret[str] | None:
    """Return the text, or None if it is not UTF-8. The error is not passed on: it contains the text.

    No more than the maximum is read: a file such as /dev/zero does not end.
    """
    limit = MAXIMUM_BYTES + len(BOM.encode())
    try:
        if path is None:
            text = Secret(sys.stdin.read(limit + 1))
            is_too_large = len(text.reveal()) > limit
        else:
            with path.open("rb") as file:
                content = Secret(file.read(limit + 1))
            is_too_large = len(content.reveal()) > limit
            text = Secret("" if is_too_large else content.reveal().decode())
    except UnicodeDecodeError:
        return None
    if is_too_large:
        raise SecretTooLarge(
            f"{path or 'Standard input'} is larger than {MAXIMUM_BYTES:,} bytes, the maximum in Secrets Manager. "
            "Nothing was changed.",
            hint="Move large values, such as certificates, to a separate secret.",
        )
    return text


def _unreadable(file: str, reason: str | None) -> ConfigurationError:
    return ConfigurationError(f"Cannot read {file}: {reason}.", hint="Specify a JSON file, or - for standard input.")


def is_deletable(file: str | None) -> bool:
    """Return whether `file` is a regular file, not standard input or a pipe."""
    return file not in (None, STANDARD_INPUT) and Path(str(file)).is_file()


def delete(file: str, content: Document) -> None:
    """Delete `file` and, if it is a link, its target, after the secret was written.

    Args:
        content: what was read from the file. A file with other content by now is not deleted.
    """
    try:
        is_same = read_document(file) == content
        if is_same:
            Path(file).resolve().unlink()
            Path(file).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The secret was written, but {file} cannot be deleted: {error.strerror}.",
            hint=f"Run: {delete_command(file)}",
        ) from error
    if not is_same:
        raise ConfigurationError(
            f"The secret was written, but {file} was not deleted: it has changed since it was read.",
            hint="Run the command again with the changed file.",
        )


def delete_command(file: str) -> str:
    """Return the shell command that deletes `file`."""
    return f"rm {shlex.quote(file)}"


def check_output(output: Path, file: str | None) -> None:
    """Check before a change that a report can be written to `output`, and that `output` is not `file`."""
    if file not in (None, STANDARD_INPUT) and _is_same(output, Path(str(file))):
        raise Refused(f"--output would overwrite {file}. Nothing was changed.", hint="Specify another --output.")
    if output.is_dir():
        raise _unwritable(output, "it is a directory", "Specify a file.")
    if not output.parent.is_dir():
        raise _unwritable(
            output, f"{output.parent} is not a directory", f"Run: mkdir -p {shlex.quote(str(output.parent))}"
        )
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise _unwritable(output, "permission denied", "Specify another --output.")


def _unwritable(output: Path, reason: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"Cannot write the report to {output}: {reason}. Nothing was changed.", hint=hint)


def _is_same(output: Path, file: Path) -> bool:
    """Return whether both paths are the same file, through links too, whether it exists or not."""
    try:
        return output.samefile(file)
    except OSError:
        return output.resolve() == file.resolve()


def write_private(path: Path, text: str, *, replace: bool = False) -> None:
    """Write `text` to a file that only its owner can read (mode 0600).

    Args:
        replace: whether an existing file is overwritten. Its mode is changed before it is written to.

    Raises:
        ConfigurationError: the file exists and `replace` is false, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replace else os.O_EXCL), 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
    except OSError as error:
        reason = "it exists" if isinstance(error, FileExistsError) else error.strerror
        raise ConfigurationError(f"Cannot write {path}: {reason}.", hint="Specify another file.") from error
