"""Reports to look at."""

from __future__ import annotations

from deploytools.verification.findings import Finding, Report, Severity, Stage, Status

PER_TENANT = {
    "databases.exists": "Every tenant has its database",
    "databases.owner": "Every tenant's database belongs to the application's role",
    "databases.encoding": "Every tenant's database stores UTF-8",
    "databases.public-shut-out": "PUBLIC may connect to no tenant's database",
    "databases.migrated": "Every tenant's database has all migrations",
}
CHECKLIST = "Security Checklist: "
INSTANCE = "startupwebapp-multi-tenant-prod"
PROTECT = f"aws rds modify-db-instance --db-instance-identifier {INSTANCE} --deletion-protection"


def sample(tenants: int = 3) -> Report:
    """A report with every status; the second tenant lacks a migration."""
    names = tuple(f"tenant_{number:03}" for number in range(1, tenants + 1))
    single = [
        _finding("connection.connect", "Successfully connected to AWS RDS PostgreSQL", Status.PASS, "Step 6",
                 "PostgreSQL 16.10 as django_app, 12 ms, TLSv1.3"),
        _finding("secret.contract", "Every value of the secret is a real one of the right form", Status.WARN,
                 f"{CHECKLIST}Stripe production keys configured", "is a test-mode key (from launch on a failure)",
                 "Run: python manage.py sync_secrets FILE", "stripe_secret_key"),
        _finding("rds.deletion-protection", "The RDS instance is protected against deletion", Status.FAIL,
                 f"{CHECKLIST}RDS deletion protection enabled", "DeletionProtection is off",
                 f"Run: {PROTECT} (no downtime)", INSTANCE),
        _finding("rds.alarms", "Alarms reach somebody", Status.UNKNOWN,
                 f"{CHECKLIST}CloudWatch alarms configured and email verified",
                 "AWS denied cloudwatch:DescribeAlarms on *.",
                 "Allow cloudwatch:DescribeAlarms on it for the identity that aws sts get-caller-identity shows."),
        _finding("rds.backups", "The RDS instance is backed up automatically", Status.WAIVED,
                 f"{CHECKLIST}RDS automated backups enabled", "kept for 3 days, fewer than 7", "Keep more", INSTANCE,
                 waiver="the data is a copy (ops@example.com, until 2027-01-31)"),
        _finding("ec2.bastion", "The bastion host is secured", Status.NOT_APPLICABLE,
                 f"{CHECKLIST}Bastion host secured (if created)", "none is declared"),
        _finding("order.odd", "Evidence is shown as text", Status.PASS, "Step 9",
                 "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"),
    ]  # fmt: skip
    return Report(
        (*single, *(_of_tenant(name, check, names) for check in PER_TENANT for name in names)),
        2.34, "StartupWebApp.settings_production", Stage.PRE_LAUNCH, "123456789012", names,
    )  # fmt: skip


def _of_tenant(name: str, check: str, names: tuple[str, ...]) -> Finding:
    if check == "databases.migrated" and name == names[1]:
        hint = f"Run: python manage.py migrate_tenants --tenant {name}"
        return _finding(check, PER_TENANT[check], Status.FAIL, "Step 7", "2 not applied", hint, name)
    return _finding(check, PER_TENANT[check], Status.PASS, "Step 5", "as it should be", "", name)


def _finding(
    check: str,
    title: str,
    status: Status,
    guide: str,
    evidence: str,
    hint: str = "",
    resource: str = "",
    waiver: str = "",
) -> Finding:
    return Finding(check, title, Severity.HIGH, guide, status, resource, evidence, hint, waiver)
