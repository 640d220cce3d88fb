"""`sync_secrets` as (out, err, exit code), and what it did not change."""

from __future__ import annotations

import io
import json

import pytest

from deploytools.reporting.text import wrapped
from tests.management.runner import Result, run

GIVEN = {"email_host": "smtp.gmail.com", "email_password": "abcd efgh-ijkl mnop", "email_port": "587"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(json.dumps(GIVEN))
    path.chmod(0o600)
    return str(path)


def plan_lines(deployment, version):
    kept = [key for key in deployment.initial() if key not in GIVEN and key != "somebody_elses"]
    return (
        f"Secret {deployment.name} in us-east-1, version {version}:\n"
        "  changed    email_host\n"
        "  unchanged  email_port\n"
        "  changed    email_password\n"
        + "\n".join(wrapped(f"{len(kept)} other keys: {', '.join(kept)}", indent="  kept       "))
        + "\n  kept       though unknown here: somebody_elses\n"
    )


def test_writes_what_was_given_and_loses_nothing(capsys, deployment, file):
    before = deployment.document()
    (version,) = deployment.versions()
    result = run(capsys, "sync_secrets", file, "--noinput")
    (new,) = deployment.versions().keys() - {version}
    assert result == Result(
        plan_lines(deployment, version)
        + f"Written and read back.\n  AWSCURRENT   {new}\n  AWSPREVIOUS  {version} (what was there before)\n"
        f"The file still holds credentials. Delete it: rm {file}\n",
        "",
        0,
    )
    assert deployment.document() == before | {"email_host": "smtp.gmail.com", "email_password": "abcdefghijklmnop"}
    assert {version: sorted(labels) for version, labels in deployment.versions().items()} == {
        version: ["AWSPREVIOUS"],
        new: ["AWSCURRENT"],
    }


def test_a_second_run_changes_nothing(capsys, deployment, file):
    run(capsys, "sync_secrets", file, "--noinput")
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", file)
    assert (result.err, result.code) == ("", 0)
    assert result.out.endswith(
        "Nothing to change: every value given is there already. No version was created.\n"
        f"The file still holds credentials. Delete it: rm {file}\n"
    )
    assert (deployment.versions(), deployment.document()) == before
    assert run(capsys, "sync_secrets", file, "--check").code == 0


@pytest.mark.parametrize(("option", "code"), [("--plan", 0), ("--check", 1)])
def test_looking_changes_nothing(capsys, deployment, file, option, code):
    before = (deployment.versions(), deployment.document())
    (version,) = deployment.versions()
    assert run(capsys, "sync_secrets", file, option) == Result(plan_lines(deployment, version), "", code)
    assert (deployment.versions(), deployment.document()) == before


def test_without_a_terminal_it_does_not_guess(capsys, deployment, file, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    before = (deployment.versions(), deployment.document())
    (version,) = deployment.versions()
    assert run(capsys, "sync_secrets", file) == Result(
        plan_lines(deployment, version),
        "Error: Nothing was changed: this is not a terminal, so nobody could be asked.\n"
        "Hint: Look at the plan with --plan, then say --noinput.\n",
        1,
    )
    assert (deployment.versions(), deployment.document()) == before


def test_values_from_standard_input(capsys, deployment, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"brand_new": {"a": [1, null, true, "ü"]}, "port": "6432"}'))
    result = run(capsys, "sync_secrets", "-", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert "Delete it" not in result.out
    after = deployment.document()
    assert (after["brand_new"], after["port"]) == ({"a": [1, None, True, "ü"]}, 6432)


def test_every_violation_at_once_and_nothing_written(capsys, deployment, monkeypatch):
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
        "Error: Nothing was written, because of: port must be a number; password is still a placeholder; "
        "django_secret_key has 5 characters; 50 or more are needed; "
        "stripe_secret_key is not a secret or restricted key of Stripe's."
    )
    assert result.err.splitlines()[1].startswith("Hint: Good shapes: port: 5432; password: 32 or more")
    assert (deployment.versions(), deployment.document()) == before


def test_what_other_keys_break_is_told_and_does_not_stop_it(capsys, deployment, file):
    deployment.put(stripe_secret_key="sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY")
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert result.code == 0
    assert (
        "Still to be put right, in keys that were not given:\n"
        "  stripe_secret_key is still a placeholder (good: sk_live_… and 24 or more\n"
        "    letters and digits)\n"
    ) in result.out


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hunter2 {", "The secret {name} is not JSON: it breaks off at line 1, column 1."),
        ("[1]", "The secret {name} is JSON, but not an object."),
        ('{"a": 1, "a": 2}', 'The secret {name} names the key "a" twice.'),
    ],
)
def test_a_secret_that_is_no_document(capsys, deployment, file, text, error):
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


def test_a_secret_that_does_not_exist(capsys, deployment, file, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": "nobody/knows/it"}
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert (result.out, result.err.splitlines()[0], result.code) == (
        "",
        "Error: There is no secret nobody/knows/it in us-east-1.",
        2,
    )


def test_a_wrong_setting_stops_it_before_anything(capsys, deployment, file, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"STAGGE": "launch"}
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert (result.out, result.code) == ("", 2)
    assert 'DEPLOYTOOLS has a key that nobody reads: "STAGGE".' in result.err


def test_traceback_shows_the_chain_and_keeps_the_exit_code(capsys, deployment, file, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": "nobody/knows/it"}
    result = run(capsys, "sync_secrets", file, "--noinput", "--traceback")
    assert result.code == 2
    assert "Traceback (most recent call last)" in result.err
    assert "botocore" in result.err
