"""Checks of the Django project."""

from __future__ import annotations

from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed
from deploytools.verification.registry import check
from deploytools.verification.sources.project import ProjectReport


@check(
    "django.check-deploy",
    title="Django's check --deploy finds nothing",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Django SECRET_KEY is unique for production",
    hint="Run: python manage.py check --deploy",
    tags=("startup",),
)
def check_deploy(project: ProjectReport) -> Verdict:
    """The settings that are judged are those of this run."""
    if not project.messages:
        return passed(f"under {project.settings}")
    found = "; ".join(f"{identifier} {text.split('. ')[0].rstrip('.')}" for identifier, text in project.messages)
    hint = "Run it under the production settings; more of each: python manage.py check --deploy"
    return failed(f"under {project.settings}: {found}", hint=hint)
