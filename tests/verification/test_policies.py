"""The simplified evaluation of IAM policy documents."""

from __future__ import annotations

from typing import Any

import pytest

from deploytools.verification.iam.excess import contains, overlaps
from deploytools.verification.iam.policies import binding_conditions, decision, parse_policy, principals

SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod-AbCdEf"
READ = "secretsmanager:GetSecretValue"


KNOWN = {"kms:ViaService": "s.amazonaws.com", "aws:SecureTransport": "true"}


def allow(**members: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": READ, "Resource": SECRET, **members}


@pytest.mark.parametrize(
    ("statements", "action", "resource", "is_allowed"),
    [
        ([allow()], READ, SECRET, True),
        ([allow()], READ, SECRET.replace("prod", "other"), False),
        ([allow()], "secretsmanager:PutSecretValue", SECRET, False),
        ([allow(Action="SecretsManager:getsecretvalue")], READ, SECRET, True),
        ([allow(Action=["rds:*", "secretsmanager:Get*"])], READ, SECRET, True),
        ([allow(Action="*", Resource="*")], "rds:DeleteDBInstance", "*", True),
        ([allow(Action="rds:DeleteDBInstance", Resource="arn:aws:rds:*:*:db:one")], "rds:DeleteDBInstance", "*", True),
        ([allow(Resource=SECRET.replace("AbCdEf", "??????"))], READ, SECRET, True),
        ([allow(Resource=SECRET.replace("AbCdEf", "?"))], READ, SECRET, False),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "rds:DeleteDBInstance", "*", True),
        ([{"Effect": "Allow", "NotAction": ["iam:*", "rds:*"], "Resource": "*"}], "rds:DeleteDBInstance", "*", False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": SECRET}], READ, SECRET, False),
        ([allow(), allow(Effect="Deny")], READ, SECRET, False),
        ([allow(Effect="Deny"), allow()], READ, SECRET, False),
        ([allow(), allow(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})], READ, SECRET, True),
        ([allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], READ, SECRET, True),
        ([], READ, SECRET, False),
        ([allow(Action="*", Resource="*"), allow(Effect="Deny")], READ, "*", True),
        ([allow(Action="*", Resource="*"), allow(Effect="Deny", Resource=[SECRET, "*"])], READ, "*", False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": SECRET}], READ, "*", True),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "*"}], READ, "*", False),
        ([allow(Resource="*"), {"Effect": "Deny", "Action": "*", "NotResource": SECRET}], READ, "*", True),
        ([allow(Action="rds:*")], READ, "*", False),
    ],
)
def test_allowing_statement(statements, action, resource, is_allowed):
    policy = parse_policy("p", {"Version": "2012-10-17", "Statement": statements})
    assert bool(decision([policy], action, resource)[1]) is is_allowed


@pytest.mark.parametrize(
    ("effect", "condition", "decided"),
    [
        ("Allow", {"StringEquals": {"kms:ViaService": "s.amazonaws.com"}}, "allowed"),
        ("Allow", {"stringlike": {"KMS:viaservice": ["a.*", "s.*"]}}, "allowed"),
        ("Allow", {"StringEquals": {"kms:ViaService": "s.*"}}, "implicitDeny"),
        ("Allow", {"StringEquals": {"kms:ViaService": "s.amazonaws.com", "aws:SourceVpc": "vpc-1"}}, "conditional"),
        ("Allow", {"StringEquals": {"kms:ViaService": "other"}, "Bool": {"aws:SourceIsOurs": True}}, "implicitDeny"),
        ("Allow", {"StringNotEquals": {"kms:ViaService": "other"}}, "allowed"),
        ("Allow", {"StringNotLike": {"kms:ViaService": ["other", "s.*"]}}, "implicitDeny"),
        ("Allow", {"StringEqualsIfExists": {"kms:ViaService": "s.amazonaws.com"}}, "conditional"),
        ("Allow", {"Null": {"kms:ViaService": "true"}}, "conditional"),
        ("Deny", {"Bool": {"aws:SecureTransport": False}}, "allowed"),
        ("Deny", {"Bool": {"aws:SecureTransport": ["true"]}}, "explicitDeny"),
        ("Allow", {"Bool": {"aws:SecureTransport": "True"}}, "allowed"),
        ("Allow", {"Bool": {"aws:SecureTransport": "FALSE"}}, "implicitDeny"),
        ("Allow", {"StringEquals": {"aws:SourceVpc": "vpc-1"}}, "conditional"),
        ("Deny", {"StringEquals": {"kms:ViaService": "s.amazonaws.com"}}, "explicitDeny"),
        ("Deny", {"StringEquals": {"kms:ViaService": "other"}}, "allowed"),
        ("Deny", {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, "conditional"),
    ],
)
def test_a_decision_that_depends_on_a_condition(effect, condition, decided):
    policies = [parse_policy("p", {"Statement": [allow(Effect=effect, Condition=condition)]})]
    policies += [parse_policy("q", {"Statement": [allow()]})] if effect == "Deny" else []
    found, by = decision(policies, READ, SECRET, KNOWN)
    assert (found, bool(by)) == (decided, decided in {"allowed", "conditional"})


def test_a_deny_in_another_policy_overrides_the_allow():
    reading = parse_policy("reads", {"Statement": allow(Sid="Reads")})
    denying = parse_policy("denies", {"Statement": [allow(Effect="Deny")]})
    assert decision([reading], READ, SECRET)[1] == "policy reads, statement Reads"
    assert decision([parse_policy("plain", {"Statement": [allow()]})], READ, SECRET)[1] == "policy plain, statement 0"
    assert decision([reading, denying], READ, SECRET)[1] == ""


def test_a_url_encoded_document():
    assert parse_policy("p", "%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%7D%5D%7D").statements == (
        {"Effect": "Allow"},
    )


@pytest.mark.parametrize(
    ("operator", "key", "value", "binds"),
    [
        ("StringEquals", "aws:PrincipalOrgID", "o-1", True),
        ("stringequals", "AWS:principalorgid", ["o-1", "o-2"], True),
        ("ForAnyValue:StringLike", "aws:PrincipalOrgPaths", "o-1/r-1/*", True),
        ("ForAllValues:StringLike", "aws:PrincipalOrgPaths", "o-1/r-1/*", False),
        ("StringEqualsIfExists", "aws:PrincipalOrgID", "o-1", False),
        ("StringNotEquals", "aws:PrincipalOrgID", "o-1", False),
        ("StringLike", "aws:PrincipalAccount", ["123456789012", "*"], False),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:role/*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/web", False),
        ("StringLike", "aws:PrincipalArn", "*", False),
        ("IpAddress", "aws:SourceIp", "203.0.113.0/24", True),
        ("IpAddress", "aws:SourceIp", ["203.0.113.0/24", "0.0.0.0/0"], False),
        ("StringEquals", "aws:SourceVpce", "vpce-1", True),
        ("StringEquals", "aws:RequestedRegion", "us-east-1", False),
        ("Bool", "aws:SecureTransport", "true", False),
        ("Null", "aws:PrincipalOrgID", "false", False),
    ],
)
def test_binding_conditions(operator, key, value, binds):
    found = binding_conditions({"Condition": {operator: {key: value}}})
    assert [name for name, _ in found] == ([key] if binds else [])


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ({"Principal": "*"}, ["*"]),
        (
            {"Principal": {"AWS": ["*", "123456789012"], "Service": "ecs.amazonaws.com"}},
            ["*", "123456789012", "ecs.amazonaws.com"],
        ),
        ({"NotPrincipal": {"AWS": "123456789012"}}, ["*"]),
        ({}, []),
    ],
)
def test_principals(statement, names):
    assert principals(statement) == names


@pytest.mark.parametrize(
    ("first", "second", "do_overlap", "is_contained"),
    [
        ("iam:*", "iam:PassRole", True, True),
        ("iam:Pass*", "iam:*Role", True, False),
        ("*", "*", True, True),
        ("a?", "ab", True, True),
        ("a?", "a*", True, False),
        ("a*c", "ab", False, False),
        ("", "*", True, False),
        ("*" + "x" * 2000, "y" + "x" * 2000, True, True),
        ("x" * 3000 + "a", "x" * 3000 + "b", False, False),
    ],
)
def test_patterns_are_compared_with_patterns(first, second, do_overlap, is_contained):
    assert overlaps(first, second) is overlaps(second, first) is do_overlap
    assert contains(first, second) is is_contained
