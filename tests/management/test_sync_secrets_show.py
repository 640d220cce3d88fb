"""`sync_secrets --show`, `--template` and `--validate`, which change nothing."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import pytest

from tests.fakes.endpoints import closed
from tests.management.runner import Result, run
from tests.secrets.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3

PLACEHOLDER = {"email_password": "PLACEHOLDER_UPDATE_WITH_REAL_PASSWORD"}


@pytest.fixture
def no_aws(monkeypatch):
    """No server at the endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed())


@pytest.fixture
def write(tmp_path):
    def write(values):
        path = tmp_path / "values.json"
        path.write_text(json.dumps(values))
        path.chmod(0o600)
        return str(path)

    return write


# --show.


def test_show(capsys, deployment):
    deployment.put(email_user=None, stripe_secret_key="sk_test_" + "e5F6" * 6, **PLACEHOLDER)
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", "--show")
    assert (result.err, result.code) == ("", 0)
    lines = result.out.splitlines()
    assert lines[0].startswith(f"Secret {deployment.name} in us-east-1, last changed ")
    rows = lines[next(number for number, line in enumerate(lines) if line.startswith("  key ")) + 1 :]
    states = {row[2:24].strip(): row[26:37].strip() for row in rows[: rows.index("Problems:")]}
    assert states == dict.fromkeys(deployment.initial(), "set") | {
        "stripe_secret_key": "test mode",
        "stripe_publishable_key": "live mode",
        "email_user": "missing",
        "email_password": "placeholder",
    }
    assert lines[-2:] == ["Missing keys that the production settings require:", "  email_user"]
    assert "(unrecognized key)" in result.out
    assert [value for value in before[1].values() if len(str(value)) > 5 and str(value) in result.out] == []
    assert (deployment.versions(), deployment.document()) == before


def test_show_as_json(capsys, deployment):
    deployment.put(email_user=None, **PLACEHOLDER)
    result = run(capsys, "sync_secrets", "--show", "--format", "json")
    assert (result.err, result.code) == ("", 0)
    report = json.loads(result.out)
    (current,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    assert (report["version"], report["current"], report["missing"]) == (1, current, ["email_user"])
    assert report["rotation"] == {"enabled": False, "pending": None}
    rows = {row.pop("key"): row for row in report["keys"]}
    assert rows["email_user"] == {"state": "missing", "length": 0, "fingerprint": None, "recognized": True}
    assert rows["port"]["length"] == len(str(deployment.document()["port"]))
    assert rows["other_tools_key"]["recognized"] is False
    assert len({row["fingerprint"] for row in rows.values()}) == len(rows)


def test_show_reports_labels_and_a_rotation(capsys, deployment):
    deployment.client.put_secret_value(SecretId=deployment.name, SecretString="{}", VersionStages=["AWSPENDING"])
    result = run(capsys, "sync_secrets", "--show")
    assert "A rotation is in progress (AWSPENDING is attached to version" in result.out
    for version, labels in deployment.versions().items():
        assert f"  version {version[:8]}  {', '.join(labels)}\n" in result.out


def test_show_reports_generated_values(capsys, deployment):
    run(capsys, "sync_secrets", "--regenerate", "password", "--noinput")
    rows = json.loads(run(capsys, "sync_secrets", "--show", "--format", "json").out)["keys"]
    assert {row["key"]: row["state"] for row in rows}["password"] == "generated"


# --template.


def test_template(capsys, deployment, tmp_path):
    deployment.put(email_user=None, **PLACEHOLDER)
    path = tmp_path / "fill-in.json"
    result = run(capsys, "sync_secrets", "--template", str(path))
    text = (
        f"{path}: 2 keys to fill in. Remove the lines of values that you do not have yet. "
        "Only you can read the file (mode 0600).\n"
    )
    assert result == Result(text, "", 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {
        "email_user": "REPLACE_ME: you@your-domain.com, or the SES SMTP user name",
        "email_password": "REPLACE_ME: 16 letters for Gmail, 44 characters for SES",
    }
    refusal = run(capsys, "sync_secrets", str(path), "--noinput")
    assert refusal.code == 1
    assert "email_user is still a placeholder; email_password is still a placeholder" in refusal.err
    assert run(capsys, "sync_secrets", "--template", str(path)).err.splitlines()[0] == (
        f"Error: Cannot write {path}: it exists."
    )


def test_template_of_a_secret_that_does_not_exist(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": "no/such/secret"}
    result = run(capsys, "sync_secrets", "--template", "-")
    assert (result.err, result.code) == ("", 0)
    assert set(json.loads(result.out)) == GOOD.keys() - {"engine", "dbClusterIdentifier"}


def test_presets_that_are_not_chosen_are_not_mentioned(capsys, deployment, settings):
    settings.DEPLOYTOOLS = {key: value for key, value in settings.DEPLOYTOOLS.items() if key != "PRESETS"}
    deployment.put(password="", stripe_secret_key="wrong", email_password=None, email_host="smtp.gmail.com")
    assert list(json.loads(run(capsys, "sync_secrets", "--template", "-").out)) == ["password"]
    shown = run(capsys, "sync_secrets", "--show").out
    assert [line for line in shown.splitlines() if "stripe" in line and "(unrecognized key)" not in line] == []
    assert shown.endswith("Missing keys that the production settings require:\n  password\n")
    for option, preset in (("--stripe", "stripe"), ("--email=ses", "email")):
        result = run(capsys, "sync_secrets", option, "--plan")
        assert (result.err, result.code) == (
            f'Error: --{preset} requires the preset "{preset}".\nHint: Add "{preset}" to DEPLOYTOOLS["PRESETS"].\n',
            2,
        )


def test_required_custom_key_must_be_replaced_too(capsys, deployment, tmp_path, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_FIELDS": {"of_the_host": {"required_from": "pre-launch"}}}
    path = tmp_path / "fill-in.json"
    run(capsys, "sync_secrets", "--template", str(path))
    before = deployment.versions()
    result = run(capsys, "sync_secrets", str(path), "--noinput")
    assert (result.err.splitlines()[0], result.code) == (
        "Error: of_the_host is still a placeholder. Nothing was changed.",
        1,
    )
    assert deployment.versions() == before


@pytest.mark.parametrize(("stage", "expected"), [("pre-launch", set()), ("launch", {"stripe_secret_key"})])
def test_temporary_value_is_in_the_template_at_launch(capsys, deployment, settings, stage, expected):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"STAGE": stage}
    temporary = GUIDE_STEP_3["stripe_secret_key"]
    deployment.put(stripe_secret_key=temporary)
    assert set(json.loads(run(capsys, "sync_secrets", "--template", "-").out)) == expected


# --validate.


def test_validate_a_valid_file(capsys, no_aws, write):
    result = run(capsys, "sync_secrets", write(GOOD | {"email_password": "qwvz htpm xkdr bnfs"}), "--validate")
    assert result == Result("OK: no problems in 13 values\n", "", 0)


def test_validate_reports_all_violations(capsys, no_aws, write):
    result = run(capsys, "sync_secrets", write(GUIDE_STEP_1 | {"port": 0}), "--validate")
    assert (result.err, result.code) == ("", 1)
    assert result.out.splitlines()[-1] == "FAILED: 8 problems in 13 values"
    assert "  port must be between 1 and 65535 (expected: 5432)\n" in result.out


def test_validate_as_json(capsys, no_aws, write):
    result = run(capsys, "sync_secrets", write({"port": 0, "a": 1}), "--validate", "--format", "json")
    report = json.loads(result.out)
    assert (result.err, result.code) == ("", 1)
    assert report["problems"] == [
        {"key": "port", "problem": "must be between 1 and 65535", "expected": "5432", "warning": False}
    ]
    assert "password" in report["missing"]


def test_validate_allows_temporary_values_before_launch(capsys, no_aws, write, settings):
    temporary = {key: value for key, value in GUIDE_STEP_3.items() if key.startswith("stripe")}
    result = run(capsys, "sync_secrets", write(temporary), "--validate")
    assert (result.err, result.code) == ("", 0)
    assert result.out.startswith("Allowed at this stage; fix before launch:\n")
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"STAGE": "launch"}
    assert run(capsys, "sync_secrets", write(temporary), "--validate").code == 1


def test_validate_checks_custom_keys(capsys, no_aws, settings):
    from django.core.validators import URLValidator

    row = {"validators": [URLValidator()], "sensitive": False, "expected": "https://…"}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_FIELDS": {"sentry_dsn": row}}
    assert run(capsys, "sync_secrets", "--set", "sentry_dsn=https://sentry.io/1", "--validate").code == 0
    result = run(capsys, "sync_secrets", "--set", "sentry_dsn=sentry", "--validate")
    assert "  sentry_dsn was rejected by URLValidator: Enter a valid URL. (expected:\n    https://…)\n" in result.out
    assert result.code == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--iam-policy"], False), (["--set", "port=1", "--validate"], False), (["--show"], True)],
)
def test_boto3_is_imported_only_if_aws_is_queried(arguments, expected):
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'StartupWebApp.settings'\n"
        "from django.core.management import execute_from_command_line as run\n"
        "try: run(['manage.py', 'sync_secrets', *sys.argv[1:]])\n"
        "except SystemExit: pass\n"
        "sys.exit(40 + ('boto3' in sys.modules))"
    )
    environment = {"AWS_ENDPOINT_URL": closed(), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, check=False
    )
    assert process.returncode == 40 + expected
