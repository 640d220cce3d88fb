"""What identifies a report: the deployment, its release and the time."""

from __future__ import annotations

from dataclasses import replace

from deploytools.reports.github import to_github
from deploytools.reports.html import to_html
from deploytools.reports.junit import to_junit
from deploytools.verification.findings import Report
from tests.verification.zoo.variations import CONSOLE_DEFAULTS
from tests.verification.zoo.world import findings

REPORT = Report(
    findings(**CONSOLE_DEFAULTS.changes),
    1.0,
    "shop.settings_production",
    name="www.shop.net",
    release="web:12",
    at="2026-03-01T12:00:00+00:00",
)


def test_html_names_the_deployment_its_release_and_the_time():
    page = to_html(REPORT)
    assert "Verification of www.shop.net, release web:12" in page
    assert "2026-03-01 12:00 UTC" in page


def test_html_has_the_checklist_and_says_what_is_wrong():
    page = to_html(REPORT)
    assert 'RDS deletion protection enabled <span class="status">fail' in page
    assert 'Email SMTP credentials configured and tested <span class="status">fulfilled' in page
    assert "good: DeletionProtection is false" in page
    assert "Expected: Deletion protection is enabled" in page
    without = replace(REPORT, findings=tuple(replace(f, check=replace(f.check, guide="")) for f in REPORT.findings))
    assert 'class="checklist"' not in to_html(without)


def test_junit_has_the_time():
    assert 'timestamp="2026-03-01T12:00:00+00:00"' in to_junit(REPORT)


def test_github_annotations_are_in_the_order_of_severity():
    order = ["critical", "high", "medium", "low"]
    errors = [line for line in to_github(REPORT).splitlines() if line.startswith("::error")]
    severities = [order.index(line.partition("(")[2].partition(")")[0]) for line in errors]
    assert severities == sorted(severities)
    assert len(set(severities)) > 1
