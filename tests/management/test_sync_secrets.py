"""`sync_secrets FILE`: output, exit code, and what was changed."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command

from deploytools.management.commands.sync_secrets import Command
from deploytools.secrets.contract import FIELDS
from deploytools.secrets.document import Document
from deploytools.secrets.inspection import fingerprints
from deploytools.wording import wrapped
from tests.management.runner import Result, run

GIVEN = {"email_host": "smtp.gmail.com", "email_password": "qwvz htpm-xkdr bnfs", "email_port": "587"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(json.dumps(GIVEN))
    path.chmod(0o600)
    return str(path)


def plan_lines(deployment, version):
    """What the plan prints: the fingerprints are those that ``--show`` prints before and after the write."""
    before, after = (
        fingerprints(deployment.name, Document(deployment.initial() | changes), FIELDS)
        for changes in ({}, {"email_host": "smtp.gmail.com", "email_password": "qwvzhtpmxkdrbnfs"})
    )
    length = len(deployment.initial()["email_password"])
    kept = [key for key in deployment.initial() if key not in GIVEN and key != "other_tools_key"]
    return (
        f"Secret {deployment.name} in us-east-1, version {version[:8]}:\n"
        f"  changed    email_host      set, 20 chars, {before['email_host']} → set, 14 chars, {after['email_host']}\n"
        "  unchanged  email_port\n"
        f"  changed    email_password  set, {length} chars, {before['email_password']} → set, 16 chars, "
        f"{after['email_password']}\n"
        + "\n".join(wrapped(f"{len(kept)} other keys: {', '.join(kept)}", indent="  unchanged  "))
        + "\n  unchanged  1 unrecognized key: other_tools_key\n"
    )


def test_given_values_are_written_and_all_others_kept(capsys, deployment, file):
    before = deployment.document()
    (version,) = deployment.versions()
    result = run(capsys, "sync_secrets", file, "--noinput")
    (new,) = deployment.versions().keys() - {version}
    assert result == Result(
        plan_lines(deployment, version)
        + f"Written and verified.\n  AWSCURRENT   {new[:8]}\n  AWSPREVIOUS  {version[:8]}\n"
        "Next: restart all processes that read the secret. Until then, they use the old values:\n"
        "  web servers, workers and scheduled jobs\n"
        f"Go back:\n  python manage.py sync_secrets --rollback {version[:8]}\n"
        f"{file} contains credentials. Delete it: rm {file}\n",
        "",
        0,
    )
    assert deployment.document() == before | {"email_host": "smtp.gmail.com", "email_password": "qwvzhtpmxkdrbnfs"}
    assert {version: sorted(labels) for version, labels in deployment.versions().items()} == {
        version: ["AWSPREVIOUS"],
        new: ["AWSCURRENT"],
    }


def test_one_command_object_does_not_remember_the_file(capsys, deployment, file):
    command = Command()
    call_command(command, file, interactive=False)
    deployment.put()
    capsys.readouterr()
    call_command(command, "--set", "dbClusterIdentifier=other", plan=True)
    changed = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  changed")]
    assert changed == ["dbClusterIdentifier"]


def test_second_run_changes_nothing(capsys, deployment, file):
    run(capsys, "sync_secrets", file, "--noinput")
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", file)
    assert (result.err, result.code) == ("", 0)
    assert result.out.endswith(
        "No changes: the secret already has all given values. No version was created.\n"
        f"{file} contains credentials. Delete it: rm {file}\n"
    )
    assert (deployment.versions(), deployment.document()) == before
    assert run(capsys, "sync_secrets", file, "--check").code == 0


@pytest.mark.parametrize(("option", "code"), [("--plan", 0), ("--check", 1)])
def test_plan_and_check_change_nothing(capsys, deployment, file, option, code):
    before = (deployment.versions(), deployment.document())
    (version,) = deployment.versions()
    assert run(capsys, "sync_secrets", file, option) == Result(plan_lines(deployment, version), "", code)
    assert (deployment.versions(), deployment.document()) == before


def test_no_change_without_a_terminal_or_noinput(capsys, deployment, file, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    before = (deployment.versions(), deployment.document())
    (version,) = deployment.versions()
    assert run(capsys, "sync_secrets", file) == Result(
        plan_lines(deployment, version),
        "Error: Confirmation required, but stdin is not a terminal. Nothing was changed.\n"
        "Hint: Check the plan with --plan, then run the command with --noinput.\n",
        1,
    )
    assert (deployment.versions(), deployment.document()) == before


def test_values_from_standard_input(capsys, deployment, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"brand_new": {"a": [1, null, true, "ü"]}, "port": "6432"}'))
    result = run(capsys, "sync_secrets", "-", "--new-key", "brand_new", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert "Delete it" not in result.out
    after = deployment.document()
    assert (after["brand_new"], after["port"]) == ({"a": [1, None, True, "ü"]}, 6432)


def test_all_violations_are_reported_and_nothing_is_written(capsys, deployment, monkeypatch):
    given = {
        "password": "PASTE_EXISTING_PASSWORD_FROM_STEP_1",
        "django_secret_key": "short",
        "stripe_secret_key": "pk_live_51AbCdEfGhIjKlMnOpQrStUv",
        "port": "many",
    }
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(given)))
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", "-", "--noinput")
    assert (result.out, result.code) == ("", 1)
    assert result.err.splitlines()[0] == (
        "Error: port must be a number; password is still a placeholder; "
        "django_secret_key has 5 characters, at least 50 are required; "
        "stripe_secret_key is not a Stripe secret key or restricted key. Nothing was changed."
    )
    assert result.err.splitlines()[1].startswith("Hint: Expected: port: 5432; password: 32 or more")
    assert (deployment.versions(), deployment.document()) == before


def test_problems_in_other_keys_are_reported_and_do_not_prevent_the_write(capsys, deployment, file):
    deployment.put(stripe_secret_key="sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY")
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert result.code == 0
    assert (
        "Existing problems in other keys:\n"
        "  stripe_secret_key is still a placeholder (expected: sk_live_… and 24 or more\n"
        "    letters and digits)\n"
    ) in result.out


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hunter2 {", "The secret {name} is not valid JSON (line 1, column 1)."),
        ("[1]", "The secret {name} is JSON, but not an object."),
        ('{"a": 1, "a": 2}', 'The secret {name} contains the key "a" twice.'),
    ],
)
def test_secret_that_is_not_a_document(capsys, deployment, file, text, error):
    deployment.put_text(text)
    before = deployment.versions()
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert (result.out, result.err.splitlines()[0], result.code) == (
        "",
        "Error: " + error.format(name=deployment.name),
        2,
    )
    assert "hunter2" not in result.err
    assert deployment.versions() == before


def test_secret_that_does_not_exist(capsys, deployment, file, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": "no/such/secret"}
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert (result.out, result.err.splitlines()[0], result.code) == (
        "",
        "Error: There is no secret no/such/secret in us-east-1.",
        2,
    )
    assert "Hint: Create it from a JSON file: python manage.py sync_secrets FILE --create (or" in result.err


def test_unknown_setting(capsys, deployment, file, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"STAGGE": "launch"}
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert (result.out, result.code) == ("", 2)
    assert 'Unknown setting DEPLOYTOOLS["STAGGE"].' in result.err


def test_traceback_shows_the_chain_and_keeps_the_exit_code(capsys, deployment, file, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": "no/such/secret"}
    result = run(capsys, "sync_secrets", file, "--noinput", "--traceback")
    assert result.code == 2
    assert "Traceback (most recent call last)" in result.err
    assert "botocore" in result.err
