"""One good world: every fact as it is where everything is in order. Tests change one thing in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from deploytools.databases.catalogue import ConnectionSlots, ServerCatalogue
from deploytools.databases.chain import Link
from deploytools.databases.history import MigrationGraph
from deploytools.databases.probe import ConnectionReport
from deploytools.databases.state import DatabaseState, RoleState
from deploytools.secret.document import Document
from deploytools.secret.sync import SecretState
from deploytools.verification.facts import Fact, Value
from deploytools.verification.findings import Finding
from deploytools.verification.policies import Policy
from deploytools.verification.registry import load_registry
from deploytools.verification.runner import judge_all
from deploytools.verification.sources.alarms import Alarm, Topic
from deploytools.verification.sources.connection import AppsReport, ConnectionAttempt, Expectation
from deploytools.verification.sources.databases import TenantReport
from deploytools.verification.sources.ecs import Container, Service, TaskDefinition
from deploytools.verification.sources.ecs_surroundings import Cluster, Deployment, Target, TargetGroup
from deploytools.verification.sources.iam import Role
from deploytools.verification.sources.mail import MailDialogue, SesAccount, SesIdentity
from deploytools.verification.sources.network import (
    Bastion,
    BastionGroups,
    Network,
    PrefixLists,
    Routes,
    Rule,
    SecurityGroup,
)
from deploytools.verification.sources.outside import Answer, Outside
from deploytools.verification.sources.powers import DECRYPT, READ, Powers, questions_about
from deploytools.verification.sources.project import OldKeys, ProjectReport
from deploytools.verification.sources.rds import Parameters, RdsInstance, ServerInUse, SharedSnapshot, Snapshot
from deploytools.verification.sources.rds_lifecycle import EngineSupport
from deploytools.verification.sources.rule_history import RuleHistory
from deploytools.verification.sources.secret import (
    OwnKeys,
    ResourcePolicy,
    SecretDescription,
    SettingsInUse,
)
from deploytools.verification.sources.stray_values import StrayValues

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://www.shop.net"
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod-AbCdEf"

DOCUMENT = {
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
REPORT = ConnectionReport("shop", "django_app", "16.4", "TLSv1.3 TLS_AES_256_GCM_SHA384", 0.012, 0.0008)
LINKS = (Link("name", 0.001, "10.0.1.5"), Link("TCP", 0.001, "10.0.1.5"), Link("TLS", 0.004, "TLSv1.3"))
SHOP = DatabaseState("shop", "django_app", public_may_connect=False)
CATALOGUE = ServerCatalogue((RoleState("django_app"),), {"shop": SHOP}, ())
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
    upgrades_itself=True,
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

TOPIC = "arn:aws:sns:us-east-1:123456789012:ops"
ALARMS = tuple(
    Alarm(f"good-{metric}", metric, True, (TOPIC,), "OK", NOW - timedelta(days=30))
    for metric in ("CPUUtilization", "FreeStorageSpace", "FreeableMemory", "DatabaseConnections", "CPUCreditBalance")
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
    secret_name="prod",
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
QUESTIONS = questions_about(ARN, "good")
KEY = "arn:aws:kms:us-east-1:123456789012:key/1"
NEEDED = ((READ, ARN), (DECRYPT, KEY))
POWERS = Powers("web", "IAM's simulation", dict.fromkeys(NEEDED, "policy secret"), dict.fromkeys(QUESTIONS, ""))
EXECUTION = replace(ROLE, name="execution", arn="arn:aws:iam::123456789012:role/execution")

HEADERS = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
}
OUTSIDE = Outside(
    url=URL,
    read_at=NOW,
    certificate_until=NOW + timedelta(days=80),
    page=Answer(200, HEADERS),
    health=Answer(200, {}),
    missing=Answer(404, {}),
    plain=Answer(301, {"location": f"{URL}/"}),
)

WORLD: dict[str, Any] = {
    "secret": SecretState("prod", "us-east-1", "v1" * 16, Document(DOCUMENT), {"v1": ("AWSCURRENT",)}),
    "expectation": Expectation(
        database="shop",
        engine="django.db.backends.postgresql",
        tenants=("shop",),
        required_keys=tuple(DOCUMENT),
        stage="launch",
        sslmode="verify-full",
        secret_name="prod",
        app_groups=("backend",),
        bastion_groups=("sg-bastion",),
        bastion_instance="i-1",
        ecs_service="web",
        processes=16,
        url=URL,
        django_sslmode="verify-full",
    ),
    "connection_attempt": ConnectionAttempt(REPORT, links=LINKS),
    "vantage": None,
    "connection": REPORT,
    "apps": AppsReport(10, 57, ()),
    "catalogue": CATALOGUE,
    "connection_slots": ConnectionSlots(200, 13, 20),
    "migration_graph": MigrationGraph({FIRST: frozenset()}),
    "tenant_logins": (TenantReport("shop", frozenset({FIRST})),),
    "project": ProjectReport(
        "prod.settings", (), (".shop.net",), ("https://*.shop.net",), ("HTTP_X_FORWARDED_PROTO", "https")
    ),
    "old_keys": OldKeys(1, ()),
    "rds_instance": RDS,
    "server_in_use": ServerInUse(True, True),
    "rds_parameters": Parameters({"rds.force_ssl": "1"}),
    "rds_maintenance": (),
    "engine_support": EngineSupport(NOW + timedelta(days=1095), NOW + timedelta(days=2190)),
    "rds_snapshots": (Snapshot("by-hand", "manual", True), DAILY),
    "rds_shares": (SharedSnapshot("by-hand", ()),),
    "network": Network(GROUPS, ("sg-db",)),
    "prefix_lists": PrefixLists({}),
    "rule_history": RuleHistory(),
    "routes": Routes({"subnet-a": "", "subnet-b": ""}),
    "bastion": Bastion("i-1", "running", None, True, ("sg-bastion",)),
    "bastion_groups": BastionGroups((GROUPS["sg-bastion"],), PrefixLists({})),
    "bastion_agent": True,
    "alarms": ALARMS,
    "alarm_topics": (Topic(TOPIC, confirmed=("email ops@shop.net",)),),
    "topic_keys": (),
    "own_keys": OwnKeys(("sentry_dsn",), (), ()),
    "secret_description": SecretDescription(ARN, NOW, True, NOW - timedelta(days=20), NOW + timedelta(days=10)),
    "secret_policy": ResourcePolicy("123456789012", ()),
    "secret_port": 5432,
    "stray_values": StrayValues("/srv/shop", 300, True, ()),
    "settings_in_use": SettingsInUse(("SECRET_KEY", "EMAIL_HOST_PASSWORD"), ()),
    "mail_dialogue": MailDialogue("SES in us-east-1", seconds=(("name", 0.01), ("AUTH", 0.2))),
    "ses_account": SesAccount("us-east-1", True, True),
    "ses_identity": SesIdentity("shop.net", True, "SUCCESS"),
    "ecs_service": SERVICE,
    "ecs_deployment": Deployment("SUCCESSFUL", NOW - timedelta(days=2)),
    "ecs_cluster": Cluster("prod", "enabled"),
    "ecs_targets": (TARGETS,),
    "task_definition": TaskDefinition("arn:…:task-definition/web:12", ROLE.arn, (CONTAINER,), EXECUTION.arn),
    "task_role_name": "web",
    "task_role": ROLE,
    "task_role_powers": POWERS,
    "execution_role": EXECUTION,
    "execution_role_powers": replace(POWERS, role="execution"),
    "outside": OUTSIDE,
}
REGISTRY = load_registry()
OURS = tuple(check for check in REGISTRY.checks.values() if check.judge.__module__.startswith("deploytools."))
FACTS: Mapping[str, Fact] = {name: Value(value) for name, value in WORLD.items()}

Changes = dict[str, Any]


def findings(**changes: Any) -> tuple[Finding, ...]:
    """What all checks say of the world with `changes`."""
    return judge_all(OURS, {**FACTS, **{name: Value(value) for name, value in changes.items()}})


def changed(fact: str) -> Callable[..., Changes]:
    """A function that changes attributes of one fact."""
    return lambda **changes: {fact: replace(WORLD[fact], **changes)}


def secret(**changes: Any) -> Changes:
    """The secret with other values; None takes a key out."""
    values = {key: value for key, value in (DOCUMENT | changes).items() if value is not None}
    return {"secret": replace(WORLD["secret"], document=Document(values))}


def shop(**changes: Any) -> Changes:
    """The tenant's database."""
    return {"catalogue": replace(CATALOGUE, databases={"shop": replace(SHOP, **changes)})}


def role(**changes: Any) -> Changes:
    """The application's role in the database."""
    return {"catalogue": replace(CATALOGUE, roles=(replace(CATALOGUE.roles[0], **changes),))}


def tenant(**changes: Any) -> Changes:
    """The login to the tenant's database."""
    return {"tenant_logins": (replace(WORLD["tenant_logins"][0], **changes),)}


def rules(group: str, *added: Rule, instead: bool = False) -> Changes:
    """A security group with more rules, or with these alone."""
    old = GROUPS[group]
    new = replace(old, rules=added if instead else (*old.rules, *added))
    own = {"bastion_groups": BastionGroups((new,), PrefixLists({}))} if group == "sg-bastion" else {}
    return own | {"network": Network({**GROUPS, group: new}, ("sg-db",))}


def container(**changes: Any) -> Changes:
    """The task definition's container."""
    return {"task_definition": replace(WORLD["task_definition"], containers=(replace(CONTAINER, **changes),))}


def targets(*states: str | None, reason: str = "Target.Timeout") -> Changes:
    """The load balancer's targets, in these states; one that is not healthy for that reason."""
    found = (Target(f"10.0.1.{n}:8000", state, "" if state == "healthy" else reason) for n, state in enumerate(states))
    return {"ecs_targets": (replace(TARGETS, targets=tuple(found)),)}


def alarm(**changes: Any) -> Changes:
    """The first alarm."""
    return {"alarms": (replace(ALARMS[0], **changes), *ALARMS[1:])}


rds, expect, outside, service = (
    changed("rds_instance"),
    changed("expectation"),
    changed("outside"),
    changed("ecs_service"),
)
project, mail, bastion, description = (
    changed("project"),
    changed("mail_dialogue"),
    changed("bastion"),
    changed("secret_description"),
)
ses_account, ses_identity, slots = changed("ses_account"), changed("ses_identity"), changed("connection_slots")
own = changed("own_keys")
