"""The checks, from one good world: each single fault flips its own check; what could not be read passes nothing."""

from __future__ import annotations

import inspect
import json
import shlex
from dataclasses import replace
from datetime import timedelta

import pytest

from deploytools.databases.history import MigrationGraph
from deploytools.errors import AccessDenied, NotFound
from deploytools.reporting.html import command_in
from deploytools.verification.facts import Absent, Denied, Fact, NotTried
from deploytools.verification.findings import Report
from deploytools.verification.runner import judge_all
from deploytools.verification.sources.secret import ResourcePolicy
from deploytools.verification.waivers import WAIVABLE
from tests.verification import faults, faults_aws
from tests.verification.faults import FAIL, NA, PASS, UNKNOWN, WARN, Fault
from tests.verification.world import (
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
)

MOVE = (
    "aws secretsmanager update-secret-version-stage --secret-id {secret} --region us-east-1 --version-stage AWSCURRENT "
    "--move-to-version-id {version} --remove-from-version-id v1"
)
FAULTS: list[Fault] = [
    *faults.CONNECTION,
    *faults.SECRET,
    *faults.MAIL,
    *faults.PROJECT,
    *faults.DATABASES,
    *faults_aws.SWITCHES,
    *faults_aws.STATE,
    *faults_aws.UPKEEP,
    *faults_aws.NETWORK,
    *faults_aws.ALARM,
    *faults_aws.IAM,
    *faults_aws.ECS,
    *faults_aws.SURROUNDINGS,
    *faults_aws.VISIT,
]


def test_the_good_world_passes_every_check():
    assert {finding.check: finding.status for finding in findings()} == {check.id: PASS for check in OURS}
    assert not [finding for finding in findings() if finding.status is not PASS]
    assert not [finding for finding in findings() if finding.hint]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{next(iter(fault.flips), 'none')}-{fault.seen[:30]}")
def test_each_fault_flips_its_own_checks_and_no_other(fault):
    flipped = [finding for finding in findings(**fault.changes) if finding.status is not PASS]
    assert {finding.check: finding.status for finding in flipped} == fault.flips
    assert not flipped or fault.seen in f"{flipped[0].resource}: {flipped[0].seen}"
    assert all(finding.hint for finding in flipped if finding.status is not NA)
    waivable = [(finding.check, finding.resource) for finding in flipped if finding.status in WAIVABLE]
    assert len(waivable) == len(set(waivable)), "a waiver for one would be for another as well"


@pytest.mark.parametrize("check", OURS, ids=lambda check: check.id)
def test_every_check_has_a_fault_of_each_kind(check):
    statuses = {fault.flips.get(check.id) for fault in FAULTS}
    if check.id != "connection.secret":  # It fails where there is no secret: see the next test.
        assert statuses & {FAIL, WARN}, "no fault fails it"
    if "not_applicable" in inspect.getsource(check.judge) or "_each(" in inspect.getsource(check.judge):
        assert NA in statuses, "nothing shows when it is not applicable"


@pytest.mark.parametrize("check", OURS, ids=lambda check: check.id)
def test_what_could_not_be_read_passes_no_check(check):
    denied = Denied("x:Y", AccessDenied("AWS denied x:Y.", hint="Allow x:Y.", action="x:Y"))
    for name in check.needs:
        (finding,) = judge_all([check], {**FACTS, name: denied})
        assert (finding.status, finding.evidence, finding.hint) == (UNKNOWN, "AWS denied x:Y.", "Allow x:Y.")
        (finding,) = judge_all([check], {**FACTS, name: NotTried("other"), "other": denied})
        assert finding.status is UNKNOWN
        (finding,) = judge_all([check], {**FACTS, name: Absent(NotFound("Gone.", hint="Look."))})
        assert (finding.status, finding.evidence) == (FAIL, "Gone.")


def without(name: str, fact: Fact) -> dict[str, Fact]:
    """The good world without one fact, and without what is read from it."""
    gone: dict[str, Fact] = {name: fact}
    for source in REGISTRY.sources.values():
        missing = [needed for needed in source.needs if needed in gone]
        if missing and source.name in FACTS:
            gone[source.name] = NotTried(missing[0])
    return {**FACTS, **gone}


def test_an_instance_that_does_not_exist_is_told_once():
    absent = Absent(NotFound("The RDS instance good does not exist.", hint="Check the name."))
    found = {finding.check: finding for finding in judge_all(OURS, without("rds_instance", absent))}
    touched = {id: finding for id, finding in found.items() if finding.status is not PASS}
    assert {id for id in touched if touched[id].status is not NA} == {"rds.available", "rds.is-the-one"}
    missing = touched.pop("rds.available")
    assert (missing.status, missing.evidence, missing.hint) == (FAIL, absent.error.args[0], "Check the name.")
    other = touched.pop("rds.is-the-one")
    assert (other.status, other.evidence) == (UNKNOWN, "Not tried: there is no rds instance.")
    assert {finding.evidence for finding in touched.values()} == {
        "The RDS instance good does not exist (see rds.available)"
    }
    assert {id.split(".")[0] for id in touched} == {"rds", "network", "bastion", "alarms", "ecs"}
    assert Report(tuple(found.values()), 0.0, "").exit_code == 2


def test_an_absence_is_told_by_every_check_where_the_one_that_tells_it_is_left_out():
    absent = Absent(NotFound("Gone.", hint="Look."))
    checks = [check for check in OURS if check.id.startswith("alarms.")]
    assert {finding.status for finding in judge_all(checks, without("rds_instance", absent))} == {FAIL, UNKNOWN}


def test_an_instance_that_may_not_be_read_is_unknown_to_every_check():
    denied = Denied("x:Y", AccessDenied("AWS denied x:Y.", hint="Allow x:Y.", action="x:Y"))
    found = judge_all(OURS, without("rds_instance", denied))
    assert {finding.status for finding in found} == {PASS, UNKNOWN}


@pytest.mark.parametrize("check", OURS, ids=lambda check: check.id)
def test_every_check_says_what_a_reader_needs(check):
    assert check.why.endswith(".")
    assert check.title[0].isupper() and not check.title.endswith(".")
    assert check.guide.startswith(("Step ", "Security Checklist", "Next Steps", "Troubleshooting"))
    assert set(check.needs) <= set(REGISTRY.sources)


def test_a_hint_names_the_thing_itself():
    hints = {finding.check: finding.hint for finding in findings(**rds(deletion_protection=False))}
    assert hints["rds.deletion-protection"] == (
        "Run: aws rds modify-db-instance --db-instance-identifier good --deletion-protection (no downtime)"
    )
    (opened,) = [f for f in findings(**faults_aws.NETWORK[0].changes) if f.status is FAIL]
    assert opened.hint == (
        "Run: aws ec2 revoke-security-group-ingress --group-id sg-db --security-group-rule-ids sgr-x"
    )


QUIET, WAITS = "at a quiet hour", "it also makes now what waits: DBInstanceClass, which may restart it"
GLOBAL_BUNDLE = "after every client has AWS's global-bundle.pem as its sslrootcert"


@pytest.mark.parametrize("pending", [(), ("DBInstanceClass",)], ids=["nothing-waits", "a-class-waits"])
@pytest.mark.parametrize(
    ("check", "changes", "is_at_once", "said"),
    [
        ("rds.deletion-protection", {"deletion_protection": False}, True, ["no downtime"]),
        ("rds.automated-backups", {"backup_days": 6}, True, ["no downtime"]),
        ("rds.automated-backups", {"backup_days": 0}, False, ["it stops for a moment", QUIET]),
        ("rds.not-public", {"is_public": True}, True, []),
        ("rds.multi-az", {"is_multi_az": False}, False, ["it doubles the instance's price"]),
        ("rds.log-exports", {"log_exports": ()}, True, []),
        ("rds.minor-upgrades", {"upgrades_itself": False}, True, ["no downtime now"]),
        ("rds.storage-grows", {"maximum": None}, True, ["no downtime"]),
        ("rds.tags-on-snapshots", {"copies_tags": False}, True, ["no downtime"]),
        ("rds.enhanced-monitoring", {"monitoring": 0}, True, ["no downtime"]),
        ("rds.windows-apart", {"backup_window": "05:00-05:30"}, True, ["no downtime"]),
        (
            "rds.certificate",
            {"certificate_until": NOW + timedelta(days=9)},
            False,
            ["it may restart it", QUIET, GLOBAL_BUNDLE],
        ),
        ("rds.master-secret", {"master_secret": "impaired"}, False, []),
    ],
)
def test_a_change_of_the_instance_says_what_it_stops(check, changes, is_at_once, said, pending):
    """AWS makes with --apply-immediately all that waits, so only what else waits itself is changed with it."""
    (finding,) = [f for f in findings(**rds(pending=pending, **changes)) if f.check == check]
    command = command_in(finding.hint)
    assert command.endswith(" --apply-immediately") is not is_at_once
    assert [words for words in said if words not in finding.hint] == []
    assert (WAITS in finding.hint) is (bool(pending) and not is_at_once)


def test_what_waits_is_made_at_a_quiet_hour():
    (finding,) = [f for f in findings(**rds(pending=("DBInstanceClass",))) if f.check == "rds.nothing-pending"]
    assert command_in(finding.hint) == "aws rds modify-db-instance --db-instance-identifier good --apply-immediately"
    assert QUIET in finding.hint


def test_the_command_that_lets_somebody_in_names_the_groups():
    hints = {finding.check: finding.hint for finding in findings(**rds(port=5433))}
    command = (
        "Run: aws ec2 authorize-security-group-ingress --group-id sg-db --protocol tcp --port 5433 --source-group "
    )
    assert hints["network.ingress-only-from-app"] == f"{command}sg-app"
    assert hints["bastion.let-in"] == f"{command}sg-bastion"


OPEN_TO = "aws ec2 authorize-security-group-ingress --group-id sg-db --protocol tcp --port {} --source-group {}"
WITH_BOTH = (
    "aws ecs update-service --cluster prod --service web --network-configuration "
    '"awsvpcConfiguration={{subnets=[subnet-a,subnet-b],securityGroups=[{},sg-app]{}}}"'
)


@pytest.mark.parametrize(
    ("changes", "command", "said"),
    [
        (service(security_groups=("sg-x",)), WITH_BOTH.format("sg-x", ",assignPublicIp=DISABLED"), "new tasks"),
        (
            service(security_groups=("sg-x", "sg-y"), has_public_address=True),
            WITH_BOTH.format("sg-x,sg-y", ",assignPublicIp=ENABLED"),
            "(it puts new tasks in the place of all that run)",
        ),
        (service(security_groups=("sg-x",), has_public_address=None), WITH_BOTH.format("sg-x", ""), "new tasks"),
        (
            service(security_groups=("sg-x",), controller="CODE_DEPLOY"),
            "",
            "by CodeDeploy (aws deploy create-deployment), with the security groups sg-x,sg-app in its network",
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
            "(and give it to the service; verify_deploy says how, once it is let in)",
        ),
        ({**rds(port=5433), **expect(app_groups=())}, "", "Name the application's group"),
    ],
    ids=["private", "public", "unsaid", "code-deploy", "own", "second", "not-its-own", "nobody-says"],
)
def test_the_way_to_the_database_opens_it_to_nobody_else(changes, command, said):
    (finding,) = [f for f in findings(**changes) if f.check == "ecs.reaches-database"]
    assert (finding.status, command_in(finding.hint)) == (FAIL, command)
    assert said in finding.hint


@pytest.mark.parametrize(
    ("controller", "command", "said"),
    [
        ("ECS", "aws ecs update-service --cluster prod --service web --force-new-deployment", "(it puts new tasks in"),
        (
            "CODE_DEPLOY",
            "",
            "It takes a new deployment by CodeDeploy (aws deploy create-deployment): it puts new tasks",
        ),
        ("EXTERNAL", "", "It takes a new task set (aws ecs create-task-set): it puts new tasks in the place of all"),
        ("NEWEST", "", "It takes a new deployment by NEWEST: it puts new tasks"),
    ],
)
def test_the_tasks_are_replaced_by_whoever_deploys_them(controller, command, said):
    changes = service(controller=controller, deployed_at=NOW - timedelta(days=21))
    (finding,) = [f for f in findings(**changes) if f.check == "ecs.since-rotation"]
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
def test_a_group_that_the_settings_do_not_name_is_not_let_in(changes, command):
    (finding,) = [f for f in findings(**changes) if f.check == "bastion.let-in"]
    assert (finding.status, command_in(finding.hint)) == (WARN, command)
    assert command or finding.hint.startswith("Name one of its groups")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{next(iter(fault.flips), 'none')}-{fault.seen[:30]}")
def test_a_command_to_copy_is_a_command(fault):
    for finding in findings(**fault.changes):
        words = shlex.split(command_in(finding.hint))
        assert not [word for word in words if word.endswith((",", ";", "."))]
        assert not [word for word in words if word.startswith("delete-db")]


def test_the_command_for_a_snapshot_in_clear_copies_it():
    found = findings(**next(fault for fault in FAULTS if "rds.snapshots-encrypted" in fault.flips).changes)
    (finding,) = [f for f in found if f.check == "rds.snapshots-encrypted"]
    assert command_in(finding.hint) == (
        "aws rds copy-db-snapshot --source-db-snapshot-identifier old --target-db-snapshot-identifier old-encrypted "
        "--kms-key-id alias/aws/rds"
    )


BY_ECS = {"Sid": "By ECS", "Effect": "Allow", "Principal": faults_aws.ECS_TASKS, "Action": "sts:AssumeRole"}
BY_TASKS = {**BY_ECS, "Condition": OF_THIS_ACCOUNT}
LAMBDA, ADMIN = "lambda.amazonaws.com", "arn:aws:iam::999999999999:role/admin"
BY_LAMBDA = {**BY_ECS, "Sid": "By Lambda", "Principal": {"Service": LAMBDA}}
BOTH = [LAMBDA, *faults_aws.ECS_TASKS.values()]
BY_BOTH = {**BY_ECS, "Principal": {"Service": BOTH, "AWS": ADMIN}}
BUT_LAMBDA = {**BY_ECS, "Principal": {"Service": [LAMBDA], "AWS": [ADMIN]}}
NOT_SO = {"Sid": "No, never", "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:TagSession"}
IN_REGION = {"StringEquals": {"aws:RequestedRegion": "us-east-1"}, "Bool": {"aws:SecureTransport": "true"}}
IN_BOTH = {**IN_REGION, "StringEquals": {**IN_REGION["StringEquals"], **OF_THIS_ACCOUNT["StringEquals"]}}


@pytest.mark.parametrize(
    ("check", "trust", "left"),
    [
        ("iam.trust", [{**BY_ECS, "Principal": "*"}], [{**BY_TASKS, "Sid": None}]),
        ("iam.trust", [{**BY_ECS, "Principal": {"AWS": ADMIN}}, NOT_SO], [{**BY_TASKS, "Sid": None}, NOT_SO]),
        (
            "iam.trust",
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
def test_the_command_for_who_may_take_the_role_takes_nothing_else_away(check, trust, left):
    role = replace(WORLD["task_role"], trust=tuple(trust))
    (words,) = {tuple(shlex.split(command_in(f.hint))) for f in findings(task_role=role) if f.check == check and f.hint}
    assert words[:-1] == ("aws", "iam", "update-assume-role-policy", "--role-name", "web", "--policy-document")
    wanted = [{member: said for member, said in statement.items() if said} for statement in left]
    assert json.loads(words[-1]) == {"Version": "2012-10-17", "Statement": wanted}


OPEN = {"Sid": "Open", "Effect": "Allow", "Principal": "*", "Action": "secretsmanager:*", "Resource": "*"}
WIDE = {**OPEN, "Sid": "Wide", "Principal": {"AWS": ["*"]}}
DENY = {**OPEN, "Sid": "No, never", "Effect": "Deny", "Action": "secretsmanager:DeleteSecret"}


TOO_CLOSE = [fault for fault in faults_aws.UPKEEP if fault.flips.get("rds.windows-apart") in {WARN, FAIL}]


@pytest.mark.parametrize("fault", TOO_CLOSE, ids=lambda fault: fault.seen[:30])
def test_the_window_that_a_hint_names_is_far_enough(fault):
    (finding,) = [f for f in findings(**fault.changes) if f.check == "rds.windows-apart"]
    words = shlex.split(command_in(finding.hint))
    named = words[words.index("--preferred-backup-window") + 1]
    mended = replace(fault.changes["rds_instance"], backup_window=named)
    assert [f.status for f in findings(rds_instance=mended) if f.check == "rds.windows-apart"] == [PASS]


@pytest.mark.parametrize(("statements", "kept"), [((OPEN, DENY, WIDE), [DENY]), ((OPEN,), None), ((OPEN, WIDE), None)])
def test_the_command_that_closes_the_secret_keeps_what_denies(statements, kept):
    policy = ResourcePolicy("123456789012", statements)
    hints = {finding.hint for finding in findings(secret_policy=policy) if finding.check == "secret.not-shared"}
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
    (hint,) = {finding.hint for finding in findings(**changes) if finding.check == check and finding.hint}
    return json.loads(hint.removeprefix("Enough is: "))["Statement"]


def test_the_policy_that_is_enough_is_what_a_start_asks_for():
    reading, decrypting = enough("iam.reads-its-secret", **faults_aws.powers(lacking=NEEDED))
    assert set(reading["Action"]) == set(REGISTRY.sources["secret"].actions)
    assert reading["Resource"] == ARN
    assert (decrypting["Action"], decrypting["Resource"]) == ("kms:Decrypt", KEY)
    assert decrypting["Condition"] == {
        "StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:SecretARN": ARN},
    }


def test_the_policy_that_is_enough_to_start_the_tasks():
    lacking = {("secretsmanager:GetSecretValue", ARN): "", faults_aws.OTHER_PARAMETER: ""}
    powers = replace(WORLD["execution_role_powers"], needed=lacking)
    assert enough("iam.execution-role", execution_role_powers=powers) == [
        {"Effect": "Allow", "Action": [action], "Resource": resource} for action, resource in lacking
    ]


@pytest.mark.parametrize(
    ("accepted", "ends"),
    [
        (faults.PENDING, "End it: " + MOVE.format(secret="prod", version="new")),
        (faults.OLD, "Or take the old secret back: python manage.py sync_secrets --rollback"),
        (
            replace(faults.PENDING, secret="tenants/shop"),
            "End it: " + MOVE.format(secret="tenants/shop", version="new"),
        ),
        (
            replace(faults.OLD, secret="tenants/shop"),
            "Or take the old secret back: " + MOVE.format(secret="tenants/shop", version="old"),
        ),
    ],
    ids=["shared-pending", "shared-previous", "own-pending", "own-previous"],
)
def test_a_half_done_rotation_is_told_how_to_end_on_the_secret_that_was_tried(accepted, ends):
    changes = faults.attempt(error=faults.PASSWORD, broken="login", accepted=accepted)
    (finding,) = [f for f in findings(**changes) if f.check == "connection.connect"]
    guide = ' (guide, Troubleshooting: "password authentication failed for user django_app")'
    assert finding.hint.endswith(ends + guide)


def test_the_command_that_lets_cloudwatch_use_a_key_keeps_the_rest_of_its_policy():
    changes = faults_aws.encrypted(faults_aws.BY_ACCOUNT)
    (finding,) = [f for f in findings(**changes) if f.check == "alarms.topic-key"]
    words = shlex.split(command_in(finding.hint))
    assert words[:-1] == ["aws", "kms", "put-key-policy", "--key-id", KEY, "--policy-name", "default", "--policy"]
    assert json.loads(words[-1])["Statement"] == [faults_aws.BY_ACCOUNT, faults_aws.BY_CLOUDWATCH]


UNFINISHED = replace(WORLD["secret"], labels={"v1": ("AWSCURRENT",), "v2": ("AWSPENDING",)})
OVERDUE = description(next_rotation=NOW - timedelta(days=1))


def test_a_rotation_that_failed_is_ended_and_the_next_ones_stay_on():
    (finding,) = [f for f in findings(secret=UNFINISHED) if f.check == "secret.no-rotation-under-way"]
    assert command_in(finding.hint) == (
        "aws secretsmanager update-secret-version-stage --secret-id prod --region us-east-1 "
        "--version-stage AWSPENDING --remove-from-version-id v2"
    )


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        (OVERDUE, "Look at the function's log, then run: "),
        (
            {**OVERDUE, "secret": UNFINISHED},
            "end the rotation that failed (see secret.no-rotation-under-way), then run: ",
        ),
    ],
    ids=["none-pending", "one-pending"],
)
def test_a_rotation_that_is_overdue_is_made_up_for_with_its_price(changes, first):
    (finding,) = [f for f in findings(**changes) if f.check == "secret.rotated-in-time"]
    assert command_in(finding.hint) == "aws secretsmanager rotate-secret --secret-id prod --region us-east-1"
    assert first in finding.hint
    assert "tasks that run are refused until they are replaced: ecs.since-rotation" in finding.hint


def test_no_value_of_the_secret_is_in_a_finding():
    bad = secret(password="hunter2hunter2", stripe_secret_key="pk_live_canary", email_password="canary canary")
    text = repr(findings(**bad))
    assert not [word for word in ("hunter2", "canary") if word in text]


def test_squashed_migrations_count_as_applied_when_what_they_replace_is():
    squashed = ("order", "0001_squashed_0002")
    graph = MigrationGraph({squashed: frozenset({FIRST, ("order", "0002_more")})})
    assert graph.missing_from(frozenset({FIRST})) == (squashed,)
    assert graph.missing_from(frozenset({FIRST, ("order", "0002_more")})) == ()
    assert graph.unknown_in(frozenset({FIRST, ("order", "0002_more")})) == ()
