"""The permissions of the application's role and of the execution role."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploytools.conf import Settings
from deploytools.verification.iam import permissions as source
from deploytools.verification.iam.facts import Role, injected_secrets
from deploytools.verification.iam.permissions import DECRYPT, READ, RolePermissions, key_arn
from deploytools.verification.iam.policies import Policy
from deploytools.verification.least_privilege import decryption
from deploytools.verification.secret.facts import ResourcePolicy
from tests.fakes.aws_api import respond
from tests.verification.zoo.world import ARN, CONTAINER, KEY, ROLE, WORLD

KEYS = "arn:aws:kms:us-east-1:123456789012"


@pytest.mark.parametrize(
    ("key", "arn"),
    [
        ("", ""),
        ("1234abcd", f"{KEYS}:key/1234abcd"),
        (f"{KEYS}:key/1234abcd", f"{KEYS}:key/1234abcd"),
        ("alias/shop", "*"),
        (f"{KEYS}:alias/shop", "*"),
    ],
)
def test_the_arn_of_the_key(key, arn):
    assert key_arn(replace(WORLD["secret_description"], key=key)) == arn


def test_injected_secrets_are_distinct_arns():
    named = (
        ("A", f"{ARN}:django_secret_key::"),
        ("B", f"{ARN}:password:AWSCURRENT:"),
        ("C", ARN),
        ("D", "/shop/level"),
    )
    definition = replace(WORLD["task_definition"], containers=(replace(CONTAINER, secrets=named),))
    assert injected_secrets(definition) == (ARN, "/shop/level")


ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
READS = {"Effect": "Allow", "Action": READ, "Resource": ARN}
AT_HOME = {"Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}
UNLESS_AT_HOME = {**ALL, "Effect": "Deny", **AT_HOME}
FOR_FILES = {**ALL, "Action": "s3:*", **AT_HOME}
IN_CLEAR = {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
OTHER_ROLES = {"Condition": {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/w*"}}}
MISSING = {
    "ResourceSpecificResults": [
        {"EvalResourceName": "*", "EvalResourceDecision": "implicitDeny", "MissingContextValues": ["aws:SourceIp"]}
    ]
}
REFUSED: dict[str, Any] = {}


def evaluated(**result: Any) -> dict[str, Any]:
    return {"EvaluationResults": [{"EvalActionName": "a:B", **result}]}


@pytest.fixture
def permissions(monkeypatch):
    """The permissions of a role with these statements; `says` is the result of every simulation."""

    def permissions(
        *statements: Any, says: dict[str, Any], role: Role = ROLE, of_secret: tuple[Any, ...] = ()
    ) -> RolePermissions:
        def answer(operation: str, request: dict[str, Any]) -> Any:
            assert operation == "SimulatePrincipalPolicy"
            if not says:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
            return evaluated(**says)

        respond(monkeypatch, answer)
        role = replace(role, policies=(Policy("p", statements),))
        return source._role_permissions(
            role, [(READ, ARN), (DECRYPT, KEY)], (ARN, ResourcePolicy("123456789012", of_secret))
        )

    return permissions


@pytest.mark.parametrize(
    ("statements", "says", "reads", "is_unsure"),
    [
        ([ALL, UNLESS_AT_HOME], {"EvalDecision": "explicitDeny", **MISSING}, False, True),
        ([ALL, UNLESS_AT_HOME], {"EvalDecision": "allowed", "MissingContextValues": ["aws:SourceIp"]}, False, True),
        ([ALL, UNLESS_AT_HOME], {"EvalDecision": "explicitDeny"}, False, False),
        ([{**ALL, **AT_HOME}], {"EvalDecision": "implicitDeny", **MISSING}, False, True),
        ([ALL, FOR_FILES], {"EvalDecision": "allowed", **MISSING}, True, False),
        ([READS, FOR_FILES], {"EvalDecision": "implicitDeny", **MISSING}, False, False),
        ([ALL], REFUSED, True, False),
        ([ALL, UNLESS_AT_HOME], REFUSED, False, True),
        ([{**ALL, **AT_HOME}], REFUSED, False, True),
        ([READS], REFUSED, True, False),
        ([READS, {**READS, **AT_HOME}], REFUSED, True, False),
        ([READS, {**ALL, "Effect": "Deny", **IN_CLEAR}], REFUSED, True, False),
        ([ALL, {**ALL, "Effect": "Deny", **OTHER_ROLES}], REFUSED, True, False),
    ],
)
def test_an_unknown_condition_allows_no_needed_action(permissions, statements, says, reads, is_unsure):
    found = permissions(*statements, says=says)
    assert (bool(found.needed[READ, ARN]), (READ, ARN) in found.unsure) == (reads, is_unsure)


@pytest.mark.parametrize(("within", "unsure"), [(ALL, ()), ({**ALL, **AT_HOME}, (READ, DECRYPT)), (READS, ())])
def test_needed_permissions_are_limited_by_the_boundary(permissions, within, unsure):
    found = permissions(ALL, says=REFUSED, role=replace(ROLE, boundary=Policy("most", (within,))))
    assert tuple(action for action, _ in found.unsure) == unsure
    assert [bool(by) for by in found.needed.values()] == [within in (ALL, READS), within == ALL]


@pytest.mark.parametrize("says", [{"EvalDecision": "implicitDeny"}, REFUSED])
@pytest.mark.parametrize(
    ("changes", "by", "is_unsure"),
    [
        ({}, "the resource policy of the secret, statement 0", False),
        (AT_HOME, "", True),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, "", False),
        ({"Action": "secretsmanager:DescribeSecret"}, "", False),
        ({"Effect": "Deny"}, "", False),
    ],
)
def test_the_resource_policy_can_allow_the_role(permissions, says, changes, by, is_unsure):
    statement = {**READS, "Principal": {"AWS": ROLE.arn}, "Resource": "*", **changes}
    found = permissions(says=says, of_secret=(statement,))
    assert (found.needed[READ, ARN], (READ, ARN) in found.unsure) == (by, is_unsure)


OTHER = "arn:aws:iam::123456789012:role/other"


@pytest.mark.parametrize("says", [{"EvalDecision": "allowed", "MatchedStatements": []}, REFUSED])
@pytest.mark.parametrize(
    ("changes", "reads", "is_unsure"),
    [
        ({}, False, False),
        ({"Principal": {"AWS": ROLE.arn}}, False, False),
        ({"Principal": {"AWS": OTHER}}, True, False),
        ({"NotPrincipal": {"AWS": OTHER}}, False, False),
        ({"NotPrincipal": {"AWS": ROLE.arn}}, True, False),
        ({"NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}}, False, False),
        ({"Action": "secretsmanager:DeleteSecret"}, True, False),
        ({"Condition": {"StringNotEquals": {"aws:PrincipalArn": OTHER}}}, False, False),
        ({"Condition": {"ArnNotEquals": {"aws:PrincipalArn": ROLE.arn}}}, True, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, True, False),
        ({"Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}}, False, True),
    ],
)
def test_the_resource_policy_can_deny_the_role(permissions, says, changes, reads, is_unsure):
    principal = {} if "NotPrincipal" in changes else {"Principal": "*"}
    statement = {"Effect": "Deny", "Action": "secretsmanager:*", "Resource": "*", **principal, **changes}
    found = permissions(READS, says=says, of_secret=(statement,))
    assert (bool(found.needed[READ, ARN]), (READ, ARN) in found.unsure) == (reads, is_unsure)


@pytest.mark.parametrize(
    ("secret", "by", "is_unsure"),
    [(ARN, "policy p, statement 0", False), (ARN.replace("prod", "other"), "", False)],
)
def test_the_decryption_statement_allows_the_key(permissions, secret, by, is_unsure):
    found = permissions(decryption([KEY], [secret]), says=REFUSED)
    assert (found.needed[DECRYPT, KEY], (DECRYPT, KEY) in found.unsure) == (by, is_unsure)


def test_the_simulation_has_the_secret_in_its_context(monkeypatch):
    asked = []

    def answer(operation: str, request: dict[str, Any]) -> Any:
        asked.append(request)
        return evaluated(EvalDecision="allowed")

    respond(monkeypatch, answer)
    source._role_permissions(ROLE, [(READ, ARN), (DECRYPT, KEY)], (ARN, ResourcePolicy("123456789012", ())))
    assert [
        {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in request["ContextEntries"]} for request in asked
    ] == [
        {"aws:SecureTransport": ["true"]},
        {
            "aws:SecureTransport": ["true"],
            "kms:ViaService": ["secretsmanager.us-east-1.amazonaws.com"],
            "kms:EncryptionContext:SecretARN": [ARN],
        },
    ]


TAGGED = {"Condition": {"StringEquals": {"aws:ResourceTag/stage": "test"}}}


LATER: tuple[dict[str, Any], ...] = (
    {"ForAnyValue:DateGreaterThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}},
    {"NumericGreaterThan": {"aws:EpochTime": "1900000000"}},
)


@pytest.mark.parametrize(
    ("says", "decided"),
    [
        ({"EvalDecision": "allowed"}, "allowed"),
        ({"EvalDecision": "allowed", "MissingContextValues": ["aws:ResourceTag/stage"]}, "allowed"),
        ({"EvalDecision": "implicitDeny"}, "denied"),
        ({"EvalDecision": "explicitDeny", **MISSING}, "conditional"),
        ({"EvalDecision": "implicitDeny", "MissingContextValues": ["aws:ResourceTag/stage"]}, "conditional"),
    ],
)
def test_conditional_statements_are_simulated(monkeypatch, says, decided):
    asked = []

    def answer(operation: str, request: dict[str, Any]) -> Any:
        asked.append((request["PolicySourceArn"], *request["ActionNames"], *request["ResourceArns"]))
        return evaluated(**says)

    respond(monkeypatch, answer)
    secrets = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!*"
    statements: tuple[dict[str, Any], ...] = (
        {**ALL, "Action": ["iam:PassRole", "iam:Put*"], **TAGGED},
        {**ALL, "Action": READ, "Resource": secrets, **TAGGED},
        {**ALL, "Effect": "Deny", **TAGGED},
        {**ALL, "Action": "iam:TagRole", "Condition": {"DateGreaterThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}},
        *({**ALL, "Action": "iam:TagUser", "Condition": condition} for condition in LATER),
        {**ALL, "Action": "iam:CreateUser", "Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {**ALL, "Action": "ec2:*", **TAGGED},
        ALL,
    )
    role = replace(ROLE, policies=(Policy("p", statements),))
    found = source.simulated_conditions(role, None, Settings())
    assert asked == [(ROLE.arn, "iam:PassRole", "*"), (ROLE.arn, READ, secrets.replace("*", "x")),
                     (ROLE.arn, "ec2:RunInstances", "*")]  # fmt: skip
    of_pattern = "conditional" if decided == "denied" else decided  # Other secrets can be allowed.
    assert found.decisions == {("web", "iam:PassRole", "*"): decided, ("web", READ, secrets): of_pattern,
                               ("web", "ec2:*", "*"): of_pattern}  # fmt: skip


def test_one_invalid_question_leaves_the_other_decisions(monkeypatch):
    def answer(operation: str, request: dict[str, Any]) -> Any:
        if request["ActionNames"] == ["iam:Nothing"]:
            raise ClientError({"Error": {"Code": "InvalidInput", "Message": "no"}}, operation)
        return evaluated(EvalDecision="allowed")

    respond(monkeypatch, answer)
    statement: dict[str, Any] = {**ALL, "Action": ["iam:Nothing", "iam:PassRole"], **TAGGED}
    found = source.simulated_conditions(replace(ROLE, policies=(Policy("p", (statement,)),)), None, Settings())
    assert (found.decisions, found.without) == ({("web", "iam:PassRole", "*"): "allowed"}, "")


def test_conditions_without_the_policy_simulator(monkeypatch):
    def answer(operation: str, request: dict[str, Any]) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)

    respond(monkeypatch, answer)
    role = replace(ROLE, policies=(Policy("p", ({**ALL, "Action": "iam:PassRole", **TAGGED},)),))
    found = source.simulated_conditions(None, role, Settings())
    assert (found.decisions, found.without) == (
        {},
        "policy simulator not used: AWS denied iam:SimulatePrincipalPolicy on the role web",
    )
