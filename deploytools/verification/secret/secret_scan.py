"""Search the files of the project for the values of the secret."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import re
import subprocess
import time
import zipfile
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploytools.secrets.contract import Field, by_name, is_placeholder, is_sequence
from deploytools.secrets.document import Document

#: Directories without source code of the project.
EXCLUDED = {".git", ".hg", ".venv", "venv", "node_modules", ".mypy_cache", ".ruff_cache", ".tox"}

#: Bytes of the largest file that is read, also decompressed, and the number of files.
MAX_SIZE, MAX_FILES = 20_000_000, 20_000

#: How compressed files are opened, and the suffixes of formats that are not read.
COMPRESSED: Mapping[str, Any] = {
    ".gz": gzip.open,
    ".tgz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
ZIP, UNREAD = {".zip", ".whl", ".jar", ".docx", ".xlsx"}, {".7z", ".rar", ".zst", ".lz4", ".gpg"}

#: Bytes of the changes of the Git history that are read, and seconds.
MAX_HISTORY, HISTORY_SECONDS = 500_000_000, 120

#: The beginnings of the lines of ``git log`` with the commit and with the file. Lines of a diff begin otherwise, and
#: lines of a message begin with a space.
COMMIT, FILE = "commit ", b"+++ b/"

#: ``--full-history``: also branches whose merge changed nothing. ``--cc``: the lines of a merge that no parent has.
LOG = (
    *("log", "--all", "--full-history", "--patch", "--cc", "--unified=0", "--text", "--no-textconv"),
    *("--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"),
    *(f"--format={COMMIT}%h%n%w(0,1,1)%B", "--", "."),
)

NOT_READ = "--git-history was not given"

#: Characters. A shorter value can occur in any text.
MIN_LENGTH = 12

#: Different characters of a credential.
MIN_DISTINCT = 10

#: Fields of the contract that are public: users see them on pages and in email.
PUBLIC = {"stripe_publishable_key", "superuser_username", "superuser_email", "superuser_extra", "rotated_at"}


@dataclass(frozen=True)
class LeakedSecrets:
    """The result of the search.

    Attributes:
        directory: the directory that was searched; empty: the project has no ``BASE_DIR``.
        files: number of files found, up to `MAX_FILES`.
        is_complete: whether there are no more files.
        found: key, file and line of each value; never the value.
        unreadable: files that could not be read.
        oversized: files that were not read: larger than `MAX_SIZE`, or of a compressed format that is not known.
        history: why the Git history was not read completely; empty: it was.
    """

    directory: str
    files: int
    is_complete: bool
    found: tuple[tuple[str, str, int], ...]
    unreadable: tuple[str, ...] = ()
    oversized: tuple[str, ...] = ()
    history: str = NOT_READ


def scan(root: Path, values: Mapping[str, str]) -> LeakedSecrets:
    """Search all files below `root` for `values`.

    Args:
        values: the values to search for, by key.
    """
    forms = {key: encoded_forms(value) for key, value in values.items()}
    found: list[tuple[str, str, int]] = []
    unreadable, oversized = list[str](), list[str]()
    paths = list(islice(_files(root), MAX_FILES + 1))
    for path in paths[:MAX_FILES]:
        name = str(path.relative_to(root))
        try:
            content = _read(path)
        except OSError:
            unreadable.append(name)
            continue
        if content is None:
            oversized.append(name)
        else:
            found += [(key, name, line) for key, line in _lines(content, forms)]
    is_complete = len(paths) <= MAX_FILES
    return LeakedSecrets(
        str(root), min(len(paths), MAX_FILES), is_complete, tuple(found), tuple(unreadable), tuple(oversized)
    )


def scan_history(root: Path, values: Mapping[str, str]) -> tuple[tuple[tuple[str, str, int], ...], str]:
    """Search the messages of the commits that change `root`, and the lines that they added, on all branches and tags.

    Returns:
        The key, ``file@commit`` and 0 for each value that was found, and why the search is incomplete, if it is.
    """
    forms = {key: encoded_forms(value) for key, value in values.items()}
    anything = re.compile(b"|".join(re.escape(form) for encodings in forms.values() for form in encodings) or b"(?!)")
    found: dict[tuple[str, str, int], None] = {}
    commit, file, size, until = "", "", 0, time.monotonic() + HISTORY_SECONDS
    try:
        if _git(root, "rev-parse", "--is-shallow-repository").communicate()[0].strip() == b"true":
            return (), "the clone is shallow: it has only a part of the history"
        process = _git(root, *LOG)
    except OSError as error:
        return (), f"git could not be run: {error.strerror}"
    with process as log:
        for line in log.stdout or ():
            size += len(line)
            if size > MAX_HISTORY or time.monotonic() > until:
                log.kill()
                return tuple(found), f"only the newest {size // 1_000_000:,} MB of the Git history were read"
            if line.startswith(COMMIT.encode()):
                commit, file = line.decode().strip().removeprefix(COMMIT), "commit message"
            elif line.startswith(FILE):
                file = line[len(FILE) :].decode(errors="replace").strip()
            elif line.startswith((b"+", b" ")) and anything.search(line := line.replace(b"\0", b"")):
                found |= dict.fromkeys((key, f"{file}@{commit}", 0) for key, _ in _lines(line, forms))
    return tuple(found), "" if log.returncode == 0 else f"git log failed in {root}"


def _git(root: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["git", *arguments], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _lines(content: bytes, forms: Mapping[str, tuple[bytes, ...]]) -> Iterator[tuple[str, int]]:
    """The key and the line of each value that `content` contains."""
    for key, encodings in forms.items():
        if positions := [at for form in encodings if (at := content.find(form)) >= 0]:
            yield key, content.count(b"\n", 0, min(positions)) + 1


def encoded_forms(value: str) -> tuple[bytes, ...]:
    """Return the forms of a value in files: plain, in a URL, in JSON, in XML or HTML, and in base64.

    A base64 form is the part that does not depend on what is before the value, such as the user name of HTTP's basic
    authentication, or follows it, such as a line end.
    """
    plain = value.encode()
    parts = [plain[-before % 3 : len(plain) - (len(plain) + before) % 3] for before in range(3)]
    quoted = quote(value, safe="")
    in_lower_case = re.sub("%..", lambda found: found[0].lower(), quoted)
    in_json = json.dumps(value)[1:-1]
    escaped = re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", in_json)  # By Go, such as Terraform.
    texts = (quoted, in_lower_case, in_json, escaped, escape(value, quote=False), escape(value))
    forms = {plain, *(text.encode() for text in texts)}
    return tuple(forms | {encode(part) for part in parts for encode in (b64encode, urlsafe_b64encode)})


def credential_values(document: Document, fields: Sequence[Field]) -> dict[str, str]:
    """Return the values of the secret that are credentials: long, sensitive, and not a placeholder.

    Args:
        fields: the contract with the host's own fields.
    """
    texts = {key: secret.reveal() for key, secret in document.items()}
    known = by_name(fields)
    return {
        key: value
        for key, value in texts.items()
        if isinstance(value, str)
        and len(value) >= MIN_LENGTH
        and (known[key].is_sensitive if key in known else _looks_random(value))
        and key not in PUBLIC
        and not is_placeholder(value)
        and not is_sequence(value)
    }


def _looks_random(value: str) -> bool:
    """Whether the value of an unknown key looks like a credential, not like a name or an address."""
    is_mixed = any(letter.isdigit() for letter in value) and any(letter.isalpha() for letter in value)
    return is_mixed and len(set(value)) >= MIN_DISTINCT and not re.search(r"://|@|\s|\.[a-z]+$", value)


def _files(root: Path) -> Iterator[Path]:
    """The files below `root`, sorted. Symbolic links to directories are not followed."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - EXCLUDED)
        yield from (Path(directory, name) for name in sorted(files))


def _read(path: Path) -> bytes | None:
    """The content without NUL bytes, which turns UTF-16 text into ASCII; None: too large, or an unknown format.

    The content of a symbolic link is empty: its target is read at its own path.
    """
    suffix = path.suffix.lower()
    if path.is_symlink() or not path.is_file():
        return b""
    if path.stat().st_size > MAX_SIZE or suffix in UNREAD:
        return None
    content = path.read_bytes()
    try:
        if suffix in COMPRESSED:
            with COMPRESSED[suffix](path) as file:
                content = file.read(MAX_SIZE + 1)
        elif suffix in ZIP:
            content = _unzip(path)
    except (EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile, RuntimeError, gzip.BadGzipFile):
        return None
    return None if len(content) > MAX_SIZE else content.replace(b"\0", b"")


def _unzip(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        content = b""
        for member in archive.infolist():
            if len(content) + member.file_size > MAX_SIZE:
                return b" " * (MAX_SIZE + 1)
            content += archive.read(member) + b"\n"
    return content
