"""The formats that programs and other people's tools read, and where each goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from deploytools.errors import ConfigurationError
from deploytools.reporting import guide
from deploytools.reporting.formats import FORMATS, destinations, written
from deploytools.reporting.github import MOST_SUMMARY, fitted, to_github
from deploytools.reporting.junit import to_junit
from deploytools.reporting.markdown import to_markdown
from deploytools.verification.findings import Finding, Report, Severity, Status
from deploytools.verification.registry import load_registry

ITEM = "Security Checklist: RDS deletion protection enabled"
GOOD = Finding("rds.good", "All is well", Severity.HIGH, "Step 1", Status.PASS, "one", "seen", "")
BAD = Finding("rds.bad", "Door shut", Severity.CRITICAL, ITEM, Status.FAIL, "db-1", "it is <open>", "Run: shut it")
UNSEEN = replace(BAD, check="sec.unseen", status=Status.UNKNOWN, resource="", evidence="AWS denied rds:X")
WARNING = replace(BAD, check="sec.odd", guide="Step 10", status=Status.WARN)
WAIVED = replace(BAD, check="sec.waived", guide="Step 2: x", status=Status.WAIVED, waiver="moved (ops)")
MOOT = replace(GOOD, check="sec.moot", status=Status.NOT_APPLICABLE, evidence="there is none")
REPORT = Report((GOOD, BAD, UNSEEN, WARNING, WAIVED, MOOT), 1.25, "prod", account="123456789012")


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
def test_where_each_format_goes(formats, outputs, places):
    found = destinations(formats.split(), [Path(name) for name in outputs.split()])
    assert " ".join(f"{format}>{path or '-'}" for format, path in found) == places


@pytest.mark.parametrize(
    ("formats", "outputs", "message", "hint"),
    [
        (
            "json junit", "", "Stdout can take one report, not json and junit.",
            "Write the others into files, for example: --output report.xml",
        ),
        (
            "json junit", "a", "The ending of a does not tell which format it is to have.",
            "Name --format, or a file that ends with one of: .txt .json .xml .html .htm .md",
        ),
    ],
)  # fmt: skip
def test_destinations_that_cannot_be(formats, outputs, message, hint):
    with pytest.raises(ConfigurationError) as raised:
        destinations(formats.split(), [Path(name) for name in outputs.split()])
    assert (str(raised.value), raised.value.hint) == (message, hint)


def test_junit_has_a_case_a_finding_and_counts_that_agree():
    root = ET.fromstring(to_junit(REPORT))  # noqa: S314
    assert root.attrib == {
        "tests": "6", "failures": "1", "errors": "1", "skipped": "2", "name": "verify_deploy", "time": "1.250",
    }  # fmt: skip
    assert [(suite.get("name"), suite.get("tests")) for suite in root] == [("rds", "2"), ("sec", "4")]
    cases = {case.get("classname"): case for case in root.iter("testcase")}
    assert {name: [child.tag for child in case] for name, case in cases.items()} == {
        "rds.good": ["system-out"],
        "rds.bad": ["failure"],
        "sec.unseen": ["error"],
        "sec.odd": ["system-out"],
        "sec.waived": ["skipped"],
        "sec.moot": ["skipped"],
    }
    failure = cases["rds.bad"][0]
    assert (cases["rds.bad"].get("name"), failure.attrib) == (
        "Door shut [db-1]",
        {"message": "it is <open>", "type": "critical"},
    )
    assert failure.text == f"it is <open>\nRun: shut it\nGuide: {ITEM}"
    assert cases["sec.waived"][0].get("message") == "waived: moved (ops); it is <open>"


def test_junit_survives_what_xml_cannot_hold():
    odd = replace(BAD, evidence="a\x00b\x1b[31m\ud800]]>&", resource="\x07")
    root = ET.fromstring(to_junit(Report((odd,), 0, "prod")))  # noqa: S314
    assert [case.get("name") for case in root.iter("testcase")] == ["Door shut [�]"]
    assert next(root.iter("failure")).get("message") == "a�b�[31m�]]>&"


def test_github_annotates_what_is_not_as_it_should_be_worst_first():
    title = "title=rds.bad (critical)%3A Door shut::db-1: it is <open>%0ARun: shut it"
    lines = to_github(REPORT).splitlines()
    assert lines[0] == f"::error {title}"
    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::warning", "::notice", "::notice"]
    assert lines[-1] == "::notice title=verify_deploy::Not known: 1 could not be looked at, 1 fail."


def test_github_reads_no_command_out_of_evidence():
    evil = replace(BAD, title="a, b: c", evidence="100%\n::set-output name=x::y\r")
    (line, _) = to_github(Report((evil,), 0, "prod")).splitlines()
    assert line == (
        "::error title=rds.bad (critical)%3A a%2C b%3A c::db-1: 100%25%0A::set-output name=x::y%0D%0ARun: shut it"
    )


def test_a_summary_is_cut_where_github_would_refuse_it():
    assert fitted("short") == "short"
    cut = fitted("ä" * 50 + "\n" + "line\n" * 300_000)
    assert len(cut.encode()) <= MOST_SUMMARY
    assert cut.endswith("line\n\n… cut: the whole report is too long for a summary.\n")


def test_markdown_is_the_checklist_ticked():
    text = to_markdown(REPORT)
    assert text.startswith(
        "# Verification\n\n**Not known: 1 could not be looked at, 1 fail.** 1 not applicable, 1 pass"
    )
    assert "Under `prod`, stage launch, account 123456789012.\n" in text
    checklist = text.partition("## Security Checklist\n\n")[2].partition("\n\n## ")[0].splitlines()
    assert [line for line in checklist if not line.startswith("  ")] == [
        *(f"- [ ] {item} *(no check ran)*" for item in guide.CHECKLIST[:-1]),
        "- [ ] RDS deletion protection enabled",
    ]
    assert checklist[-2:] == [
        "  - ? **unknown** `sec.unseen`: AWS denied rds:X → Run: shut it",
        "  - ✗ **fail** `rds.bad`: db-1: it is \\<open\\> → Run: shut it",
    ]
    assert text.endswith(
        "## Step 1 · Retrieve current AWS secret structure\n\n- [x] All is well\n"
        "  - - **not applicable** `sec.moot`: one: there is none\n\n"
        "## Step 2 · Gather production credentials\n\n- [x] Door shut\n"
        "  - ~ **waived** `sec.waived`: db-1: waived: moved (ops); it is \\<open\\> → Run: shut it\n\n"
        "## Step 10 · Run unit tests\n\n- [ ] Door shut\n"
        "  - ! **warn** `sec.odd`: db-1: it is \\<open\\> → Run: shut it\n"
    )


def test_markdown_ticks_nothing_that_does_not_apply():
    bastion = replace(MOOT, title="Bastion host secured (if created)", guide=f"{guide.CHECKLIST_SECTION}: Bastion host")
    lines = to_markdown(Report((bastion, replace(MOOT, guide="Step 8")), 0, "prod")).splitlines()
    reason = "  - - **not applicable** `sec.moot`: one: there is none"
    for item in ("Bastion host secured (if created)", "All is well"):
        at = lines.index(f"- [ ] {item} *(not applicable)*")
        assert lines[at + 1] == reason
    assert not [line for line in lines if line.startswith("- [x]")]


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_looked_at_is_no_good_news_in_any_format(format):
    text = written(Report((), 0.0, "prod"), format)
    assert "nothing was" in text or 'tests="0"' in text
    assert "As it should be" not in text.replace("Not as it should be", "")


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


def test_every_check_of_ours_points_into_the_guide():
    sections = {check.id: guide.section_of(check.guide) for check in load_registry().checks.values()}
    assert {id: section for id, section in sections.items() if section not in guide.SECTIONS} == {}
