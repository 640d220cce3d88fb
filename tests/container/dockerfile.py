"""Parse the Dockerfile and .dockerignore of this repository. Other syntax is not supported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

Instruction = tuple[str, str]


@dataclass
class Stage:
    """A build stage: the instructions after a FROM."""

    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def last(self, keyword: str) -> str:
        """Return the argument of the last `keyword` instruction."""
        return [argument for found, argument in self.instructions if found == keyword][-1]

    def command(self, keyword: str) -> list[str]:
        """Return the words of the last `keyword` instruction, which must be in exec form."""
        words: list[str] = json.loads(self.last(keyword))
        return words


def parse(text: str) -> dict[str, Stage]:
    """Return the stages by name."""
    stages: dict[str, Stage] = {}
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).split("\n"):
        keyword, _, argument = line.strip().partition(" ")
        if keyword == "FROM":
            stage = Stage(argument.split()[-1])
            stages[stage.name] = stage
        elif stages:
            stage.instructions.append((keyword, argument.strip()))
    return stages


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$NAME``, ``${NAME}`` and ``${NAME:+word}`` in `text`, as Docker does outside of RUN."""
    text = re.sub(r"\$\{(\w+):\+([^}]*)\}", lambda m: m[2] if variables.get(m[1]) else "", text)
    return re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda m: variables.get(m[1] or m[2], ""), text)


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Return whether ``.dockerignore`` excludes `path`: the last pattern that matches decides."""
    ignored = False
    for line in patterns:
        pattern = line.removeprefix("!").removeprefix("**/")
        names = [path, *(str(parent) for parent in Path(path).parents)]
        candidates = [Path(name).name for name in names] if "**/" in line else names
        if any(_matches(name, pattern) for name in candidates):
            ignored = not line.startswith("!")
    return ignored


def _matches(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


def patterns(text: str) -> list[str]:
    """Return the patterns of a ``.dockerignore``."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
