"""The guide's sections and its Security Checklist, in its order and its words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deploytools.verification.findings import Finding

CHECKLIST_SECTION = "Security Checklist"

#: What a check's guide reference begins with, and the guide's heading.
SECTIONS: Mapping[str, str] = {
    "Step 1": "Retrieve current AWS secret structure",
    "Step 2": "Gather production credentials",
    "Step 3": "Create updated secret JSON",
    "Step 4": "Update AWS Secrets Manager",
    "Step 5": "Create multi-tenant databases on AWS RDS",
    "Step 6": "Test RDS connectivity",
    "Step 7": "Run Django migrations on AWS RDS",
    "Step 8": "Create superuser on production database",
    "Step 9": "Load sample data",
    "Step 10": "Run unit tests",
    "Step 11": "Verify complete setup",
    CHECKLIST_SECTION: "before proceeding to production deployment",
    "Troubleshooting": "what goes wrong",
    "Next Steps": "after Phase 9",
}

CHECKLIST = (
    "All production secrets stored in AWS Secrets Manager (not in code)",
    "Stripe production keys configured (not test keys)",
    "Email SMTP credentials configured and tested",
    "Database passwords are strong (32+ characters, auto-generated)",
    "Django SECRET_KEY is unique for production (50+ characters)",
    "RDS security group only allows access from backend application",
    "No temporary security group rules left open",
    "Bastion host secured (if created)",
    "AWS IAM permissions follow least privilege principle",
    "CloudWatch alarms configured and email verified",
    "RDS automated backups enabled",
    "RDS deletion protection enabled",
)


def section_of(guide: str) -> str:
    """The section that a guide reference points into, for example ``Step 6``."""
    section = guide.split(":")[0].strip()
    step = " ".join(section.split()[:2]).rstrip(".,")
    return step if step in SECTIONS and section.startswith("Step ") else section


def heading(section: str) -> str:
    """The section with the guide's heading."""
    return f"{section} · {SECTIONS[section]}" if section in SECTIONS else section


def item_of(guide: str) -> str | None:
    """The item of the Security Checklist that a guide reference quotes, whole or its beginning."""
    quoted = guide.partition(":")[2].strip().lower()
    if section_of(guide) != CHECKLIST_SECTION or not quoted:
        return None
    return next((item for item in CHECKLIST if item.lower().startswith(quoted)), None)


def by_section(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings of each section, sections in the guide's order; those that the guide does not have come last."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(section_of(finding.guide), []).append(finding)
    return {section: found[section] for section in [*SECTIONS, *found] if section in found}
