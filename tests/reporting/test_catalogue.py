"""`docs/checks.md` says what the registry holds."""

from __future__ import annotations

from pathlib import Path

from deploytools.reporting import catalogue
from deploytools.verification.registry import load_registry

PAGE = Path(__file__).parent.parent.parent / "docs" / "checks.md"


def test_the_page_of_checks_is_not_stale():
    """Mend it: python manage.py verify_deploy --list --format markdown --output docs/checks.md"""
    registry = load_registry()
    actions = {check.id: registry.actions_for([check]) for check in registry.checks.values()}
    assert PAGE.read_text(encoding="utf-8") == catalogue.to_markdown(registry.select(), actions)


def test_a_check_with_everything():
    registry = load_registry()
    check = registry.named("rds.automated-backups")
    text = catalogue.explained(check, registry.sources_for([check]))
    assert f"Severity: {check.severity}; binding from {check.stage} on" in text
    assert max(map(len, text.splitlines())) <= 80
