"""The host project: settings that fail closed, health, logs, and how `manage.py` says what is wrong."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from StartupWebApp.logs import JsonFormatter

ROOT = Path(__file__).parent.parent
PRODUCTION = {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production"}


def manage(*arguments, **environment):
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=keep | {"AWS_EC2_METADATA_DISABLED": "true"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout, done.stderr, done.returncode


def test_the_base_settings_need_nothing():
    assert manage("check") == ("System check identified no issues (0 silenced).\n", "", 0)


def test_production_names_what_the_environment_lacks():
    assert manage("check", **PRODUCTION) == (
        "",
        "Error: The production settings need DATABASE_NAME and ALLOWED_HOSTS in the environment.\n"
        "Hint: For example: export DATABASE_NAME=startupwebapp_prod ALLOWED_HOSTS=www.example.com\n",
        2,
    )


def test_production_names_all_missing_keys_and_the_command(deployment):
    deployment.put(password=None, email_user="", django_secret_key="AUTO_GENERATED_50_CHARS")
    out, err, code = manage("check", **PRODUCTION, **deployment.environment)
    assert (out, code) == ("", 2)
    assert err == (
        f"Error: The secret {deployment.name} lacks 3 of the keys it needs: password, "
        "django_secret_key (only a placeholder is there), email_user.\n"
        "Hint: Write them into a JSON file and run: python manage.py sync_secrets FILE "
        "--settings StartupWebApp.settings\n"
    )


def test_production_without_credentials_never_falls_back():
    out, err, code = manage("check", **PRODUCTION, DATABASE_NAME="a", ALLOWED_HOSTS="b", SECRET_KEY="c" * 60)
    assert (out, err.splitlines()[0], code) == (
        "",
        "Error: There are no usable AWS credentials: Unable to locate credentials.",
        2,
    )


def test_traceback_keeps_the_exit_code():
    _, err, code = manage("check", "--traceback", **PRODUCTION)
    assert (err.startswith("Traceback (most recent call last)"), code) == (True, 2)


def test_ctrl_c_in_a_command_of_djangos_is_no_traceback():
    interrupt = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    assert manage("shell", "--verbosity", "0", "--command", interrupt) == (
        "",
        "Error: Interrupted.\nHint: Run the same command again.\n",
        130,
    )


def test_production_is_what_djangos_deployment_checks_want(deployment):
    out, err, code = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION, **deployment.environment)
    assert (out, err, code) == ("System check identified no issues (0 silenced).\n", "", 0)


def test_production_takes_everything_from_the_secret(deployment):
    names = ["SECRET_KEY", "STRIPE_SECRET_KEY", "EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_PASSWORD", "DEBUG", "DATABASES"]
    code = f"import json; from django.conf import settings as s; print(json.dumps([getattr(s, n) for n in {names}]))"
    out, err, _ = manage("shell", "--verbosity", "0", "--command", code, **PRODUCTION, **deployment.environment)
    secret, address = deployment.document(), deployment.postgres.address
    *values, databases = json.loads(out)
    assert (values, err) == (
        [
            secret["django_secret_key"],
            secret["stripe_secret_key"],
            secret["email_host"],
            587,
            secret["email_password"],
            False,
        ],
        "",
    )
    default = databases["default"]
    assert {key: default[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")} == {
        "NAME": deployment.tenants[0],
        "USER": deployment.role,
        "PASSWORD": secret["password"],
        "HOST": address.host,
        "PORT": str(address.port),
        "OPTIONS": {
            "connect_timeout": 5,
            "application_name": "StartupWebApp",
            "sslmode": "verify-full",
            "sslrootcert": address.sslrootcert,
            "hostaddr": "127.0.0.1",
        },
    }
    assert (default["CONN_MAX_AGE"], default["CONN_HEALTH_CHECKS"]) == (600, True)


def test_production_takes_the_login_from_the_tenants_own_secret(deployment):
    prefix, tenant = f"{deployment.name}/tenant/", deployment.tenants[1]
    per_tenant = {"ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": prefix, "DATABASE_NAME": tenant}
    own = {"host": "db.internal", "port": 6432, "username": tenant, "password": "own-password"}
    code = "from django.conf import settings as s; d = s.DATABASES['default'];"
    code += "print([d[k] for k in ('HOST', 'PORT', 'USER', 'PASSWORD')], s.EMAIL_PORT)"
    shell = ("shell", "--verbosity", "0", "--command", code)
    environment = PRODUCTION | deployment.environment | per_tenant | {"DB_PORT": ""}
    assert manage(*shell, **environment) == (
        "",
        f"Error: There is no secret {prefix}{tenant} in us-east-1, the tenant's own.\n"
        "Hint: Run: python manage.py create_tenant_dbs --settings StartupWebApp.settings\n",
        2,
    )
    deployment.client.create_secret(Name=prefix + tenant, SecretString=json.dumps(own))
    out, err, _ = manage(*shell, **environment)
    assert (out, err) == (f"['db.internal', '6432', '{tenant}', 'own-password'] 587\n", "")
    deployment.client.put_secret_value(SecretId=prefix + tenant, SecretString='{"host": "db", "port": 1}')
    assert manage(*shell, **environment)[1].splitlines() == [
        f"Error: The secret {prefix}{tenant} lacks 2 of the keys it needs: username, password.",
        "Hint: Run: python manage.py create_tenant_dbs --settings StartupWebApp.settings",
    ]


def test_the_tests_do_not_run_on_production(deployment):
    out, err, code = manage("test", **PRODUCTION, **deployment.environment)
    assert (out, code) == ("", 1)
    assert err.splitlines()[0].startswith(
        "Error: The tests do not run under the production settings: they would create"
    )
    assert err.splitlines()[1].startswith("Hint: Run scripts/test")


def test_alive_asks_no_database():
    answer = Client().get("/healthz", headers={"host": "10.0.3.7"})
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_other_pages_want_an_allowed_host(settings):
    settings.DEBUG = False
    logging.disable(logging.CRITICAL)
    try:
        assert Client().get("/admin/login/", headers={"host": "10.0.3.7"}).status_code == 400
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.django_db(transaction=True)
def test_ready_when_the_database_is_migrated():
    answer = Client().get("/readyz?format=json", headers={"host": "10.0.3.7"})
    assert (answer.status_code, set(answer.json().values())) == (200, {"OK"})


@pytest.mark.django_db(transaction=True)
def test_not_ready_when_a_migration_is_missing():
    from django.db.migrations.recorder import MigrationRecorder

    applied = MigrationRecorder.Migration.objects.order_by("-id").first()
    assert applied is not None
    applied.delete()
    try:
        logging.disable(logging.CRITICAL)
        answer = Client().get("/readyz?format=json")
    finally:
        logging.disable(logging.NOTSET)
        applied.save(force_insert=True)
    assert answer.status_code == 500
    assert "Migrations that are not applied: 1" in str(answer.json())


def test_log_lines_are_json_objects():
    record = logging.LogRecord("shop", logging.WARNING, __file__, 1, "Ähm: %s", ("two\nlines",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert {key: value for key, value in json.loads(line).items() if key != "time"} == {
        "level": "WARNING",
        "logger": "shop",
        "message": "Ähm: two\nlines",
    }
