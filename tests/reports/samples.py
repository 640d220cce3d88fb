"""Sample reports."""

from __future__ import annotations

from dataclasses import replace

from deploytools.verification.findings import Finding, Report, Severity, Stage, Status
from tests.findings import make_finding

PER_TENANT = {
    "databases.exists": "Tenant databases exist",
    "databases.owner": "Tenant databases are owned by the application role",
    "databases.encoding": "Tenant databases have the encoding UTF8",
    "databases.public-connect-revoked": "PUBLIC cannot connect to tenant databases",
    "databases.migrated": "All migrations are applied",
}
CHECKLIST = "Security Checklist: "
INSTANCE = "startupwebapp-multi-tenant-prod"
PROTECT = f"aws rds modify-db-instance --db-instance-identifier {INSTANCE} --deletion-protection"


def sample(tenants: int = 3) -> Report:
    """Return a report with every status; the second tenant has an unapplied migration."""
    names = tuple(f"tenant_{number:03}" for number in range(1, tenants + 1))
    single = [
        _finding("connection.connect", "Successfully connected to AWS RDS PostgreSQL", Status.PASS, "Step 6",
                 "PostgreSQL 16.10 as django_app, 12 ms, TLSv1.3"),
        _finding("secret.contract", "Values of the secret are valid", Status.WARN,
                 f"{CHECKLIST}Stripe production keys configured", "is a test key (a failure from stage launch)",
                 "Run: python manage.py sync_secrets FILE", "stripe_secret_key"),
        _finding("rds.deletion-protection", "Deletion protection is enabled", Status.FAIL,
                 f"{CHECKLIST}RDS deletion protection enabled", "DeletionProtection is false",
                 f"Run: {PROTECT} (no downtime)", INSTANCE),
        _finding("rds.alarms", "Alarm topic has a confirmed subscription", Status.UNKNOWN,
                 f"{CHECKLIST}CloudWatch alarms configured and email verified",
                 "AWS denied cloudwatch:DescribeAlarms on *.",
                 "Allow cloudwatch:DescribeAlarms for the identity that aws sts get-caller-identity shows."),
        _finding("rds.backups", "Automated backups are enabled", Status.WAIVED,
                 f"{CHECKLIST}RDS automated backups enabled", "retention is 3 days, expected at least 7",
                 "Increase the retention period.", INSTANCE,
                 waiver="the data is a copy (ops@example.com, until 2027-01-31)"),
        _finding("ec2.bastion", "Bastion host is secured", Status.NOT_APPLICABLE,
                 f"{CHECKLIST}Bastion host secured (if created)", 'DEPLOYTOOLS["BASTION_INSTANCE"] is not set'),
        _finding("order.odd", "Evidence is shown as text", Status.PASS, "Step 9",
                 "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"),
    ]  # fmt: skip
    return Report(
        (*single, *(_of_tenant(name, check, names) for check in PER_TENANT for name in names)),
        2.34, "StartupWebApp.settings_production", Stage.PRE_LAUNCH, "123456789012", names,
    )  # fmt: skip


CAUSE = "There is no secret prod/shop in us-east-1."


def without_secret() -> Report:
    """Return a report of a missing secret that three checks depend on, grouped by area."""
    found = [
        ("connection.secret", "Successfully retrieved secrets from AWS Secrets Manager", Status.FAIL),
        ("connection.query", "Successfully executed test query", Status.UNKNOWN),
        ("rds.deletion-protection", "Deletion protection is enabled", Status.UNKNOWN),
    ]
    hint = "Run: python manage.py sync_secrets FILE --create"
    caused = [replace(_finding(*item, "", CAUSE, hint), cause="secret") for item in found]
    redirected = _finding("web.https-redirect", "Plain HTTP is redirected to HTTPS", Status.PASS, "", "status 301")
    return Report((*caused, redirected), 0.0, "prod")


def _of_tenant(name: str, check: str, names: tuple[str, ...]) -> Finding:
    if check == "databases.migrated" and name == names[1]:
        hint = f"Run: python manage.py migrate_tenants --tenant {name}"
        return _finding(check, PER_TENANT[check], Status.FAIL, "Step 7", "2 migrations are not applied", hint, name)
    return _finding(check, PER_TENANT[check], Status.PASS, "Step 5", "as expected", "", name)


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
    return make_finding(check, title, Severity.HIGH, guide, status, resource, evidence, hint, waiver)
