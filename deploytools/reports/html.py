"""A report as one self-contained HTML page: it makes no request and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django.template import Context, Engine

from deploytools.reports import guide
from deploytools.reports.grouping import (
    PROBLEMS,
    SYMBOLS,
    by_heading,
    dependents_count,
    group_by_resource,
    is_fulfilled,
    split_by_cause,
    split_reporters,
    urgency,
)
from deploytools.verification.findings import Finding, Report, Status
from deploytools.wording import MAX_NAMES, count, join_names

TEMPLATES = Path(__file__).parent.parent / "templates"


def to_html(report: Report) -> str:
    """Return the report."""
    parts = {name: (TEMPLATES / f"deploytools/report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    context = {
        "report": report,
        "verdict_css_class": css_class(report.outcome),
        "seconds": f"{report.seconds:.1f}",
        "counts": [
            {"css": css_class(status), "status": status, "number": str(number)}
            for status, number in reversed(report.counts.items())
            if number
        ],
        "checklist": checklist(report),
        "changes": report.changes,
        "tenants": tenant_table(report),
        "sections": sections(report),
        "style": parts["css"],
        "style_hash": source_hash(parts["css"]),
        "script": parts["js"],
        "script_hash": source_hash(parts["js"]),
    }
    template = Engine(dirs=[str(TEMPLATES)]).get_template("deploytools/report.html")
    return template.render(Context(context))


def checklist(report: Report) -> list[dict[str, Any]]:
    """Return the items of the guide's Security Checklist, if the checks refer to it."""
    if not any(finding.check.guide for finding in report.findings):
        return []
    items = []
    for item in guide.checklist(report.presets):
        findings = [finding for finding in report.findings if guide.item_of(finding.check.guide) == item]
        worst = max((finding.status for finding in findings), key=list(Status).index, default=None)
        is_done = is_fulfilled(findings)
        status = Status.PASS if is_done else worst or Status.NOT_APPLICABLE
        said = "fulfilled" if is_done else worst or "no check was run"
        items.append({"item": item, "css": css_class(status), "symbol": SYMBOLS[status], "status": said})
    return items


def source_hash(text: str) -> str:
    """Return the hash of `text` as a content security policy has it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def css_class(status: Status) -> str:
    """Return the CSS class of a status."""
    return status.replace(" ", "-")


def command_in(hint: str) -> str:
    """Return the command after ``Run:``, without the text that follows in parentheses or after a comma or period."""
    found = re.search(r"[Rr]un: (.+?)(?= \(|[,;.] |\.?$)", hint)
    return found[1] if found else ""


def sections(report: Report) -> list[dict[str, Any]]:
    """Return causes and problems, the most urgent first, then all other findings by section."""
    anchored: set[str] = set()
    causes, findings = split_by_cause(report.findings)
    problems = [finding for finding in findings if finding.status in PROBLEMS]
    parts = [("Problems", problems)] if causes or problems else []
    parts += by_heading(finding for finding in findings if finding.status not in PROBLEMS).items()
    first = list(map(_cause, causes))
    return [
        {"heading": heading, "items": [*(() if number else first), *_items(found, anchored)]}
        for number, (heading, found) in enumerate(parts)
    ]


def _cause(findings: Sequence[Finding]) -> dict[str, Any]:
    reporters, ids = split_reporters(findings)
    return _item(findings[0], ()) | {
        "is_cause": True,
        "reporters": reporters,
        "dependents": ids,
        "summary": dependents_count(ids),
        "statuses": " ".join({css_class(finding.status): "" for finding in findings}),
    }


def _items(findings: Iterable[Finding], anchored: set[str]) -> list[dict[str, Any]]:
    """Return the distinct findings; the first one of a check has an anchor."""
    groups = sorted(group_by_resource(findings), key=lambda group: urgency(group[0]), reverse=True)
    items = []
    for finding, names in groups:
        items.append(_item(finding, [name for name in names if name]))
        if finding.check.id not in anchored:
            anchored.add(finding.check.id)
            items[-1]["anchor"] = finding.check.id
    return items


def _item(finding: Finding, resources: Sequence[str]) -> dict[str, Any]:
    command = command_in(finding.hint)
    is_problem, is_folded, title = finding.status in PROBLEMS, len(resources) > MAX_NAMES, finding.check.title
    shown = "" if is_folded else ", ".join(resources)
    before, found, after = finding.hint.partition(f": {command}")
    return {
        "finding": finding,
        "title": f"{shown}: {finding.evidence}" if is_problem and shown else finding.evidence if is_problem else title,
        "expected": title if is_problem else "",
        "evidence": finding.verdict.measured if is_problem else finding.full_evidence,
        "css": css_class(finding.status),
        "statuses": css_class(finding.status),
        "symbol": SYMBOLS[finding.status],
        "resources": ", ".join(resources),
        "shown": "" if is_problem else shown,
        "is_folded": is_folded,
        "first_resources": join_names(resources),
        "command": command,
        "advice": f"{before}{after}".rstrip(".") + ":" if command and found else finding.hint,
    }


def tenant_table(report: Report) -> dict[str, Any]:
    """Return the worst status of each check for each tenant; tenants with problems first."""
    order = list(Status)
    names = set(report.tenants)
    worst: dict[tuple[str, str], Status] = {}
    titles: dict[str, str] = {}
    for finding in report.findings:
        if finding.tenant in names:
            titles.setdefault(finding.check.id, finding.check.title)
            key = (finding.tenant, finding.check.id)
            worst[key] = max(finding.status, worst.get(key, finding.status), key=order.index)
    rows = [_row(tenant, [worst.get((tenant, id)) for id in titles]) for tenant in report.tenants if titles]
    return {
        "caption": f"{count(len(rows), 'tenant')}, {count(len(titles), 'check')}",
        "checks": [
            {"area": id.split(".")[0], "subject": id.split(".")[1], "title": title, "anchor": id}
            for id, title in titles.items()
        ],
        "rows": sorted(rows, key=lambda row: not row["has_problems"]),
    }


def _row(tenant: str, statuses: Sequence[Status | None]) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "has_problems": not PROBLEMS.isdisjoint(status for status in statuses if status),
        "css": " ".join(sorted({css_class(status) for status in statuses if status})),
        "cells": [
            {"css": css_class(status), "symbol": SYMBOLS[status], "status": status}
            if status
            else {"css": "", "symbol": "", "status": "not checked"}
            for status in statuses
        ],
    }
