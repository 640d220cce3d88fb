"""Worlds of the area iam: faults with the statuses that they change, and good variations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.iam.permissions import Simulations
from deploytools.verification.iam.policies import Policy
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    ARN,
    KEY,
    NEEDED,
    PERMISSIONS,
    ROLE,
    TRUST,
    WORLD,
    Changes,
    changed,
    container,
    expect,
)

DAY = timedelta(days=1)


HOW, DENIED = "evaluation of its policies", "policy simulator not used: AWS denied it"


def permissions(
    *,
    lacking: tuple[tuple[str, str], ...] = (),
    unsure: tuple[tuple[str, str], ...] = (),
    whose: str = "task_role",
) -> Changes:
    """Permissions that the role does not have."""
    fact = f"{whose}_permissions"
    before = WORLD[fact]
    return {
        fact: replace(
            before,
            how=HOW,
            without=DENIED,
            needed={q: "" if q in lacking else by for q, by in before.needed.items()},
            unsure=unsure,
        )
    }


def written(*statements: dict[str, Any], name: str = "p", whose: str = "task_role", **members: Any) -> Changes:
    """A policy beside the one for the secret: with these statements, or with one with these members."""
    added = statements or ({"Effect": "Allow", "Resource": "*", **members},)
    role = WORLD[whose]
    return {whose: replace(role, policies=(*role.policies, Policy(name, added)))}


def declared(**actions: Any) -> Changes:
    """``TASK_ACTIONS``; the colon of an action is written as two underscores."""
    return expect(task_actions={action.replace("__", ":"): resource for action, resource in actions.items()})


def trusting(principal: object, **members: Any) -> Changes:
    return {"task_role": replace(ROLE, trust=({**TRUST[0], "Principal": principal, **members},))}


def simulated(role: str = "web", without: str = "", **actions: str) -> Changes:
    """What the policy simulator decides about these actions on all resources."""
    decisions = {(role, action.replace("__", ":"), "*"): decision for action, decision in actions.items()}
    return {"simulated_conditions": Simulations(decisions, without)}


ECS_TASKS = {"Service": "ecs-tasks.amazonaws.com"}
OTHER_PARAMETER = ("ssm:GetParameters", "arn:aws:ssm:us-east-1:123456789012:parameter/shop/dsn")
IAM = [
    Row({"task_role_permissions": None}, {"iam.secret-access": NA}, "the IAM role is not set"),
    Row(
        {"task_role": None},
        {"iam.least-privilege": NA, "iam.trust-policy": NA, "iam.confused-deputy": NA},
        "the IAM role is not set",
    ),
    Row(
        permissions(lacking=NEEDED[:1]),
        {"iam.secret-access": FAIL},
        f"no policy allows secretsmanager:GetSecretValue on {ARN} ({HOW}); {DENIED}",
    ),
    Row(
        permissions(lacking=NEEDED[1:]),
        {"iam.secret-access": WARN},
        f"no policy of the role allows kms:Decrypt on {KEY}, which encrypts the secret (evaluation",
    ),
    Row(
        {"task_role_permissions": replace(PERMISSIONS, needed={NEEDED[0]: "policy p", ("kms:Decrypt", "*"): ""})},
        {"iam.secret-access": WARN},
        "allows kms:Decrypt on the key that encrypts the secret",
    ),
    Row({"task_role_permissions": replace(PERMISSIONS, needed={NEEDED[0]: "policy p"})}, {}),
    Row(
        permissions(lacking=NEEDED[:1], unsure=NEEDED[:1]),
        {"iam.secret-access": UNKNOWN},
        f"secretsmanager:GetSecretValue on {ARN} depends on a condition that cannot be evaluated here",
    ),
    Row(
        permissions(lacking=NEEDED[1:], unsure=NEEDED[1:]),
        {"iam.secret-access": WARN},
        f"kms:Decrypt on {KEY} depends on a condition",
    ),
    Row(
        permissions(lacking=NEEDED[:1], unsure=NEEDED[:1], whose="execution_role"),
        {"iam.execution-role": UNKNOWN},
        "depends on a condition that cannot be evaluated here",
    ),
    Row(trusting("*"), {"iam.trust-policy": FAIL, "iam.confused-deputy": NA}, "any AWS principal can assume it"),
    Row(
        trusting({"AWS": "arn:aws:iam::999999999999:root"}),
        {"iam.trust-policy": WARN, "iam.confused-deputy": NA},
        "999999999999:root can assume it",
    ),
    Row(
        trusting({"Federated": "cognito-identity.amazonaws.com"}, Action="sts:AssumeRoleWithWebIdentity"),
        {"iam.trust-policy": WARN, "iam.confused-deputy": NA},
        "cognito-identity.amazonaws.com can assume it",
    ),
    Row(trusting({"Service": "lambda.amazonaws.com"}), {"iam.confused-deputy": NA}, "ECS cannot assume it"),
    Row(trusting(ECS_TASKS, Condition={}), {"iam.confused-deputy": WARN}, "no condition on aws:SourceAccount"),
    Row(trusting(ECS_TASKS, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:ecs:us-east-1:123456789012:*"}}), {}),
    Row(
        trusting(ECS_TASKS, Condition={"ArnLike": {"aws:SourceArn": "arn:aws:ecs:*:*:*"}}),
        {"iam.confused-deputy": WARN},
        "no condition on aws:SourceAccount",
    ),
    Row(container(secrets=()), {"iam.execution-role": NA}, "the application reads its own"),
    Row({"execution_role_permissions": None}, {"iam.execution-role": FAIL}, "executionRoleArn is not set"),
    Row(
        permissions(lacking=NEEDED[:1], whose="execution_role"),
        {"iam.execution-role": FAIL},
        f"no policy allows secretsmanager:GetSecretValue on {ARN}",
    ),
    Row(
        permissions(lacking=NEEDED[1:], whose="execution_role"),
        {"iam.execution-role": WARN},
        "no policy of the role allows kms:Decrypt",
    ),
    Row(
        {"execution_role_permissions": replace(WORLD["execution_role_permissions"], needed={OTHER_PARAMETER: ""})},
        {"iam.execution-role": FAIL},
        "no policy allows ssm:GetParameters on arn:aws:ssm:us-east-1:123456789012:parameter/shop/dsn",
    ),
]

PLACE = "us-east-1:123456789012"
SECRETS, DATABASE = f"arn:aws:secretsmanager:{PLACE}:secret", f"arn:aws:rds:{PLACE}:db:good"
BUCKET, OTHER_KEY = "arn:aws:s3:::shop-media/*", f"arn:aws:kms:{PLACE}:key/2"
VIA = {"StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}}
#: AWS managed policies: the parts that decide.
READ_ONLY = ("s3:Get*", "s3:List*", "rds:Describe*", "ec2:Describe*", "secretsmanager:ListSecrets", "ssm:Get*")
MANAGED: dict[str, dict[str, Any]] = {
    "AdministratorAccess": {"Action": "*"},
    "PowerUserAccess": {"NotAction": ["iam:*", "organizations:*", "account:*"], "Action": None},
    "AmazonRDSFullAccess": {"Action": ["rds:*", "ec2:DescribeVpcs", "sns:Publish"]},
    "IAMFullAccess": {"Action": ["iam:*", "organizations:DescribeAccount"]},
    "SecretsManagerReadWrite": {"Action": ["secretsmanager:*", "kms:DescribeKey", "lambda:AddPermission"]},
    "ReadOnlyAccess": {"Action": list(READ_ONLY)},
}


def managed(name: str) -> Changes:
    return written({"Effect": "Allow", "Resource": "*", **{k: v for k, v in MANAGED[name].items() if v}}, name=name)


def key_of_secret() -> Changes:
    return changed("secret_description")(key=KEY)


def denying(*statements: dict[str, Any], boundary: dict[str, Any] | None = None, **members: Any) -> Changes:
    """The role may do everything, except what these statements deny and what the boundary does not allow."""
    policies = (*ROLE.policies, Policy("p", ({"Effect": "Allow", "Resource": "*", **members}, *statements)))
    limit = Policy("most", ({"Effect": "Allow", "Resource": "*", **boundary},)) if boundary else None
    return {"task_role": replace(ROLE, policies=policies, boundary=limit)}


DATA, CODE = "copies, changes or stops databases", "runs code with another role"
FAILS, UNDECIDED = {"iam.least-privilege": FAIL}, {"iam.least-privilege": UNKNOWN}
TLS, TAGGED = {"Bool": {"aws:SecureTransport": "true"}}, {"StringEquals": {"aws:ResourceTag/a": "b"}}
#: What an attacker gains: actions and a resource each.
DANGEROUS = (
    ("changes permissions", ["iam:PutRolePolicy", "iam:AttachRolePolicy"], "*"),
    ("changes permissions", "iam:CreateAccessKey", "*"),
    ("changes permissions", "iam:UpdateAssumeRolePolicy", ROLE.arn),
    ("changes permissions", "iam:CreatePolicyVersion", "*"),
    ("changes permissions", "IAM:putROLEpolicy", "*"),
    (CODE, "iam:PassRole", "*"),
    (CODE, "iam:Pass*", "*"),
    (CODE, "lambda:UpdateFunctionCode", "*"),
    (CODE, "lambda:*", "*"),
    (CODE, ["ec2:RunInstances", "ec2:DescribeInstances"], "*"),
    (CODE, "ssm:SendCommand", "*"),
    (CODE, "ecs:ExecuteCommand", "*"),
    ("assumes other roles", "sts:AssumeRole", "*"),
    ("assumes other roles", "sts:*", "*"),
    ("reads other secrets", "secretsmanager:GetSecretValue", f"{SECRETS}:rds!*"),
    ("reads other secrets", "secretsmanager:GetSecretValue", f"{SECRETS}:rds/*"),
    ("reads other secrets", "secretsmanager:GetSecretValue", f"{SECRETS}:clinic-AbCdEf"),
    ("reads other secrets", "secretsmanager:*Value", "*"),
    ("reads other secrets", "ssm:GetParametersByPath", "*"),
    ("reads other secrets", "ssm:GetParameter*", f"arn:aws:ssm:{PLACE}:parameter/*"),
    ("changes secrets", ["secretsmanager:UpdateSecret", "secretsmanager:PutResourcePolicy"], ARN),
    ("changes secrets", "secretsmanager:DeleteSecret", ARN),
    (
        DATA,
        ["rds:ModifyDBSnapshotAttribute", "rds:RestoreDBInstanceFromDBSnapshot"],
        "*",
    ),
    (DATA, ["rds:DeleteDBSnapshot", "rds:StopDBInstance"], "*"),
    (DATA, "rds:DeleteDBInstance", DATABASE),
    (DATA, "rds:D*", DATABASE),
    (DATA, "rds-db:connect", "*"),
    (DATA, "rds:StartExportTask", "*"),
    ("changes the network", "ec2:AuthorizeSecurityGroupIngress", "*"),
    ("changes the network", "ec2:ModifySecurityGroupRules", "*"),
    ("disables keys", "kms:ScheduleKeyDeletion", KEY),
    ("decrypts with every key", "kms:Decrypt", "*"),
    ("decrypts with every key", "kms:Decrypt", f"arn:aws:kms:{PLACE}:key/*"),
    ("stops logging or alarms", ["cloudtrail:StopLogging", "cloudwatch:DisableAlarmActions"], "*"),
    ("reads every bucket", "s3:GetObject", "*"),
    ("changes or deletes buckets", "s3:*", BUCKET),
)
LEAST, EXECUTION_ROLE = ("iam.least-privilege",), ("iam.execution-role",)
IAM += [
    *(Row(written(Action=action, Resource=resource), FAILS, danger) for danger, action, resource in DANGEROUS),
    *(Row(managed(name), FAILS, f"web {name} statement") for name in MANAGED),
    Row(written(Action="iam:PassRole", Condition=TLS), FAILS, "allows iam:PassRole on *"),
    Row(
        written(Action="iam:PassRole", Condition=TAGGED),
        UNDECIDED,
        "under a condition on aws:ResourceTag/a iam:PassRole",
    ),
    Row(
        written(Action="iam:PassRole", Condition=TAGGED)
        | simulated(without="policy simulator not used: AWS denied it"),
        UNDECIDED,
        "(runs code with another role); policy simulator not used: AWS denied it",
    ),
    *(
        Row(written(Action=action, Condition=TAGGED) | simulated(**decisions), flips, seen)
        for action, decisions, flips, seen in (
            (
                "iam:PassRole",
                {"iam__PassRole": "allowed"},
                FAILS,
                "under a condition on aws:ResourceTag/a iam:PassRole",
            ),
            ("iam:PassRole", {"iam__PassRole": "conditional"}, UNDECIDED, "the policy simulator has no value for it"),
            ("iam:Pass*", {"iam__PassRole": "denied"}, UNDECIDED, "or the action has a wildcard"),
            (["iam:PassRole", "iam:PutRolePolicy"], {"iam__PassRole": "denied"}, UNDECIDED, "iam:PutRolePolicy on *"),
            (["iam:PassRole", "s3:ListBucket"], {"iam__PassRole": "denied"}, {"iam.least-privilege": WARN}, "s3:List"),
        )
    ),
    Row(written(Action="iam:PassRole", Condition=TAGGED) | simulated(iam__PassRole="denied"), good=LEAST),
    Row(written(Action="iam:PassRole", Condition={"Bool": {"aws:SecureTransport": "false"}}), good=LEAST),
    Row(written(Action="iam:*", Condition={"ArnEquals": {"aws:PrincipalArn": f"{ROLE.arn}2"}}), good=LEAST),
    Row(
        written(Action="iam:PassRole", Condition=TAGGED, whose="execution_role")
        | simulated("execution", iam__PassRole="allowed"),
        {"iam.execution-role": FAIL},
        "runs code with another role",
    ),
    Row(
        written(Action="iam:PassRole", Condition=TAGGED, whose="execution_role") | simulated(iam__PassRole="denied"),
        {"iam.execution-role": UNKNOWN},
        "the policy simulator has no value for it",
    ),
    Row(written(NotAction="iam:*"), FAILS, "allows * on *"),
    Row(
        written({"Effect": "Allow", "Action": "iam:Put*", "NotResource": "arn:aws:iam::1:role/a"}),
        FAILS,
        "changes permissions",
    ),
    Row(denying({"Effect": "Deny", "Action": "iam:*", "Resource": "*"}, Action="*"), FAILS),
    Row(
        denying({"Effect": "Deny", "Action": "iam:*", "Resource": "*", "Condition": VIA}, Action="iam:Put*"),
        FAILS,
    ),
    Row(denying(Action="*", boundary={"Action": ["s3:*", "rds:*"]}), FAILS, "s3:* on *"),
    Row(denying(Action="rds:*", boundary={"Action": ["s3:*", "iam:*"]}), {}, good=LEAST),
    Row(denying({"Effect": "Deny", "Action": "iam:*", "Resource": "*"}, Action="iam:Put*"), {}, good=LEAST),
    Row(denying({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}, Action="iam:Put*"), {}, good=LEAST),
    Row(written(Action="s3:GetObject", Resource=BUCKET), {"iam.least-privilege": WARN}, "not needed or declared"),
    Row(written(Action=["s3:Get*", "s3:PutObject"], Resource=BUCKET), {"iam.least-privilege": WARN}, "s3:Get* on"),
    Row(written(Action="kms:Decrypt", Resource=OTHER_KEY), {"iam.least-privilege": WARN}, "not needed or declared"),
    Row(written(Action="secretsmanager:GetSecretValue", Resource=f"{SECRETS}:prod-*"), {"iam.least-privilege": WARN}),
    Row(declared(iam__PassRole=ROLE.arn) | written(Action="iam:*"), FAILS),
    Row(declared(**{"iam:*": "*"}) | written(Action="iam:PassRole"), FAILS),
    Row(
        declared(s3__GetObject=BUCKET, s3__PutObject=[BUCKET])
        | written(Action=["s3:GetObject", "s3:PutObject"], Resource=BUCKET),
        {},
        good=LEAST,
    ),
    Row(declared(**{"s3:Get*": "*"}) | written(Action="s3:GetObjectVersion", Resource=BUCKET), {}, good=LEAST),
    Row(written(Action="secretsmanager:DescribeSecret", Resource=f"{SECRETS}:prod-??????"), {}, good=LEAST),
    Row(written(Action="kms:Decrypt", Condition=VIA, Resource=f"arn:aws:kms:{PLACE}:key/*"), {}, good=LEAST),
    Row(written(Action="kms:Decrypt", Resource=KEY) | key_of_secret(), {}, good=LEAST),
    Row(written(Action="ec2:DescribeSecurityGroups"), {}, good=LEAST),
    Row(written(Action="*", Effect="Deny"), {}, good=LEAST),
    *(
        Row(written(Action=action, Resource=resource, whose="execution_role"), {"iam.execution-role": FAIL}, danger)
        for danger, action, resource in DANGEROUS[::9]
    ),
    Row(written(Action="s3:GetObject", Resource=BUCKET, whose="execution_role"), {"iam.execution-role": WARN}),
    *(
        Row(written(Action=action, whose="execution_role"), {}, good=EXECUTION_ROLE)
        for action in ("ecr:GetAuthorizationToken", ["ecr:BatchGetImage", "logs:PutLogEvents"])
    ),
]
