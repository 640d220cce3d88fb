"""A report as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from deploytools.reports.findings_text import check_rds_lines, to_text
from deploytools.reports.json import to_json
from deploytools.verification.findings import Change, Report, Severity, Status
from tests.findings import change, make_finding
from tests.reports.samples import CAUSE, without_secret

GOOD = make_finding("area.good", "Backups are enabled", Severity.HIGH, "Step 1", Status.PASS, "one", "7 days", "")
BAD = make_finding(
    "area.bad", "Port is closed", Severity.CRITICAL, "Step 2", Status.FAIL, "two", "port 22 is open", "Close it"
)
SAME = change(BAD, id="other.same", title="Rule is removed", severity=Severity.LOW)
OTHER = change(BAD, id="other.bad", resource="", evidence="port 23 is open")
REPORT = Report((BAD, GOOD, change(GOOD, resource="three"), SAME, OTHER), 1.25, "prod")


def plain(status: Status, line: str) -> str:
    return line


def test_text_lists_problems_last():
    assert to_text(REPORT, plain).splitlines() == [
        "Step 1 · Retrieve current AWS secret structure:",
        "✓ Backups are enabled",
        "    one, three: 7 days",
        "",
        "Problems:",
        "✗ Rule is removed",
        "    two: port 22 is open",
        "    → Close it",
        "    (other.same, low; guide: Step 2)",
        "✗ Port is closed",
        "    two: port 22 is open",
        "    → Close it",
        "    (area.bad, critical; guide: Step 2)",
        "✗ Port is closed",
        "    port 23 is open",
        "    → Close it",
        "    (other.bad, critical; guide: Step 2)",
        "",
        "FAILED: 3 failed",
        "Settings: prod, stage: launch.",
        "Findings: 2 pass, 3 fail. Duration: 1.2 s.",
    ]


def test_findings_of_one_check_share_its_title_and_a_repeated_hint():
    two = change(BAD, evidence="port 23 is open")
    third = change(BAD, evidence="port 24 is open", hint="Remove it")
    assert to_text(Report((BAD, two, third), 0, "prod")).splitlines()[1:7] == [
        "✗ Port is closed",
        "    two: port 22 is open",
        "    two: port 23 is open",
        "    → Close it",
        "    two: port 24 is open",
        "    → Remove it",
    ]


def test_text_ends_with_the_most_urgent_problem_and_the_verdict():
    mild = change(BAD, id="area.mild", title="Mild", severity=Severity.LOW, evidence="mild")
    odd = change(BAD, id="area.odd", title="Odd", status=Status.WARN, guide="Step 9")
    unknown = change(BAD, id="area.unknown", title="Unknown", status=Status.UNKNOWN, guide="Step 9")
    lines = to_text(Report((BAD, mild, unknown, odd, GOOD), 0, "prod")).splitlines()
    titles = [line for line in lines if not line.startswith(" ") and line]
    assert lines[-3] == "  1 check could not be evaluated: port 22 is open"
    assert titles[1:] == [
        "✓ Backups are enabled",
        "Problems:",
        "! Odd",
        "? Unknown",
        "✗ Mild",
        "✗ Port is closed",
        "UNKNOWN: 1 check could not be evaluated, 2 failed, 1 warning",
        "Settings: prod, stage: launch.",
        "Findings: 1 pass, 1 warn, 1 unknown, 2 fail. Duration: 0.0 s.",
    ]


def test_checks_that_do_not_apply_are_grouped_by_reason():
    reason = 'DEPLOYTOOLS["ECS_SERVICE"] is not set'
    base = change(BAD, status=Status.NOT_APPLICABLE, evidence=reason, hint="", resource="")
    ecs = [change(base, id=f"ecs.{name}") for name in ("deployment-complete", "circuit-breaker", "logs")]
    other = change(base, id="mail.ses", evidence="not SES", resource="shop")
    partly = change(GOOD, status=Status.NOT_APPLICABLE, evidence="a replica", resource="shop")
    text = to_text(Report((*ecs[:2], GOOD, other, ecs[2], partly), 0, "prod"))
    assert text.splitlines()[4:] == [
        f"Not applicable (a replica): {GOOD.check.id} (shop)",
        "",
        "OK: 1 check passed, 4 not applicable",
        '  3 checks not applicable: DEPLOYTOOLS["ECS_SERVICE"] is not set',
        "    (ecs.deployment-complete, ecs.circuit-breaker, ecs.logs)",
        "  1 check not applicable: not SES (mail.ses)",
        "Settings: prod, stage: launch.",
        "Findings: 5 not applicable, 1 pass. Duration: 0.0 s.",
    ]


def test_each_reason_of_unevaluated_checks_is_one_line():
    base = change(BAD, status=Status.UNKNOWN, id="databases.login")
    per_tenant = [change(base, resource=name, evidence=f"{name} timed out") for name in ("a", "b", "c")]
    denied = [replace(change(base, id=id, evidence="denied"), cause="role") for id in ("iam.one", "iam.two")]
    partly = [change(base, id="x.y", status=status, evidence="no y") for status in (Status.PASS, Status.NOT_APPLICABLE)]
    report = Report((*per_tenant, *denied, *partly), 0, "prod")
    assert report.verdict == "UNKNOWN: 3 checks could not be evaluated (2 causes)"
    assert list(map(str, report.not_evaluated)) == [
        "2 checks could not be evaluated: denied",
        "1 check could not be evaluated: a timed out (2 more reasons)",
    ]


def test_text_has_at_most_80_columns_except_for_words_that_are_longer():
    long = change(BAD, title="word " * 20, evidence="word " * 60, hint="https://" + "x" * 100)
    lines = to_text(Report((long,), 0, "prod"), plain).splitlines()
    assert [line for line in lines if len(line) > 80] == ["    https://" + "x" * 100]


def test_text_reports_a_cause_once():
    assert to_text(without_secret()).splitlines() == [
        "Website:",
        "✓ Plain HTTP is redirected to HTTPS",
        "    status 301",
        "",
        "Problems:",
        f"✗ {CAUSE}",
        "    → Run: python manage.py sync_secrets FILE --create",
        "    reported by connection.secret; 2 checks depend on it: connection.query,",
        "    rds.deletion-protection",
        "",
        "UNKNOWN: 2 checks could not be evaluated (1 cause), 1 failed",
        f"  2 checks could not be evaluated: {CAUSE}",
        "Settings: prod, stage: launch.",
        "Findings: 1 pass, 2 unknown, 1 fail. Duration: 0.0 s.",
    ]


def test_text_leaves_the_reporter_out_of_the_dependent_checks():
    reported, dependent, *_ = without_secret().findings
    lines = to_text(Report((reported, dependent), 0, "prod")).splitlines()
    assert "    reported by connection.secret; 1 check depends on it: connection.query" in lines
    unknown = change(reported, status=Status.UNKNOWN)
    lines = to_text(Report((unknown, dependent), 0, "prod")).splitlines()
    assert "    2 checks depend on it: connection.query, connection.secret" in lines


def test_the_five_lines_have_a_cause_once():
    findings = without_secret().findings[:2]
    assert check_rds_lines(Report(findings, 0, "prod")).splitlines() == [
        "✗ Successfully retrieved secrets from AWS Secrets Manager",
        f"    {CAUSE}",
        "    → Run: python manage.py sync_secrets FILE --create",
        "    (connection.secret, high)",
        "? Successfully executed test query (not evaluated: see connection.secret)",
    ]


def test_a_cause_of_one_check_is_reported_with_the_check():
    report = Report(without_secret().findings[1:2], 0, "prod")
    assert to_text(report).splitlines()[1:3] == ["? Successfully executed test query", f"    {CAUSE}"]
    assert report.verdict == "UNKNOWN: 1 check could not be evaluated"


def test_json_refers_to_the_cause():
    document = json.loads(to_json(without_secret()))
    assert [(item["check"], item["status"], item["cause"]) for item in document["findings"]] == [
        ("connection.secret", "fail", "secret"),
        ("connection.query", "unknown", "secret"),
        ("rds.deletion-protection", "unknown", "secret"),
        ("web.https-redirect", "pass", ""),
    ]
    assert {item["evidence"] for item in document["findings"] if item["cause"]} == {CAUSE}
    assert document["not_evaluated"] == [
        {"status": "unknown", "reason": CAUSE, "checks": ["connection.query", "rds.deletion-protection"]}
    ]


def test_a_command_is_on_one_line_at_any_width():
    first = "aws rds modify-db-instance --db-instance-identifier shop-multi-tenant-prod --deletion-protection"
    second = 'aws iam put --policy \'{"Sid": "a (b), c"}\''
    hint = f"Run: {first} (no downtime). If it fails, check its events, then run: {second}; then wait for some minutes"
    lines = to_text(Report((change(BAD, hint=hint),), 0, "prod")).splitlines()
    assert f"    {first}" in lines
    assert [line for line in lines if second in line]
    assert [line for line in lines if len(line) > 80] == [f"    {first}"]


def test_only_the_title_is_painted():
    painted = to_text(Report((GOOD,), 0, "prod"), lambda status, line: f"<{status}>{line}</>")
    assert painted.splitlines()[1:3] == ["<pass>✓ Backups are enabled</>", "    one: 7 days"]


def test_json_is_stable_and_versioned():
    document = json.loads(to_json(REPORT))
    assert list(document) == [
        "version", "settings", "stage", "account", "name", "release", "verdict", "exit_code", "not_evaluated",
        "counts", "findings", "measured",
    ]  # fmt: skip
    assert (document["version"], document["settings"]) == (1, "prod")
    assert (document["verdict"], document["exit_code"]) == ("FAILED: 3 failed", 1)
    assert document["measured"] == {"at": "", "seconds": 1.25, "findings": []}
    assert document["counts"] == {"not applicable": 0, "pass": 2, "waived": 0, "warn": 0, "unknown": 0, "fail": 3}
    assert document["findings"][0] == {
        "check": "area.bad",
        "resource": "two",
        "status": "fail",
        "severity": "critical",
        "title": "Port is closed",
        "evidence": "port 22 is open",
        "hint": "Close it",
        "guide": "Step 2",
        "waiver": "",
        "cause": "",
    }


def test_measured_values_are_shown_to_people_and_separate_in_json():
    timed = change(GOOD, measured="12 ms")
    report = Report((timed, BAD), 1.25, "prod")
    assert "    one: 7 days; 12 ms" in to_text(report).splitlines()
    document = json.loads(to_json(report))
    assert document["findings"] == json.loads(to_json(Report((GOOD, BAD), 7, "prod")))["findings"]
    assert document["measured"] == {
        "at": "",
        "seconds": 1.25,
        "findings": [{"check": GOOD.check.id, "resource": "one", "measured": "12 ms"}],
    }


def test_lines_of_check_rds_have_the_words_of_the_guide():
    assert check_rds_lines(Report((GOOD, BAD), 0, "prod"), plain).splitlines() == [
        "✓ Backups are enabled (7 days)",
        "✗ Port is closed",
        "    two: port 22 is open",
        "    → Close it",
        "    (area.bad, critical; guide: Step 2)",
    ]


def test_evidence_that_does_not_fit_on_a_line_is_below_it():
    long = change(GOOD, evidence="a " * 30 + "b " * 20)
    lines = check_rds_lines(Report((long,), 0, "prod"), lambda status, line: f"<{line}>").splitlines()
    assert (lines[0], lines[1][:6], len(lines)) == ("<✓ Backups are enabled>", "    a ", 3)
    assert max(map(len, lines)) <= 80


def test_a_report_without_findings():
    assert to_text(Report((), 0, "prod"), plain).splitlines() == [
        "UNKNOWN: no check was run",
        "Settings: prod, stage: launch.",
        "Findings: none. Duration: 0.0 s.",
    ]


def test_a_waived_failure_names_its_waiver():
    waived = change(BAD, status=Status.WAIVED, waiver="moved on Monday (ops, until 2027-01-31)")
    assert to_text(Report((waived,), 0, "prod")).splitlines()[1:5] == [
        "~ Port is closed",
        "    two: port 22 is open",
        "    waived: moved on Monday (ops, until 2027-01-31)",
        "    → Close it",
    ]


def test_changes_are_shown_instead_of_the_findings():
    changes = (
        Change("area.bad", "two", Status.PASS, Status.FAIL, "port 22 is open"),
        Change("area.new", "", None, Status.PASS, "7 days"),
        Change("area.old", "", Status.WARN, None, "3 days"),
    )
    assert to_text(replace(REPORT, changes=changes)).splitlines() == [
        "area.bad two: pass → fail",
        "    port 22 is open",
        "area.new: no finding → pass",
        "    7 days",
        "area.old: warn → no finding",
        "    3 days",
        "",
        "FAILED: 3 failed",
        "Settings: prod, stage: launch.",
        "Findings: 2 pass, 3 fail. Duration: 1.2 s.",
    ]
    assert to_text(replace(REPORT, changes=())).splitlines()[0] == "No changes."
