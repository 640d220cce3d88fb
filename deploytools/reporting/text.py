"""Lines of text that fit a terminal."""

from __future__ import annotations

import textwrap

COLUMNS = 80


def wrapped(text: str, *, indent: str, hanging: str = "") -> list[str]:
    """`text` in lines of at most `COLUMNS`; identifiers and commands are not broken.

    Args:
        indent: what the first line begins with.
        hanging: what the others begin with, after as many spaces as `indent` has characters.
    """
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=" " * len(indent) + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
