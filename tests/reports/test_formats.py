"""JUnit, GitHub and Markdown reports, and the destination of each format."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from deploytools.errors import ConfigurationError
from deploytools.reports import guide
from deploytools.reports.formats import FORMATS, destinations, render
from deploytools.reports.github import MAX_SUMMARY, to_github, truncate_summary
from deploytools.reports.junit import to_junit
from deploytools.reports.markdown import to_markdown
from deploytools.verification.findings import Report, Severity, Status
from deploytools.verification.registry import load_registry
from tests.findings import change, make_finding
from tests.reports.samples import CAUSE, without_secret

ITEM = "Security Checklist: RDS deletion protection enabled"
GOOD = make_finding("rds.good", "Backups are enabled", Severity.HIGH, "Step 1", Status.PASS, "one", "seen", "")
BAD = make_finding(
    "rds.bad", "Port is closed", Severity.CRITICAL, ITEM, Status.FAIL, "db-1", "port <22> is open", "Run: close 22"
)
UNKNOWN = change(BAD, id="sec.unknown", status=Status.UNKNOWN, resource="", evidence="AWS denied rds:X")
WARNING = change(BAD, id="sec.odd", guide="Step 10", status=Status.WARN)
WAIVED = change(BAD, id="sec.waived", guide="Step 2: x", status=Status.WAIVED, waiver="moved (ops)")
NOT_APPLICABLE = change(GOOD, id="sec.not-applicable", status=Status.NOT_APPLICABLE, evidence="no such host")
REPORT = Report((GOOD, BAD, UNKNOWN, WARNING, WAIVED, NOT_APPLICABLE), 1.25, "prod", account="123456789012")
REASONS = ["1 check could not be evaluated: AWS denied rds:X", "1 check not applicable: no such host"]
VERDICT = "UNKNOWN: 1 check could not be evaluated, 1 failed, 1 warning, 1 waived, 1 not applicable"


@pytest.mark.parametrize(
    ("formats", "outputs", "places"),
    [
        ("", "", "text>-"),
        ("json", "", "json>-"),
        ("json", "a.json", "json>a.json"),
        ("json", "a", "json>a"),
        ("", "a", "text>a"),
        ("", "a.html", "html>a.html text>-"),
        ("", "a.HTM b.xml c.md d.txt", "html>a.HTM junit>b.xml markdown>c.md text>d.txt"),
        ("html json", "report.html report.json", "html>report.html json>report.json"),
        ("github", "a.json b.json", "json>a.json json>b.json github>-"),
    ],
)
def test_the_destination_of_each_format(formats, outputs, places):
    found = destinations(formats.split(), [Path(name) for name in outputs.split()])
    assert " ".join(f"{format}>{path or '-'}" for format, path in found) == places


@pytest.mark.parametrize(
    ("formats", "outputs", "message", "hint"),
    [
        (
            "json junit", "", "Only one report can go to stdout, not json and junit.",
            "Write the others to files, for example: --output report.xml",
        ),
        (
            "json junit", "a", "The suffix of a does not select a format.",
            "Pass one --format, or use one of these suffixes: .txt .json .xml .html .htm .md",
        ),
    ],
)  # fmt: skip
def test_formats_without_a_destination_are_refused(formats, outputs, message, hint):
    with pytest.raises(ConfigurationError) as raised:
        destinations(formats.split(), [Path(name) for name in outputs.split()])
    assert (str(raised.value), raised.value.hint) == (message, hint)


def test_junit_has_one_test_case_for_each_finding():
    root = ET.fromstring(to_junit(REPORT))  # noqa: S314
    assert root.attrib == {
        "tests": "6", "failures": "1", "errors": "1", "skipped": "2", "name": "verify_deploy", "time": "1.250",
    }  # fmt: skip
    assert [(suite.get("name"), suite.get("tests")) for suite in root] == [
        ("verify_deploy", "0"), ("rds", "2"), ("sec", "4"),
    ]  # fmt: skip
    assert root[0].findtext("system-out") == "\n".join([VERDICT, *REASONS])
    cases = {case.get("classname"): case for case in root.iter("testcase")}
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "rds.good": ["system-out"],
        "rds.bad": ["failure"],
        "sec.unknown": ["error"],
        "sec.odd": ["system-out"],
        "sec.waived": ["skipped"],
        "sec.not-applicable": ["skipped"],
    }
    failure = cases["rds.bad"][0]
    assert (cases["rds.bad"].get("name"), failure.attrib) == (
        "Port is closed [db-1]",
        {"message": "port <22> is open", "type": "critical"},
    )
    assert failure.text == f"port <22> is open\nRun: close 22\nGuide: {ITEM}"
    assert cases["sec.waived"][0].get("message") == "waived: moved (ops); port <22> is open"


def test_junit_counts_the_time_of_each_check_once():
    timed = replace(REPORT, findings=(GOOD, change(GOOD, resource="two"), BAD), seconds_of_checks={GOOD.check.id: 0.5})
    root = ET.fromstring(to_junit(timed))  # noqa: S314
    assert [case.get("time") for case in root.iter("testcase")] == ["0.500", "0.000", "0.000"]
    assert [suite.get("time") for suite in root] == ["0.000", "0.500"]


def test_junit_replaces_characters_that_xml_does_not_allow():
    odd = change(BAD, evidence="a\x00b\x1b[31m\ud800]]>&", resource="\x07")
    root = ET.fromstring(to_junit(Report((odd,), 0, "prod")))  # noqa: S314
    assert [case.get("name") for case in root.iter("testcase")] == ["Port is closed [�]"]
    assert next(root.iter("failure")).get("message") == "a�b�[31m�]]>&"


def test_github_annotates_problems_the_worst_first():
    lines = to_github(REPORT).splitlines()
    assert lines[:2] == [
        f"::notice title=verify_deploy::{'%0A'.join([VERDICT, *REASONS])}",
        "::error title=rds.bad (critical)::db-1: port <22> is open%0AExpected: Port is closed%0ARun: close 22",
    ]
    assert [line.split(" ")[0] for line in lines] == ["::notice", "::error", "::error", "::warning", "::notice"]


def test_github_orders_annotations_by_level_and_severity():
    mild = change(BAD, id="rds.mild", severity=Severity.LOW)
    unknown = change(UNKNOWN, severity=Severity.HIGH)
    shown = to_github(replace(REPORT, findings=(mild, unknown, BAD, WARNING)))
    assert re.findall(r"::(\w+) title=(\S+) \(", shown) == [
        ("error", "rds.bad"), ("error", "sec.unknown"), ("error", "rds.mild"), ("warning", "sec.odd"),
    ]  # fmt: skip
    shown = to_github(replace(REPORT, findings=(mild, BAD), fail_level=Severity.HIGH))
    assert re.findall(r"::(\w+) title=(\S+) \(", shown) == [("error", "rds.bad"), ("warning", "rds.mild")]


def test_github_ranks_a_cause_by_its_most_severe_check():
    findings = [change(finding, severity=Severity.LOW) for finding in without_secret().findings]
    findings[1] = change(findings[1], severity=Severity.CRITICAL)
    lines = to_github(Report((change(BAD, severity=Severity.HIGH), *findings), 0, "prod")).splitlines()
    assert [line.partition("::")[2].partition("::")[0] for line in lines[1:]] == [
        "error title=2 checks could not be evaluated", "error title=rds.bad (high)",
    ]  # fmt: skip


def test_github_commands_in_evidence_are_escaped():
    malicious = change(BAD, title="a, b: c", evidence="100%\n::set-output name=x::y\r")
    (_, line) = to_github(Report((malicious,), 0, "prod")).splitlines()
    text = "db-1: 100%25%0A::set-output name=x::y%0D%0AExpected: a, b: c%0ARun: close 22"
    assert line == f"::error title=rds.bad (critical)::{text}"


def test_a_summary_is_truncated_at_the_limit_of_github():
    assert truncate_summary("short") == "short"
    cut = truncate_summary("ä" * 50 + "\n" + "line\n" * 300_000)
    assert len(cut.encode()) <= MAX_SUMMARY
    assert cut.endswith("line\n\n… truncated: the report exceeds the size limit of a summary.\n")


def test_markdown_ticks_the_checklist():
    text = to_markdown(REPORT)
    assert text.startswith(
        "\n".join(["# Verification", "", f"**{VERDICT}**", "", *(f"- {line}" for line in REASONS), ""])
    )
    assert "Settings: `prod`, stage: launch, account 123456789012.\n" in text
    checklist = text.partition("## Security Checklist\n\n")[2].partition("\n\n## ")[0].splitlines()
    assert [line for line in checklist if not line.startswith("  ")] == [
        *(f"- [ ] {item} *(no check was run)*" for item in guide.CHECKLIST[:-1]),
        "- [ ] RDS deletion protection enabled",
    ]
    assert checklist[-2:] == [
        "  - ? **unknown** `sec.unknown`: AWS denied rds:X → Run: close 22",
        "  - ✗ **fail** `rds.bad`: db-1: port \\<22\\> is open → Run: close 22",
    ]
    assert text.endswith(
        "## Step 1 · Retrieve current AWS secret structure\n\n- [x] Backups are enabled\n"
        "  - · **not applicable** `sec.not-applicable`: one: no such host\n\n"
        "## Step 2 · Gather production credentials\n\n- [x] Port is closed\n"
        "  - ~ **waived** `sec.waived`: db-1: waived: moved (ops); port \\<22\\> is open → Run: close 22\n\n"
        "## Step 10 · Run unit tests\n\n- [ ] Port is closed\n"
        "  - ! **warn** `sec.odd`: db-1: port \\<22\\> is open → Run: close 22\n"
    )


def test_markdown_has_no_item_of_a_preset_that_was_not_chosen():
    text = to_markdown(replace(REPORT, presets=("database", "django", "email")))
    assert ("Email SMTP" in text, "Stripe" in text) == (True, False)


def test_each_item_of_a_preset_has_checks_of_that_preset():
    checks = load_registry().checks.values()
    presets = {
        item: {check.preset for check in checks if guide.item_of(check.guide) == item} for item in guide.CHECKLIST
    }
    assert {item: preset for item, (preset, *others) in presets.items() if preset and not others} == guide.ITEM_PRESETS


def test_markdown_does_not_tick_items_that_do_not_apply():
    item = f"{guide.CHECKLIST_SECTION}: Bastion host"
    bastion = change(NOT_APPLICABLE, title="Bastion host secured (if created)", guide=item)
    lines = to_markdown(Report((bastion, change(NOT_APPLICABLE, guide="Step 8")), 0, "prod")).splitlines()
    reason = "  - · **not applicable** `sec.not-applicable`: one: no such host"
    for item in ("Bastion host secured (if created)", "Backups are enabled"):
        at = lines.index(f"- [ ] {item} *(not applicable)*")
        assert lines[at + 1] == reason
    assert not [line for line in lines if line.startswith("- [x]")]


def test_github_annotates_a_cause_once():
    lines = to_github(without_secret()).splitlines()
    assert lines == [
        "::notice title=verify_deploy::UNKNOWN: 2 checks could not be evaluated (1 cause), 1 failed%0A"
        f"2 checks could not be evaluated: {CAUSE}",
        f"::error title=2 checks could not be evaluated::{CAUSE}%0ARun: python manage.py sync_secrets FILE --create%0A"
        "reported by connection.secret; 2 checks depend on it: connection.query, rds.deletion-protection",
    ]


def test_github_annotates_what_is_not_supported_as_a_warning():
    reported, dependent, *_ = without_secret().findings
    findings = change(reported, status=Status.WARN), change(dependent, status=Status.NOT_APPLICABLE)
    title = "connection.secret (high)"
    (_, line) = to_github(Report(findings, 0, "prod")).splitlines()
    assert line.startswith(f"::warning title={title}::{CAUSE}%0A")
    assert line.endswith("%0Areported by connection.secret; 1 check depends on it: connection.query")


def test_markdown_reports_a_cause_once():
    lines = to_markdown(without_secret()).splitlines()
    assert lines[4] == f"- 2 checks could not be evaluated: {CAUSE}"
    assert lines[10:] == [
        "## Causes",
        "",
        f"- ✗ **fail** {CAUSE} → Run: python manage.py sync\\_secrets FILE --create".replace("\\_", "_"),
        "  - reported by `connection.secret`; 2 checks depend on it: `connection.query`, `rds.deletion-protection`",
        "",
        "## Connection",
        "",
        "- [ ] Successfully retrieved secrets from AWS Secrets Manager *(not evaluated)*",
        "- [ ] Successfully executed test query *(not evaluated)*",
        "",
        "## RDS instance",
        "",
        "- [ ] Deletion protection is enabled *(not evaluated)*",
        "",
        "## Website",
        "",
        "- [x] Plain HTTP is redirected to HTTPS",
    ]


def test_a_nested_list_is_not_started_by_a_symbol():
    assert not [line for line in to_markdown(REPORT).splitlines() if re.match(r" *- [-+*] ", line)]


def test_reports_have_the_guide_only_where_checks_refer_to_it():
    for format in FORMATS:
        text = render(Report(tuple(change(finding, guide="") for finding in REPORT.findings), 0.0, "prod"), format)
        assert not re.search(r"(?i)guide: |Step \d|Security Checklist|Next Steps", text), format


def test_junit_has_the_cause_in_each_test_case():
    root = ET.fromstring(to_junit(without_secret()))  # noqa: S314
    assert [root.get(name) for name in ("tests", "errors", "failures")] == ["4", "2", "1"]
    assert {child.get("message") for case in root.iter("testcase") for child in case if child.get("type")} == {CAUSE}


@pytest.mark.parametrize("format", FORMATS)
def test_a_report_without_findings_is_not_ok_in_any_format(format):
    text = render(Report((), 0.0, "prod"), format)
    assert "UNKNOWN: no check was run" in text
    assert "OK" not in text


@pytest.mark.parametrize(
    ("reference", "section", "item"),
    [
        ("Step 6", "Step 6", None),
        ("Step 5.2: option C", "Step 5.2", None),
        (ITEM, "Security Checklist", "RDS deletion protection enabled"),
        (
            "Security Checklist: Django SECRET_KEY is unique",
            "Security Checklist",
            "Django SECRET_KEY is unique for production (50+ characters)",
        ),
        ("Security Checklist: something else", "Security Checklist", None),
        ("Security Checklist", "Security Checklist", None),
        ("Step 10: RDS deletion protection enabled", "Step 10", None),
    ],
)
def test_guide_references(reference, section, item):
    assert (guide.section_of(reference), guide.item_of(reference)) == (section, item)


def test_every_check_refers_to_a_section_of_the_guide():
    sections = {check.id: guide.section_of(check.guide) for check in load_registry().checks.values()}
    assert {id: section for id, section in sections.items() if section not in guide.SECTIONS} == {}
