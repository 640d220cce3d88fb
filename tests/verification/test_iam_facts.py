"""What the application's role, and the one that ECS starts it with, are asked about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from deploytools.verification.least_privilege import decryption
from deploytools.verification.policies import Policy
from deploytools.verification.sources import powers as source
from deploytools.verification.sources.iam import Role, fetched
from deploytools.verification.sources.powers import DECRYPT, READ, Powers, key_arn
from deploytools.verification.sources.secret import ResourcePolicy
from tests.verification.world import ARN, CONTAINER, KEY, ROLE, WORLD

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
def test_the_key_by_its_arn(key, arn):
    assert key_arn(replace(WORLD["secret_description"], key=key)) == arn


def test_what_ecs_fetches_is_a_whole_secret_once():
    named = (
        ("A", f"{ARN}:django_secret_key::"),
        ("B", f"{ARN}:password:AWSCURRENT:"),
        ("C", ARN),
        ("D", "/shop/level"),
    )
    definition = replace(WORLD["task_definition"], containers=(replace(CONTAINER, secrets=named),))
    assert fetched(definition) == (ARN, "/shop/level")


ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
READS = {"Effect": "Allow", "Action": READ, "Resource": ARN}
AT_HOME = {"Condition": {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}
UNLESS_AT_HOME = {**ALL, "Effect": "Deny", **AT_HOME}
FOR_FILES = {**ALL, "Action": "s3:*", **AT_HOME}
DELETING = ("rds:DeleteDBInstance", "arn:aws:rds:us-east-1:123456789012:db:good")
IN_CLEAR = {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}
OTHER_ROLES = {"Condition": {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/w*"}}}
MISSING = {"ResourceSpecificResults": [{"MissingContextValues": ["aws:SourceIp"]}]}
REFUSED: dict[str, Any] = {}


@pytest.fixture
def powers(monkeypatch):
    """What a role of those statements may do, by what the simulation says of each question."""

    def powers(*statements: Any, says: dict[str, Any], role: Role = ROLE, of_secret: tuple[Any, ...] = ()) -> Powers:
        def call(client: Any, operation: str, request: dict[str, Any]) -> Any:
            assert operation == "SimulatePrincipalPolicy"
            if not says:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
            return {"EvaluationResults": [says]}

        monkeypatch.setattr(BaseClient, "_make_api_call", call)
        role = replace(role, policies=(Policy("p", statements),))
        return source._powers(
            role, [(READ, ARN), (DECRYPT, KEY)], [DELETING], (ARN, ResourcePolicy("123456789012", of_secret))
        )

    return powers


@pytest.mark.parametrize(
    ("statements", "says", "reads", "is_unsure", "deletes"),
    [
        ([ALL, UNLESS_AT_HOME], {"EvalDecision": "explicitDeny", **MISSING}, False, True, True),
        ([ALL, UNLESS_AT_HOME], {"EvalDecision": "allowed", "MissingContextValues": ["a"]}, False, True, True),
        ([ALL, UNLESS_AT_HOME], {"EvalDecision": "explicitDeny"}, False, False, False),
        ([{**ALL, **AT_HOME}], {"EvalDecision": "implicitDeny", **MISSING}, False, True, True),
        ([ALL, FOR_FILES], {"EvalDecision": "allowed", **MISSING}, True, False, True),
        ([READS, FOR_FILES], {"EvalDecision": "implicitDeny", **MISSING}, False, False, False),
        ([ALL], REFUSED, True, False, True),
        ([ALL, UNLESS_AT_HOME], REFUSED, False, True, True),
        ([{**ALL, **AT_HOME}], REFUSED, False, True, True),
        ([READS], REFUSED, True, False, False),
        ([READS, {**READS, **AT_HOME}], REFUSED, True, False, False),
        ([READS, {**ALL, "Effect": "Deny", **IN_CLEAR}], REFUSED, True, False, False),
        ([ALL, {**ALL, "Effect": "Deny", **OTHER_ROLES}], REFUSED, True, False, True),
    ],
)
def test_what_hangs_on_a_condition_is_feared_and_not_relied_on(powers, statements, says, reads, is_unsure, deletes):
    found = powers(*statements, says=says)
    assert (bool(found.needed[READ, ARN]), (READ, ARN) in found.unsure) == (reads, is_unsure)
    assert bool(found.allowed[DELETING]) is deletes
    assert found.allowed[DELETING].endswith(", on a condition") is (deletes and is_unsure)


@pytest.mark.parametrize("says", [{"EvalDecision": "implicitDeny"}, REFUSED])
@pytest.mark.parametrize(("within", "deletes"), [(ALL, True), (READS, False), ({**ALL, **AT_HOME}, True)])
def test_a_boundary_is_what_a_role_may_at_most(powers, says, within, deletes):
    bounded = replace(ROLE, boundary=Policy("most", (within,)))
    assert bool(powers(ALL, says=says, role=bounded).allowed[DELETING]) is deletes


@pytest.mark.parametrize(("within", "unsure"), [(ALL, ()), ({**ALL, **AT_HOME}, (READ, DECRYPT)), (READS, ())])
def test_what_a_role_needs_is_within_its_boundary(powers, within, unsure):
    found = powers(ALL, says=REFUSED, role=replace(ROLE, boundary=Policy("most", (within,))))
    assert tuple(action for action, _ in found.unsure) == unsure
    assert [bool(by) for by in found.needed.values()] == [within in (ALL, READS), within == ALL]


@pytest.mark.parametrize("says", [{"EvalDecision": "implicitDeny"}, REFUSED])
@pytest.mark.parametrize(
    ("changes", "by", "is_unsure"),
    [
        ({}, "the secret's own policy, statement 0", False),
        (AT_HOME, "", True),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, "", False),
        ({"Action": "secretsmanager:DescribeSecret"}, "", False),
        ({"Effect": "Deny"}, "", False),
    ],
)
def test_the_secret_may_let_the_role_in_itself(powers, says, changes, by, is_unsure):
    statement = {**READS, "Principal": {"AWS": ROLE.arn}, "Resource": "*", **changes}
    found = powers(says=says, of_secret=(statement,))
    assert (found.needed[READ, ARN], (READ, ARN) in found.unsure) == (by, is_unsure)


@pytest.mark.parametrize(
    ("secret", "by", "is_unsure"),
    [(ARN, "policy p, statement 0", False), (ARN.replace("prod", "other"), "", False)],
)
def test_the_key_may_be_used_as_our_own_policy_says(powers, secret, by, is_unsure):
    found = powers(decryption([KEY], [secret]), says=REFUSED)
    assert (found.needed[DECRYPT, KEY], (DECRYPT, KEY) in found.unsure) == (by, is_unsure)


def test_the_simulation_is_told_which_secret_the_key_is_for(monkeypatch):
    asked = []

    def call(client: Any, operation: str, request: dict[str, Any]) -> Any:
        asked.append(request)
        return {"EvaluationResults": [{"EvalDecision": "allowed"}]}

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    source._powers(ROLE, [(READ, ARN), (DECRYPT, KEY)], [], (ARN, ResourcePolicy("123456789012", ())))
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
