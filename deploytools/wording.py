"""Wording that messages, plans and reports share."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence

#: Number of names that `join_names` returns before it counts the others.
MAX_NAMES = 8

#: Width of text without a terminal, and the limits on one.
COLUMNS, NARROWEST, WIDEST = 80, 40, 120

#: A command for a shell, up to the prose after it. Quoted arguments can contain anything.
COMMAND = re.compile(
    r"""(?<![^ ])(?:[A-Z_]+=\S+\ )*(?:aws|curl|openssl|pip|psql|python|docker)\ (?=[a-z-])
        (?:'[^']*'|"[^"]*"|(?!\ \(|[,;.]\ |[,;.]?$).)+""",
    re.VERBOSE,
)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 object``, ``3 objects``. The default plural is the noun with an ``s``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def one_line(text: str, limit: int = 500) -> str:
    """Return `text` on one line, without control characters, cut to `limit` characters."""
    words = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return words if len(words) <= limit else f"{words[:limit]}…"


def printable(*names: str) -> str:
    """Return names, for example keys of a secret, with control characters and the like escaped: ``a, b``."""
    escaped = (
        (char if char.isprintable() else char.encode("unicode_escape").decode() for char in name) for name in names
    )
    return ", ".join(map("".join, escaped))


def printable_lines(text: str, limit: int = 500) -> str:
    """Return `text` with its lines, without control characters; each line is cut to `limit` characters."""
    lines = ("".join(char if char.isprintable() else " " for char in line) for line in text.split("\n"))
    return "\n".join(line if len(line) <= limit else f"{line[:limit]}…" for line in lines)


def join_names(names: Sequence[str], most: int = MAX_NAMES) -> str:
    """Return the first `most` names and the number of the others: ``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def columns() -> int:
    """Return the width of the terminal, or the value of the environment variable COLUMNS, within limits."""
    return max(NARROWEST, min(shutil.get_terminal_size((COLUMNS, 24)).columns, WIDEST))


def wrapped(text: str, *, indent: str, hanging: str = "") -> list[str]:
    """Return `text` in lines of at most `columns()` characters; an identifier or a command is on one line in any case.

    Args:
        indent: prefix of the first line.
        hanging: prefix of the other lines, after as many spaces as `indent` has characters.
    """
    lines = textwrap.wrap(
        COMMAND.sub(lambda found: found[0].replace(" ", "\xa0"), text),
        columns(),
        initial_indent=indent,
        subsequent_indent=" " * len(indent) + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\xa0", " ") for line in lines]


def quote_name(name: str) -> str:
    """Return `name` quoted as an identifier of SQL, for a statement in a hint."""
    return '"' + name.replace('"', '""') + '"'
