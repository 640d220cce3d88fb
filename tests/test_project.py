"""The project StartupWebApp: settings, health checks, logs and the errors of ``manage.py``."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import django
import pytest
from django.test import Client

from deploytools.container import JsonFormatter
from deploytools.container.health import readiness
from deploytools.errors import DeployError, format_error
from tests.host_project import load_settings, manage

PRODUCTION = "StartupWebApp.settings_production"
CREATE = "python manage.py create_tenant_dbs --settings StartupWebApp.settings"


def settings_error(environment) -> tuple[str, int]:
    """Return the error message of the production settings and its exit code."""
    with pytest.raises(DeployError) as caught:
        load_settings(PRODUCTION, environment)
    return format_error(caught.value), caught.value.exit_code


def mail_host(settings) -> str:
    return str(settings.MAILERS["default"]["OPTIONS"]["host"] if django.VERSION >= (6, 1) else settings.EMAIL_HOST)


def test_base_settings_need_no_environment_and_no_database_and_warn_of_nothing():
    assert manage("check", PYTHONWARNINGS="error") == ("System check identified no issues (0 silenced).\n", "", 0)


def test_the_variables_of_a_tunnel_or_local_cloud_take_precedence_over_the_file_env():
    file = {"DB_HOSTADDR": "127.0.0.1", "DB_PORT": "15432", "DB_SSLROOTCERT": "/rds.pem"}
    libpq = {"PGHOSTADDR": "127.0.0.1", "PGPORT": "5433", "PGSSLROOTCERT": "/ca.pem"}
    found = [load_settings("StartupWebApp.settings", variables).DEPLOYTOOLS for variables in (file, file | libpq)]
    assert [[one[key] for key in ("HOSTADDR", "PORT", "SSLROOTCERT")] for one in found] == [
        ["127.0.0.1", "15432", "/rds.pem"],
        ["", "", "/ca.pem"],  # HOSTADDR and PORT default to libpq's variables.
    ]


MISSING = (
    "DATABASE_NAME and ALLOWED_HOSTS are not set in the environment.\n"
    "Hint: For example: export DATABASE_NAME=startupwebapp_prod ALLOWED_HOSTS=www.example.com"
)


def test_production_settings_report_missing_variables():
    assert settings_error({}) == (MISSING, 2)


def test_manage_reports_errors_of_the_settings_without_a_traceback():
    assert manage("check", DJANGO_SETTINGS_MODULE=PRODUCTION) == ("", f"Error: {MISSING}\n", 2)


def test_the_traceback_option_keeps_the_exit_code():
    _, err, code = manage("check", "--traceback", DJANGO_SETTINGS_MODULE=PRODUCTION)
    assert (err.startswith("Traceback (most recent call last)"), code) == (True, 2)


def test_ctrl_c_in_a_command_of_django_shows_no_traceback():
    interrupt = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    assert manage("shell", "--verbosity", "0", "--command", interrupt) == (
        "",
        "Error: Interrupted.\nHint: Run the command again.\n",
        130,
    )


def test_production_settings_report_all_missing_keys(deployment):
    deployment.put(password=None, email_user="", django_secret_key="AUTO_GENERATED_50_CHARS")
    message, code = settings_error(deployment.environment)
    assert code == 2
    assert message == (
        f"The secret {deployment.name} is missing 3 required keys: password, "
        "django_secret_key (it is a placeholder), email_user.\n"
        "Hint: Write them to a JSON file and run: python manage.py sync_secrets FILE "
        "--settings StartupWebApp.settings"
    )


def test_production_settings_have_no_defaults_without_credentials():
    message, code = settings_error({"DATABASE_NAME": "a", "ALLOWED_HOSTS": "b", "SECRET_KEY": "c" * 60})
    assert message.startswith("No usable AWS credentials: Unable to locate credentials.\n")
    assert code == 2


@pytest.mark.slow
def test_production_passes_the_deployment_checks_and_refuses_tests(deployment):
    commands = (
        "from django.core.management import call_command;"
        "call_command('check', deploy=True, fail_level='WARNING'); call_command('test')"
    )
    out, err, code = manage(
        "shell", "--verbosity", "0", "--command", commands, **deployment.environment, DJANGO_SETTINGS_MODULE=PRODUCTION
    )
    assert (out, code) == ("System check identified no issues (0 silenced).\n", 1)
    message, hint = err.splitlines()
    assert message.startswith("Error: Tests cannot run with the production settings: they would create")
    assert hint.startswith("Hint: Run the tests with your development settings.")


def test_production_settings_come_from_the_secret(deployment):
    settings = load_settings(PRODUCTION, deployment.environment)
    secret, address = deployment.document(), deployment.postgres.address
    assert [settings.SECRET_KEY, settings.STRIPE_SECRET_KEY, mail_host(settings), settings.DEBUG] == [
        secret["django_secret_key"],
        secret["stripe_secret_key"],
        secret["email_host"],
        False,
    ]
    default = settings.DATABASES["default"]
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


def test_production_reads_the_login_from_the_secret_of_the_tenant(deployment):
    prefix, tenant = f"{deployment.name}/tenant/", deployment.tenants[1]
    environment = {
        **deployment.environment,
        "ISOLATION": "role-per-tenant",
        "TENANT_SECRET_PREFIX": prefix,
        "DATABASE_NAME": tenant,
        "DB_PORT": "",
    }
    message, code = settings_error(environment)
    assert (message, code) == (
        f"There is no secret {prefix}{tenant} in us-east-1; it is the tenant's own secret.\nHint: Run: {CREATE}",
        2,
    )
    own = {"host": "db.internal", "port": 6432, "username": tenant, "password": "own-password"}
    deployment.client.create_secret(Name=prefix + tenant, SecretString=json.dumps(own))
    settings = load_settings(PRODUCTION, environment)
    database = settings.DATABASES["default"]
    assert [database[key] for key in ("HOST", "PORT", "USER", "PASSWORD")] == [
        "db.internal", "6432", tenant, "own-password",
    ]  # fmt: skip
    assert mail_host(settings) == deployment.document()["email_host"]
    deployment.client.put_secret_value(SecretId=prefix + tenant, SecretString='{"host": "db", "port": 1}')
    assert settings_error(environment)[0] == (
        f"The secret {prefix}{tenant} is missing 2 required keys: username, password.\nHint: Run: {CREATE}"
    )


@pytest.fixture
def no_logs() -> Iterator[None]:
    """Disable the logs of requests that fail on purpose."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_healthz_does_not_query_the_database():
    response = Client().get("/healthz", headers={"host": "10.0.3.7"})
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_other_pages_require_an_allowed_host(settings, no_logs):
    settings.DEBUG = False
    assert Client().get("/admin/login/", headers={"host": "10.0.3.7"}).status_code == 400


def test_probe_paths_are_configurable(settings, no_logs):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"PROBE_PATHS": ["/admin/login/"]}
    assert Client().get("/healthz", headers={"host": "10.0.3.7"}).status_code == 400


@pytest.fixture
def no_cached_readiness() -> Iterator[None]:
    readiness.clear()
    yield
    readiness.clear()


@pytest.mark.django_db(transaction=True)
def test_readyz_returns_200_if_the_database_is_migrated(no_cached_readiness):
    response = Client().get("/readyz", headers={"host": "10.0.3.7"})
    assert (response.status_code, response.json()) == (200, {"ready": True})


@pytest.mark.django_db(transaction=True)
def test_readyz_returns_503_if_a_migration_is_not_applied(no_logs, no_cached_readiness):
    from django.db.migrations.recorder import MigrationRecorder

    applied = MigrationRecorder.Migration.objects.order_by("-id").first()
    assert applied is not None
    applied.delete()
    try:
        response = Client().get("/readyz")
    finally:
        applied.save(force_insert=True)
    assert (response.status_code, response.json()) == (503, {"ready": False, "reason": "1 migration not applied"})


def test_json_log_records_are_one_line():
    record = logging.LogRecord("shop", logging.WARNING, __file__, 1, "Ähm: %s", ("two\nlines",), None)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert {key: value for key, value in json.loads(line).items() if key != "time"} == {
        "level": "WARNING",
        "logger": "shop",
        "message": "Ähm: two\nlines",
    }
