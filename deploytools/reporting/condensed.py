"""Findings made short: those that differ in the resource only become one, worst last. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deploytools.verification.findings import Finding, Status

SYMBOLS = {
    Status.PASS: "✓",
    Status.WAIVED: "~",
    Status.WARN: "!",
    Status.UNKNOWN: "?",
    Status.FAIL: "✗",
    Status.NOT_APPLICABLE: "-",
}

#: What somebody has to do something about.
URGENT = frozenset({Status.FAIL, Status.UNKNOWN, Status.WARN})

#: Resources that are named before it says "and … more".
MOST_NAMES = 8


def grouped(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Each distinct finding without its resource, and the resources it was made of; worst last."""
    resources: dict[Finding, list[str]] = {}
    for finding in findings:
        resources.setdefault(replace(finding, resource=""), []).append(finding.resource)
    order = list(Status)
    return sorted(resources.items(), key=lambda item: order.index(item[0].status))


def condensed(findings: Iterable[Finding]) -> list[Finding]:
    """As `grouped`, with the resources in one line of text."""
    return [replace(finding, resource=listed(names)) for finding, names in grouped(findings)]


def listed(names: list[str]) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
