"""The sections and the Security Checklist of the guide, in its order and words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

CHECKLIST_SECTION = "Security Checklist"

#: The section that a check's guide reference begins with, and its heading in the guide.
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
    "Troubleshooting": "common issues",
    "Next Steps": "after the first deployment",
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

#: The presets of the secret's fields without which an item does not exist.
ITEM_PRESETS: Mapping[str, str] = {
    "Stripe production keys configured (not test keys)": "stripe",
    "Email SMTP credentials configured and tested": "email",
}


def checklist(presets: Collection[str] | None) -> tuple[str, ...]:
    """Return the items for these presets; None: all."""
    return tuple(item for item in CHECKLIST if presets is None or ITEM_PRESETS.get(item) in {None, *presets})


def section_of(guide: str) -> str:
    """Return the section of a guide reference, for example ``Step 6``."""
    section = guide.split(":")[0].strip()
    step = " ".join(section.split()[:2]).rstrip(".,")
    return step if step in SECTIONS and section.startswith("Step ") else section


def heading(section: str) -> str:
    """Return a section with its heading in the guide."""
    return f"{section} · {SECTIONS[section]}" if section in SECTIONS else section


def item_of(guide: str) -> str | None:
    """Return the item of the Security Checklist that a guide reference quotes in full or in part."""
    quoted = guide.partition(":")[2].strip().lower()
    if section_of(guide) != CHECKLIST_SECTION or not quoted:
        return None
    return next((item for item in CHECKLIST if item.lower().startswith(quoted)), None)
