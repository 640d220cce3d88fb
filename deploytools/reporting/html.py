"""A report as one self-contained HTML page: nothing is fetched, and nothing runs but its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.template import Context, Engine

from deploytools.reporting import guide
from deploytools.reporting.condensed import SYMBOLS, URGENT, grouped, listed
from deploytools.verification.findings import Finding, Report, Severity, Status

TEMPLATES = Path(__file__).parent.parent / "templates"

#: Names that are shown before the rest is folded away.
UNFOLDED = 8


def to_html(report: Report) -> str:
    """The whole report."""
    parts = {name: (TEMPLATES / f"deploytools/report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    context = {
        "report": report,
        "mood": mood(report),
        "seconds": f"{report.seconds:.1f}",
        "counts": [
            {"css": css(status), "status": status, "number": str(number)}
            for status, number in reversed(report.counts.items())
            if number
        ],
        "changes": report.changes,
        "matrix": matrix(report),
        "sections": sections(report),
        "style": parts["css"],
        "style_hash": source_hash(parts["css"]),
        "script": parts["js"],
        "script_hash": source_hash(parts["js"]),
    }
    template = Engine(dirs=[str(TEMPLATES)]).get_template("deploytools/report.html")
    return template.render(Context(context))


def mood(report: Report) -> str:
    """The class of the verdict: green only where there is nothing to add to it."""
    if report.exit_code:
        return {1: "fail"}.get(report.exit_code, "unknown")
    return "warn" if report.reserve or report.counts[Status.FAIL] else "pass"


def source_hash(text: str) -> str:
    """What a content security policy calls `text` by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def css(status: Status) -> str:
    """The class of a status."""
    return status.replace(" ", "-")


@dataclass
class Item:
    """One distinct finding, for the page.

    Attributes:
        resources: all that it is about, in one text.
        anchor: its place in the page, for the first of its check.
    """

    finding: Finding
    names: list[str]
    anchor: str = ""
    css: str = field(init=False)
    symbol: str = field(init=False)

    def __post_init__(self) -> None:
        self.names = [name for name in self.names if name]
        self.css, self.symbol = css(self.finding.status), SYMBOLS[self.finding.status]

    @property
    def resources(self) -> str:
        """Every resource."""
        return ", ".join(self.names)

    @property
    def more(self) -> bool:
        """Whether there are too many resources to show at once."""
        return len(self.names) > UNFOLDED

    @property
    def short(self) -> str:
        """The first resources."""
        return listed(self.names)

    @property
    def command(self) -> str:
        """The command that the hint names, if any."""
        return command_in(self.finding.hint)

    @property
    def advice(self) -> str:
        """The hint; what it says around its command, where it has one."""
        before, found, after = self.finding.hint.partition(f": {self.command}")
        return f"{before}{after}".rstrip(".") + ":" if self.command and found else self.finding.hint


def command_in(hint: str) -> str:
    """The command after ``Run:``, up to a remark, in brackets or after a comma, or the end of the sentence."""
    found = re.search(r"[Rr]un: (.+?)(?= \(|[,;.] |\.?$)", hint)
    return found[1] if found else ""


def sections(report: Report) -> list[dict[str, Any]]:
    """What is to be done, the worst first; then everything else by section of the guide."""
    anchored: set[str] = set()
    urgent = [finding for finding in report.findings if finding.status in URGENT]
    rest = [finding for finding in report.findings if finding.status not in URGENT]
    parts = [("To be done", urgent)] if urgent else []
    parts += [(guide.heading(section), found) for section, found in guide.by_section(rest).items()]
    return [{"heading": heading, "items": _items(findings, anchored)} for heading, findings in parts]


def _urgency(item: Item) -> tuple[int, int]:
    statuses, severities = list(Status), list(Severity)
    return -statuses.index(item.finding.status), -severities.index(item.finding.severity)


def _items(findings: Iterable[Finding], anchored: set[str]) -> list[Item]:
    items = sorted((Item(finding, names) for finding, names in grouped(findings)), key=_urgency)
    for item in items:
        if item.finding.check not in anchored:
            anchored.add(item.finding.check)
            item.anchor = item.finding.check
    return items


def matrix(report: Report) -> dict[str, Any]:
    """The worst status of each check for each tenant; tenants with something to be done come first."""
    order = list(Status)
    names = set(report.tenants)
    worst: dict[tuple[str, str], Status] = {}
    titles: dict[str, str] = {}
    for finding in report.findings:
        if finding.subject in names:
            titles.setdefault(finding.check, finding.title)
            key = (finding.subject, finding.check)
            worst[key] = max(finding.status, worst.get(key, finding.status), key=order.index)
    rows = [_row(tenant, [worst.get((tenant, id)) for id in titles]) for tenant in report.tenants if titles]
    return {
        "checks": [
            {"area": id.split(".")[0], "subject": id.split(".")[1], "title": title, "anchor": id}
            for id, title in titles.items()
        ],
        "rows": sorted(rows, key=lambda row: not row["is_urgent"]),
    }


def _row(tenant: str, statuses: Sequence[Status | None]) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "is_urgent": not URGENT.isdisjoint(status for status in statuses if status),
        "css": " ".join(sorted({css(status) for status in statuses if status})),
        "cells": [
            {"css": css(status), "symbol": SYMBOLS[status], "status": status}
            if status
            else {"css": "", "symbol": "", "status": "not judged"}
            for status in statuses
        ],
    }
