"""`check_rds` and `verify_deploy` against real servers: (out, err, exit code)."""

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

import pytest

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.management.commands.check_rds import healing_error
from deploytools.verification.facts import Failed, Value
from deploytools.verification.registry import load_registry
from deploytools.verification.sources.connection import ConnectionAttempt
from tests.management.runner import run, statuses
from tests.sockets import late_port, silent_port

FIVE_LINES = [
    "✓ Successfully retrieved secrets from AWS Secrets Manager",
    "✓ Database configuration validated",
    "✓ Successfully connected to AWS RDS PostgreSQL",
    "✓ Successfully executed test query",
    "✓ Django apps configuration loaded successfully",
]


def five_lines(text: str) -> list[str]:
    """The lines of `text` that are not below another one, without what was found beside each."""
    return [line.split(" (")[0] for line in text.splitlines() if not line.startswith(" ")]


@pytest.fixture
def made(capsys, deployment):
    """The deployment with its databases."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


@pytest.mark.other_versions
def test_the_five_lines_of_the_guide(capsys, made):
    result = run(capsys, "check_rds")
    assert five_lines(result.out) == FIVE_LINES
    said = " ".join(result.out.split())
    seen = rf"PostgreSQL {made.postgres.version}\.\d+ as {made.role}, TLS[^;]*; "
    assert re.search(rf"{seen}name \d+ ms, TCP \d+ ms, TLS \d+ ms, login \d+ ms ✓", said)
    assert re.search(r"✓ Successfully executed test query \(SELECT 1; \d+\.\d ms\) ✓", said)
    assert max(map(len, result.out.splitlines())) <= 80
    assert (result.err, result.code) == ("", 0)


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
    assert five_lines(result.out) == FIVE_LINES
    assert re.fullmatch(r"(Waiting for PostgreSQL \(refused\), \d+ s left …\n)+", result.err)
    assert result.code == 0


@pytest.mark.parametrize("wait", ["inf", "nan", "-1", "soon"])
def test_what_is_no_time_to_wait(capsys, wait):
    result = run(capsys, "check_rds", f"--wait={wait}")
    assert f"error: argument --wait: invalid seconds value: '{wait}'\n" in result.err
    assert (result.out, result.code) == ("", 2)


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


@pytest.mark.other_versions
def test_verify_deploy_finds_what_is_so(capsys, made, cloud, monkeypatch, settings):
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {"sslmode": "verify-full"})
    found = run(capsys, "verify_deploy", "--format", "json", "--tag", "databases", "--tag", "rds", "--tag", "secret")
    document = json.loads(found.out)
    by_status: dict[str, set[str]] = {}
    for finding in document["findings"]:
        by_status.setdefault(finding["status"], set()).add(finding["check"])
    elsewhere = {"rds.is-the-one"} if made.postgres.address.port != cloud.main.port else set()
    assert by_status["fail"] == {"databases.migrated", "rds.deletion-protection"} | elsewhere
    assert by_status["warn"] == {"rds.multi-az", "rds.enhanced-monitoring", "rds.restore-drill"}
    assert by_status["not applicable"] == {
        "databases.connection-budget",
        "rds.master-secret",
        "secret.own-keys",
        "secret.rotated-in-time",
    }
    assert by_status.keys() == {"pass", "fail", "warn", "not applicable"}
    assert (found.code, found.err) == (1, "")
    hints = {item["hint"] for item in document["findings"] if item["check"] == "rds.deletion-protection"}
    assert hints == {
        "Run: aws rds modify-db-instance --db-instance-identifier startupwebapp-multi-tenant-prod "
        "--deletion-protection (no downtime)"
    }


def test_verify_deploy_before_anything_was_made(capsys, deployment):
    result = run(capsys, "verify_deploy", "--tag", "databases", "--format", "json")
    assert set(statuses(result).values()) == {"unknown"}
    assert result.code == 2


def test_an_instance_that_does_not_exist_is_one_failure(capsys, made, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "nobody-knows-it"}
    result = run(capsys, "verify_deploy", "--tag", "rds", "--stage", "launch", "--format", "json")
    found = statuses(result)
    assert (found.pop("rds.available"), found.pop("rds.is-the-one")) == ("fail", "unknown")
    assert set(found.values()) == {"not applicable"}
    assert result.code == 2


def test_output_to_a_file(capsys, made, tmp_path):
    file = tmp_path / "report.json"
    result = run(capsys, "check_rds", "--format", "json", "--output", str(file))
    assert (result.out, result.code, json.loads(file.read_text())["version"]) == ("", 0, 2)
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


@pytest.mark.parametrize("kind", ConnectionFailure)
def test_only_what_can_heal_is_waited_for(kind):
    error = ConnectionFailed("No.", hint="", kind=kind)
    healing = kind.value in {"no such name", "refused", "timed out", "starting up"}
    for fact in (Failed(error), Value(ConnectionAttempt(error=error))):
        assert healing_error({"other": Value(1), "attempt": fact}) is (error if healing else None)


def environment(made) -> dict[str, str]:
    """What a process of its own needs to find `made`."""
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | dict(made.environment)


@pytest.mark.slow
def test_colours_are_for_a_terminal_and_red_is_for_what_fails(made):
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
    with contextlib.suppress(OSError):  # What Linux says when the other end is closed.
        while part := os.read(near, 10_000):
            shown += part
    os.close(near)
    assert process.wait() == 1
    lines = shown.decode().splitlines()
    assert re.fullmatch(r"Waiting for PostgreSQL \(refused\), \d s left …", lines[0])
    assert "\x1b[31;1m✗ Successfully connected to AWS RDS PostgreSQL\x1b[0m" in lines


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_waiting_ends_it_at_once(made, number, code):
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
    assert process.stderr.readline().startswith("Waiting for PostgreSQL (refused), ")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "")
    interrupted = "Error: Interrupted.\nHint: Nothing was changed; run the same command again.\n"
    assert err.endswith(interrupted) == (number is signal.SIGINT)
