"""Facts against the emulator's answers; and what is left of the findings when AWS denies one action."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.client import BaseClient

from deploytools.verification.facts import Absent, Denied, Value
from deploytools.verification.findings import Report, Status
from deploytools.verification.runner import judge_all, read_facts
from deploytools.verification.sources import rule_history
from deploytools.verification.sources.ecs_surroundings import Cluster, Target, TargetGroup
from deploytools.verification.sources.powers import DECRYPT, READ, Powers
from deploytools.verification.sources.rds_lifecycle import Maintenance
from deploytools.verification.sources.rule_history import Making
from deploytools.verification.sources.stray_values import telling_values
from localcloud import gaps
from localcloud.world import INSTANCE
from tests.fakes import endpoints
from tests.verification.account import EXECUTION_GRANTS, GRANTS, IMAGES, ROLE, SECRET, SENTRY, SPLUNK, Wire, account
from tests.verification.world import DOCUMENT, OURS, REGISTRY

#: They need AWS, and a database too.
LOGINS = {"connection_attempt", "tenant_logins"}
AWS_FACTS = tuple(name for name, source in REGISTRY.sources.items() if source.actions and name not in LOGINS)
ACTIONS = sorted({action for source in REGISTRY.sources.values() for action in source.actions})


@pytest.fixture(scope="module")
def emulated() -> Iterator[tuple[str, str]]:
    """The endpoint, and the bastion host's id."""
    gaps.fill()
    with endpoints.emulator() as url, account(url) as bastion:
        yield url, bastion


@pytest.fixture(scope="module")
def remembered() -> dict[tuple[str, str], Any]:
    return {}


@pytest.fixture
def wire(emulated, remembered, monkeypatch, settings) -> Wire:
    """boto3 led to the account, through what remembers and denies."""
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


def closure(*names: str) -> dict[str, Any]:
    """The sources of those facts, with what they are read from."""
    wanted = [check for check in OURS if set(check.needs) & set(names)]
    return {name: source for name, source in REGISTRY.sources_for(wanted).items() if name in _with_needs(names)}


def _with_needs(names: Any) -> set[str]:
    found = set(names)
    for name in names:
        found |= _with_needs(REGISTRY.sources[name].needs)
    return found


def test_every_fact_of_aws(wire):
    facts = read_facts(closure(*AWS_FACTS))
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
    assert (seen["rds_parameters"].values, seen["rds_maintenance"]) == ({}, ())
    assert {(item.kind, item.is_encrypted) for item in seen["rds_snapshots"]} == {("automated", True), ("manual", True)}
    assert {item.status for item in seen["rds_snapshots"]} == {"available"}
    assert all(abs((rds.read_at - item.made_at).total_seconds()) < 60 for item in seen["rds_snapshots"])
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
    assert seen["rule_history"].made == {
        names["203.0.113.7/32"].identifier: Making(datetime(2026, 10, 1, tzinfo=UTC), "assumed-role/Admin/alice")
    }
    assert list(seen["prefix_lists"].ranges.values()) == [("192.0.2.0/24",)]
    assert sorted(gateway[:4] for gateway in seen["routes"].gateways.values()) == ["", "igw-"]
    assert (seen["bastion"].state, seen["bastion"].demands_tokens, seen["bastion_agent"]) == ("running", False, True)

    (wizard,) = seen["bastion_groups"].groups
    assert {rule.cidr or rule.prefix_list[:3] for rule in wizard.rules} == {"0.0.0.0/0", "pl-"}
    assert list(seen["bastion_groups"].prefix_lists.ranges.values()) == [("192.0.2.0/24",)]

    assert {alarm.metric for alarm in seen["alarms"]} >= {"CPUUtilization", "FreeStorageSpace", "CPUCreditBalance"}
    assert [topic.confirmed for topic in seen["alarm_topics"]] == [
        ("email operations@example.com", "https https://hooks.example.net")
    ]
    assert [topic.key for topic in seen["alarm_topics"]] == ["alias/ops"]
    (key,) = seen["topic_keys"]
    assert (key.topic, key.is_of_aws) == (seen["alarm_topics"][0].arn, False)
    assert key.arn.startswith("arn:aws:kms:us-east-1:123456789012:key/")
    assert [(said["Principal"], said["Action"]) for said in key.statements] == [("*", "kms:*")]
    assert "canary" not in repr(seen)

    assert (seen["secret_description"].rotates, len(seen["secret_policy"].statements)) == (None, 1)
    (container,) = seen["task_definition"].containers
    assert (container.secret_name, container.environment_files) == (SECRET, ("arn:aws:s3:::shop/web.env",))
    assert (container.leaked, container.credentials) == (("command", "DB_PASSWORD"), ("DB_PASSWORD", "API_TOKEN"))
    assert (seen["ecs_service"].wanted, seen["task_role_name"]) == (2, ROLE)
    service, (balanced,) = seen["ecs_service"], seen["ecs_targets"]
    assert (service.controller, service.deployments, service.has_public_address) == ("ECS", 1, False)
    assert sorted(service.subnets) == sorted(rds.subnets)
    assert [network.groups[group].name for group in service.security_groups] == ["backend"]
    assert service.target_groups == ((balanced.arn,),)
    assert (balanced.name, balanced.targets) == ("web", (Target("10.0.1.7:8000", "healthy"),))
    assert seen["ecs_cluster"].insights == "enabled"
    last = seen["ecs_deployment"]
    assert (last.status, last.created_at.day, last.reason) == ("ROLLBACK_SUCCESSFUL", 2, "on day 2")
    assert {policy.name for policy in seen["task_role"].policies} == set(GRANTS)
    assert (seen["task_role"].boundary.name, len(seen["task_role"].boundary.statements)) == ("most", 1)
    assert seen["task_role_powers"].how == "IAM's simulation"
    assert powers_of(seen["task_role_powers"]) == POWERS
    assert seen["task_role_powers"].needed == {
        (READ, seen["secret_description"].arn): "policy all-secrets",
        (DECRYPT, "arn:aws:kms:us-east-1:123456789012:key/1"): "policy decrypts",
    }
    assert {policy.name for policy in seen["execution_role"].policies} == set(EXECUTION_GRANTS)
    assert powers_of(seen["execution_role_powers"]) == {}
    assert seen["execution_role_powers"].needed == {
        (READ, seen["secret_description"].arn): "",
        (DECRYPT, "arn:aws:kms:us-east-1:123456789012:key/1"): "",
        **{(READ, secret): "" for secret in (SENTRY, SPLUNK, IMAGES)},
        ("ssm:GetParameters", "arn:aws:ssm:us-east-1:123456789012:parameter/shop/level"): "policy parameters",
    }
    assert (seen["ses_account"].is_in_production, seen["ses_identity"].domain, seen["ses_identity"].dkim) == (
        False,
        "shop.net",
        "PENDING",
    )


#: Of the account's role; a simulation on all resources would have found the first two only.
POWERS = {
    "GetSecretValue": "policy all-secrets",
    "DeleteDBInstance": "policy deletes",
    "ModifyDBInstance": "policy changes, statement 0, for other resources",
    "AuthorizeSecurityGroupIngress": "policy opens, statement 0, for other resources",
}


def powers_of(powers: Powers) -> dict[str, str]:
    return {action.partition(":")[2]: by for (action, _), by in powers.allowed.items() if by}


def test_the_powers_are_the_same_by_reading_the_policies(wire):
    wire.denied = {"iam:SimulatePrincipalPolicy"}
    fact = read_facts(closure("task_role_powers"))["task_role_powers"]
    assert isinstance(fact, Value)
    found = powers_of(fact.value)
    assert set(found) == set(POWERS)
    assert [by for name, by in found.items() if by.split(",")[0] != POWERS[name].split(",")[0]] == []


def test_the_actions_that_are_declared_are_those_that_are_called(wire):
    for name in AWS_FACTS:
        wire.called.clear()
        read_facts(closure(name))
        declared = {action for source in closure(name).values() for action in source.actions}
        assert wire.called == declared, name


#: Whose order is AWS's word: documents that people wrote, and what happened when.
IN_ORDER = {"Document", "AssumeRolePolicyDocument", "PolicyDocument", "taskDefinition", "Events"}


def turned(answer: Any) -> Any:
    """The answer with every list the other way round."""
    if isinstance(answer, dict):
        return {key: value if key in IN_ORDER else turned(value) for key, value in answer.items()}
    return [turned(item) for item in reversed(answer)] if isinstance(answer, list) else answer


def test_the_order_of_aws_s_lists_changes_no_finding(wire):
    checks = [check for check in OURS if _with_needs(check.needs) <= set(closure(*AWS_FACTS))]
    before = judge_all(checks, read_facts(REGISTRY.sources_for(checks)))
    wire.remembered = {key: turned(answer) for key, answer in wire.remembered.items()}
    after = judge_all(checks, read_facts(REGISTRY.sources_for(checks)))
    assert [replace(finding, measured="") for finding in after] == [replace(item, measured="") for item in before]


#: The actions that a verdict does not depend on: what the findings are without them, and what they say of it.
FALLS_BACK = {
    "iam:SimulatePrincipalPolicy": (
        {Status.PASS, Status.WARN, Status.FAIL},
        "; not by IAM's simulation: AWS denied iam:SimulatePrincipalPolicy",
    ),
    "cloudtrail:LookupEvents": ({Status.FAIL}, "is not known (AWS denied cloudtrail:LookupEvents)"),
}


#: What the emulator has none of: the key of AWS's own that a topic is encrypted with.
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
        (BLUE_GREEN, "ECS", "COMPLETED", "web:12", (("arn:blue", "arn:green"),), None),
        (BY_CODE_DEPLOY, "CODE_DEPLOY", "STEADY_STATE", "web:13", (("arn:green",),), ("sg-app",)),
        ({"taskSets": [{"status": "ACTIVE"}]}, "ECS", None, "", (), None),
    ],
    ids=["blue-green", "code-deploy", "nothing-serves"],
)
def test_services_that_the_emulator_has_not(
    wire, answer, controller, rollout, revision, target_groups, security_groups
):
    wire.remembered = {}
    wire.documented = {"ecs:DescribeServices": lambda _: {"services": [answer]}}
    fact = read_facts(closure("ecs_service"))["ecs_service"]
    assert isinstance(fact, Value)
    service = fact.value
    assert (service.controller, service.rollout, service.target_groups) == (controller, rollout, target_groups)
    assert service.security_groups == security_groups
    assert service.task_definition.rpartition("/")[2] == revision
    assert (service.breaks_circuit, service.rolls_back) == ((None, None) if not rollout else (True, False))


def test_both_target_groups_of_a_blue_green_deployment_are_looked_at(wire):
    """The one that is not in use is empty, and which it is changes with each deployment."""
    states = {"arn:blue": [], "arn:green": ["healthy", "unhealthy"]}

    def health(request: dict[str, Any]) -> dict[str, Any]:
        said = [{"State": state} for state in states[request["TargetGroupArn"]]]
        return {"TargetHealthDescriptions": [{"Target": {"Id": "10.0.1.7"}, "TargetHealth": item} for item in said]}

    wire.remembered = {}
    wire.documented = {
        "ecs:DescribeServices": lambda _: {"services": [BLUE_GREEN]},
        "elasticloadbalancing:DescribeTargetHealth": health,
    }
    fact = read_facts(closure("ecs_targets"))["ecs_targets"]
    assert fact == Value((TargetGroup("arn:blue", (Target("10.0.1.7", "healthy"), Target("10.0.1.7", "unhealthy"))),))


def test_a_service_that_ecs_has_not_deployed_for_long(wire):
    wire.remembered = {}
    wire.documented = {"ecs:ListServiceDeployments": lambda _: {"serviceDeployments": []}}
    assert read_facts(closure("ecs_deployment"))["ecs_deployment"] == Value(None)


@pytest.mark.parametrize(
    ("key", "found"),
    [(OF_AWS, {"arn": OF_AWS["Arn"], "is_of_aws": True}), (None, {"arn": "", "is_of_aws": False})],
    ids=["aws-own", "gone"],
)
def test_keys_of_which_no_policy_is_asked(wire, key, found):
    wire.remembered = {}
    wire.documented = {"sns:GetTopicAttributes": lambda _: {"Attributes": {"KmsMasterKeyId": "alias/somebody-elses"}}}
    if key:
        wire.documented["kms:DescribeKey"] = lambda _: {"KeyMetadata": key}
    fact = read_facts(closure("topic_keys"))["topic_keys"]
    assert isinstance(fact, Value)
    assert [{attribute: getattr(item, attribute) for attribute in found} for item in fact.value] == [found]
    assert "kms:GetKeyPolicy" not in wire.called


def test_maintenance_says_each_of_its_dates(wire):
    forced, after = datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 12, 3, tzinfo=UTC)
    said = {"Action": "db-upgrade", "AutoAppliedAfterDate": after, "ForcedApplyDate": forced, "Description": "16.12"}
    answer = {"PendingMaintenanceActions": [{"PendingMaintenanceActionDetails": [said, {"Action": "os-upgrade"}]}]}
    wire.remembered = {}
    wire.documented = {"rds:DescribePendingMaintenanceActions": lambda _: answer}
    assert read_facts(closure("rds_maintenance"))["rds_maintenance"] == Value(
        (Maintenance("db-upgrade", "16.12", forced, window_after=after), Maintenance("os-upgrade", "", None))
    )


def test_the_deployments_of_another_are_not_asked_for(wire):
    wire.remembered = {}
    wire.documented = {"ecs:DescribeServices": lambda _: {"services": [BY_CODE_DEPLOY]}}
    assert read_facts(closure("ecs_deployment"))["ecs_deployment"] == Value(None)
    assert "ecs:ListServiceDeployments" not in wire.called


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"clusters": [], "failures": [{"arn": "prod", "reason": "MISSING"}]}, "The ECS cluster prod does not exist."),
        ({"clusters": [{"clusterName": "prod"}]}, None),
    ],
)
def test_a_cluster_that_is_gone_or_says_nothing(wire, answer, sentence):
    wire.remembered = {}
    wire.documented = {"ecs:DescribeClusters": lambda _: answer}
    fact = read_facts(closure("ecs_cluster"))["ecs_cluster"]
    if sentence:
        assert isinstance(fact, Absent) and str(fact.error) == sentence
    else:
        assert fact == Value(Cluster("prod", None))


@pytest.mark.parametrize("action", ACTIONS)
def test_one_denied_action(wire, action):
    """What depends on it is unknown, nothing of that passes, and the exit code says that something was not seen."""
    wire.denied = {action}
    affected = [
        check
        for check in OURS
        if any(action in REGISTRY.sources[name].actions for name in _with_needs(check.needs))
        and not {"connection_attempt", "stray_values"} & _with_needs(check.needs)
    ]
    assert affected
    facts = read_facts(REGISTRY.sources_for(affected))
    findings = judge_all(affected, facts)
    if action in FALLS_BACK:
        statuses, said = FALLS_BACK[action]
        assert {finding.status for finding in findings} == statuses
        assert all(said in finding.seen and action not in finding.evidence for finding in findings)
        return
    assert [finding for finding in findings if finding.status is not Status.UNKNOWN] == []
    assert Report(findings, 0.0, "").exit_code == 2
    assert any(isinstance(fact, Denied) and fact.action == action for fact in facts.values())
    assert all(action in finding.hint for finding in findings)


@pytest.mark.parametrize(
    ("setting", "value", "fact", "sentence"),
    [
        ("RDS_INSTANCE", "nobody", "rds_instance", "the RDS instance nobody in us-east-1 does not exist."),
        ("ECS_SERVICE", "nobody", "ecs_service", "The ECS service nobody does not exist in the cluster prod."),
        ("ECS_CLUSTER", "nobody", "ecs_service", "the service web in the cluster nobody does not exist."),
        ("TASK_ROLE", "nobody", "task_role", "the role nobody does not exist."),
        ("BASTION_INSTANCE", "i-12345678", "bastion", "the bastion host i-12345678 does not exist."),
    ],
)
def test_what_the_settings_name_and_the_account_has_not(wire, settings, setting, value, fact, sentence):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {setting: value}
    found = read_facts(closure(fact))[fact]
    assert isinstance(found, Absent)
    assert str(found.error) == sentence


def test_who_made_a_rule_is_not_waited_for(wire, monkeypatch):
    monkeypatch.setattr(rule_history, "PATIENCE", -1)
    found = read_facts(closure("rule_history"))["rule_history"]
    assert found == Value(rule_history.RuleHistory({}, "CloudTrail has more events than there was time to read"))


def test_a_security_group_that_is_gone_hides_no_other(wire, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"APP_SECURITY_GROUPS": ["backend", "sg-0123456789abcdef0"]}
    found = read_facts(closure("network"))["network"]
    assert isinstance(found, Value)
    assert {group.name for group in found.value.groups.values()} > {"rds", "backend", "bastion"}


def test_what_is_not_declared_is_not_asked_for(wire, settings):
    for key in ("ECS_SERVICE", "BASTION_INSTANCE"):
        settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {key: ""}
    facts = read_facts(
        closure(
            "ecs_service",
            "ecs_cluster",
            "ecs_targets",
            "task_definition",
            "task_role",
            "task_role_powers",
            "bastion",
            "bastion_agent",
        )
    )
    assert [name for name, fact in facts.items() if fact == Value(None)] == [
        name
        for name in facts
        if name not in {"expectation", "secret", "secret_description", "secret_policy", "task_role_name"}
    ]
    assert not {action for action in wire.called if action.startswith(("ecs", "ec2", "elastic", "iam", "ssm"))}


def test_values_that_would_be_a_leak(wire):
    (secret,) = [
        fact.value
        for fact in read_facts(closure("secret")).values()
        if isinstance(fact, Value) and "secret" in repr(type(fact.value))
    ][-1:]
    assert set(telling_values(secret.document)) == {
        "password",
        "django_secret_key",
        "stripe_secret_key",
        "email_password",
    }
    assert telling_values(secret.document)["password"] == DOCUMENT["password"]
