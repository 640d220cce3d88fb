"""The local cloud of a project that `startproject` created: its own names, keys and roles, and a whole deployment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploytools.conf import PRESETS, read_settings
from deploytools.local.aws_account import secret_document
from deploytools.local.cloud_state import CloudNames, SmtpState
from deploytools.secrets.custom_fields import all_fields

ROOT = Path(__file__).parent.parent.parent
SETTINGS = """
INSTALLED_APPS += ["deploytools"]
DEPLOYTOOLS = {
    "SECRET_NAME": "prod/clinic",
    "REGION": "eu-central-1",
    "TENANTS": ["clinic_north"],
    "APP_ROLE": "clinic_app",
    "PRESETS": ["database", "django", "email"],
    "SECRET_FIELDS": {
        "sentry_dsn": {"expected": "https://…", "required_from": "launch"},
        "salt": {"generator": "password", "required_from": "pre-launch"},
    },
    "RDS_INSTANCE": "clinic-db",
}
"""
DEPLOY = """
set -e
python -c 'import boto3, sys
print(boto3.client("secretsmanager").get_secret_value(SecretId="prod/clinic")["SecretString"])'
python manage.py create_tenant_dbs --noinput >&2
python manage.py deploytools_init --noinput clinic >&2
export DJANGO_SETTINGS_MODULE=clinic.settings_production DATABASE_NAME=clinic_north ALLOWED_HOSTS=clinic.example
python manage.py migrate_tenants --noinput >&2
python manage.py check_rds >&2
"""


@pytest.mark.slow
def test_a_project_on_sqlite_is_deployed_to_its_own_local_cloud(tmp_path: Path) -> None:
    admin = [sys.executable, "-m", "django", "startproject", "clinic", str(tmp_path)]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_", "PG"))}
    environment = variables | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(admin, env=environment, check=True)
    with (tmp_path / "clinic/settings.py").open("a", encoding="utf-8") as settings:
        settings.write(SETTINGS)
    given = tmp_path / "values.json"
    given.write_text('{"sentry_dsn": "https://key@sentry.test/1"}', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "manage.py", "localcloud", "--secret", str(given), "run", "--", "sh", "-c", DEPLOY],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    secret = json.loads(done.stdout)
    assert (secret["username"], secret["host"], secret["sentry_dsn"]) == (
        "clinic_app",
        "clinic-db.cqbgoe8omhyh.eu-central-1.rds.amazonaws.com",
        "https://key@sentry.test/1",
    )
    assert not {key for key in secret if key.startswith("stripe_")}


@pytest.fixture
def names() -> CloudNames:
    return CloudNames("prod/clinic", "eu-central-1")


def test_the_secret_has_only_what_the_project_requires(names: CloudNames) -> None:
    assert {*secret_document(names, 5432, "master")} == {
        "engine", "host", "port", "username", "password", "dbClusterIdentifier", "django_secret_key",
        "master_username", "master_password",
    }  # fmt: skip


def test_required_keys_are_local_generated_or_placeholders(names: CloudNames) -> None:
    smtp = SmtpState("127.0.0.1", 2525, "mailer@deploytools.dev", "mail-password", "/messages")
    rows = {"salt": {"generator": "password"}, "dsn": {"expected": "https://…"}, "other": {}}
    fields = all_fields(PRESETS, {key: row | {"required_from": "launch"} for key, row in rows.items()})
    secret = secret_document(names, 5432, "master", smtp, fields=fields)
    assert (secret["email_host"], secret["email_port"]) == ("localhost", 2525)
    assert len(secret["salt"]) == 40
    assert secret["dsn"] == "REPLACE_ME: https://…"
    assert secret["other"] == "REPLACE_ME: a value for this custom key"
    assert secret["stripe_secret_key"].startswith("REPLACE_ME: sk_live_")


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, ("", None, "")),
        ({}, {"PGHOSTADDR": "127.0.0.1", "PGPORT": "15432", "PGSSLROOTCERT": "/ca"}, ("127.0.0.1", 15432, "/ca")),
        ({}, {"PGPORT": "15432"}, ("", None, "")),  # It is the port of another server.
        ({"HOSTADDR": "", "PORT": ""}, {"PGHOSTADDR": "127.0.0.1", "PGPORT": "1"}, ("127.0.0.1", 1, "")),
        ({"HOSTADDR": "10.0.0.1", "PORT": 2}, {"PGHOSTADDR": "127.0.0.1", "PGPORT": "1"}, ("10.0.0.1", 2, "")),
    ],
)
def test_settings_default_to_the_variables_of_libpq(
    settings: Any, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], environment: dict[str, str], expected: Any
) -> None:
    for name in ("PGHOSTADDR", "PGPORT", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.DEPLOYTOOLS = given
    read = read_settings()
    assert (read.hostaddr, read.port, read.sslrootcert) == expected
