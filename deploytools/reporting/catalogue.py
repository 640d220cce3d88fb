"""The catalogue of checks: a line each, one explained, all of them as JSON or as `docs/checks.md`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from deploytools.reporting.text import wrapped
from deploytools.verification.registry import Check, Source


def to_text(checks: Iterable[Check]) -> str:
    """The lines of ``--list``."""
    return "\n".join(
        f"{check.id:<32} {check.severity:<9} {check.title} [{', '.join(sorted(check.tags))}]" for check in checks
    )


def explained(check: Check, sources: Mapping[str, Source]) -> str:
    """Everything about one check.

    Args:
        sources: those that it needs, directly or not.
    """
    entries = [
        ("Why", check.why),
        ("Looks at", _looked_at(sources)),
        ("To mend", check.hint),
        ("Severity", f"{check.severity}; binding from {check.stage} on"),
        ("Guide", check.guide),
        ("Peers", ", ".join(check.peers) or "none"),
        ("Tags", ", ".join(sorted(check.tags))),
    ]
    lines = [line for name, text in entries for line in wrapped(" ".join(text.split()), indent=f"{name + ':':<10}")]
    return "\n".join([f"{check.id}: {check.title}", "", *lines])


def _looked_at(sources: Mapping[str, Source]) -> str:
    return "; ".join(
        source.name.replace("_", " ") + (f" ({', '.join(source.actions)})" if source.actions else "")
        for source in sources.values()
    )


def to_json(checks: Iterable[Check], actions: Mapping[str, Sequence[str]]) -> str:
    """The catalogue as JSON.

    Args:
        actions: the IAM actions that each check needs, by id.
    """
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
                "peers": list(check.peers),
                "facts": list(check.needs),
                "actions": list(actions[check.id]),
            }
            for check in checks
        ],
        indent=2,
        ensure_ascii=False,
    )


def to_markdown(checks: Sequence[Check], actions: Mapping[str, Sequence[str]]) -> str:
    """The catalogue as the page `docs/checks.md`."""
    lines = [
        "# Checks",
        "",
        "Generated: `python manage.py verify_deploy --list --format markdown --output docs/checks.md`.",
        "Each id is permanent. `verify_deploy --explain ID` prints one of them. How to use them:",
        "[verification.md](verification.md).",
        "",
    ]
    for area, group in groupby(checks, key=lambda check: check.id.split(".")[0]):
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
        f"- Severity: {check.severity}; binding from {check.stage} on",
        f"- Guide: {check.guide}",
        f"- Judges: {facts}",
        *([f"- IAM: {', '.join(f'`{action}`' for action in actions)}"] if actions else []),
        f"- To mend: {_escaped(check.hint)}",
        *([f"- Peers: {', '.join(check.peers)}"] if check.peers else []),
        f"- Tags: {', '.join(f'`{tag}`' for tag in sorted(check.tags))}",
    ]


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")
