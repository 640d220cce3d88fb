"""`check_rds` and `verify_deploy` with real servers: stdout, stderr, exit code."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connections

from deploytools.conf import Settings
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.management.commands import verify_deploy
from deploytools.management.commands.check_rds import transient_error
from deploytools.postgres.connection_probe import ProbeResult
from deploytools.secrets.plan import SecretState
from deploytools.secrets.reader import SecretReader
from deploytools.verification.fact_result import Failed, Value
from deploytools.verification.findings import Severity, Verdict, passed
from deploytools.verification.registry import Registry, load_registry
from tests.management.runner import run, statuses
from tests.old_boto3 import IS_OLD
from tests.sockets import late_port, silent_port

LINES = [
    "✓ Successfully retrieved secrets from AWS Secrets Manager",
    "✓ Database configuration validated",
    "✓ Successfully connected to AWS RDS PostgreSQL",
    "✓ Successfully executed test query",
    "✓ Django's own connection uses the same server, role and TLS",
    "✓ Django apps configuration loaded successfully",
    "✓ Application role can use the tables of its tenants and create new ones",
]


def main_lines(text: str) -> list[str]:
    """Return the lines of `text` that are not indented, without the evidence."""
    return [line.split(" (")[0] for line in text.splitlines() if not line.startswith(" ")]


def test_base_settings_with_sqlite(capsys, deployment, monkeypatch):
    engine = "django.db.backends.sqlite3"
    sqlite = deployment.database | {"ENGINE": engine, "NAME": Path("/srv/db.sqlite3"), "OPTIONS": {"timeout": 20}}
    monkeypatch.setitem(connections.settings, "default", sqlite)
    result = run(capsys, "check_rds", "--format", "json")
    found = {finding["check"]: finding for finding in json.loads(result.out)["findings"]}
    assert {name: finding["status"] for name, finding in found.items()} == {
        "connection.secret": "pass",
        "connection.configuration": "fail",
        "connection.connect": "not applicable",
        "connection.query": "not applicable",
        "connection.django": "not applicable",
        "connection.apps": "pass",
    }
    assert found["connection.configuration"]["hint"].endswith("run the command with the production settings")
    assert ("/srv" in result.out, result.code) == (False, 1)


@pytest.mark.other_versions
def test_the_lines_of_the_guide(capsys, made):
    result = run(capsys, "check_rds")
    assert main_lines(result.out) == LINES
    text = " ".join(result.out.split())
    seen = rf"PostgreSQL {made.postgres.version}\.\d+ as {made.role}, TLS[^;]*; "
    assert re.search(rf"{seen}DNS \d+ ms, TCP \d+ ms, TLS \d+ ms, login \d+ ms ✓", text)
    assert re.search(r"✓ Successfully executed test query \(SELECT 1; \d+\.\d ms\) ✓", text)
    assert max(map(len, result.out.splitlines())) <= 80
    assert (result.err, result.code) == ("", 0)


def test_a_missing_ca_bundle_is_reported_with_its_address(capsys, made, settings, monkeypatch, tmp_path):
    """The first error on RDS of a project that has set no CA bundle."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SSLROOTCERT": ""}
    text = " ".join(run(capsys, "check_rds").out.split())
    assert f'root certificate file "{tmp_path}/.postgresql/root.crt"' in text
    address = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
    assert f'Download AWS\'s CA bundle, {address}, and set DEPLOYTOOLS["SSLROOTCERT"] to its path.' in text


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"password": "wrongPw7kP0mZx2Lw9RtY4vBn6HsD1fGjE3cU"}, "password authentication failed"),
        ({"port": 9}, "connection refused"),
        ({"host": "db.somewhere-else.net"}, "certificate name mismatch"),
    ],
)
def test_a_connection_failure_is_reported_by_its_kind(capsys, made, changes, kind):
    made.put(**changes)
    started = time.monotonic()
    result = run(capsys, "check_rds", "--format", "json", "--wait", "0" if kind == "connection refused" else "60")
    assert time.monotonic() - started < 10, "it retried a permanent failure"
    assert statuses(result) == {
        "connection.secret": "pass",
        "connection.configuration": "pass",
        "connection.connect": "fail",
        "connection.query": "not applicable",
        "connection.django": "not applicable",
        "connection.apps": "pass",
    }
    (broken,) = [f for f in json.loads(result.out)["findings"] if f["check"] == "connection.connect"]
    assert f"({kind})" in broken["evidence"]
    assert broken["hint"]
    assert result.code == 1


@pytest.mark.slow
def test_a_server_that_does_not_answer_times_out(capsys, made):
    with silent_port() as port:
        made.put(port=port)
        started = time.monotonic()
        result = run(capsys, "check_rds", "--format", "json")
    assert time.monotonic() - started < 12
    assert "(timed out)" in result.out
    assert result.code == 1


@pytest.mark.slow
def test_wait_retries_and_reports_the_reason(capsys, made):
    with late_port(1.5, to=made.postgres.address.port) as port:
        made.put(port=port)
        result = run(capsys, "check_rds", "--wait", "30")
    assert main_lines(result.out) == LINES
    assert re.fullmatch(r"(Waiting for PostgreSQL \(connection refused\), \d+ s left …\n)+", result.err)
    assert result.code == 0


@pytest.mark.parametrize("wait", ["inf", "nan", "-1", "soon"])
def test_wait_must_be_a_number_of_seconds(capsys, wait):
    result = run(capsys, "check_rds", f"--wait={wait}")
    assert f"error: argument --wait: invalid seconds value: '{wait}'\n" in result.err
    assert (result.out, result.code) == ("", 2)


@pytest.mark.slow
def test_aws_cannot_be_reached(capsys, made, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "check_rds", "--format", "json")
    assert statuses(result) == {
        "connection.secret": "unknown",
        "connection.configuration": "unknown",
        "connection.connect": "unknown",
        "connection.query": "unknown",
        "connection.django": "unknown",
        "connection.apps": "pass",
    }
    assert result.code == 2


@pytest.mark.slow
def test_without_credentials(capsys, made, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for command in ("check_rds", "verify_deploy"):
        result = run(capsys, command)
        assert result.out == ""
        assert result.err.startswith("Error: No usable AWS credentials: Unable to locate credentials.\nHint: ")
        assert result.code == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check_rds", "verify_deploy"])
def test_the_wrong_account_stops_the_command(capsys, made, settings, command):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ACCOUNT": "999999999999"}
    assert run(capsys, command) == (
        "",
        "Error: The AWS credentials belong to account 123456789012, expected 999999999999. Nothing was read.\n"
        'Hint: Select other credentials (AWS_PROFILE, aws sso login), or correct DEPLOYTOOLS["ACCOUNT"].\n',
        2,
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check_rds", "verify_deploy"])
def test_an_account_that_cannot_be_verified_stops_the_command(capsys, made, settings, monkeypatch, command):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ACCOUNT": "123456789012"}
    assert run(capsys, "check_rds").code == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, command)
    assert result.out == ""
    assert result.err.startswith("Error: sts:GetCallerIdentity got no response: ")
    assert result.code == 2


def test_the_account_is_not_read_if_no_fact_is_read_from_aws(capsys, made, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "verify_deploy", "--only", "django.check-deploy", "--format", "json")
    assert json.loads(result.out)["account"] == ""
    assert result.code == 1


@pytest.mark.other_versions
def test_verify_deploy_of_the_local_cloud(capsys, made, cloud, monkeypatch, settings):
    exclude = ("--exclude", "rds.engine-supported") if IS_OLD else ()
    tags = ("--tag", "databases", "--tag", "rds", "--tag", "secret")
    found = run(capsys, "verify_deploy", "--format", "json", *tags, *exclude)
    document = json.loads(found.out)
    by_status: dict[str, set[str]] = {}
    for finding in document["findings"]:
        by_status.setdefault(finding["status"], set()).add(finding["check"])
    elsewhere = {"rds.instance-in-use"} if made.postgres.address.port != cloud.main.port else set()
    assert by_status["fail"] == {"databases.migrated", "rds.deletion-protection"} | elsewhere
    assert by_status["warn"] == {"rds.multi-az", "rds.enhanced-monitoring", "rds.restore-drill"}
    assert by_status["not applicable"] == {
        "databases.connection-budget",
        "rds.master-secret",
        "secret.credential-age",
        "secret.custom-fields",
        "secret.former-login",
        "secret.rotation-on-schedule",
    }
    assert by_status.keys() == {"pass", "fail", "warn", "not applicable"}
    assert (found.code, found.err) == (1, "")
    hints = {item["hint"] for item in document["findings"] if item["check"] == "rds.deletion-protection"}
    assert hints == {
        "Run: aws rds modify-db-instance --db-instance-identifier startupwebapp-multi-tenant-prod "
        "--deletion-protection (no downtime)"
    }


def test_verify_deploy_before_databases_are_created(capsys, deployment):
    result = run(capsys, "verify_deploy", "--tag", "databases", "--format", "json")
    assert set(statuses(result).values()) == {"unknown"}
    assert result.code == 2


def test_a_missing_instance_is_one_failure(capsys, made, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "no-such-instance"}
    result = run(capsys, "verify_deploy", "--tag", "rds", "--stage", "launch", "--format", "json")
    found = statuses(result)
    assert (sorted(found.values()).count("fail"), set(found.values())) == (1, {"fail", "unknown"})
    assert result.code == 2


def test_a_missing_secret_is_one_finding(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": "prod/none"}
    result = run(capsys, "verify_deploy", "--format", "json")
    found = json.loads(result.out)
    caused = [item for item in found["findings"] if item["cause"]]
    assert {(item["cause"], item["evidence"]) for item in caused} == {
        ("secret", "There is no secret prod/none in us-east-1.")
    }
    assert len(caused) > 80
    assert found["verdict"].startswith(f"UNKNOWN: {len(caused) - 1} checks could not be evaluated (1 cause), ")
    assert result.code == 2
    text = run(capsys, "verify_deploy").out
    assert text.count("There is no secret") == 2, "the problem, and the reason below the verdict"
    assert f"{len(caused) - 1} checks depend on it: " in " ".join(text.split())
    five = run(capsys, "check_rds")
    assert (five.out.count("There is no secret"), five.code) == (1, 2)


def test_a_server_that_cannot_be_reached_is_one_finding(capsys, deployment):
    deployment.put(port=9)
    text = run(capsys, "verify_deploy", "--tag", "connection", "--tag", "databases").out
    problem, _, reasons = " ".join(text.split()).partition("UNKNOWN: ")
    assert (problem.count("connection refused"), reasons.count("connection refused")) == (1, 1)
    assert re.search(r"✗ Could not connect|✗ Cannot connect", text)
    assert re.match(r"\d+ checks could not be evaluated \(1 cause\), 1 failed", reasons)


@pytest.mark.slow
@pytest.mark.parametrize(("group_by", "is_in_guide"), [({}, False), ({"GROUP_BY": "guide"}, True)])
def test_the_guide_is_named_only_if_reports_group_by_it(capsys, deployment, settings, group_by, is_in_guide):
    others = {key: value for key, value in settings.DEPLOYTOOLS.items() if key != "GROUP_BY"}
    settings.DEPLOYTOOLS = others | group_by
    printed = [
        run(capsys, "verify_deploy"),
        run(capsys, "verify_deploy", "--format", "json"),
        run(capsys, "verify_deploy", "--explain", "rds.multi-az"),
        run(capsys, "verify_deploy", "--list", "--format", "markdown"),
        run(capsys, "check_rds"),
    ]
    named = [bool(re.search(r"Phase \d\d|Step \d|Security Checklist", result.out)) for result in printed]
    assert named == [is_in_guide] * len(printed)
    headings = {"Step 6 · Test RDS connectivity:"} if is_in_guide else {"Connection:", "Django settings:"}
    assert headings <= set(printed[0].out.splitlines())


@pytest.fixture
def bug(monkeypatch):
    """Return a check and a fact that raise an exception with credentials in its text and in variables."""
    registry = Registry()

    @registry.fact()
    def secret(settings: Settings) -> SecretState:
        return SecretReader.connect(settings.secret_name, settings.region).read()

    @registry.fact()
    def broken(secret: SecretState) -> int:
        password = secret.document["password"].reveal()
        try:
            raise KeyError(password)
        except KeyError as error:
            raise ValueError(f"canary {password}, {quote(password)}, {os.environ['AWS_SECRET_ACCESS_KEY']}") from error

    @registry.check("own.fact", title="A", severity=Severity.LOW, hint="B")
    def of_fact(broken: int) -> Verdict:
        "The risk."
        return passed("")

    @registry.check("own.check", title="A", severity=Severity.LOW, hint="B")
    def of_check(secret: SecretState) -> Verdict:
        "The risk."
        keys = ("password", "django_secret_key_fallbacks", "superuser_extra")
        raise RuntimeError("in a check: " + ", ".join(str(secret.document[key].reveal()) for key in keys))

    monkeypatch.setattr(verify_deploy, "load_registry", lambda: registry)


def test_a_bug_shows_its_traceback_on_request_and_no_credential(capsys, deployment, bug, monkeypatch, caplog):
    password = str(deployment.document()["password"]) + "+/ä'"
    deployment.put(password=password, django_secret_key_fallbacks=["canaryOld"], superuser_extra={"a": ["canaryExtra"]})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canaryKeyAbCdEfGhIjKl")
    caplog.set_level("DEBUG")
    plain, loud = run(capsys, "verify_deploy"), run(capsys, "verify_deploy", "--traceback")
    assert "→ Run the command again with --traceback, and report the traceback." in " ".join(plain.out.split())
    assert (plain.err, plain.code, loud.code) == ("", 2, 2)
    assert [line for line in loud.err.splitlines() if line.startswith(("KeyError", "ValueError", "RuntimeError"))] == [
        'KeyError: "********"',
        "ValueError: canary ********, ********, ********",
        "RuntimeError: in a check: ********, ['********'], {'a': ['********']}",
    ]
    assert [record for record in caplog.records if record.exc_info] == []
    assert 'raise RuntimeError("in a check: " + ' in loud.err
    canaries = (password, quote(password), "canaryKey", "canaryOld", "canaryExtra")
    assert not [value for value in canaries if value in loud.out + loud.err]


@pytest.mark.slow
def test_output_to_a_file(capsys, made, tmp_path):
    file = tmp_path / "report.json"
    result = run(capsys, "check_rds", "--format", "json", "--output", str(file))
    assert (result.out, result.code, json.loads(file.read_text())["version"]) == ("", 0, 1)
    assert result.err == f"Wrote {file}. OK: all 7 checks passed\n"
    failed = run(capsys, "check_rds", "--output", str(tmp_path / "no" / "where"))
    assert failed.err == (
        f"Error: The report could not be written to {tmp_path}/no/where: No such file or directory.\n"
        "Hint: Specify another --output.\n"
    )
    assert failed.code == 2


def test_list_reads_no_fact(capsys, deployment, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "verify_deploy", "--list", "--tag", "rds")
    assert [line.split()[0] for line in result.out.splitlines()] == [
        id for id in load_registry().checks if id.startswith("rds.")
    ]
    assert result.code == 0


def test_an_unknown_tag(capsys, deployment):
    result = run(capsys, "verify_deploy", "--tag", "nope")
    assert result.err.startswith("Error: No check has the tag nope.\nHint: Use one of: ")
    assert result.code == 2


@pytest.mark.slow
def test_several_formats_at_once(capsys, made, tmp_path):
    names = ["report.txt", "report.json", "junit.xml", "report.html", "report.md"]
    outputs = [part for name in names for part in ("--output", str(tmp_path / name))]
    result = run(capsys, "verify_deploy", "--tag", "rds", "--format", "github", *outputs)
    verdict = "::notice title=verify_deploy::FAILED: 1 failed, 3 warnings, 1 not applicable%0A1 check not applicable: "
    assert result.out.startswith(verdict)
    assert [line.split(". ")[0] for line in result.err.splitlines()] == [f"Wrote {tmp_path / name}" for name in names]
    assert result.code == 1
    times = re.findall(r'<testcase .*time="([\d.]+)"', (tmp_path / "junit.xml").read_text())
    assert sum(map(float, times)) > 0
    starts = {name: (tmp_path / name).read_text()[:15] for name in names}
    assert "\n✗ Deletion protection is enabled" in (tmp_path / "report.txt").read_text()
    del starts["report.txt"]
    assert starts == {
        "report.json": '{\n  "version": ',
        "junit.xml": '<?xml version="',
        "report.html": "<!doctype html>",
        "report.md": "# Verification\n",
    }


@pytest.mark.slow
def test_a_job_summary_for_github(capsys, made, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    assert run(capsys, "verify_deploy", "--tag", "rds", "--format", "github").code == 1
    assert "- [ ] RDS deletion protection enabled\n" in (tmp_path / "summary").read_text()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "where"))
    result = run(capsys, "verify_deploy", "--tag", "rds", "--format", "github")
    assert result.err.startswith(f"Error: The job summary could not be written to {tmp_path}/no/where: ")
    assert result.code == 2


def test_only_one_report_can_go_to_stdout(capsys, deployment):
    assert run(capsys, "verify_deploy", "--format", "json", "--format", "junit") == (
        "",
        "Error: Only one report can go to stdout, not json and junit.\n"
        "Hint: Write the others to files, for example: --output report.xml\n",
        2,
    )


@pytest.mark.parametrize("kind", ConnectionFailure)
def test_only_transient_errors_are_retried(kind):
    error = ConnectionFailed("No.", hint="", kind=kind)
    is_transient = kind.value in {"host name not found", "connection refused", "timed out", "server is starting up"}
    for fact in (Failed(error), Value(ProbeResult(error=error))):
        assert transient_error({"other": Value(1), "attempt": fact}) is (error if is_transient else None)


def environment(made) -> dict[str, str]:
    """Return the environment in which a separate process uses `made`."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | dict(made.environment)


@pytest.mark.slow
def test_colors_on_a_terminal(made):
    made.put(port=9)
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "check_rds", "--wait", "8"],
        cwd=Path(__file__).parent.parent.parent,
        env=environment(made) | {"TERM": "xterm"},
        stdout=far,
        stderr=far,
    )
    os.close(far)
    shown = b""
    with contextlib.suppress(OSError):  # Linux reports the closed end as an error.
        while part := os.read(near, 10_000):
            shown += part
    os.close(near)
    assert process.wait() == 1
    lines = shown.decode().splitlines()
    assert re.fullmatch(r"Waiting for PostgreSQL \(connection refused\), \d s left …", lines[0])
    assert "\x1b[31;1m✗ Successfully connected to AWS RDS PostgreSQL\x1b[0m" in lines


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_retries_at_once(made, number, code):
    made.put(port=9)
    process = subprocess.Popen(
        [sys.executable, "manage.py", "check_rds", "--wait", "600"],
        cwd=Path(__file__).parent.parent.parent,
        env=environment(made),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Waiting for PostgreSQL (connection refused), ")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    interrupted = "Error: Interrupted. Nothing was changed.\nHint: Run the command again.\n"
    assert err.endswith(interrupted) == (number is signal.SIGINT)
