"""A report as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from deploytools.reporting.findings import five_lines, to_text
from deploytools.reporting.json import to_json
from deploytools.verification.findings import Change, Finding, Report, Severity, Status

GOOD = Finding("area.good", "All is well", Severity.HIGH, "Step 1", Status.PASS, "one", "seen", "")
BAD = Finding("area.bad", "Door shut", Severity.CRITICAL, "Step 2", Status.FAIL, "two", "it is open", "Shut it")
SAME = replace(BAD, check="other.bad", resource="")
WORSE = replace(BAD, check="other.worse", resource="", evidence="it is ajar")
REPORT = Report((BAD, GOOD, replace(GOOD, resource="three"), SAME, WORSE), 1.25, "prod")


def plain(status: Status, line: str) -> str:
    return line


def test_text_has_what_is_to_be_done_last_and_tells_a_cause_once():
    assert to_text(REPORT, plain).splitlines() == [
        "Step 1 · Retrieve current AWS secret structure:",
        "✓ All is well",
        "    one, three: seen",
        "",
        "To be done:",
        "✗ Door shut",
        "    two: it is open",
        "    → Shut it",
        "    (area.bad, critical; guide: Step 2)",
        "✗ Door shut",
        "    as above",
        "    (other.bad, critical; guide: Step 2)",
        "✗ Door shut",
        "    it is ajar",
        "    → as above",
        "    (other.worse, critical; guide: Step 2)",
        "",
        "Not as it should be: 3 fail.",
        "Judged under prod (launch).",
        "2 pass, 3 fail; 1.2 s",
    ]


def test_text_ends_with_the_worst_and_the_verdict():
    mild = replace(BAD, check="area.mild", title="Mild", severity=Severity.LOW)
    odd = replace(BAD, check="area.odd", title="Odd", status=Status.WARN, guide="Step 9")
    unseen = replace(BAD, check="area.unseen", title="Unseen", status=Status.UNKNOWN, guide="Step 9")
    lines = to_text(Report((BAD, mild, unseen, odd, GOOD), 0, "prod")).splitlines()
    titles = [line for line in lines if not line.startswith(" ") and line]
    assert titles[1:] == [
        "✓ All is well",
        "To be done:",
        "! Odd",
        "? Unseen",
        "✗ Mild",
        "✗ Door shut",
        "Not known: 1 could not be looked at, 2 fail.",
        "Judged under prod (launch).",
        "1 pass, 1 warn, 1 unknown, 2 fail; 0.0 s",
    ]


def test_what_does_not_apply_is_told_by_its_reason():
    reason = 'no ECS service is declared (DEPLOYTOOLS["ECS_SERVICE"])'
    moot = replace(BAD, status=Status.NOT_APPLICABLE, evidence=reason, hint="", resource="")
    ecs = [replace(moot, check=f"ecs.{name}") for name in ("rolled-out", "circuit-breaker", "logs")]
    other = replace(moot, check="mail.ses", evidence="not SES", resource="shop")
    text = to_text(Report((*ecs[:2], GOOD, other, ecs[2]), 0, "prod"))
    assert text.splitlines()[4:] == [
        '- not applicable, no ECS service is declared (DEPLOYTOOLS["ECS_SERVICE"]):',
        "  ecs.rolled-out, ecs.circuit-breaker, ecs.logs",
        "- not applicable, not SES: mail.ses (shop)",
        "",
        "As it should be: nothing fails.",
        "Judged under prod (launch).",
        "4 not applicable, 1 pass; 0.0 s",
    ]


def test_text_keeps_to_80_columns_but_for_what_cannot_be_broken():
    long = replace(BAD, title="word " * 20, evidence="word " * 60, hint="https://" + "x" * 100)
    lines = to_text(Report((long,), 0, "prod"), plain).splitlines()
    assert [line for line in lines if len(line) > 80] == ["    https://" + "x" * 100]


def test_only_the_title_is_painted():
    painted = to_text(Report((GOOD,), 0, "prod"), lambda status, line: f"<{status}>{line}</>")
    assert painted.splitlines()[1:3] == ["<pass>✓ All is well</>", "    one: seen"]


def test_json_is_stable_and_versioned():
    document = json.loads(to_json(REPORT))
    assert list(document) == [
        "version", "settings", "stage", "account", "verdict", "exit_code", "counts", "findings", "measured",
    ]  # fmt: skip
    assert (document["version"], document["settings"]) == (2, "prod")
    assert document["measured"] == {"seconds": 1.25, "findings": []}
    assert document["counts"] == {"not applicable": 0, "pass": 2, "waived": 0, "warn": 0, "unknown": 0, "fail": 3}
    assert document["findings"][0] == {
        "check": "area.bad",
        "resource": "two",
        "status": "fail",
        "severity": "critical",
        "title": "Door shut",
        "evidence": "it is open",
        "hint": "Shut it",
        "guide": "Step 2",
        "waiver": "",
    }


def test_what_was_measured_is_shown_to_people_and_kept_apart_for_programs():
    timed = replace(GOOD, measured="12 ms")
    report = Report((timed, BAD), 1.25, "prod")
    assert "    one: seen; 12 ms" in to_text(report).splitlines()
    document = json.loads(to_json(report))
    assert document["findings"] == json.loads(to_json(Report((GOOD, BAD), 7, "prod")))["findings"]
    assert document["measured"] == {
        "seconds": 1.25,
        "findings": [{"check": GOOD.check, "resource": "one", "measured": "12 ms"}],
    }


def test_five_lines_keep_the_words_of_the_guide():
    assert five_lines(Report((GOOD, BAD), 0, "prod"), plain).splitlines() == [
        "✓ All is well (seen)",
        "✗ Door shut",
        "    two: it is open",
        "    → Shut it",
        "    (area.bad, critical; guide: Step 2)",
    ]


def test_what_does_not_fit_beside_a_line_is_below_it():
    long = replace(GOOD, evidence="a " * 30 + "b " * 20)
    lines = five_lines(Report((long,), 0, "prod"), lambda status, line: f"<{line}>").splitlines()
    assert (lines[0], lines[1][:6], len(lines)) == ("<✓ All is well>", "    a ", 3)
    assert max(map(len, lines)) <= 80


def test_nothing_checked_is_said():
    assert to_text(Report((), 0, "prod"), plain).splitlines() == [
        "Not known: nothing was looked at.",
        "Judged under prod (launch).",
        "nothing was checked; 0.0 s",
    ]


def test_a_waived_failure_says_why():
    waived = replace(BAD, status=Status.WAIVED, waiver="moved on Monday (ops, until 2027-01-31)")
    assert to_text(Report((waived,), 0, "prod")).splitlines()[1:5] == [
        "~ Door shut",
        "    two: it is open",
        "    waived: moved on Monday (ops, until 2027-01-31)",
        "    → Shut it",
    ]


def test_changes_take_the_place_of_the_findings():
    changes = (
        Change("area.bad", "two", Status.PASS, Status.FAIL, "it is open"),
        Change("area.new", "", None, Status.PASS, "seen"),
        Change("area.old", "", Status.WARN, None, "was seen"),
    )
    assert to_text(replace(REPORT, changes=changes)).splitlines() == [
        "area.bad two: pass → fail",
        "    it is open",
        "area.new: not there → pass",
        "    seen",
        "area.old: warn → not there",
        "    was seen",
        "",
        "Not as it should be: 3 fail.",
        "Judged under prod (launch).",
        "2 pass, 3 fail; 1.2 s",
    ]
    assert to_text(replace(REPORT, changes=())).splitlines()[0] == "Nothing changed."
