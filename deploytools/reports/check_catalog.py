"""The catalog of checks: as a list, as an explanation of one check, as JSON and as a page in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from deploytools.errors import ConfigurationError
from deploytools.reports.markdown import escape
from deploytools.verification.findings import Check
from deploytools.verification.registry import Source
from deploytools.wording import wrapped


def render(checks: Sequence[Check], actions: Mapping[str, Sequence[str]], format: str) -> str:
    """Return the catalog in a format.

    Args:
        actions: the IAM actions that each check needs, by check ID.

    Raises:
        ConfigurationError: the catalog does not have the format.
    """
    if format == "json":
        return to_json(checks, actions)
    if format == "markdown":
        return to_markdown(checks, actions)
    if format == "text":
        return to_text(checks)
    raise ConfigurationError(
        f"The list of checks is not available as {format}.", hint="Use --format text, json or markdown."
    )


def to_text(checks: Iterable[Check]) -> str:
    """Return one line for each check."""
    return "\n".join(
        f"{check.id:<32} {check.severity:<9} {check.title} [{', '.join(sorted(check.tags))}]" for check in checks
    )


def explain(check: Check, sources: Mapping[str, Source]) -> str:
    """Return everything about one check.

    Args:
        sources: the sources of its facts, including those that its facts are read from.
    """
    entries = [
        ("Why", check.why),
        ("Reads", "; ".join(_source(source) for source in sources.values())),
        ("Fix", check.hint),
        ("Severity", f"{check.severity}; {binding(check)}"),
        *([("Guide", check.guide)] if check.guide else []),
        ("References", ", ".join(check.references) or "none"),
        ("Tags", ", ".join(sorted(check.tags))),
    ]
    lines = [line for name, text in entries for line in wrapped(" ".join(text.split()), indent=f"{name + ':':<12}")]
    return "\n".join([f"{check.id}: {check.title}", "", *lines])


def _source(source: Source) -> str:
    actions = f" ({', '.join(source.actions)})" if source.actions else ""
    return source.name.replace("_", " ") + actions


def binding(check: Check) -> str:
    """Return in which stages a failure is a failure."""
    return "a failure in stage launch, a warning before" if check.stage == "launch" else "a failure in every stage"


def to_json(checks: Iterable[Check], actions: Mapping[str, Sequence[str]]) -> str:
    """Return the catalog as JSON."""
    return json.dumps(
        [
            {
                "id": check.id,
                "title": check.title,
                "why": check.why,
                "severity": check.severity,
                "stage": check.stage,
                "guide": check.guide,
                "hint": check.hint,
                "tags": sorted(check.tags),
                "references": list(check.references),
                "facts": list(check.needs),
                "actions": list(actions[check.id]),
            }
            for check in checks
        ],
        indent=2,
        ensure_ascii=False,
    )


def to_markdown(checks: Sequence[Check], actions: Mapping[str, Sequence[str]]) -> str:
    """Return the catalog as a page in Markdown."""
    lines = [
        "# Checks",
        "",
        "Generated from the catalog that `python manage.py verify_deploy --list` prints.",
        "Check IDs are permanent. `verify_deploy --explain ID` prints one check.",
        "[verification.md](verification.md) describes how to run the checks.",
        "",
    ]
    for area, group in groupby(checks, key=lambda check: check.area):
        lines += [f"## {area}", ""]
        for check in group:
            lines += [*_entry(check, actions[check.id]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _entry(check: Check, actions: Sequence[str]) -> list[str]:
    facts = ", ".join(f"`{name}`" for name in check.needs)
    return [
        f"### `{check.id}`",
        "",
        f"**{check.title}.** {' '.join(check.why.split())}",
        "",
        f"- Severity: {check.severity}; {binding(check)}",
        *([f"- Guide: {check.guide}"] if check.guide else []),
        f"- Facts: {facts}",
        *([f"- IAM actions: {', '.join(f'`{action}`' for action in actions)}"] if actions else []),
        f"- Fix: {escape(check.hint)}",
        *([f"- References: {', '.join(check.references)}"] if check.references else []),
        f"- Tags: {', '.join(f'`{tag}`' for tag in sorted(check.tags))}",
    ]
