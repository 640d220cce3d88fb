"""Good variations of the deployment, and further faults, of checks that the other modules try on few worlds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.errors import AccessDenied, NotFound, SecretNotFound
from deploytools.postgres.connection_probe import ProbeResult
from deploytools.verification.alarms.facts import Topic
from deploytools.verification.ecs.facts import Cluster, Deployment
from deploytools.verification.fact_result import Absent, Failed
from deploytools.verification.findings import Status
from deploytools.verification.network.facts import Rule
from deploytools.verification.project.facts import AppsReport, SecretKeyFallbacks
from deploytools.verification.rds.facts import Maintenance, SharedSnapshot, Snapshot
from deploytools.verification.secret.facts import SettingsInUse
from deploytools.verification.secret.secret_scan import LeakedSecrets
from tests.verification.zoo.deployment import labels, statement
from tests.verification.zoo.iam import ECS_TASKS, trusting
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    CATALOGUE,
    DAILY,
    DOCUMENT,
    GROUPS,
    NOW,
    OURS,
    RDS,
    REPORT,
    WORLD,
    Changes,
    alarm,
    bastion,
    container,
    description,
    expect,
    mail,
    own,
    project,
    rds,
    role,
    rules,
    secret,
    service,
    ses_account,
    ses_identity,
    shop,
    site_response,
    slots,
    targets,
)

DAY = timedelta(days=1)


def good(changes: Changes, *checks: str) -> Row:
    """A world in which these checks must pass."""
    return Row(changes, good=checks)


def faults(check: str, *worlds: Changes, status: Status = FAIL) -> list[Row]:
    """Worlds in which only this check must not pass."""
    return [Row(changes, {check: status}) for changes in worlds]


def second(**changes: Any) -> Changes:
    """A second tenant, whose database differs in these."""
    other = replace(CATALOGUE.databases["shop"], name="clinic", **changes)
    report = replace(WORLD["tenant_logins"][0], name="clinic")
    return {
        **expect(tenants=("shop", "clinic")),
        "tenants": ("shop", "clinic"),
        "server_catalog": replace(CATALOGUE, databases={**CATALOGUE.databases, "clinic": other}),
        "tenant_logins": (*WORLD["tenant_logins"], report),
    }


RELAY = {"email_host": "relay.shop.net", "email_port": 465, "email_user": "shop", "email_password": "Rw8nE2sT0cHaY5vK"}
#: An instance that differs from the good one in everything that may differ.
OTHER_INSTANCE = rds(
    status="backing-up",
    endpoint="db.xyz",
    engine_version="17.6",
    lifecycle="open-source-rds-extended-support-disabled",
    instance_class="db.r8g.large",
    backup_days=35,
    backup_window="22:00-23:00",
    maintenance_window="tue:04:00-tue:05:00",
    latest_restorable=NOW - timedelta(minutes=10),
    log_exports=("postgresql", "upgrade", "iam-db-auth-error"),
    parameter_groups=(("shop-17", "in-sync"),),
    certificate="rds-ca-ecc384-g1",
    certificate_until=NOW + 90 * DAY,
    allocated=400,
    maximum=2000,
    created_at=NOW - 3 * DAY,
    master_secret="rotating",
    monitoring=1,
    tags=(("Name", "x"), ("deploytools:restore-drill", "2026-02-28")),
) | {
    "alarms": tuple(
        replace(item, threshold={"FreeStorageSpace": 50 * 2**30, "FreeableMemory": 2**30}.get(item.metric, 80))
        for item in WORLD["alarms"]
    ),
    "connection_attempt": ProbeResult(
        replace(REPORT, server_version="17.6"), stages=WORLD["connection_attempt"].stages
    ),
}
RDS_SWITCHES = (
    *("rds.deletion-protection", "rds.not-public", "rds.storage-encrypted", "rds.multi-az", "rds.log-exports"),
    *("rds.minor-upgrades", "rds.storage-autoscaling", "rds.snapshot-tags", "rds.enhanced-monitoring"),
    *("rds.instance-in-use", "rds.available", "rds.parameters-applied", "rds.no-pending-changes", "rds.certificate"),
    *("rds.master-secret", "rds.engine-supported", "rds.automated-backups", "rds.restorable", "rds.separate-windows"),
    "rds.restore-drill",
)
#: An instance as the console's template for development makes it.
CONSOLE_DEFAULTS = Row(
    rds(
        deletion_protection=False,
        is_public=True,
        is_encrypted=False,
        is_multi_az=False,
        log_exports=(),
        has_minor_upgrades=False,
        maximum=None,
        copies_tags=False,
        monitoring=0,
        pending=("MultiAZ", "DBInstanceClass"),
        parameter_groups=(("default.postgres16", "pending-reboot"),),
        master_secret="impaired",
        certificate_until=NOW - DAY,
    ),
    {
        "rds.deletion-protection": FAIL,
        "rds.not-public": FAIL,
        "rds.storage-encrypted": FAIL,
        "rds.multi-az": WARN,
        "rds.log-exports": WARN,
        "rds.minor-upgrades": FAIL,
        "rds.storage-autoscaling": WARN,
        "rds.snapshot-tags": WARN,
        "rds.enhanced-monitoring": WARN,
        "rds.parameters-applied": FAIL,
        "rds.no-pending-changes": WARN,
        "rds.certificate": FAIL,
        "rds.master-secret": FAIL,
    },
)
OF_SECRET = [check.id for check in OURS if "secret" in check.needs]
VARIATIONS = [
    good(OTHER_INSTANCE, *RDS_SWITCHES),
    CONSOLE_DEFAULTS,
    *faults("rds.log-exports", rds(log_exports=("upgrade",)), rds(log_exports=("error", "slowquery")), status=WARN),
    *faults("rds.no-pending-changes", *(rds(pending=(name,)) for name in ("AllocatedStorage", "Port")), status=WARN),
    *faults("rds.master-secret", *(rds(master_secret=status) for status in ("impaired", "unheard-of"))),
    *faults("rds.parameters-applied", rds(parameter_groups=(("a", "in-sync"), ("b", "applying")))),
    *faults("rds.snapshots-private", {"rds_shares": (SharedSnapshot("a", ("999999999999", "all")),)}),
    *faults(
        "rds.snapshots-encrypted",
        {"rds_snapshots": (DAILY, Snapshot("a", "manual", False), Snapshot("b", "manual", True))},
    ),
    good({"rds_snapshots": (DAILY, Snapshot("a", "manual", True))}, "rds.snapshots-encrypted", "rds.restorable"),
    good({"rds_shares": ()}, "rds.snapshots-private"),
    good({"rds_parameters": {"rds.force_ssl": "1", "log_statement": "none"}}, "rds.tls-required"),
    good({"rds_maintenance": (Maintenance(RDS.arn, "os-upgrade", "New OS", None),)}, "rds.maintenance"),
    # The secret.
    *(
        Row({"secret": fact}, dict.fromkeys(OF_SECRET, UNKNOWN) | {"connection.secret": status}, seen)
        for fact, status, seen in (
            (Absent(SecretNotFound("The secret prod does not exist.", hint="Create it.")), FAIL, "does not exist"),
            (Absent(NotFound("The secret prod is scheduled for deletion.", hint="Restore it.")), FAIL, "scheduled"),
            (Failed(AccessDenied("AWS denied it.", hint="Allow it.", action="a:B")), UNKNOWN, "AWS denied it."),
        )
    ),
    good(secret(**RELAY), "secret.complete", "secret.mail", "secret.distinct", "connection.secret"),
    good(
        secret(email_host="smtp.gmail.com", email_user="a@gmail.com", email_password="qwvzhtpmxkdrbnfs"),
        "secret.mail",
    ),
    good(
        secret(stripe_secret_key="rk_live_" + "A1b2C3d4" * 12, stripe_webhook_secret="whsec_" + "A1b2C3d4" * 4),
        *("secret.stripe-live", "secret.stripe-format", "secret.distinct"),
    ),
    good(
        secret(password="x9" + DOCUMENT["password"] * 2, master_password=DOCUMENT["password"][::-1]),
        *("secret.database-passwords", "secret.distinct", "connection.configuration"),
    ),
    good(secret(django_secret_key="A1!" + DOCUMENT["django_secret_key"]), "secret.django-key"),
    good(secret(engine="postgresql", port="5432", superuser_email="ops@shop.net"), "secret.other-values"),
    good(own(declared=("sentry_dsn", "maps_key")), "secret.custom-fields"),
    good(labels(v1=("AWSCURRENT", "AWSPENDING"), v0=("AWSPREVIOUS",)), "secret.no-pending-rotation"),
    good(description(next_rotation=NOW + 70 * DAY), "secret.rotation-on-schedule"),
    good(statement(Principal={"AWS": "arn:aws:iam::123456789012:role/web"}), "secret.not-shared"),
    good({"leaked_secrets": LeakedSecrets("/app", 12, True, ())}, "secret.not-in-code"),
    *faults("secret.mail", secret(email_port=0)),
    *faults(
        "secret.database-passwords",
        secret(superuser_password="admin"),
        secret(superuser_password="changeme"),
        secret(master_password="placeholder_password"),
    ),
    *faults("secret.django-key", secret(django_secret_key="x" * 60), secret(django_secret_key="short")),
    *faults("secret.other-values", secret(superuser_email="no-at-sign"), secret(master_username="no role")),
    *faults(
        "secret.distinct",
        secret(superuser_password=DOCUMENT["password"]),
        secret(email_host="relay.shop.net", email_password=DOCUMENT["password"]),
    ),
    *faults("secret.no-pending-rotation", labels(v1=("AWSCURRENT",), v2=("AWSPENDING", "mine")), status=WARN),
    *faults("secret.no-pending-rotation", labels(v0=("AWSPENDING",), v1=("AWSCURRENT",)), status=WARN),
    *faults("secret.rotation-on-schedule", description(next_rotation=NOW - 200 * DAY)),
    # Django.
    good({"apps": AppsReport(31, 208, ())}, "connection.apps"),
    good(project(silenced=()), "django.check-deploy"),
    good(project(allowed_hosts=("www.shop.net", "shop.net")), "django.allowed-hosts"),
    good(project(trusted_origins=("https://www.shop.net",)), "django.trusted-origins"),
    good(project(proxy_ssl_header=("HTTP_CLOUDFRONT_FORWARDED_PROTO", "https")), "django.proxy-ssl-header"),
    good({"secret_key_fallbacks": SecretKeyFallbacks(3, ())}, "django.secret-key-fallbacks"),
    good({"settings_in_use": SettingsInUse(("SECRET_KEY",), ())}, "django.credentials-match-secret"),
    *faults("connection.apps", *({"apps": AppsReport(1, 1, (text,))} for text in ("a.E1: bad", "fields.E304: clash"))),
    *faults(
        "django.check-deploy",
        project(messages=(("security.W018", "DEBUG is on."),)),
        project(messages=(("a.E1", "x"),)),
    ),
    *faults("django.trusted-origins", project(trusted_origins=("https://shop.net",))),
    *faults(
        "django.proxy-ssl-header", *(project(proxy_ssl_header=()) | expect(health_path=path) for path in ("/", "/x"))
    ),
    *faults(
        "django.secret-key-fallbacks",
        *({"secret_key_fallbacks": SecretKeyFallbacks(1, ((0, text),))} for text in ("is the key in use", "is short")),
    ),
    # The connection and the databases.
    good(
        {
            "connection_attempt": ProbeResult(
                replace(REPORT, server_version="18.1"), stages=WORLD["connection_attempt"].stages
            ),
            **rds(engine_version="18.1-R2"),
        },
        *("connection.connect", "connection.query"),
    ),
    good({"django_connection": ProbeResult(replace(REPORT, address="10.0.9.9:5432"))}, "connection.django"),
    good({"connection": replace(REPORT, tls="TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384")}, "databases.tls-verified"),
    good(
        second(),
        *("databases.exists", "databases.owner", "databases.encoding", "databases.public-connect-revoked"),
        *("databases.login", "databases.table-privileges", "databases.migrated"),
    ),
    good(role(memberships=frozenset({"readers"})), "databases.role-privileges"),
    good({"server_catalog": replace(CATALOGUE, unlisted=(), test_databases=())}, "databases.no-test-databases"),
    good(second(locale="de_DE.UTF-8"), "databases.all-listed", "databases.encoding"),
    good(slots(maximum=5000, used=1000), "databases.connection-budget", "databases.connections-free"),
    *faults("databases.exists", second(allows_connections=False)),
    *faults("databases.owner", second(owner="alice"), second(owner="shop")),
    *faults("databases.encoding", second(encoding="SQL_ASCII"), shop(encoding="WIN1252")),
    *faults(
        "databases.public-connect-revoked",
        second(public_can_connect=True),
        shop(public_can_connect=True, encoding="UTF8"),
    ),
    *faults(
        "databases.role-privileges",
        *(role(**{name: True}) for name in ("can_create_roles", "can_create_databases", "bypasses_row_security")),
        *(role(memberships=frozenset({name})) for name in ("pg_signal_backend", "pg_monitor", "rds_superuser")),
    ),
    *faults(
        "databases.connection-budget",
        slots(maximum=28, used=1),
        second() | expect(processes=100, tenants=("shop", "clinic")),
    ),
    *faults(
        "databases.connections-free", slots(used=187), slots(maximum=33, used=19) | expect(processes=1), status=WARN
    ),
    *faults(
        "databases.no-test-databases",
        *({"server_catalog": replace(CATALOGUE, test_databases=names)} for names in (("test_a", "test_b"), ("test_",))),
        status=WARN,
    ),
    *faults(
        "databases.all-listed",
        *({"server_catalog": replace(CATALOGUE, unlisted=names)} for names in (("a", "b"), ("shop_old",))),
        status=WARN,
    ),
    # The network and the bastion host.
    good(
        rules("sg-app", Rule("sgr-x", "tcp", 8000, 8000, group="sg-balancer", description="HTTP")),
        "network.no-temporary-rules",
    ),
    good(rules("sg-balancer", Rule("sgr-x", "tcp", 80, 80, cidr="0.0.0.0/0")), "network.no-public-ingress"),
    good(rules("sg-db", Rule("sgr-x", "tcp", 22, 22, group="sg-app")), "network.database-ingress"),
    good({"routes": {"subnet-a": "", "subnet-b": "", "subnet-c": "igw-1"}}, "network.private-subnets"),
    good(rules("sg-bastion", Rule("sgr-x", "tcp", 22, 22, cidr="198.51.100.0/24")), "bastion.no-public-ingress"),
    good(
        bastion(identifier="i-2", groups=("sg-bastion", "sg-app"))
        | {"bastion_groups": replace(WORLD["bastion_groups"], groups=(GROUPS["sg-bastion"], GROUPS["sg-app"]))},
        *("bastion.imdsv2", "bastion.session-manager", "bastion.no-public-address", "bastion.database-access"),
    ),
    *faults("bastion.imdsv2", bastion(requires_tokens=False, identifier="i-2")),
    *faults("bastion.session-manager", {"bastion_agent": False, **bastion(identifier="i-2")}, status=WARN),
    *faults("bastion.session-manager", {"bastion_agent": False, **bastion(identifier="i-3")}, status=WARN),
    *faults("bastion.no-public-address", *(bastion(address=a) for a in ("3.80.1.1", "2600:1f18::1")), status=WARN),
    # IAM.
    good(
        trusting(ECS_TASKS, Condition={"StringEquals": {"aws:SourceAccount": ["123456789012"]}}, Sid="Ecs"),
        *("iam.trust-policy", "iam.confused-deputy"),
    ),
    good({"task_role_permissions": replace(WORLD["task_role_permissions"], how="x")}, "iam.secret-access"),
    Row(
        trusting({"Service": "tasks.apprunner.amazonaws.com"}), {"iam.confused-deputy": NA}, good=("iam.trust-policy",)
    ),
    Row(
        trusting({"AWS": ["arn:aws:iam::123456789012:user/bob"]}), {"iam.trust-policy": WARN, "iam.confused-deputy": NA}
    ),
    *faults(
        "iam.confused-deputy", trusting(ECS_TASKS, Condition={"StringLike": {"aws:SourceAccount": "*"}}), status=WARN
    ),
    # Mail.
    good(mail(server="Gmail", seconds=(("DNS", 2.0),)), "mail.login"),
    good(ses_account(region="eu-west-1"), "mail.ses-production"),
    good(ses_identity(domain="mail.shop.net"), "mail.ses-identity"),
    # The alarms.
    good(alarm(state="ALARM", name="other-name"), "alarms.actions", "alarms.have-data", "alarms.metrics"),
    good(
        {"alarm_topics": (Topic(WORLD["alarm_topics"][0].arn, confirmed=("email a@b.c",), pending=("sms",)),)},
        *("alarms.subscriptions", "alarms.topic-key"),
    ),
    *faults("alarms.have-data", alarm(state="INSUFFICIENT_DATA", changed_at=None), status=WARN),
    # ECS.
    good(
        service(desired=9, running=9, security_groups=("sg-app", "sg-x"), deployed_at=NOW - DAY)
        | targets(*["healthy"] * 9),
        *("ecs.deployment-complete", "ecs.deployed-since-rotation", "ecs.circuit-breaker", "ecs.no-public-address"),
        "ecs.reaches-database",
    ),
    good({"ecs_deployment": Deployment("SUCCESSFUL", NOW - 80 * DAY)}, "ecs.not-rolled-back"),
    good({"ecs_cluster": Cluster("prod", "enhanced")}, "ecs.container-insights"),
    good(targets("healthy", "healthy", "draining"), "ecs.targets-healthy"),
    good(
        container(image="ghcr.io/shop@sha256:def", user="10001:10001", log_driver="awsfirelens", name="app"),
        *("ecs.no-plaintext-secrets", "ecs.expected-secret", "ecs.image-pinned", "ecs.logs", "ecs.unprivileged"),
    ),
    *faults("ecs.deployed-since-rotation", service(deployed_at=NOW - 400 * DAY), status=WARN),
    *faults("ecs.circuit-breaker", service(has_circuit_breaker=False, rolls_back=True), status=WARN),
    *faults(
        "ecs.no-public-address",
        *(service(has_public_address=True, deployed_at=NOW - days * DAY) for days in (1, 2)),
    ),
    *faults("ecs.image-pinned", *(container(image=image) for image in ("shop", "shop:1.2.3")), status=WARN),
    *faults("ecs.logs", container(log_driver="")),
    *faults("ecs.container-insights", {"ecs_cluster": Cluster("prod", "Enabled?")}, status=WARN),
    # The site.
    good(
        site_response(certificate_until=NOW + 22 * DAY, url="https://shop.net"),
        *(
            "web.certificate",
            "web.https-redirect",
            "web.hsts",
            "web.security-headers",
            "web.health",
            "web.no-debug-page",
        ),
    ),
    *faults("web.certificate", site_response(certificate_error="self-signed certificate", certificate_until=None)),
]
