"""The facts of a deployment that passes all checks. Tests change single facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from deploytools.conf import PRESETS, Settings
from deploytools.postgres.connection_probe import ProbeResult, ProbeStage, SessionReport
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.tenants.migration_history import MigrationGraph
from deploytools.tenants.state import ConnectionSlots, DatabaseState, RoleState, ServerCatalog, UnusableObjects
from deploytools.verification.alarms.facts import Alarm, Topic
from deploytools.verification.bastion.facts import Bastion
from deploytools.verification.connection.database_settings import DatabaseSettings
from deploytools.verification.connection.facts import DjangoDatabase
from deploytools.verification.databases.facts import TenantReport
from deploytools.verification.ecs.facts import (
    Cluster,
    Container,
    Deployment,
    Service,
    Target,
    TargetGroup,
    TaskDefinition,
)
from deploytools.verification.fact_result import Absent, Fact, Failed, Value
from deploytools.verification.findings import Finding
from deploytools.verification.iam.facts import Role
from deploytools.verification.iam.permissions import DECRYPT, READ, RolePermissions, Simulations
from deploytools.verification.iam.policies import Policy
from deploytools.verification.mail.facts import MailLogin, SesAccount, SesIdentity
from deploytools.verification.mail.sender_domain import DmarcRecord, SpfRecord
from deploytools.verification.network.facts import HostGroups, Network, Rule, RuleHistory, SecurityGroup
from deploytools.verification.network.subnets import Subnet
from deploytools.verification.project.facts import AppsReport, ProjectReport, SecretKeyFallbacks
from deploytools.verification.rds.facts import (
    EngineSupport,
    RdsInstance,
    ServerInUse,
    SharedSnapshot,
    Snapshot,
)
from deploytools.verification.registry import load_registry
from deploytools.verification.runner import evaluate_checks
from deploytools.verification.secret.facts import (
    CustomFields,
    ResourcePolicy,
    SecretDescription,
    SettingsInUse,
)
from deploytools.verification.secret.rotation_facts import FormerLogin
from deploytools.verification.secret.secret_scan import LeakedSecrets
from deploytools.verification.web.facts import Response, SiteResponse

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://www.shop.net"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod-AbCdEf"

DOCUMENT: dict[str, Any] = {
    "engine": "postgres",
    "host": "db.abc.us-east-1.rds.amazonaws.com",
    "port": 5432,
    "username": "django_app",
    "password": "Aq7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU",
    "dbClusterIdentifier": "good",
    "django_secret_key": "kJ8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDxCsVbNm2WqE",
    "stripe_secret_key": "sk_live_51AbCdEfGhIjKlMnOpQrStUv",
    "stripe_publishable_key": "pk_live_51AbCdEfGhIjKlMnOpQrStUv",
    "email_host": "email-smtp.us-east-1.amazonaws.com",
    "email_port": 587,
    "email_user": "AKIAABCDEFGHIJKLMNOP",
    "email_password": "BKq3vTz0AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
}
REPORT = SessionReport(
    database="shop",
    user="django_app",
    login="django_app",
    server_version="16.10",
    server="1767225600.123",
    address="10.0.1.5:5432",
    sslmode="verify-full",
    tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
    is_pooled=False,
    connect_seconds=0.012,
    query_seconds=0.0008,
)
STAGES = (
    ProbeStage("DNS", 0.001, "10.0.1.5"),
    ProbeStage("TCP", 0.001, "10.0.1.5"),
    ProbeStage("TLS", 0.004, "TLSv1.3"),
)
SHOP = DatabaseState("shop", "django_app", public_can_connect=False)
CATALOGUE = ServerCatalog((RoleState("django_app"),), {"shop": SHOP}, ())
FIRST = ("order", "0001_initial")

RDS = RdsInstance(
    identifier="good",
    read_at=NOW,
    arn="arn:aws:rds:us-east-1:123456789012:db:good",
    status="available",
    endpoint="db.abc",
    port=5432,
    engine="postgres",
    engine_version="16.10",
    lifecycle="open-source-rds-extended-support",
    instance_class="db.t4g.small",
    deletion_protection=True,
    backup_days=14,
    backup_window="03:00-03:30",
    maintenance_window="sun:05:00-sun:05:30",
    latest_restorable=NOW - timedelta(minutes=4),
    is_public=False,
    is_encrypted=True,
    is_multi_az=True,
    has_minor_upgrades=True,
    copies_tags=True,
    log_exports=("postgresql", "upgrade"),
    parameter_groups=(("default.postgres16", "in-sync"),),
    security_groups=(("sg-db", "active"),),
    subnets=("subnet-a", "subnet-b"),
    vpc="vpc-1",
    certificate="rds-ca-rsa2048-g1",
    certificate_until=NOW + timedelta(days=300),
    allocated=20,
    maximum=100,
    created_at=NOW - timedelta(days=300),
    master_secret="active",
    monitoring=60,
    tags=(("deploytools:restore-drill", "2026-01-15"),),
)

DAILY = Snapshot("rds:good", "automated", True, "available", NOW - timedelta(hours=10))

FROM_APP = Rule("sgr-app", "tcp", 5432, 5432, group="sg-app", description="PostgreSQL from backend")
FROM_BASTION = Rule("sgr-bastion", "tcp", 5432, 5432, group="sg-bastion")
FROM_BALANCER = Rule("sgr-balancer", "tcp", 8000, 8000, group="sg-balancer")
OFFICE = Rule("sgr-office", "tcp", 22, 22, cidr="203.0.113.7/32", description="the office")
WEB = Rule("sgr-web", "tcp", 443, 443, cidr="0.0.0.0/0")
GROUPS = {
    "sg-db": SecurityGroup("sg-db", "rds", (FROM_APP, FROM_BASTION)),
    "sg-app": SecurityGroup("sg-app", "backend", (FROM_BALANCER,)),
    "sg-bastion": SecurityGroup("sg-bastion", "bastion", (OFFICE,)),
    "sg-balancer": SecurityGroup("sg-balancer", "balancer", (WEB,)),
}

#: The entries of the network ACL of a new VPC.
DEFAULT_ACL = tuple(
    {"RuleNumber": number, "Egress": egress, "Protocol": "-1", "RuleAction": action, "CidrBlock": "0.0.0.0/0"}
    for number, action in ((100, "allow"), (32_767, "deny"))
    for egress in (True, False)
)
SUBNETS = {
    "subnet-a": Subnet("subnet-a", "us-east-1a", "10.0.1.0/24", DEFAULT_ACL),
    "subnet-b": Subnet("subnet-b", "us-east-1b", "10.0.2.0/24", DEFAULT_ACL),
}

TOPIC = "arn:aws:sns:us-east-1:123456789012:ops"
ABOVE, BELOW = "GreaterThanThreshold", "LessThanThreshold"
ALARMS = tuple(
    Alarm(
        f"good-{metric}",
        metric,
        True,
        (TOPIC,),
        "OK",
        NOW - timedelta(days=30),
        operator,
        threshold,
        statistic="Average",
        seconds=600,
        arn=f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:good-{metric}",
    )
    for metric, operator, threshold in (
        ("CPUUtilization", ABOVE, 80),
        ("FreeStorageSpace", BELOW, 2 * 2**30),
        ("FreeableMemory", BELOW, 256 * 2**20),
        ("DatabaseConnections", ABOVE, 150),
        ("CPUCreditBalance", BELOW, 50),
    )
)

CONTAINER = Container(
    name="web",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/shop@sha256:abc",
    leaked=(),
    credentials=(),
    secrets=(("DJANGO_SECRET_KEY", f"{ARN}:django_secret_key::"),),
    user="1000",
    is_privileged=False,
    has_readonly_root=True,
    log_driver="awslogs",
    secret_names=(("APP_SECRET_NAME", "prod"),),
    log_group=("us-east-1", "/ecs/web"),
)
SERVICE = Service(
    "web",
    "prod",
    "ACTIVE",
    2,
    2,
    "COMPLETED",
    True,
    False,
    "arn:…:task-definition/web:12",
    rolls_back=True,
    deployments=1,
    subnets=("subnet-a", "subnet-b"),
    security_groups=("sg-app",),
    deployed_at=NOW - timedelta(days=5),
)
TARGETS = TargetGroup(
    "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/web/0123456789abcdef",
    (Target("10.0.1.7:8000", "healthy"), Target("10.0.2.7:8000", "healthy")),
    ("200",),
)
OF_THIS_ACCOUNT = {"StringEquals": {"aws:SourceAccount": "123456789012"}}
TRUST = (
    {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": OF_THIS_ACCOUNT,
    },
)
READING = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": ARN}
ROLE = Role("web", "arn:aws:iam::123456789012:role/web", TRUST, (Policy("secret", (READING,)),))
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
NEEDED = ((READ, ARN), (DECRYPT, KEY))
PERMISSIONS = RolePermissions("web", "IAM's policy simulator", dict.fromkeys(NEEDED, "policy secret"))
#: The statements of AmazonSSMManagedInstanceCore.
SESSION_MANAGER = {
    "Effect": "Allow",
    "Action": [
        *("ssm:DescribeAssociation", "ssm:GetParameter", "ssm:GetParameters", "ssm:ListAssociations"),
        *("ssm:UpdateAssociationStatus", "ssm:UpdateInstanceInformation", "ssmmessages:*", "ec2messages:*"),
    ],
    "Resource": "*",
}
BASTION_ROLE = replace(ROLE, name="bastion", policies=(Policy("AmazonSSMManagedInstanceCore", (SESSION_MANAGER,)),))
EXECUTION = replace(ROLE, name="execution", arn="arn:aws:iam::123456789012:role/execution")

HEADERS = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
SITE = SiteResponse(
    url=URL,
    read_at=NOW,
    certificate_until=NOW + timedelta(days=80),
    page=Response(200, HEADERS),
    health=Response(200, {}),
    missing=Response(404, {}),
    plain=Response(301, {"location": f"{URL}/"}),
)

SPF, DMARC = "v=spf1 include:amazonses.com ~all", "v=DMARC1; p=quarantine; rua=mailto:dmarc@shop.net"

WORLD: dict[str, Any] = {
    "secret": SecretState("prod", "us-east-1", "v1" * 16, Document(DOCUMENT), {"v1": ("AWSCURRENT",)}),
    "settings": Settings(
        database="shop",
        tenants=("shop",),
        presets=PRESETS,
        secret_name="prod",
        app_security_groups=("backend",),
        bastion_security_groups=("sg-bastion",),
        bastion_instance="i-1",
        ecs_service="web",
        processes=16,
        max_age_days=90,
        url=URL,
    ),
    "django_database": DjangoDatabase("django.db.backends.postgresql", "postgresql", driver="psycopg 3.3.9"),
    "django_connection": ProbeResult(REPORT),
    "alias_sslmodes": {},
    "database_settings": DatabaseSettings("django_app", ("HOST", "PORT", "NAME", "USER", "PASSWORD")),
    "tenants": ("shop",),
    "connection_attempt": ProbeResult(REPORT, stages=STAGES),
    "session_state_leak": False,
    "accepted_password": None,
    "network_location": None,
    "connection": REPORT,
    "apps": AppsReport(10, 57, ()),
    "server_catalog": CATALOGUE,
    "connection_slots": ConnectionSlots(200, 13, 20),
    "migration_graph": MigrationGraph({FIRST: frozenset()}),
    "tenant_logins": (TenantReport("shop", frozenset({FIRST}), UnusableObjects()),),
    "project": ProjectReport(
        "prod.settings", (), (".shop.net",), ("https://*.shop.net",), ("HTTP_X_FORWARDED_PROTO", "https")
    ),
    "secret_key_fallbacks": SecretKeyFallbacks(1, ()),
    "rds_instance": RDS,
    "server_in_use": ServerInUse(True, True),
    "rds_readers": (),
    "rds_parameters": {"rds.force_ssl": "1"},
    "rds_maintenance": (),
    "newer_minor_versions": (),
    "engine_support": EngineSupport(NOW + timedelta(days=1095), NOW + timedelta(days=2190)),
    "rds_snapshots": (Snapshot("by-hand", "manual", True), DAILY),
    "rds_shares": (SharedSnapshot("by-hand", ()),),
    "network": Network(GROUPS, ("sg-db",)),
    "prefix_lists": {},
    "task_groups": HostGroups((GROUPS["sg-app"],), {}),
    "rule_history": RuleHistory(),
    "balancer_nodes": frozenset(),
    "routes": {"subnet-a": "", "subnet-b": ""},
    "bastion": Bastion("i-1", "running", None, True, ("sg-bastion",)),
    "bastion_groups": HostGroups((GROUPS["sg-bastion"],), {}),
    "bastion_agent": True,
    "bastion_role": BASTION_ROLE,
    "alarms": ALARMS,
    "alarm_functions": {},
    "alarm_topics": (Topic(TOPIC, confirmed=("email ops@shop.net",)),),
    "topic_keys": (),
    "custom_fields": CustomFields(("sentry_dsn",), (), ()),
    "secret_description": SecretDescription(ARN, NOW, True, NOW - timedelta(days=20), NOW + timedelta(days=10)),
    "rotation_dates": {key: NOW - timedelta(days=20) for key in ("password", "django_secret_key", "master_password")},
    "login_rotation_dates": {"password": NOW - timedelta(days=20)},
    "open_logins": (),
    "rotation_function": "",
    "former_login": FormerLogin("django_app_b", is_open=False, rotated_at=NOW - timedelta(days=20)),
    "secret_policy": ResourcePolicy("123456789012", ()),
    "secret_port": 5432,
    "leaked_secrets": LeakedSecrets("/srv/shop", 300, True, ()),
    "settings_in_use": SettingsInUse(("SECRET_KEY", "EMAIL_HOST_PASSWORD"), ()),
    "mail_login": MailLogin("SES in us-east-1", seconds=(("DNS", 0.01), ("AUTH", 0.2)), sender="orders@shop.net"),
    "ses_account": SesAccount("us-east-1", True, True, "HEALTHY", 200, 50_000),
    "ses_identity": SesIdentity("shop.net", True, "SUCCESS", True),
    "spf_record": SpfRecord("mail.shop.net", (SPF,), "~", ("amazonses.com",), 1, provider="amazonses.com"),
    "dmarc_record": DmarcRecord("shop.net", (DMARC,)),
    "ecs_service": SERVICE,
    "ecs_deployment": Deployment("SUCCESSFUL", NOW - timedelta(days=2)),
    "ecs_cluster": Cluster("prod", "enabled"),
    "ecs_targets": (TARGETS,),
    "least_tasks": None,
    "subnets": SUBNETS,
    "log_groups": frozenset({("us-east-1", "/ecs/web")}),
    "storage_key_state": "Enabled",
    "rds_log_retention": {"postgresql": 30, "upgrade": None},
    "task_definition": TaskDefinition("arn:…:task-definition/web:12", ROLE.arn, (CONTAINER,), EXECUTION.arn),
    "newest_settings_modules": {"web": ""},
    "task_role_name": "web",
    "task_role": ROLE,
    "task_role_permissions": PERMISSIONS,
    "simulated_conditions": Simulations({}),
    "execution_role": EXECUTION,
    "execution_role_permissions": replace(PERMISSIONS, role="execution"),
    "site_response": SITE,
}
REGISTRY = load_registry()
OURS = tuple(check for check in REGISTRY.checks.values() if check.evaluate.__module__.startswith("deploytools."))
FACTS: Mapping[str, Fact] = {name: Value(value) for name, value in WORLD.items()}

Changes = dict[str, Any]


def findings(**changes: Any) -> tuple[Finding, ...]:
    """Return the findings of all checks with changed facts: other values, or the reasons why there are none."""
    facts = {name: value if isinstance(value, Absent | Failed) else Value(value) for name, value in changes.items()}
    return evaluate_checks(OURS, {**FACTS, **facts})


def changed(fact: str) -> Callable[..., Changes]:
    """Return a function that changes attributes of one fact."""
    return lambda **changes: {fact: replace(WORLD[fact], **changes)}


def secret(**changes: Any) -> Changes:
    """The secret with other values; None removes a key."""
    values = {key: value for key, value in (DOCUMENT | changes).items() if value is not None}
    return {"secret": replace(WORLD["secret"], document=Document(values))}


def rotated(**days: int) -> Changes:
    """The keys that were rotated so many days ago."""
    dates = {key: NOW - timedelta(days=number) for key, number in days.items()}
    return {"rotation_dates": dates, "login_rotation_dates": dates}


def shop(**changes: Any) -> Changes:
    """The tenant's database."""
    return {"server_catalog": replace(CATALOGUE, databases={"shop": replace(SHOP, **changes)})}


def role(**changes: Any) -> Changes:
    """The application's role in the database."""
    return {"server_catalog": replace(CATALOGUE, roles=(replace(CATALOGUE.roles[0], **changes),))}


def tenant(**changes: Any) -> Changes:
    """The login to the tenant's database."""
    return {"tenant_logins": (replace(WORLD["tenant_logins"][0], **changes),)}


def rules(group: str, *added: Rule, instead: bool = False) -> Changes:
    """A security group with additional rules, or with only these."""
    old = GROUPS[group]
    new = replace(old, rules=added if instead else (*old.rules, *added))
    own = {"bastion_groups": HostGroups((new,), {})} if group == "sg-bastion" else {}
    return own | {"network": Network({**GROUPS, group: new}, ("sg-db",))}


def container(**changes: Any) -> Changes:
    """The task definition's container."""
    return {"task_definition": replace(WORLD["task_definition"], containers=(replace(CONTAINER, **changes),))}


def targets(*states: str | None, reason: str = "Target.Timeout") -> Changes:
    """The targets of the load balancer, in these states; the reason is of those that are not healthy."""
    found = (Target(f"10.0.1.{n}:8000", state, "" if state == "healthy" else reason) for n, state in enumerate(states))
    return {"ecs_targets": (replace(TARGETS, targets=tuple(found)),)}


def alarm(metric: str = "CPUUtilization", **changes: Any) -> Changes:
    """The alarm on one metric."""
    return {"alarms": tuple(replace(item, **changes) if item.metric == metric else item for item in ALARMS)}


rds, expect, site_response, service = (
    changed("rds_instance"),
    changed("settings"),
    changed("site_response"),
    changed("ecs_service"),
)
project, mail, bastion, description = (
    changed("project"),
    changed("mail_login"),
    changed("bastion"),
    changed("secret_description"),
)
django_database, former = changed("django_database"), changed("former_login")
ses_account, ses_identity, slots = changed("ses_account"), changed("ses_identity"), changed("connection_slots")
own, spf = changed("custom_fields"), changed("spf_record")
