"""All checks, evaluated on a deployment without failures and on single faults of it."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from datetime import timedelta

import pytest

from deploytools.errors import AccessDenied, NotFound
from deploytools.reports.html import command_in
from deploytools.tenants.migration_history import MigrationGraph
from deploytools.verification.fact_result import Absent, Fact, Failed, NotTried
from deploytools.verification.findings import Report
from deploytools.verification.mail.sender_domain import DmarcRecord, SpfRecord
from deploytools.verification.runner import evaluate_checks
from deploytools.verification.secret.facts import ResourcePolicy
from tests.verification.zoo import alarms, deployment, iam, network
from tests.verification.zoo import rds as rds_worlds
from tests.verification.zoo.row import FAIL, PASS, UNKNOWN, WARN
from tests.verification.zoo.table import ROWS
from tests.verification.zoo.world import (
    ARN,
    FACTS,
    FIRST,
    KEY,
    NEEDED,
    NOW,
    OF_THIS_ACCOUNT,
    OURS,
    REGISTRY,
    WORLD,
    bastion,
    description,
    expect,
    findings,
    rds,
    secret,
    service,
    tenant,
)

MOVE = (
    "aws secretsmanager update-secret-version-stage --secret-id {secret} --region us-east-1 --version-stage AWSCURRENT "
    "--move-to-version-id {version} --remove-from-version-id v1"
)


def without(name: str, fact: Fact) -> dict[str, Fact]:
    """All facts without one, and without those that are read from it."""
    gone: dict[str, Fact] = {name: fact}
    for source in REGISTRY.sources.values():
        missing = [needed for needed in source.needs if needed in gone]
        if missing and source.name in FACTS:
            gone[source.name] = NotTried(missing[0])
    return {**FACTS, **gone}


def test_a_missing_instance_is_reported_once():
    absent = Absent(NotFound("The RDS instance good does not exist.", hint="Check the name."))
    found = evaluate_checks(OURS, without("rds_instance", absent))
    touched = [finding for finding in found if finding.status is not PASS]
    assert [finding.status for finding in touched].count(FAIL) == 1
    assert {finding.status for finding in touched} == {FAIL, UNKNOWN}
    assert {(finding.cause, finding.evidence, finding.hint) for finding in touched} == {
        ("rds_instance", absent.error.args[0], "Check the name.")
    }
    assert {finding.check.area for finding in touched} == {"rds", "network", "bastion", "alarms", "ecs"}
    report = Report(found, 0.0, "")
    assert (report.exit_code, report.verdict) == (
        2,
        f"UNKNOWN: {len(touched) - 1} checks could not be evaluated (1 cause), 1 failed",
    )


def test_a_denied_instance_is_unknown_in_every_check():
    denied = Failed(AccessDenied("AWS denied x:Y.", hint="Allow x:Y.", action="x:Y"))
    found = evaluate_checks(OURS, without("rds_instance", denied))
    assert {finding.status for finding in found} == {PASS, UNKNOWN}


@pytest.mark.parametrize("check", OURS, ids=lambda check: check.id)
def test_every_check_is_documented(check):
    assert check.why.endswith(".")
    assert check.title[0].isupper() and not check.title.endswith(".")
    assert check.guide.startswith(("Step ", "Security Checklist", "Next Steps", "Troubleshooting"))
    assert set(check.needs) <= {"settings", *REGISTRY.sources}


def test_hints_name_the_resource():
    hints = {finding.check.id: finding.hint for finding in findings(**rds(deletion_protection=False))}
    assert hints["rds.deletion-protection"] == (
        "Run: aws rds modify-db-instance --db-instance-identifier good --deletion-protection (no downtime)"
    )
    (opened,) = [f for f in findings(**network.NETWORK[0].changes) if f.status is FAIL]
    assert opened.hint == (
        "Run: aws ec2 revoke-security-group-ingress --group-id sg-db --security-group-rule-ids sgr-x"
    )


QUIET, PENDING_CHANGES = (
    "at a time of low traffic",
    "this also applies the pending changes, which can restart it: DBInstanceClass",
)
GLOBAL_BUNDLE = "after all clients use AWS's global-bundle.pem as sslrootcert"


@pytest.mark.parametrize("pending", [(), ("DBInstanceClass",)], ids=["no-pending-change", "pending-class"])
@pytest.mark.parametrize(
    ("check", "changes", "is_at_once", "said"),
    [
        ("rds.deletion-protection", {"deletion_protection": False}, True, ["no downtime"]),
        ("rds.automated-backups", {"backup_days": 6}, True, ["no downtime"]),
        ("rds.automated-backups", {"backup_days": 0}, False, ["a short outage", QUIET]),
        ("rds.not-public", {"is_public": True}, True, []),
        ("rds.multi-az", {"is_multi_az": False}, False, ["doubles the price of the instance"]),
        ("rds.log-exports", {"log_exports": ()}, True, []),
        ("rds.minor-upgrades", {"has_minor_upgrades": False}, True, ["no downtime until the next upgrade"]),
        ("rds.storage-autoscaling", {"maximum": None}, True, ["no downtime"]),
        ("rds.snapshot-tags", {"copies_tags": False}, True, ["no downtime"]),
        ("rds.enhanced-monitoring", {"monitoring": 0}, True, ["no downtime"]),
        ("rds.separate-windows", {"backup_window": "05:00-05:30"}, True, ["no downtime"]),
        (
            "rds.certificate",
            {"certificate_until": NOW + timedelta(days=9)},
            False,
            ["this can restart the instance", QUIET, GLOBAL_BUNDLE],
        ),
        ("rds.master-secret", {"master_secret": "impaired"}, False, []),
    ],
)
def test_hints_name_the_downtime_of_a_change(check, changes, is_at_once, said, pending):
    """--apply-immediately applies all pending changes, so it is used only where AWS would defer the change."""
    (finding,) = [f for f in findings(**rds(pending=pending, **changes)) if f.check.id == check]
    command = command_in(finding.hint)
    assert command.endswith(" --apply-immediately") is not is_at_once
    assert [words for words in said if words not in finding.hint] == []
    assert (PENDING_CHANGES in finding.hint) is (bool(pending) and not is_at_once)


def test_pending_changes_are_applied_at_a_quiet_hour():
    (finding,) = [f for f in findings(**rds(pending=("DBInstanceClass",))) if f.check.id == "rds.no-pending-changes"]
    assert command_in(finding.hint) == "aws rds modify-db-instance --db-instance-identifier good --apply-immediately"
    assert QUIET in finding.hint


def test_hints_that_allow_access_name_the_security_groups():
    hints = {finding.check.id: finding.hint for finding in findings(**rds(port=5433))}
    command = (
        "Run: aws ec2 authorize-security-group-ingress --group-id sg-db --protocol tcp --port 5433 --source-group "
    )
    assert hints["network.database-ingress"] == f"{command}sg-app"
    assert hints["bastion.database-access"] == f"{command}sg-bastion"


OPEN_TO = "aws ec2 authorize-security-group-ingress --group-id sg-db --protocol tcp --port {} --source-group {}"
WITH_BOTH = (
    "aws ecs update-service --cluster prod --service web --network-configuration "
    '"awsvpcConfiguration={{subnets=[subnet-a,subnet-b],securityGroups=[{},sg-app]{}}}"'
)


@pytest.mark.parametrize(
    ("changes", "command", "said"),
    [
        (service(security_groups=("sg-x",)), WITH_BOTH.format("sg-x", ",assignPublicIp=DISABLED"), "replaces all"),
        (
            service(security_groups=("sg-x", "sg-y"), has_public_address=True),
            WITH_BOTH.format("sg-x,sg-y", ",assignPublicIp=ENABLED"),
            "(replaces all running tasks)",
        ),
        (service(security_groups=("sg-x",), has_public_address=None), WITH_BOTH.format("sg-x", ""), "replaces all"),
        (
            service(security_groups=("sg-x",), controller="CODE_DEPLOY"),
            "",
            "with CodeDeploy (aws deploy create-deployment), with the security groups sg-x,sg-app in its network",
        ),
        (rds(port=5433), OPEN_TO.format(5433, "sg-app"), "Run: "),
        (
            {**rds(port=5433), **service(security_groups=("sg-x", "sg-app"))},
            OPEN_TO.format(5433, "sg-app"),
            "Run: ",
        ),
        (
            {**rds(port=5433), **service(security_groups=("sg-x",))},
            OPEN_TO.format(5433, "sg-app"),
            "(then run verify_deploy again, which reports how to assign it to the service)",
        ),
        ({**rds(port=5433), **expect(app_security_groups=())}, "", 'Set DEPLOYTOOLS["APP_SECURITY_GROUPS"]'),
    ],
    ids=["private", "public", "not-in-response", "code-deploy", "own", "second", "not-its-own", "not-set"],
)
def test_hint_for_database_access_allows_no_other_group(changes, command, said):
    (finding,) = [f for f in findings(**changes) if f.check.id == "ecs.reaches-database"]
    assert (finding.status, command_in(finding.hint)) == (FAIL, command)
    assert said in finding.hint


@pytest.mark.parametrize(
    ("controller", "command", "said"),
    [
        (
            "ECS",
            "aws ecs update-service --cluster prod --service web --force-new-deployment",
            "(replaces all running tasks; ",
        ),
        (
            "CODE_DEPLOY",
            "",
            "Create a new deployment with CodeDeploy (aws deploy create-deployment) (replaces all running tasks; ",
        ),
        ("EXTERNAL", "", "Create a new task set (aws ecs create-task-set) (replaces all running tasks; "),
        ("NEWEST", "", "Create a new deployment with NEWEST (replaces all running tasks; "),
    ],
)
def test_hint_for_new_tasks_fits_the_deployment_controller(controller, command, said):
    changes = service(controller=controller, deployed_at=NOW - timedelta(days=21))
    (finding,) = [f for f in findings(**changes) if f.check.id == "ecs.deployed-since-rotation"]
    assert (finding.status, command_in(finding.hint)) == (WARN, command)
    assert said in finding.hint


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        (bastion(groups=("sg-wizard",)), ""),
        (bastion(groups=()), ""),
        ({**rds(port=5433), **bastion(groups=("sg-wizard", "sg-bastion"))}, OPEN_TO.format(5433, "sg-bastion")),
    ],
)
def test_hint_allows_only_security_groups_in_the_settings(changes, command):
    (finding,) = [f for f in findings(**changes) if f.check.id == "bastion.database-access"]
    assert (finding.status, command_in(finding.hint)) == (WARN, command)
    assert command or finding.hint.startswith("Add one of its security groups")


@pytest.mark.parametrize("fault", ROWS, ids=lambda fault: f"{next(iter(fault.flips), 'none')}-{fault.seen[:30]}")
def test_commands_in_hints_can_be_copied(fault):
    for finding in findings(**fault.changes):
        words = shlex.split(command_in(finding.hint))
        assert not [word for word in words if word.endswith((",", ";", "."))]
        assert not [word for word in words if word.startswith("delete-db")]


def test_hint_for_an_unencrypted_snapshot_copies_it():
    found = findings(**next(fault for fault in ROWS if "rds.snapshots-encrypted" in fault.flips).changes)
    (finding,) = [f for f in found if f.check.id == "rds.snapshots-encrypted"]
    assert command_in(finding.hint) == (
        "aws rds copy-db-snapshot --source-db-snapshot-identifier old --target-db-snapshot-identifier old-encrypted "
        "--kms-key-id alias/aws/rds"
    )


BY_ECS = {"Sid": "By ECS", "Effect": "Allow", "Principal": iam.ECS_TASKS, "Action": "sts:AssumeRole"}
BY_TASKS = {**BY_ECS, "Condition": OF_THIS_ACCOUNT}
LAMBDA, ADMIN = "lambda.amazonaws.com", "arn:aws:iam::999999999999:role/admin"
BY_LAMBDA = {**BY_ECS, "Sid": "By Lambda", "Principal": {"Service": LAMBDA}}
BOTH = [LAMBDA, *iam.ECS_TASKS.values()]
BY_BOTH = {**BY_ECS, "Principal": {"Service": BOTH, "AWS": ADMIN}}
BUT_LAMBDA = {**BY_ECS, "Principal": {"Service": [LAMBDA], "AWS": [ADMIN]}}
NOT_SO = {"Sid": "No, never", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:TagSession"}
IN_REGION = {"StringEquals": {"aws:RequestedRegion": "us-east-1"}, "Bool": {"aws:SecureTransport": "true"}}
IN_BOTH = {**IN_REGION, "StringEquals": {**IN_REGION["StringEquals"], **OF_THIS_ACCOUNT["StringEquals"]}}


@pytest.mark.parametrize(
    ("check", "trust", "left"),
    [
        ("iam.trust-policy", [{**BY_ECS, "Principal": "*"}], [{**BY_TASKS, "Sid": None}]),
        ("iam.trust-policy", [{**BY_ECS, "Principal": {"AWS": ADMIN}}, NOT_SO], [{**BY_TASKS, "Sid": None}, NOT_SO]),
        (
            "iam.trust-policy",
            [BY_BOTH, NOT_SO],
            [{**BY_BOTH, "Principal": {"Service": BOTH}}, NOT_SO],
        ),
        ("iam.confused-deputy", [BY_ECS], [BY_TASKS]),
        ("iam.confused-deputy", [BY_LAMBDA, BY_ECS, NOT_SO], [BY_LAMBDA, BY_TASKS, NOT_SO]),
        ("iam.confused-deputy", [BY_BOTH], [BUT_LAMBDA, {**BY_TASKS, "Sid": None}]),
        ("iam.confused-deputy", [{**BY_ECS, "Condition": IN_REGION}], [{**BY_ECS, "Condition": IN_BOTH}]),
    ],
    ids=["everybody", "another-account", "both", "bare", "others-stay", "split", "conditions-stay"],
)
def test_hint_for_the_trust_policy_keeps_the_other_statements(check, trust, left):
    role = replace(WORLD["task_role"], trust=tuple(trust))
    (words,) = {
        tuple(shlex.split(command_in(f.hint))) for f in findings(task_role=role) if f.check.id == check and f.hint
    }
    assert words[:-1] == ("aws", "iam", "update-assume-role-policy", "--role-name", "web", "--policy-document")
    wanted = [{member: said for member, said in statement.items() if said} for statement in left]
    assert json.loads(words[-1]) == {"Version": "2012-10-17", "Statement": wanted}


OPEN = {"Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "secretsmanager:*", "Resource": "*"}
WIDE = {**OPEN, "Sid": "Wide", "Principal": {"AWS": ["*"]}}
DENY = {**OPEN, "Sid": "No, never", "Effect": "Deny", "Action": "secretsmanager:DeleteSecret"}


TOO_CLOSE = [fault for fault in rds_worlds.UPKEEP if fault.flips.get("rds.separate-windows") in {WARN, FAIL}]


@pytest.mark.parametrize("fault", TOO_CLOSE, ids=lambda fault: fault.seen[:30])
def test_hint_for_the_backup_window_fixes_the_overlap(fault):
    (finding,) = [f for f in findings(**fault.changes) if f.check.id == "rds.separate-windows"]
    words = shlex.split(command_in(finding.hint))
    named = words[words.index("--preferred-backup-window") + 1]
    fixed = replace(fault.changes["rds_instance"], backup_window=named)
    assert [f.status for f in findings(rds_instance=fixed) if f.check.id == "rds.separate-windows"] == [PASS]


@pytest.mark.parametrize(("statements", "kept"), [((OPEN, DENY, WIDE), [DENY]), ((OPEN,), None), ((OPEN, WIDE), None)])
def test_hint_for_a_public_secret_keeps_the_other_statements(statements, kept):
    policy = ResourcePolicy("123456789012", statements)
    hints = {finding.hint for finding in findings(secret_policy=policy) if finding.check.id == "secret.not-shared"}
    (words,) = [shlex.split(command_in(hint)) for hint in hints]
    where = ["--secret-id", "prod", "--region", "us-east-1"]
    if kept is None:
        assert words == ["aws", "secretsmanager", "delete-resource-policy", *where]
        return
    assert words[:-1] == [
        *["aws", "secretsmanager", "put-resource-policy", *where],
        *["--block-public-policy", "--resource-policy"],
    ]
    assert json.loads(words[-1])["Statement"] == kept


def enough(check, **changes):
    (hint,) = {finding.hint for finding in findings(**changes) if finding.check.id == check and finding.hint}
    return json.loads(hint.partition("other services: ")[2])["Statement"]


def test_sufficient_policy_of_the_application_role():
    reading, decrypting = enough("iam.secret-access", **iam.permissions(lacking=NEEDED))
    assert set(reading["Action"]) == set(REGISTRY.sources["secret"].actions)
    assert reading["Resource"] == ARN
    assert (decrypting["Action"], decrypting["Resource"]) == ("kms:Decrypt", KEY)
    assert decrypting["Condition"] == {
        "StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:SecretARN": ARN},
    }


def test_sufficient_policy_of_the_execution_role():
    lacking = {("secretsmanager:GetSecretValue", ARN): "", iam.OTHER_PARAMETER: ""}
    permissions = replace(WORLD["execution_role_permissions"], needed=lacking)
    assert enough("iam.execution-role", execution_role_permissions=permissions) == [
        {"Effect": "Allow", "Action": [action], "Resource": resource} for action, resource in lacking
    ]


@pytest.mark.parametrize(
    ("accepted", "ends"),
    [
        (deployment.PENDING, "Complete it: " + MOVE.format(secret="prod", version="new")),
        (deployment.OLD, "Or roll back the secret: python manage.py sync_secrets --rollback --with-login"),
        (
            replace(deployment.PENDING, secret="tenants/shop"),
            "Complete it: " + MOVE.format(secret="tenants/shop", version="new"),
        ),
        (
            replace(deployment.OLD, secret="tenants/shop"),
            "Or roll back the secret: " + MOVE.format(secret="tenants/shop", version="old"),
        ),
    ],
    ids=["shared-pending", "shared-previous", "own-pending", "own-previous"],
)
def test_hint_completes_the_rotation_of_the_secret_in_use(accepted, ends):
    changes = deployment.attempt(error=deployment.PASSWORD, failed_stage="login") | {"accepted_password": accepted}
    (finding,) = [f for f in findings(**changes) if f.check.id == "connection.connect"]
    assert finding.hint.endswith(ends)


def test_hint_for_a_topic_key_keeps_the_other_statements():
    changes = alarms.encrypted(alarms.BY_ACCOUNT)
    (finding,) = [f for f in findings(**changes) if f.check.id == "alarms.topic-key"]
    words = shlex.split(command_in(finding.hint))
    assert words[:-1] == ["aws", "kms", "put-key-policy", "--key-id", KEY, "--policy-name", "default", "--policy"]
    assert json.loads(words[-1])["Statement"] == [alarms.BY_ACCOUNT, alarms.BY_CLOUDWATCH]


UNFINISHED = replace(WORLD["secret"], labels={"v1": ("AWSCURRENT",), "v2": ("AWSPENDING",)})
OVERDUE = description(next_rotation=NOW - timedelta(days=1))


def test_hint_for_a_failed_rotation_keeps_rotation_enabled():
    (finding,) = [f for f in findings(secret=UNFINISHED) if f.check.id == "secret.no-pending-rotation"]
    assert command_in(finding.hint) == (
        "aws secretsmanager update-secret-version-stage --secret-id prod --region us-east-1 "
        "--version-stage AWSPENDING --remove-from-version-id v2"
    )


@pytest.mark.parametrize(
    ("label", "credential", "can_have_one_login"),
    [("deploytools-rotation", "password", True), ("deploytools-rotation-master", "master_password", False)],
)
def test_hint_for_an_unfinished_rotation_of_ours(label, credential, can_have_one_login):
    secret = replace(WORLD["secret"], labels={"v1": ("AWSCURRENT",), "v2": ("AWSPENDING", label)})
    (finding,) = [f for f in findings(secret=secret) if f.check.id == "secret.no-pending-rotation"]
    assert f"Continue it: python manage.py rotate_credentials {credential} --noinput" in finding.hint
    assert ("--status shows whether --one-login is required" in finding.hint) is can_have_one_login


@pytest.mark.parametrize(("version", "status"), [("v1", "pass"), ("v0", "warn")])
def test_awspending_of_a_finished_rotation(version, status):
    """On the previous version it makes the next rotation fail; on the current one it is harmless."""
    labels = {"v1": ("AWSCURRENT",), "v0": ("AWSPREVIOUS",)}
    secret = replace(WORLD["secret"], labels=labels | {version: (*labels[version], "AWSPENDING")})
    (finding,) = [f for f in findings(secret=secret) if f.check.id == "secret.no-pending-rotation"]
    assert finding.status.value == status


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        (OVERDUE, "Check the log of the rotation function, then run: "),
        (
            {**OVERDUE, "secret": UNFINISHED},
            "end the failed rotation (see secret.no-pending-rotation), then run: ",
        ),
    ],
    ids=["none-pending", "one-pending"],
)
def test_hint_for_an_overdue_rotation_names_its_effect(changes, first):
    (finding,) = [f for f in findings(**changes) if f.check.id == "secret.rotation-on-schedule"]
    assert command_in(finding.hint) == "aws secretsmanager rotate-secret --secret-id prod --region us-east-1"
    assert first in finding.hint
    assert "running tasks cannot open new connections until they are replaced" in finding.hint


def test_hint_for_a_shortened_schedule_names_the_effect_of_a_rotation():
    changed = description(
        rotated_at=NOW - timedelta(days=60),
        rotation_days=30,
        changed_at=NOW - timedelta(days=2),
        next_rotation=NOW + timedelta(days=20),
    )
    (finding,) = [f for f in findings(**changed) if f.check.id == "secret.rotation-on-schedule"]
    assert finding.status.value == "warn"
    assert "running tasks cannot open new connections until they are replaced" in finding.hint


def test_hint_for_hidden_rows_creates_a_policy():
    found = findings(**tenant(hidden_tables=("a",)))
    (finding,) = [f for f in found if f.check.id == "databases.table-privileges"]
    assert "CREATE POLICY" in finding.hint and "DISABLE" not in finding.hint


@pytest.mark.parametrize(
    ("changes", "check", "hint"),
    [
        ({"spf_record": SpfRecord("shop.net", ("v=spf1 -all", "v=spf1 ~all"))}, "mail.spf", "Merge the SPF records"),
        ({"spf_record": SpfRecord("shop.net", ("v=spf1 -all",), "-", allows_servers=False)}, "mail.spf", "Correct the"),
        ({"dmarc_record": DmarcRecord("shop.net", ("v=DMARC1", "v=DMARC1"))}, "mail.dmarc", "Remove all DMARC records"),
        ({"dmarc_record": DmarcRecord("shop.net", ("v=DMARC1; p=x",))}, "mail.dmarc", "Correct p in the record"),
        (
            {"dmarc_record": DmarcRecord("shop.net", ("v=DMARC1; p=none",))},
            "mail.dmarc",
            "Set p=quarantine or p=reject",
        ),
        (
            {"dmarc_record": DmarcRecord("shop.net", ("v=DMARC1; p=reject; sp=none",), True)},
            "mail.dmarc",
            "Set sp=quar",
        ),
    ],
)
def test_hint_for_an_existing_dns_record_adds_no_other_one(changes, check, hint):
    (finding,) = [f for f in findings(**changes) if f.check.id == check]
    assert finding.hint.startswith(hint)


def test_findings_contain_no_secret_value():
    bad = secret(password="hunter2hunter2", stripe_secret_key="pk_live_canary", email_password="canary canary")
    text = repr(findings(**bad))
    assert not [word for word in ("hunter2", "canary") if word in text]


def test_a_squashed_migration_is_applied_if_the_replaced_ones_are():
    squashed = ("order", "0001_squashed_0002")
    graph = MigrationGraph({squashed: frozenset({FIRST, ("order", "0002_more")})})
    assert graph.missing_from(frozenset({FIRST})) == (squashed,)
    assert graph.missing_from(frozenset({FIRST, ("order", "0002_more")})) == ()
    assert graph.unknown_in(frozenset({FIRST, ("order", "0002_more")})) == ()


@pytest.mark.parametrize(
    ("state", "command"),
    [
        ("PendingDeletion", "cancel-key-deletion"),
        ("Disabled", "enable-key"),
        ("PendingImport", "describe-key"),
        ("missing", "describe-key"),
    ],
)
def test_hint_for_a_storage_key_is_a_command_that_its_state_allows(state, command):
    (finding,) = [f for f in findings(storage_key_state=state) if f.check.id == "rds.storage-encrypted"]
    assert f"Run: aws kms {command} --key-id " in finding.hint
