"""Facts read from the AWS emulator, and the findings if AWS denies one action."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber

from deploytools.aws import sharing_clients
from deploytools.conf import Settings, read_settings
from deploytools.errors import ConfigurationError
from deploytools.secrets.contract import FIELDS
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.verification.ecs.facts import Cluster, Target, TargetGroup, log_groups, newest_settings_modules
from deploytools.verification.fact_result import Absent, Fact, Failed, Value
from deploytools.verification.findings import Report, Status
from deploytools.verification.iam.permissions import DECRYPT, READ
from deploytools.verification.least_privilege import SCOPES
from deploytools.verification.network import facts as network_facts
from deploytools.verification.network.facts import RuleCreation, RuleHistory
from deploytools.verification.rds.facts import Maintenance, engine_support, rds_instance
from deploytools.verification.registry import Source
from deploytools.verification.runner import evaluate_checks, read_facts
from deploytools.verification.secret.secret_scan import credential_values
from tests.fakes import endpoints
from tests.findings import change
from tests.local_cloud import INSTANCE
from tests.old_boto3 import needs_boto3_1_40
from tests.verification.account import (
    EXECUTION_GRANTS,
    EXECUTION_ROLE,
    GRANTS,
    IMAGES,
    ROLE,
    SECRET,
    SENTRY,
    SPLUNK,
    Wire,
    account,
)
from tests.verification.zoo.world import DOCUMENT, OURS, RDS, REGISTRY, WORLD

pytestmark = pytest.mark.xdist_group("aws_account")  # One account for all of them.

#: They need AWS, and a database too.
LOGINS = {"connection_attempt", "accepted_password", "tenant_logins"}
AWS_FACTS = tuple(name for name, source in REGISTRY.sources.items() if source.actions and name not in LOGINS)
#: Actions that are called only for an instance of a DB cluster: see test_rds_cluster.py.
OF_CLUSTERS = SCOPES["DbClusters"]
ACTIONS = sorted({action for source in REGISTRY.sources.values() for action in source.actions} - OF_CLUSTERS)


@pytest.fixture(scope="module")
def emulated() -> Iterator[tuple[str, str]]:
    """The endpoint and the ID of the bastion host."""
    from deploytools.local import emulator_patches  # moto takes long to import.

    emulator_patches.install()
    with endpoints.emulator() as url, account(url) as bastion, sharing_clients():
        yield url, bastion


@pytest.fixture(scope="module")
def remembered() -> dict[tuple[str, str], Any]:
    return {}


@pytest.fixture
def wire(emulated, remembered, monkeypatch, settings) -> Wire:
    """The account behind a `Wire`."""
    url, bastion = emulated
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in endpoints.environment(url).items():
        monkeypatch.setenv(name, value)
    settings.DEFAULT_FROM_EMAIL = "Shop <orders@shop.net>"
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {
        "SECRET_NAME": SECRET,
        "APP_SECURITY_GROUPS": ["backend"],
        "BASTION_SECURITY_GROUPS": ["bastion"],
        "BASTION_INSTANCE": bastion,
        "ECS_CLUSTER": "prod",
        "ECS_SERVICE": "web",
    }
    wire = Wire(remembered=remembered)
    monkeypatch.setattr(BaseClient, "_make_api_call", wire_call(wire))
    return wire


def wire_call(wire: Wire) -> Any:
    return lambda client, operation, request: wire.call(client, operation, request)


def read(sources: Mapping[str, Source]) -> dict[str, Fact]:
    """Read facts with the current settings."""
    return read_facts(sources, {"settings": read_settings()})


def closure(*names: str) -> dict[str, Any]:
    """The sources of these facts and of those that they need."""
    wanted = [check for check in OURS if set(check.needs) & set(names)]
    return {name: source for name, source in REGISTRY.sources_for(wanted).items() if name in _with_needs(names)}


def _with_needs(names: Any) -> set[str]:
    found = set(names)
    for name in names:
        found |= _with_needs(REGISTRY.sources[name].needs) if name in REGISTRY.sources else set()
    return found


def test_boto3_before_the_operation_of_engine_support(monkeypatch):
    monkeypatch.setattr("deploytools.aws.client", lambda service, region: object())
    with pytest.raises(ConfigurationError, match="boto3 does not have rds:DescribeDBMajorEngineVersions"):
        engine_support(RDS, read_settings())


@needs_boto3_1_40
def test_all_facts(wire):
    facts = read(closure(*AWS_FACTS))
    assert {name for name, fact in facts.items() if not isinstance(fact, Value)} == set()
    seen: dict[str, Any] = {name: fact.value for name, fact in facts.items() if isinstance(fact, Value)}

    rds = seen["rds_instance"]
    assert (rds.identifier, rds.port, rds.major, rds.is_public, rds.allocated, rds.maximum) == (
        INSTANCE,
        5432,
        16,
        False,
        20,
        100,
    )
    assert (len(rds.subnets), rds.log_exports, rds.parameter_groups) == (
        2,
        ("postgresql", "upgrade"),
        (("default.postgres16", "in-sync"),),
    )
    assert (rds.engine, rds.backup_window, rds.maintenance_window) == ("postgres", "13:14-13:44", "wed:06:38-wed:07:08")
    assert (rds.monitoring, rds.tags) == (0, (("deploytools:restore-drill", "2026-10-01"),))
    assert (seen["engine_support"].standard_until, seen["engine_support"].extended_until) == (
        datetime(2029, 2, 28, tzinfo=UTC),
        datetime(2032, 2, 28, tzinfo=UTC),
    )
    assert abs((rds.read_at - rds.latest_restorable).total_seconds()) < 60
    assert (rds.certificate_until - rds.read_at).days in {364, 365}
    assert (seen["rds_parameters"], seen["rds_maintenance"]) == ({}, ())
    assert {(item.kind, item.is_encrypted) for item in seen["rds_snapshots"]} == {("automated", True), ("manual", True)}
    assert {item.status for item in seen["rds_snapshots"]} == {"available"}
    assert all(abs((rds.read_at - item.created_at).total_seconds()) < 60 for item in seen["rds_snapshots"])
    assert abs((rds.read_at - rds.created_at).total_seconds()) < 60
    assert [(item.identifier, item.accounts) for item in seen["rds_shares"]] == [("by-hand", ("all",))]

    network = seen["network"]
    (own,) = network.of_database
    hops = {f"hop-{number}" for number in range(1, 6)}
    assert {group.name for group in network.groups.values()} == {"rds", "backend", "bastion"} | hops
    names = {
        rule.cidr or rule.prefix_list[:3] or network.groups[rule.group].name: rule for rule in network.groups[own].rules
    }
    assert set(names) == {"203.0.113.7/32", "::/0", "pl-", "backend", "bastion"}
    assert (names["::/0"].first, names["::/0"].last, names["203.0.113.7/32"].description) == (5000, 6000, "TEMP")
    assert all(rule.covers(5432) for rule in names.values())
    assert not [rule for rule in names.values() if rule.account]
    assert seen["rule_history"].created == {
        names[cidr].identifier: RuleCreation(
            datetime(2026, 10, 1, tzinfo=UTC), "assumed-role/Admin/alice", by_hand=True
        )
        for cidr in ("203.0.113.7/32", "::/0")
    }
    assert {arn.rpartition(":")[2]: bool(policy) for arn, policy in seen["alarm_functions"].items()} == {
        "pager": True,
        "closed": False,
        "gone": False,
    }
    assert list(seen["prefix_lists"].values()) == [("192.0.2.0/24",)]
    assert sorted(gateway[:4] for gateway in seen["routes"].values()) == ["", "igw-"]
    assert (seen["bastion"].state, seen["bastion"].requires_tokens, seen["bastion_agent"]) == ("running", False, True)

    assert (seen["bastion"].profile, seen["bastion_role"].name) == ("bastion", ROLE)
    (wizard,) = seen["bastion_groups"].groups
    assert {rule.cidr or rule.prefix_list[:3] for rule in wizard.rules} == {"0.0.0.0/0", "pl-"}
    assert sorted(seen["bastion_groups"].prefix_lists.values()) == [("192.0.2.0/24",), ("198.51.100.0/24",)]

    assert {alarm.metric for alarm in seen["alarms"]} >= {"CPUUtilization", "FreeStorageSpace", "CPUCreditBalance"}
    assert [topic.confirmed for topic in seen["alarm_topics"]] == [
        ("email operations@example.com", "https https://hooks.example.net")
    ]
    assert [topic.key for topic in seen["alarm_topics"]] == ["alias/ops"]
    (key,) = seen["topic_keys"]
    assert key.state == "Enabled"
    assert (key.topic, key.is_aws_managed) == (seen["alarm_topics"][0].arn, False)
    assert key.arn.startswith("arn:aws:kms:us-east-1:123456789012:key/")
    assert [(statement["Principal"], statement["Action"]) for statement in key.statements] == [("*", "kms:*")]
    assert "canary" not in repr(seen)

    assert (seen["secret_description"].rotates, len(seen["secret_policy"].statements)) == (True, 1)
    assert seen["rotation_function"] == "implicitDeny"
    container, proxy = seen["task_definition"].containers
    assert (proxy.log_group, seen["log_groups"]) == (("us-east-1", "/ecs/proxy"), frozenset())
    assert seen["storage_key_state"] == "Enabled"
    assert (len({subnet.zone for subnet in seen["subnets"].values()}), seen["least_tasks"]) == (2, None)
    first, second = seen["subnets"].values()
    assert first.allows(second, 5432) and len(first.acl) == 4
    assert seen["rds_log_retention"] == {}
    assert container.environment_files == ("arn:aws:s3:::shop/web.env",)
    assert container.secret_names == (
        ("SENTRY_SECRET_NAME", ""), ("VAULT_SECRET_ID", ""), ("CLINIC_SECRET", SECRET), ("SPLUNK", SPLUNK),
    )  # fmt: skip
    assert container.leaked == ("command", "DB_PASSWORD")
    assert container.credentials == ("DB_PASSWORD", "API_TOKEN", "VAULT_SECRET_ID", "command password")
    assert (seen["ecs_service"].desired, seen["task_role_name"]) == (2, ROLE)
    service, (balanced,) = seen["ecs_service"], seen["ecs_targets"]
    assert (service.controller, service.deployments, service.has_public_address) == ("ECS", 1, False)
    assert sorted(service.subnets) == sorted(rds.subnets)
    assert {group.name for group in seen["task_groups"].groups} == {"backend", "debug"}
    assert {group.identifier for group in seen["task_groups"].groups} == set(service.security_groups)
    assert all("0.0.0.0/0" in [rule.cidr for rule in group.egress] for group in seen["task_groups"].groups)
    assert service.target_groups == ((balanced.arn,),)
    assert (balanced.name, balanced.targets) == ("web", (Target("10.0.1.7:8000", "healthy"),))
    assert seen["ecs_cluster"].insights == "enabled"
    last = seen["ecs_deployment"]
    assert (last.status, last.created_at.day, last.reason) == ("ROLLBACK_SUCCESSFUL", 2, "on day 2")
    assert {policy.name for policy in seen["task_role"].policies} == set(GRANTS)
    assert (seen["task_role"].boundary.name, len(seen["task_role"].boundary.statements)) == ("most", 1)
    assert seen["task_role_permissions"].how == "IAM's policy simulator"
    assert seen["task_role_permissions"].needed == {
        (READ, seen["secret_description"].arn): "policy all-secrets",
        (DECRYPT, "arn:aws:kms:us-east-1:123456789012:key/1"): "policy decrypts",
    }
    assert seen["simulated_conditions"].decisions == {
        (ROLE, "rds:StopDBInstance", "*"): "allowed",
        (EXECUTION_ROLE, "iam:PassRole", "*"): "allowed",
    }
    assert {policy.name for policy in seen["execution_role"].policies} == set(EXECUTION_GRANTS)
    assert seen["execution_role_permissions"].needed == {
        (READ, seen["secret_description"].arn): "",
        (DECRYPT, "arn:aws:kms:us-east-1:123456789012:key/1"): "",
        **{(READ, secret): "" for secret in (SENTRY, SPLUNK, IMAGES)},
        ("ssm:GetParameters", "arn:aws:ssm:us-east-1:123456789012:parameter/shop/level"): "policy parameters",
    }
    assert (seen["ses_account"].bounces, seen["ses_account"].complaints) == (0.25, 0.25)
    assert (seen["ses_account"].has_production_access, seen["ses_identity"].domain, seen["ses_identity"].dkim) == (
        False,
        "shop.net",
        "PENDING",
    )


def test_needed_permissions_are_the_same_without_the_policy_simulator(wire):
    wire.denied = {"iam:SimulatePrincipalPolicy"}
    fact = read(closure("task_role_permissions"))["task_role_permissions"]
    assert isinstance(fact, Value)
    assert [by.split(",")[0] for by in fact.value.needed.values()] == ["policy all-secrets", "policy decrypts"]


@needs_boto3_1_40
def test_facts_declare_the_actions_that_they_call(wire):
    for name in AWS_FACTS:
        wire.called.clear()
        read(closure(name))
        declared = {action for source in closure(name).values() for action in source.actions}
        assert wire.called == declared - OF_CLUSTERS, name


#: Whose order is AWS's word: documents that people wrote, and what happened when.
IN_ORDER = {"Document", "AssumeRolePolicyDocument", "PolicyDocument", "taskDefinition", "Events"}


def reversed_lists(answer: Any) -> Any:
    """The response with every list reversed."""
    if isinstance(answer, dict):
        return {key: value if key in IN_ORDER else reversed_lists(value) for key, value in answer.items()}
    return [reversed_lists(item) for item in reversed(answer)] if isinstance(answer, list) else answer


def test_findings_do_not_depend_on_the_order_of_lists(wire):
    checks = [check for check in OURS if _with_needs(check.needs) <= set(closure(*AWS_FACTS))]
    before = evaluate_checks(checks, read(REGISTRY.sources_for(checks)))
    wire.remembered = {key: reversed_lists(answer) for key, answer in wire.remembered.items()}
    after = evaluate_checks(checks, read(REGISTRY.sources_for(checks)))
    assert [change(finding, measured="") for finding in after] == [change(item, measured="") for item in before]


#: Actions without which the checks are still evaluated: the statuses, and the end of the evidence.
FALLS_BACK = {
    "iam:SimulatePrincipalPolicy": (
        {Status.PASS, Status.WARN, Status.FAIL, Status.UNKNOWN},
        "; policy simulator not used: AWS denied iam:SimulatePrincipalPolicy",
    ),
    "cloudtrail:LookupEvents": (
        {Status.FAIL, Status.UNKNOWN},
        "creator and date are unknown (AWS denied cloudtrail:LookupEvents)",
    ),
}


#: An AWS managed key of a topic, which the emulator does not have.
OF_AWS = {"KeyId": "1", "Arn": "arn:aws:kms:us-east-1:123456789012:key/1", "KeyManager": "AWS"}

#: What the emulator keeps nothing of: blue and green target groups, the circuit breaker, task sets.
BLUE_GREEN = {
    "status": "ACTIVE",
    "desiredCount": 2,
    "runningCount": 2,
    "taskDefinition": "arn:aws:ecs:us-east-1:123456789012:task-definition/web:12",
    "deploymentController": {"type": "ECS"},
    "deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": False}},
    "deployments": [
        {"status": "ACTIVE", "rolloutState": "IN_PROGRESS"},
        {"status": "PRIMARY", "rolloutState": "COMPLETED"},
    ],
    "loadBalancers": [
        {"targetGroupArn": "arn:blue", "advancedConfiguration": {"alternateTargetGroupArn": "arn:green"}},
        {"loadBalancerName": "classic"},
    ],
}
BY_CODE_DEPLOY = {
    **BLUE_GREEN,
    "loadBalancers": [],
    "deploymentController": {"type": "CODE_DEPLOY"},
    "deployments": [],
    "taskSets": [
        {"status": "ACTIVE", "stabilityStatus": "STABILIZING"},
        {
            "status": "PRIMARY",
            "stabilityStatus": "STEADY_STATE",
            "taskDefinition": "arn:aws:ecs:us-east-1:123456789012:task-definition/web:13",
            "loadBalancers": [{"targetGroupArn": "arn:green"}],
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-a"], "securityGroups": ["sg-app"]}},
        },
    ],
}


@pytest.mark.parametrize(
    ("answer", "controller", "rollout", "revision", "target_groups", "security_groups"),
    [
        pytest.param(
            *(BLUE_GREEN, "ECS", "COMPLETED", "web:12", (("arn:blue", "arn:green"),), None), marks=needs_boto3_1_40
        ),
        (BY_CODE_DEPLOY, "CODE_DEPLOY", "STEADY_STATE", "web:13", (("arn:green",),), ("sg-app",)),
        ({"taskSets": [{"status": "ACTIVE"}]}, "ECS", None, "", (), None),
    ],
    ids=["blue-green", "code-deploy", "nothing-serves"],
)
def test_ecs_services_without_an_emulator(wire, answer, controller, rollout, revision, target_groups, security_groups):
    wire.remembered = {}
    wire.documented = {"ecs:DescribeServices": lambda _: {"services": [answer]}}
    fact = read(closure("ecs_service"))["ecs_service"]
    assert isinstance(fact, Value)
    service = fact.value
    assert (service.controller, service.rollout, service.target_groups) == (controller, rollout, target_groups)
    assert service.security_groups == security_groups
    assert service.task_definition.rpartition("/")[2] == revision
    assert (service.has_circuit_breaker, service.rolls_back) == ((None, None) if not rollout else (True, False))


@needs_boto3_1_40
def test_both_target_groups_of_a_blue_green_deployment_are_read(wire):
    """One of the two is empty, and each deployment swaps them."""
    states = {"arn:blue": [], "arn:green": ["healthy", "unhealthy"]}

    def groups(request: dict[str, Any]) -> dict[str, Any]:
        assert request == {"TargetGroupArns": ["arn:blue", "arn:green"]}
        return {"TargetGroups": [{"Matcher": {"HttpCode": codes}} for codes in ("200-499", "200")]}

    def health(request: dict[str, Any]) -> dict[str, Any]:
        said = [{"State": state} for state in states[request["TargetGroupArn"]]]
        return {"TargetHealthDescriptions": [{"Target": {"Id": "10.0.1.7"}, "TargetHealth": item} for item in said]}

    wire.remembered = {}
    wire.documented = {
        "ecs:DescribeServices": lambda _: {"services": [BLUE_GREEN]},
        "elasticloadbalancing:DescribeTargetHealth": health,
        "elasticloadbalancing:DescribeTargetGroups": groups,
    }
    fact = read(closure("ecs_targets"))["ecs_targets"]
    targets = (Target("10.0.1.7", "healthy"), Target("10.0.1.7", "unhealthy"))
    assert fact == Value((TargetGroup("arn:blue", targets, ("200", "200-499")),))


def test_a_service_without_a_recent_deployment(wire):
    wire.remembered = {}
    wire.documented = {"ecs:ListServiceDeployments": lambda _: {"serviceDeployments": []}}
    assert read(closure("ecs_deployment"))["ecs_deployment"] == Value(None)


@pytest.mark.parametrize(
    ("key", "found"),
    [(OF_AWS, {"arn": OF_AWS["Arn"], "is_aws_managed": True}), (None, {"arn": "", "is_aws_managed": False})],
    ids=["aws-own", "gone"],
)
def test_keys_whose_policy_is_not_read(wire, key, found):
    wire.remembered = {}
    wire.documented = {"sns:GetTopicAttributes": lambda _: {"Attributes": {"KmsMasterKeyId": "alias/unknown"}}}
    if key:
        wire.documented["kms:DescribeKey"] = lambda _: {"KeyMetadata": key}
    fact = read(closure("topic_keys"))["topic_keys"]
    assert isinstance(fact, Value)
    assert [{attribute: getattr(item, attribute) for attribute in found} for item in fact.value] == [found]
    assert "kms:GetKeyPolicy" not in wire.called


def test_maintenance_has_both_dates(wire):
    forced, after = datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 12, 3, tzinfo=UTC)
    said = {"Action": "db-upgrade", "AutoAppliedAfterDate": after, "ForcedApplyDate": forced, "Description": "16.12"}
    answer = {"PendingMaintenanceActions": [{"PendingMaintenanceActionDetails": [said, {"Action": "os-upgrade"}]}]}
    wire.remembered = {}
    wire.documented = {"rds:DescribePendingMaintenanceActions": lambda _: answer}
    facts = read(closure("rds_maintenance"))
    arn = facts["rds_instance"].value.arn  # type: ignore[union-attr]
    assert facts["rds_maintenance"] == Value(
        (Maintenance(arn, "db-upgrade", "16.12", forced, window_after=after), Maintenance(arn, "os-upgrade", "", None))
    )


def test_newer_minor_versions_of_a_deprecated_version(wire):
    """AWS lists it only with IncludeAll. No version is not the newest version."""
    targets = [
        {"EngineVersion": version, "IsMajorVersionUpgrade": version.startswith("17")}
        for version in ("16.9", "16.10", "16.8", "17.6")
    ]

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"DBEngineVersions": [{"ValidUpgradeTarget": targets}] if request.get("IncludeAll") else []}

    needs = closure("newer_minor_versions")
    wire.remembered = {}
    wire.documented = {"rds:DescribeDBEngineVersions": answer}
    assert read(needs)["newer_minor_versions"] == Value(("16.8", "16.9", "16.10"))
    wire.remembered = {}
    wire.documented = {"rds:DescribeDBEngineVersions": lambda _: {"DBEngineVersions": []}}
    fact = read(needs)["newer_minor_versions"]
    assert isinstance(fact, Failed)
    assert str(fact.error).startswith("RDS does not list the version ")


def test_deployments_by_another_controller_are_not_read(wire):
    wire.remembered = {}
    wire.documented = {"ecs:DescribeServices": lambda _: {"services": [BY_CODE_DEPLOY]}}
    assert read(closure("ecs_deployment"))["ecs_deployment"] == Value(None)
    assert "ecs:ListServiceDeployments" not in wire.called


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"clusters": [], "failures": [{"arn": "prod", "reason": "MISSING"}]}, "The ECS cluster prod does not exist."),
        ({"clusters": [{"clusterName": "prod"}]}, None),
    ],
)
def test_a_cluster_that_does_not_exist_or_has_no_settings(wire, answer, sentence):
    wire.remembered = {}
    wire.documented = {"ecs:DescribeClusters": lambda _: answer}
    fact = read(closure("ecs_cluster"))["ecs_cluster"]
    if sentence:
        assert isinstance(fact, Absent) and str(fact.error) == sentence
    else:
        assert fact == Value(Cluster("prod", None))


@pytest.mark.parametrize(
    "action", [pytest.param(action, marks=needs_boto3_1_40 if "MajorEngine" in action else ()) for action in ACTIONS]
)
def test_one_denied_action(wire, action):
    """Checks that need it are unknown, none of them passes, and the exit code is 2."""
    wire.denied = {action}
    affected = [
        check
        for check in OURS
        if action in REGISTRY.actions_for([check])
        and not {"connection_attempt", "leaked_secrets"} & _with_needs(check.needs)
    ]
    assert affected
    facts = read(REGISTRY.sources_for(affected))
    findings = evaluate_checks(affected, facts)
    if action in FALLS_BACK:
        statuses, said = FALLS_BACK[action]
        assert {finding.status for finding in findings} == statuses
        assert {finding.check.id for finding in findings if said in finding.full_evidence} == {
            check.id for check in affected
        }
        assert not [finding for finding in findings if action in finding.evidence]
        return
    assert [finding for finding in findings if finding.status is not Status.UNKNOWN] == []
    assert Report(findings, 0.0, "").exit_code == 2
    assert any(isinstance(fact, Failed) and getattr(fact.error, "action", "") == action for fact in facts.values())
    assert all(action in finding.hint for finding in findings)


@pytest.mark.parametrize(
    ("setting", "value", "fact", "sentence"),
    [
        ("RDS_INSTANCE", "missing", "rds_instance", "the RDS instance missing in us-east-1 does not exist."),
        ("ECS_SERVICE", "missing", "ecs_service", "The ECS service missing does not exist in the cluster prod."),
        ("ECS_CLUSTER", "missing", "ecs_service", "the service web in the cluster missing does not exist."),
        ("TASK_ROLE", "missing", "task_role", "the role missing does not exist."),
        ("BASTION_INSTANCE", "i-12345678", "bastion", "the bastion host i-12345678 does not exist."),
    ],
)
def test_configured_resources_that_do_not_exist(wire, settings, setting, value, fact, sentence):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {setting: value}
    found = read(closure(fact))[fact]
    assert isinstance(found, Absent)
    assert str(found.error) == sentence


def stored(**values: str) -> SecretState:
    return SecretState("prod", "us-east-1", "v1", Document(values), {})


ENDPOINT = "abc123.us-east-1.rds.amazonaws.com"


def test_an_instance_that_is_not_set():
    with pytest.raises(ConfigurationError) as raised:
        rds_instance(stored(host="db.shop.net"), Settings())
    assert (str(raised.value), raised.value.hint) == (
        "The RDS instance is not set, and the host in the secret is not the endpoint of one.",
        'Set DEPLOYTOOLS["RDS_INSTANCE"].',
    )


def test_reading_the_rule_history_is_limited_in_time(wire, monkeypatch):
    monkeypatch.setattr(network_facts, "MAX_HISTORY_SECONDS", -1)
    found = read(closure("rule_history"))["rule_history"]
    assert found == Value(RuleHistory({}, "CloudTrail has more events than were read in -1 s"))


def test_a_deleted_security_group_does_not_hide_others(wire, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"APP_SECURITY_GROUPS": ["backend", "sg-0123456789abcdef0"]}
    found = read(closure("network"))["network"]
    assert isinstance(found, Value)
    assert {group.name for group in found.value.groups.values()} > {"rds", "backend", "bastion"}


def test_resources_that_are_not_configured_are_not_read(wire, settings):
    for key in ("ECS_SERVICE", "BASTION_INSTANCE"):
        settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {key: ""}
    facts = read(
        closure(
            "ecs_service",
            "ecs_cluster",
            "ecs_targets",
            "task_definition",
            "task_role",
            "task_role_permissions",
            "bastion",
            "bastion_agent",
        )
    )
    assert [name for name, fact in facts.items() if fact == Value(None)] == [
        name
        for name in facts
        if name not in {"settings", "secret", "secret_description", "secret_policy", "task_role_name"}
    ]
    assert not {action for action in wire.called if action.startswith(("ecs", "ec2", "elastic", "iam", "ssm"))}


def test_the_secret_values_to_search_for(wire):
    (secret,) = [
        fact.value
        for fact in read(closure("secret")).values()
        if isinstance(fact, Value) and "secret" in repr(type(fact.value))
    ][-1:]
    assert set(credential_values(secret.document, FIELDS)) == {
        "password",
        "django_secret_key",
        "stripe_secret_key",
        "email_password",
    }
    assert credential_values(secret.document, FIELDS)["password"] == DOCUMENT["password"]


@pytest.mark.parametrize(("vpc", "name"), [("vpc-1", "backend"), ("", "backend"), ("vpc-2", "backend of vpc-1")])
def test_a_group_of_another_vpc_does_not_have_the_name_in_the_settings(vpc, name):
    assert network_facts._name({"GroupName": "backend", "VpcId": "vpc-1"}, vpc) == name


@pytest.mark.parametrize(
    ("interface", "address"),
    [
        ({}, None),
        ({"Ipv6Addresses": [{"Ipv6Address": "fd00::1"}]}, None),
        ({"Ipv6Addresses": [{"Ipv6Address": "2600:1f18::1"}]}, "2600:1f18::1"),
        ({"Association": {"PublicIp": "3.80.1.1"}}, "3.80.1.1"),
        ({"Association": {"CarrierIp": "155.146.1.1"}}, None),
        ({"PrivateIpAddresses": [{}, {"Association": {"PublicIp": "3.80.1.2"}}]}, "3.80.1.2"),
    ],
)
def test_public_addresses_of_the_bastion_host(wire, interface, address):
    instance = {"NetworkInterfaces": [{"PrivateIpAddress": "10.0.0.5"}, interface]}
    wire.remembered = {}
    wire.documented = {"ec2:DescribeInstances": lambda _: {"Reservations": [{"Instances": [instance]}]}}
    fact = read(closure("bastion"))["bastion"]
    assert isinstance(fact, Value) and fact.value.address == address


def test_the_groups_of_all_interfaces_of_the_bastion_host(wire):
    interfaces = [{"Groups": [{"GroupId": name}]} for name in ("sg-1", "sg-2")]
    instance = {"SecurityGroups": [{"GroupId": "sg-1"}], "NetworkInterfaces": interfaces}
    wire.remembered = {}
    wire.documented = {"ec2:DescribeInstances": lambda _: {"Reservations": [{"Instances": [instance]}]}}
    fact = read(closure("bastion"))["bastion"]
    assert isinstance(fact, Value) and fact.value.groups == ("sg-1", "sg-2")


def test_a_family_without_an_active_revision_has_no_newest(monkeypatch):
    client = boto3.client("ecs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr("deploytools.aws.client", lambda service, region: client)
    with Stubber(client) as stubber:
        stubber.add_client_error("describe_task_definition", "ClientException", "Unable to describe task definition.")
        assert newest_settings_modules(WORLD["task_definition"], read_settings()) == {}


@pytest.mark.slow
def test_the_addresses_of_load_balancers_are_known(wire):
    def interfaces(request: dict[str, Any]) -> dict[str, Any]:
        (addresses,) = [item["Values"] for item in request["Filters"]]
        kinds = ("network_load_balancer", "interface")
        found = [{"PrivateIpAddress": address, "InterfaceType": kind} for address in addresses for kind in kinds]
        return {"NetworkInterfaces": [*found, {"PrivateIpAddress": "10.0.0.1", "InterfaceType": "interface"}]}

    wire.remembered = {}
    wire.documented = wire.documented | {"ec2:DescribeNetworkInterfaces": interfaces}
    assert read(closure("balancer_nodes"))["balancer_nodes"] == Value(frozenset({"203.0.113.7"}))


def test_container_without_the_name_of_its_log_group():
    definition = WORLD["task_definition"]
    containers = tuple(replace(container, log_group=("us-east-1", "")) for container in definition.containers)
    assert log_groups(replace(definition, containers=containers)) == frozenset()
