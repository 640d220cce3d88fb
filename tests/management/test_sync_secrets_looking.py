"""`sync_secrets` where it only looks, and what needs no AWS at all."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import jsonschema
import pytest

from tests.deployment import canary_values
from tests.fakes.endpoints import closed
from tests.management.runner import Result, run
from tests.secret.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3

PLACEHOLDER = {"email_password": "PLACEHOLDER_UPDATE_WITH_REAL_PASSWORD"}


@pytest.fixture
def no_aws(monkeypatch):
    """Nobody listens."""
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
    states = {row[2:24].strip(): row[26:37].strip() for row in rows[: rows.index("To be put right:")]}
    assert states == dict.fromkeys(deployment.initial(), "set") | {
        "stripe_secret_key": "test mode",
        "stripe_publishable_key": "live mode",
        "email_user": "missing",
        "email_password": "placeholder",
    }
    assert lines[-2:] == ["What the production settings need and is not there:", "  email_user"]
    assert "(nobody here knows this key)" in result.out
    assert [value for value in before[1].values() if len(str(value)) > 5 and str(value) in result.out] == []
    assert (deployment.versions(), deployment.document()) == before


def test_show_as_json(capsys, deployment):
    deployment.put(email_user=None, **PLACEHOLDER)
    result = run(capsys, "sync_secrets", "--show", "--format", "json")
    assert (result.err, result.code) == ("", 0)
    report = json.loads(result.out)
    (current,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    assert (report["version"], report["current"], report["missing"]) == (1, current, ["email_user"])
    assert report["rotation"] == {"by_aws": False, "pending": None}
    rows = {row.pop("key"): row for row in report["keys"]}
    assert rows["email_user"] == {"state": "missing", "length": 0, "fingerprint": None, "known": True}
    assert rows["port"]["length"] == len(str(deployment.document()["port"]))
    assert rows["somebody_elses"]["known"] is False
    assert len({row["fingerprint"] for row in rows.values()}) == len(rows)


def test_show_tells_of_a_rotation_and_of_the_labels(capsys, deployment):
    deployment.client.put_secret_value(SecretId=deployment.name, SecretString="{}", VersionStages=["AWSPENDING"])
    result = run(capsys, "sync_secrets", "--show")
    assert "A rotation is under way (AWSPENDING is on version" in result.out
    for version, labels in deployment.versions().items():
        assert f"  version {version}  {', '.join(labels)}\n" in result.out


def test_what_was_made_here_shows(capsys, deployment):
    run(capsys, "sync_secrets", "--regenerate", "password", "--noinput")
    rows = json.loads(run(capsys, "sync_secrets", "--show", "--format", "json").out)["keys"]
    assert {row["key"]: row["state"] for row in rows}["password"] == "generated"


# --template.


def test_template(capsys, deployment, tmp_path):
    deployment.put(email_user=None, **PLACEHOLDER)
    path = tmp_path / "fill-in.json"
    result = run(capsys, "sync_secrets", "--template", str(path))
    said = "2 keys to fill in; delete the lines of what you do not have yet. Nobody but you may read it."
    assert result == Result(f"{path}: {said}\n", "", 0)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == {
        "email_user": "REPLACE_ME: you@your-domain.com, or the SES SMTP user",
        "email_password": "REPLACE_ME: 16 letters for Gmail, 44 characters for SES",
    }
    refusal = run(capsys, "sync_secrets", str(path), "--noinput")
    assert refusal.code == 1
    assert "email_user is still a placeholder; email_password is still a placeholder" in refusal.err
    assert run(capsys, "sync_secrets", "--template", str(path)).err.splitlines()[0] == (
        f"Error: {path} cannot be written: it exists."
    )


def test_template_of_a_secret_that_is_not_there(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": "nobody/knows/it"}
    result = run(capsys, "sync_secrets", "--template", "-")
    assert (result.err, result.code) == ("", 0)
    assert set(json.loads(result.out)) == set(settings.DEPLOYTOOLS["REQUIRED_KEYS"])


def test_a_required_key_that_no_row_knows_must_be_replaced_too(capsys, deployment, tmp_path, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {
        "REQUIRED_KEYS": (*settings.DEPLOYTOOLS["REQUIRED_KEYS"], "of_the_host")
    }
    path = tmp_path / "fill-in.json"
    run(capsys, "sync_secrets", "--template", str(path))
    before = deployment.versions()
    result = run(capsys, "sync_secrets", str(path), "--noinput")
    assert (result.err.splitlines()[0], result.code) == (
        "Error: Nothing was written, because of: of_the_host is still a placeholder.",
        1,
    )
    assert deployment.versions() == before


@pytest.mark.parametrize(("stage", "expected"), [("pre-launch", set()), ("launch", {"stripe_secret_key"})])
def test_what_stands_in_is_asked_for_at_launch(capsys, deployment, settings, stage, expected):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"STAGE": stage}
    stand_in = GUIDE_STEP_3["stripe_secret_key"]
    deployment.put(stripe_secret_key=stand_in)
    assert set(json.loads(run(capsys, "sync_secrets", "--template", "-").out)) == expected


# --validate and --schema: no AWS.


def test_validate_a_good_file(capsys, no_aws, write):
    result = run(capsys, "sync_secrets", write(GOOD | {"email_password": "abcd efgh ijkl mnop"}), "--validate")
    assert result == Result("13 values judged: none break the contract.\n", "", 0)


def test_validate_names_every_violation(capsys, no_aws, write):
    result = run(capsys, "sync_secrets", write(GUIDE_STEP_1 | {"port": 0}), "--validate")
    assert (result.err, result.code) == ("", 1)
    assert result.out.splitlines()[-1] == "13 values judged: 8 break the contract."
    assert "  port must be from 1 to 65535 (good: 5432)\n" in result.out


def test_validate_as_json(capsys, no_aws, write):
    result = run(capsys, "sync_secrets", write({"port": 0, "a": 1}), "--validate", "--format", "json")
    report = json.loads(result.out)
    assert (result.err, result.code) == ("", 1)
    assert report["problems"] == [
        {"key": "port", "problem": "must be from 1 to 65535", "good": "5432", "warning": False}
    ]
    assert "password" in report["missing"]


def test_validate_allows_the_stand_ins_before_launch(capsys, no_aws, write, settings):
    stand_ins = {key: value for key, value in GUIDE_STEP_3.items() if key.startswith("stripe")}
    result = run(capsys, "sync_secrets", write(stand_ins), "--validate")
    assert (result.err, result.code) == ("", 0)
    assert result.out.startswith("Allowed at this stage:\n")
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"STAGE": "launch"}
    assert run(capsys, "sync_secrets", write(stand_ins), "--validate").code == 1


def test_validate_judges_a_hosts_own_keys(capsys, no_aws, settings):
    from django.core.validators import URLValidator

    row = {"validators": [URLValidator()], "sensitive": False, "shape": "https://…"}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_FIELDS": {"sentry_dsn": row}}
    assert run(capsys, "sync_secrets", "--set", "sentry_dsn=https://sentry.io/1", "--validate").code == 0
    result = run(capsys, "sync_secrets", "--set", "sentry_dsn=sentry", "--validate")
    assert "  sentry_dsn is refused by URLValidator: Enter a valid URL. (good: https://…)\n" in result.out
    assert result.code == 1


def test_schema(capsys, no_aws):
    result = run(capsys, "sync_secrets", "--schema")
    assert (result.err, result.code) == ("", 0)
    judge = jsonschema.Draft202012Validator(json.loads(result.out))
    assert judge.is_valid(canary_values("0123456789") | {"port": 5432}) is True
    assert judge.is_valid({"password": "short"}) is False


def test_the_editors_member_is_not_a_key_of_the_secret(capsys, deployment, write):
    before = deployment.document()
    result = run(capsys, "sync_secrets", write({"$schema": "./schema.json", "email_port": 2525}), "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert deployment.document() == before | {"email_port": 2525}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"), [(["--schema"], False), (["--set", "port=1", "--validate"], False), (["--show"], True)]
)
def test_botocore_is_imported_only_where_aws_is_asked(arguments, expected):
    code = (
        "import os, sys; os.environ['DJANGO_SETTINGS_MODULE'] = 'StartupWebApp.settings'\n"
        "from django.core.management import execute_from_command_line as run\n"
        "try: run(['manage.py', 'sync_secrets', *sys.argv[1:]])\n"
        "except SystemExit: pass\n"
        "sys.exit(40 + ('botocore' in sys.modules))"
    )
    environment = {"AWS_ENDPOINT_URL": closed(), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, check=False
    )
    assert process.returncode == 40 + expected
