"""The fact of where values of the secret lie about in the code: searched for by the values themselves."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

from deploytools.secret.contract import by_name, is_placeholder
from deploytools.secret.document import Document
from deploytools.secret.host import contract
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact

#: Where no code of the project lies.
SKIPPED = {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".tox"}

#: A larger file is data; more files than these are somebody's home directory.
LARGEST_FILE, MOST_FILES = 1_000_000, 20_000

#: A shorter value is a word that may stand anywhere.
SHORTEST_VALUE = 12

#: Different characters that a credential has at least.
MANY_LETTERS = 10

#: In the table of the secret's fields, and known to whoever visits the shop or gets mail from it.
KNOWN_TO_ALL = {"stripe_publishable_key", "superuser_username", "superuser_email"}


@dataclass(frozen=True)
class StrayValues:
    """Where values of the secret lie about in the code.

    Attributes:
        directory: where was looked; empty: the project has no ``BASE_DIR``.
        files: how many files were read.
        is_complete: whether every file was.
        found: key, file and line of each; never the value.
        unreadable: files that could not be read.
        oversized: files that are too large to be code, and were not.
    """

    directory: str
    files: int
    is_complete: bool
    found: tuple[tuple[str, str, int], ...]
    unreadable: tuple[str, ...] = ()
    oversized: tuple[str, ...] = ()


@fact(deadline=60)
def stray_values(secret: SecretState) -> StrayValues:
    """The secret's own values, and Django's old keys, searched for in every file of the project."""
    directory = getattr(settings, "BASE_DIR", None)
    if not directory:
        return StrayValues("", 0, True, ())
    root, forms = Path(directory), {key: written(value) for key, value in _values(secret.document).items()}
    found: list[tuple[str, str, int]] = []
    unread: dict[type, list[str]] = {TooLarge: [], Unreadable: []}
    paths = list(islice(_files(root), MOST_FILES + 1))
    for path in paths[:MOST_FILES]:
        name = str(path.relative_to(root))
        try:
            content = _read(path)
        except (TooLarge, Unreadable) as error:
            unread[type(error)].append(name)
            continue
        found += [(key, name, line) for key, line in _lines(content, forms)]
    return StrayValues(
        str(root),
        min(len(paths), MOST_FILES),
        len(paths) <= MOST_FILES,
        tuple(found),
        tuple(unread[Unreadable]),
        tuple(unread[TooLarge]),
    )


def _lines(content: bytes, forms: Mapping[str, tuple[bytes, ...]]) -> Iterator[tuple[str, int]]:
    for key, ways in forms.items():
        if at := [place for form in ways if (place := content.find(form)) >= 0]:
            yield key, content.count(b"\n", 0, min(at)) + 1


def written(value: str) -> tuple[bytes, ...]:
    """How a value is written: as it is, in a URL, in JSON, and in base64, as in a secret of Kubernetes'.

    Of base64 only what is the same with a line's end behind the value.
    """
    plain = value.encode()
    encoded = b64encode(plain[: len(plain) // 3 * 3])
    return tuple({plain, quote(value, safe="").encode(), json.dumps(value)[1:-1].encode(), encoded})


def _values(document: Document) -> dict[str, str]:
    """The secret's, and the keys that Django still accepts, which need not be in it."""
    old = {f"SECRET_KEY_FALLBACKS[{index}]": str(key) for index, key in enumerate(settings.SECRET_KEY_FALLBACKS)}
    long = {name: key for name, key in old.items() if len(key) >= SHORTEST_VALUE}
    return telling_values(document) | long


def telling_values(document: Document) -> dict[str, str]:
    """The values that would be a leak wherever they were seen: long enough, sensitive, and no placeholder."""
    texts = {key: secret.reveal() for key, secret in document.items()}
    fields = by_name(contract())
    return {
        key: value
        for key, value in texts.items()
        if isinstance(value, str)
        and len(value) >= SHORTEST_VALUE
        and (fields[key].is_sensitive if key in fields else _looks_random(value))
        and key not in KNOWN_TO_ALL
        and not is_placeholder(value)
    }


def _looks_random(value: str) -> bool:
    """Whether a value that no rule of ours knows is a credential, and not a name or an address."""
    is_mixed = any(letter.isdigit() for letter in value) and any(letter.isalpha() for letter in value)
    return is_mixed and len(set(value)) >= MANY_LETTERS and not re.search(r"://|@|\s|\.[a-z]+$", value)


def _files(root: Path) -> Iterator[Path]:
    """The files below `root`, in a fixed order; links are not followed."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - SKIPPED)
        yield from (Path(directory, name) for name in sorted(files))


class TooLarge(Exception):
    """The file is data."""


class Unreadable(Exception):
    """Whether a value is in the file is not known."""


def _read(path: Path) -> bytes:
    """The file's content without its NULs, which makes ASCII of what an editor wrote as UTF-16.

    Of a link nothing: its target is read where it lies.

    Raises:
        TooLarge, Unreadable: nobody looked into it.
    """
    try:
        if path.is_symlink() or not path.is_file():
            return b""
        if path.stat().st_size > LARGEST_FILE:
            raise TooLarge
        return path.read_bytes().replace(b"\0", b"")
    except OSError as error:
        raise Unreadable from error
