"""The steps of docs/your-project.md: what the reader runs, and what they write in their own files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parent.parent.parent / "docs" / "your-project.md"
HEADING, LAST_HEADING = "## 1. ", "## Try it on your machine"
COMMAND = re.compile(r"(pip|curl|python|[A-Z_]+=\S+) ")


class Block(NamedTuple):
    """One code block of the page: a command, or lines for a file of the project's package."""

    command: str = ""
    file: str = ""
    lines: tuple[str, ...] = ()


def blocks() -> Iterator[Block]:
    """Yield the blocks of the numbered steps. A comment with a file name begins the lines of that file."""
    text = PAGE.read_text(encoding="utf-8")
    steps = text[text.index(HEADING) : text.index(LAST_HEADING)]
    for block in re.findall(r"(?:^    .*\n)+", steps, re.MULTILINE):
        lines = [line.removeprefix("    ") for line in block.splitlines()]
        if COMMAND.match(lines[0]):
            yield from (Block(command=line) for line in lines)
        else:
            name = re.fullmatch(r"# (\w+\.py)", lines[0])
            assert name, f"{PAGE}: the first line is neither a command nor the name of a file: {lines[0]}"
            yield Block(file=name[1], lines=tuple(lines[1:]))


def commands() -> list[str]:
    """Return the commands."""
    return [block.command for block in blocks() if block.command]


def count_lines() -> int:
    """Return the number of lines in the reader's files."""
    return sum(len(block.lines) for block in blocks())
