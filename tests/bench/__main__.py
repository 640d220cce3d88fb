"""``scripts/bench AREA [--write]``."""

from __future__ import annotations

import argparse
import importlib
import re
import textwrap
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "docs" / "benchmarks.md"
AREAS = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in {"__init__", "__main__", "measure"})
WRAPPER = textwrap.TextWrapper(120, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Run one area and print its section; with ``--write``, write it to the results."""
    parser = argparse.ArgumentParser("scripts/bench", description="Measure ratios of wall time in one run.")
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--write", action="store_true", help=f"write the result to docs/{RESULTS.name}")
    options = parser.parse_args()
    section = importlib.import_module(f"tests.bench.{options.area}").run()
    print(section)
    if options.write:
        RESULTS.write_text(with_section(RESULTS.read_text(encoding="utf-8"), options.area, section), encoding="utf-8")


def with_section(text: str, area: str, section: str) -> str:
    """Return `text` with the section of `area` replaced, or appended. Lines are wrapped, except in tables."""
    begin, end = f"<!-- {area}: written by scripts/bench -->", f"<!-- end of {area} -->"
    lines = (line if line.startswith("|") else WRAPPER.fill(line) for line in section.strip().splitlines())
    block = "\n".join([begin, *lines, end])
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    return pattern.sub(lambda _: block, text) if pattern.search(text) else f"{text.rstrip()}\n\n{block}\n"


if __name__ == "__main__":
    main()
