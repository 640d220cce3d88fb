"""`check_rds` and `verify_deploy` against real servers: (out, err, exit code)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from deploytools.conf import STAGES
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.management.commands.check_rds import healing_error
from deploytools.verification.facts import Failed, Value
from deploytools.verification.registry import load_registry
from deploytools.verification.sources.connection import ConnectionAttempt
from tests.management.runner import Result, run
from tests.sockets import late_port, silent_port

FIVE_LINES = [
    "✓ Successfully retrieved secrets from AWS Secrets Manager",
    "✓ Database configuration validated",
    "✓ Successfully connected to AWS RDS PostgreSQL",
    "✓ Successfully executed test query",
    "✓ Django apps configuration loaded successfully",
]


@pytest.fixture
def made(capsys, deployment):
    """The deployment with its databases."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


def test_the_five_lines_of_the_guide(capsys, made):
    result = run(capsys, "check_rds")
    lines = result.out.splitlines()
    assert [line.split(" (")[0] for line in lines] == FIVE_LINES
    assert re.search(rf"\(PostgreSQL {made.postgres.version}\.\d+ as {made.role}, \d+ ms, TLS", lines[2])
    assert re.fullmatch(r".* \(SELECT 1 in \d+\.\d ms\)", lines[3])
    assert (result.err, result.code) == ("", 0)


def statuses(result):
    return {finding["check"]: finding["status"] for finding in json.loads(result.out)["findings"]}


@pytest.mark.parametrize(
    ("changes", "connect", "kind", "entry"),
    [
        (
            {"password": "wrongPw7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU"},
            "fail",
            "password refused",
            "password authentication failed for user django_app",
        ),
        ({"port": 9}, "fail", "refused", "Cannot connect to RDS from local machine"),
        ({"host": "db.somewhere-else.net"}, "fail", "certificate of another host", None),
    ],
)
def test_a_broken_link_is_told_in_the_words_of_troubleshooting(capsys, made, changes, connect, kind, entry):
    made.put(**changes)
    started = time.monotonic()
    result = run(capsys, "check_rds", "--format", "json", "--wait", "0" if kind == "refused" else "60")
    assert time.monotonic() - started < 10, "it slept through what cannot heal"
    assert statuses(result) == {
        "connection.secret": "pass",
        "connection.configuration": "pass",
        "connection.connect": connect,
        "connection.query": "not applicable",
        "connection.apps": "pass",
    }
    (broken,) = [f for f in json.loads(result.out)["findings"] if f["check"] == "connection.connect"]
    assert f"({kind})" in broken["evidence"]
    assert (f'Troubleshooting: "{entry}"' in broken["hint"]) == bool(entry)
    assert result.code == 1


def test_a_server_that_never_answers_is_given_up_within_the_time_out(capsys, made):
    with silent_port() as port:
        made.put(port=port)
        started = time.monotonic()
        result = run(capsys, "check_rds", "--format", "json")
    assert time.monotonic() - started < 12
    assert "(timed out)" in result.out
    assert result.code == 1


def test_wait_waits_for_what_can_heal_and_says_for_what(capsys, made):
    with late_port(1.5, to=made.postgres.address.port) as port:
        made.put(port=port)
        result = run(capsys, "check_rds", "--wait", "30")
    assert [line.split(" (")[0] for line in result.out.splitlines()] == FIVE_LINES
    assert re.fullmatch(r"(Waiting for PostgreSQL \(refused\), \d+ s left …\n)+", result.err)
    assert result.code == 0


def test_an_aws_that_cannot_be_reached(capsys, made, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "check_rds", "--format", "json")
    assert statuses(result) == {
        "connection.secret": "unknown",
        "connection.configuration": "unknown",
        "connection.connect": "unknown",
        "connection.query": "unknown",
        "connection.apps": "pass",
    }
    assert result.code == 2


def test_without_credentials(capsys, made, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for command in ("check_rds", "verify_deploy"):
        result = run(capsys, command)
        assert result.out == ""
        assert result.err.startswith(
            "Error: There are no usable AWS credentials: Unable to locate credentials.\nHint: "
        )
        assert 'Troubleshooting: "boto3.exceptions.NoCredentialsError"' in result.err
        assert result.code == 2


@pytest.mark.parametrize("command", ["check_rds", "verify_deploy"])
def test_the_wrong_account_stops_everything_first(capsys, made, settings, command):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ACCOUNT": "999999999999"}
    assert run(capsys, command) == (
        "",
        "Error: The AWS credentials are of account 123456789012, not of 999999999999; nothing was looked at.\n"
        'Hint: Choose the right ones (AWS_PROFILE, aws sso login), or mend DEPLOYTOOLS["ACCOUNT"].\n',
        2,
    )


@pytest.mark.parametrize("command", ["check_rds", "verify_deploy"])
def test_an_account_that_cannot_be_proved_stops_everything_too(capsys, made, settings, monkeypatch, command):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ACCOUNT": "123456789012"}
    assert run(capsys, "check_rds").code == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, command)
    assert result.out == ""
    assert result.err.startswith("Error: sts:GetCallerIdentity got no answer: ")
    assert result.code == 2


def test_no_account_is_asked_for_where_nothing_is_read_from_aws(capsys, made, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "verify_deploy", "--only", "django.check-deploy", "--format", "json")
    assert json.loads(result.out)["account"] == ""
    assert result.code == 1


def test_verify_deploy_finds_what_is_so(capsys, made, monkeypatch):
    found = run(capsys, "verify_deploy", "--format", "json", "--tag", "databases", "--tag", "rds", "--tag", "secret")
    document = json.loads(found.out)
    by_status: dict[str, set[str]] = {}
    for finding in document["findings"]:
        by_status.setdefault(finding["status"], set()).add(finding["check"])
    assert by_status["fail"] == {"databases.migrated", "rds.deletion-protection"}
    assert by_status["warn"] == {"rds.multi-az"}
    assert by_status["not applicable"] == {
        "databases.connection-budget",
        "rds.master-secret",
        "secret.rotated-in-time",
    }
    assert by_status.keys() == {"pass", "fail", "warn", "not applicable"}
    assert (found.code, found.err) == (1, "")
    hints = {item["hint"] for item in document["findings"] if item["check"] == "rds.deletion-protection"}
    assert hints == {
        "Run: aws rds modify-db-instance --db-instance-identifier startupwebapp-multi-tenant-prod "
        "--deletion-protection --apply-immediately (no downtime)"
    }


def test_verify_deploy_before_anything_was_made(capsys, deployment):
    result = run(capsys, "verify_deploy", "--tag", "databases", "--format", "json")
    assert set(statuses(result).values()) == {"unknown"}
    assert result.code == 2


def test_an_instance_that_does_not_exist_fails(capsys, made, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "nobody-knows-it"}
    result = run(capsys, "verify_deploy", "--tag", "rds", "--stage", "launch", "--format", "json")
    assert set(statuses(result).values()) == {"fail"}
    assert result.code == 1


def test_output_to_a_file(capsys, made, tmp_path):
    file = tmp_path / "report.json"
    result = run(capsys, "check_rds", "--format", "json", "--output", str(file))
    assert (result.out, result.code, json.loads(file.read_text())["version"]) == ("", 0, 1)
    assert result.err == f"Wrote {file}. As it should be: nothing fails.\n"
    failed = run(capsys, "check_rds", "--output", str(tmp_path / "no" / "where"))
    assert failed.err == (
        f"Error: The report could not be written to {tmp_path}/no/where: No such file or directory.\n"
        "Hint: Name another --output.\n"
    )
    assert failed.code == 2


def test_list_looks_at_nothing(capsys, deployment, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "verify_deploy", "--list", "--tag", "rds")
    assert [line.split()[0] for line in result.out.splitlines()] == [
        id for id in load_registry().checks if id.startswith("rds.")
    ]
    assert result.code == 0


def test_a_tag_that_nothing_bears(capsys, deployment):
    result = run(capsys, "verify_deploy", "--tag", "nope")
    assert result.err.startswith("Error: No check bears the tag nope.\nHint: The tags are: ")
    assert result.code == 2


def test_several_formats_at_once(capsys, made, tmp_path):
    names = ["report.txt", "report.json", "junit.xml", "report.html", "report.md"]
    outputs = [part for name in names for part in ("--output", str(tmp_path / name))]
    result = run(capsys, "verify_deploy", "--tag", "rds", "--format", "github", *outputs)
    assert result.out.splitlines()[-1] == "::notice title=verify_deploy::Not as it should be: 1 fails."
    assert [line.split(". ")[0] for line in result.err.splitlines()] == [f"Wrote {tmp_path / name}" for name in names]
    assert result.code == 1
    starts = {name: (tmp_path / name).read_text()[:15] for name in names}
    assert "\n✗ The RDS instance is protected" in (tmp_path / "report.txt").read_text()
    del starts["report.txt"]
    assert starts == {
        "report.json": '{\n  "version": ',
        "junit.xml": '<?xml version="',
        "report.html": "<!doctype html>",
        "report.md": "# Verification\n",
    }


def test_a_job_of_github_gets_a_summary(capsys, made, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    assert run(capsys, "verify_deploy", "--tag", "rds", "--format", "github").code == 1
    assert "- [ ] RDS deletion protection enabled\n" in (tmp_path / "summary").read_text()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "where"))
    result = run(capsys, "verify_deploy", "--tag", "rds", "--format", "github")
    assert result.err.startswith(f"Error: The job's summary could not be written to {tmp_path}/no/where: ")
    assert result.code == 2


def test_two_reports_do_not_fit_on_stdout(capsys, deployment):
    assert run(capsys, "verify_deploy", "--format", "json", "--format", "junit") == (
        "",
        "Error: Stdout can take one report, not json and junit.\n"
        "Hint: Write the others into files, for example: --output report.xml\n",
        2,
    )


PROTECTION = {
    "check": "rds.deletion-protection",
    "resource": "startupwebapp-multi-tenant-prod",
    "reason": "it moves on Monday",
    "owner": "ops@example.com",
}


def expiring(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def test_a_waiver_is_shown_and_counted_until_it_expires(capsys, made, settings):
    waiver = PROTECTION | {"expires": expiring(30)}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [waiver]}
    found = run(capsys, "verify_deploy", "--tag", "rds")
    assert found.code == 0
    assert f"waived: it moves on Monday (ops@example.com, until {waiver['expires']})" in " ".join(found.out.split())
    assert re.search(r"\b1 waived\b", found.out.splitlines()[-1])
    strict = run(capsys, "verify_deploy", "--tag", "rds", "--no-waivers")
    assert (strict.code, "waived" in strict.out) == (1, False)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [PROTECTION | {"expires": expiring(-1)}]}
    expired = statuses(run(capsys, "verify_deploy", "--tag", "rds", "--format", "json"))
    assert (expired["rds.deletion-protection"], expired["waivers.in-force"]) == ("fail", "fail")


def test_a_waiver_of_a_check_that_does_not_exist(capsys, made, settings):
    unknown = PROTECTION | {"check": "rds.deletion-protected", "expires": expiring(3)}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [unknown]}
    result = run(capsys, "verify_deploy", "--tag", "rds")
    assert result.err.startswith(
        "Error: There is no check rds.deletion-protected.\nHint: Did you mean rds.deletion-protection"
    )
    assert (result.out, result.code) == ("", 2)


def test_facts_are_kept_and_judged_again_with_no_network(capsys, made, tmp_path, monkeypatch):
    file, tags = tmp_path / "facts.json", ("--tag", "rds", "--tag", "databases", "--tag", "secret")
    before = run(capsys, "verify_deploy", *tags, "--format", "json", "--facts", str(file))
    assert re.fullmatch(rf"Wrote {file}: \d+ facts, secrets masked\.\n", before.err)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    made.put(host="gone.example.net")
    after = run(capsys, "verify_deploy", *tags, "--format", "json", "--replay", str(file))
    changed = {check: status for check, status in statuses(after).items() if status != statuses(before)[check]}
    assert {(check.split(".")[0], status) for check, status in changed.items()} == {("secret", "unknown")}
    assert (after.err, after.code) == ("", 2)
    narrow = run(capsys, "verify_deploy", "--only", "django.check-deploy", "--replay", str(file))
    assert (narrow.code, "The file of facts has no project." in narrow.out) == (2, True)
    other = run(capsys, "verify_deploy", "--replay", str(file), "--stage", "launch")
    assert other == Result(
        "",
        "Error: The facts were read for the stage pre-launch.\nHint: Leave --stage out, or read them again.\n",
        2,
    )


def test_diff_shows_what_changed(capsys, made, tmp_path, settings):
    old = tmp_path / "old.json"
    options = ("verify_deploy", "--only", "rds.not-public", "rds.deletion-protection")
    assert run(capsys, *options, "--output", str(old)).code == 1
    same = run(capsys, *options, "--diff", str(old))
    assert (same.out.splitlines()[0], same.code) == ("Nothing changed.", 1)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "nobody-knows-it"}
    worse = run(capsys, *options, "--diff", str(old), "--format", "json")
    changes = {change["check"]: change["after"] for change in json.loads(worse.out)["changes"] if change["after"]}
    assert changes == {"rds.not-public": "fail", "rds.deletion-protection": "fail"}
    nothing = run(capsys, *options, "--diff", str(tmp_path / "none.json"))
    assert nothing.err.startswith(f"Error: {tmp_path}/none.json could not be read: No such file or directory.\n")
    assert (nothing.out, nothing.code) == ("", 2)


def test_the_fail_level_and_the_stage(capsys, made):
    options = ("verify_deploy", "--only", "rds.deletion-protection", "--format", "json")
    assert [run(capsys, *options, "--fail-level", level).code for level in ("high", "critical")] == [1, 0]
    assert [json.loads(run(capsys, *options, "--stage", stage).out)["stage"] for stage in STAGES] == list(STAGES)


def test_one_tenant_alone(capsys, made):
    one, two = made.tenants
    connected = run(capsys, "check_rds", "--tenant", two)
    assert (f"(database {two}," in connected.out, connected.code) == (True, 0)
    found = json.loads(run(capsys, "verify_deploy", "--tag", "databases", "--tenant", two, "--format", "json").out)
    resources = {finding["resource"] for finding in found["findings"]}
    assert two in resources and one not in resources
    assert run(capsys, "check_rds", "--tenant", "nobody") == Result(
        "",
        f'Error: There is no tenant nobody in DEPLOYTOOLS["TENANTS"].\nHint: The tenants are: {one}, {two}.\n',
        2,
    )


def test_explain_says_everything_about_a_check(capsys, deployment, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "verify_deploy", "--explain", "rds.deletion-protection")
    lines = result.out.splitlines()
    assert lines[0] == "rds.deletion-protection: The RDS instance is protected against deletion"
    assert [line.split(":")[0] for line in lines[2:] if line[0] != " "] == [
        "Why", "Looks at", "To mend", "Severity", "Guide", "Peers", "Tags",
    ]  # fmt: skip
    assert "rds instance (rds:DescribeDBInstances)" in " ".join(result.out.split())
    assert max(map(len, lines)) <= 80
    nothing = run(capsys, "verify_deploy", "--explain", "rds.deletion")
    assert nothing.err.startswith("Error: There is no check rds.deletion.\nHint: Did you mean rds.deletion-protection")
    assert nothing.code == 2


def test_the_list_as_json_and_not_as_html(capsys, deployment):
    (check,) = json.loads(run(capsys, "verify_deploy", "--list", "--only", "rds.encrypted", "--format", "json").out)
    assert (check["id"], check["stage"], check["facts"]) == ("rds.encrypted", "pre-launch", ["rds_instance"])
    assert "rds:DescribeDBInstances" in check["actions"]
    assert run(capsys, "verify_deploy", "--list", "--format", "html") == Result(
        "",
        "Error: The list of checks does not come as html.\nHint: It comes as text, json, markdown.\n",
        2,
    )


def test_the_list_needs_no_tenants(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"TENANTS": []}
    assert run(capsys, "verify_deploy", "--list").code == 0
    assert run(capsys, "verify_deploy", "--iam-policy").code == 0


@pytest.mark.parametrize("kind", ConnectionFailure)
def test_only_what_can_heal_is_waited_for(kind):
    error = ConnectionFailed("No.", hint="", kind=kind)
    healing = kind.value in {"no such name", "refused", "timed out", "starting up"}
    for fact in (Failed(error), Value(ConnectionAttempt(error=error))):
        assert healing_error({"other": Value(1), "attempt": fact}) is (error if healing else None)


def test_the_shop_asks_for_products(capsys, made):
    options = ("verify_deploy", "--tag", "shop", "--stage", "launch", "--format", "json")

    def answer():
        result = run(capsys, *options)
        (finding,) = json.loads(result.out)["findings"]
        return finding["status"], finding["evidence"], result.code

    assert answer() == ("not applicable", "there are no tables yet (see databases.migrated)", 0)
    with made.login().connect(made.tenants[0]) as session:
        session.execute("CREATE TABLE order_product (id int)")
        assert answer() == ("fail", "there is no product", 1)
        session.execute("INSERT INTO order_product VALUES (1), (2)")
    assert answer() == ("pass", "2 products", 0)


@pytest.fixture
def calls(monkeypatch):
    """The IAM actions of all calls to AWS that are made meanwhile."""
    recorded, prefixes = set(), {"monitoring": "cloudwatch", "email": "ses"}

    def record(model, **_):
        service = model.service_model.signing_name
        recorded.add(f"{prefixes.get(service, service)}:{model.name}")

    class Recording(boto3.Session):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.events.register("before-call", record)

    monkeypatch.setattr("deploytools.aws.boto3.Session", Recording)
    return recorded


def test_the_policy_is_exactly_what_is_called(capsys, made, settings, calls):
    """What the local account has nothing of (a bastion host, say) is not asked for, and is allowed all the same."""
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "startupwebapp-multi-tenant-prod"}
    document = json.loads(run(capsys, "verify_deploy", "--iam-policy").out)
    assert calls == set()
    allowed = {action for statement in document["Statement"] for action in statement["Action"]}
    run(capsys, "verify_deploy", "--format", "json")
    assert calls <= allowed
    assert calls >= {
        "sts:GetCallerIdentity",
        "secretsmanager:GetSecretValue",
        "secretsmanager:DescribeSecret",
        "rds:DescribeDBInstances",
    }


def test_the_policy_of_some_checks_only(capsys, deployment):
    document = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--tag", "secret").out)
    assert document["Statement"][0]["Action"] == ["sts:GetCallerIdentity"]
    assert {action.split(":")[0] for action in document["Statement"][1]["Action"]} == {"secretsmanager"}
    assert document["Statement"][1]["Resource"] == f"arn:aws:secretsmanager:us-east-1:*:secret:{deployment.name}-??????"
    nothing = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--only", "django.check-deploy").out)
    assert nothing["Statement"] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_waiting_ends_it_at_once(made, number, code):
    made.put(port=9)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "check_rds", "--wait", "600"],
        cwd=Path(__file__).parent.parent.parent,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | dict(made.environment),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Waiting for PostgreSQL (refused), ")
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
