"""The catalog of checks."""

from __future__ import annotations

from deploytools.reports import check_catalog
from deploytools.verification.registry import load_registry
from tests.verification.zoo import table


def test_the_page_of_checks_is_up_to_date():
    """Generate it: python -m tests.verification.zoo --write"""
    assert table.PAGE.read_text(encoding="utf-8") == table.page()


def test_explain_describes_one_check():
    registry = load_registry()
    check = registry.named("rds.automated-backups")
    text = check_catalog.explain(check, registry.sources_for([check]))
    assert f"Severity:   {check.severity}; a failure in every stage" in text.splitlines()
    assert [line.strip().split(" ")[0] for line in text.splitlines() if len(line) > 80] == ["aws"]
