"""`production_settings`: what a project gets from its secret, whatever its base settings are."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import django
import pytest

from deploytools.errors import ConfigurationError, DeployError, SecretError, SecretIncomplete, SecretNotFound
from deploytools.settings import production_settings
from tests.deployment import Deployment

SQLITE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3", "OPTIONS": {"timeout": 20}}
MAIL = ("database", "django", "email")


def load(deployment: Deployment, **changes: Any) -> dict[str, Any]:
    """Return the settings of a project that `startproject` created, on the local cloud, with `changes` of its base."""
    address = deployment.postgres.address
    options = {
        "SECRET_NAME": deployment.name,
        "HOSTADDR": address.hostaddr,
        "SSLROOTCERT": address.sslrootcert,
    } | changes.pop("options", {})
    base = {"DEPLOYTOOLS": options, "DATABASES": {"default": SQLITE}} | changes.pop("base", {})
    arguments: dict[str, Any] = {"tenant": deployment.tenants[0], "allowed_hosts": ["shop.example"]} | changes
    return production_settings(base, **arguments)


def current_version(deployment: Deployment) -> str:
    (version,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    return version


def test_importing_it_reads_no_settings_and_no_driver():
    code = (
        "import sys, deploytools.settings, django.conf;"
        "sys.exit(django.conf.settings.configured or bool({'boto3', 'psycopg'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_project_on_sqlite_connects_to_postgresql(deployment):
    result = load(deployment)
    address, secret = deployment.postgres.address, deployment.document()
    assert result["DATABASES"] == {
        "default": {
            "ENGINE": "deploytools.backend",
            "NAME": deployment.tenants[0],
            "HOST": address.host,
            "PORT": str(address.port),
            "USER": deployment.role,
            "PASSWORD": secret["password"],
            "LOGIN": {"SECRET": deployment.name, "REGION": "us-east-1", "VERSION": current_version(deployment)},
            "CONN_MAX_AGE": 600,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {
                "connect_timeout": 5,
                "application_name": "django",
                "sslmode": "verify-full",
                "sslrootcert": address.sslrootcert,
                "hostaddr": address.hostaddr,
            },
        }
    }
    assert (result["SECRET_KEY"], result["SECRET_KEY_FALLBACKS"]) == (secret["django_secret_key"], [])


def test_django_connects_with_them(deployment, django_db_blocker):
    from django.db.utils import ConnectionHandler

    login = deployment.postgres.master
    deployment.put(username=login.user, password=login.password.reveal())
    settings = load(deployment, tenant="postgres")
    connections = ConnectionHandler(settings["DATABASES"])
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('application_name')")
        assert cursor.fetchone() == ("postgres", f"django-{current_version(deployment)[:8]}")
    connections.close_all()


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        ("django.db.backends.mysql", "deploytools.backend"),
        ("", "deploytools.backend"),
        ("django.db.backends.postgresql", "deploytools.backend"),
        ("django.contrib.gis.db.backends.spatialite", "django.contrib.gis.db.backends.postgis"),
        ("django.contrib.gis.db.backends.postgis", "django.contrib.gis.db.backends.postgis"),
        ("clinic.postgresql", "clinic.postgresql"),
    ],
)
def test_the_engine(deployment, engine, expected):
    result = load(deployment, base={"DATABASES": {"default": SQLITE | {"ENGINE": engine}}})
    assert result["DATABASES"]["default"]["ENGINE"] == expected


def test_a_project_without_databases(deployment):
    assert load(deployment, base={"DATABASES": {}})["DATABASES"]["default"]["NAME"] == deployment.tenants[0]


@pytest.mark.parametrize("name", ["desk_north", ""], ids=["a tenant", "the tenant of this process"])
def test_a_tenant_in_another_alias_than_default(deployment, name):
    desk = {"ENGINE": "django.db.backends.postgresql", "NAME": name or deployment.tenants[0]}
    with pytest.raises(
        ConfigurationError, match=r"is DATABASES\['desk'\], but the database of a tenant must be"
    ) as error:
        load(deployment, base={"DATABASES": {"default": SQLITE, "desk": desk}}, options={"TENANTS": ["desk_north"]})
    assert error.value.hint == "Rename the alias desk to default, in DATABASES and in DATABASE_ROUTERS."


def test_other_databases_are_kept(deployment):
    archive = {"ENGINE": "django.db.backends.postgresql", "NAME": "archive", "HOST": "archive.example"}
    databases = load(deployment, base={"DATABASES": {"default": SQLITE, "archive": archive}})["DATABASES"]
    assert (databases["archive"], databases["default"]["NAME"]) == (archive, deployment.tenants[0])


def test_what_the_base_settings_decide(deployment):
    """Its own options and other databases; not where the connection goes and how it is verified."""
    default = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "development",
        "HOST": "localhost",
        "ATOMIC_REQUESTS": True,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"hostaddr": "10.0.0.1", "sslmode": "disable", "service": "local", "isolation_level": 2},
    }
    base = {"default": default, "warehouse": SQLITE}
    result = load(deployment, base={"DATABASES": base}, options={"HOSTADDR": "", "PORT": 15432})["DATABASES"]
    assert result["warehouse"] == SQLITE
    got = result["default"]
    assert [got[key] for key in ("ATOMIC_REQUESTS", "CONN_MAX_AGE", "CONN_HEALTH_CHECKS", "PORT")] == [
        True, 0, True, "15432",
    ]  # fmt: skip
    assert got["OPTIONS"] == {
        "connect_timeout": 5,
        "application_name": "django",
        "isolation_level": 2,
        "sslmode": "verify-full",
        "sslrootcert": deployment.postgres.address.sslrootcert,
    }
    assert default["NAME"] == "development"  # The base settings are not changed.


def test_connections_of_a_pool_are_not_persistent(deployment):
    default = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"pool": True}}
    result = load(deployment, base={"DATABASES": {"default": default}})["DATABASES"]["default"]
    assert (result["OPTIONS"]["pool"], "CONN_MAX_AGE" in result) == (True, False)


def test_the_login_of_a_tenant(deployment):
    prefix = f"{deployment.name}/tenant/"
    own = {"host": "db.internal", "port": 6432, "username": "one", "password": "own-password"}
    deployment.client.create_secret(Name=prefix + deployment.tenants[0], SecretString=json.dumps(own))
    result = load(deployment, options={"ISOLATION": "role-per-tenant"})["DATABASES"]["default"]
    assert [result[key] for key in ("HOST", "PORT", "USER", "PASSWORD")] == [
        "db.internal", "6432", "one", "own-password",
    ]  # fmt: skip
    assert result["LOGIN"] == {
        "SECRET": prefix + deployment.tenants[0],
        "REGION": "us-east-1",
        "VERSION": current_version(deployment),  # Of the shared secret, which has the keys that are read at the start.
    }
    with pytest.raises(SecretNotFound) as caught:
        load(deployment, options={"ISOLATION": "role-per-tenant"}, tenant=deployment.tenants[1], base_settings="x.base")
    assert caught.value.hint == "Run: python manage.py create_tenant_dbs --settings x.base"


def test_earlier_secret_keys(deployment):
    deployment.put(django_secret_key_fallbacks=["old-1", "old-2"])
    assert load(deployment)["SECRET_KEY_FALLBACKS"] == ["old-1", "old-2"]


@pytest.mark.parametrize("value", ["one-key", [1], {"a": "b"}, [""]])
def test_earlier_secret_keys_must_be_a_list(deployment, value):
    deployment.put(django_secret_key_fallbacks=value)
    with pytest.raises(SecretError, match=r"django_secret_key_fallbacks in the secret .* is not a list of strings"):
        load(deployment)


def mail_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the options of mail by the names of MAILERS, on every version of Django."""
    if "MAILERS" in settings:
        return dict(settings["MAILERS"]["default"]["OPTIONS"])
    names = {"EMAIL_HOST_USER": "username", "EMAIL_HOST_PASSWORD": "password"}
    found = {name: value for name, value in settings.items() if name.startswith("EMAIL_") and name != "EMAIL_BACKEND"}
    return {names.get(name, name.removeprefix("EMAIL_").lower()): value for name, value in found.items()}


@pytest.mark.parametrize(("port", "encryption"), [(587, "use_tls"), ("465", "use_ssl")])
def test_mail_of_the_running_django(deployment, port, encryption):
    secret = deployment.document()
    deployment.put(email_port=port)
    result = load(deployment, options={"PRESETS": MAIL})
    assert ("MAILERS" in result) is (django.VERSION >= (6, 1))
    mail = mail_of(result)
    expected = {
        "host": secret["email_host"],
        "port": int(port),
        "username": secret["email_user"],
        "password": secret["email_password"],
        encryption: True,
        "timeout": 10,
    }
    assert {key: value for key, value in mail.items() if value is not False} == expected


def test_mail_without_a_login(deployment):
    deployment.put(email_host="relay.internal", email_user=None, email_password=None)
    mail = mail_of(load(deployment, options={"PRESETS": MAIL}))
    assert [mail[key] for key in ("username", "password", "host")] == ["", "", "relay.internal"]


@pytest.mark.parametrize(
    ("version", "base", "names"),
    [
        ((5, 2), {}, {"EMAIL_HOST", "EMAIL_BACKEND"}),
        ((6, 1), {}, {"MAILERS"}),
        ((6, 1), {"EMAIL_HOST": "localhost"}, {"EMAIL_HOST", "EMAIL_BACKEND"}),  # Django refuses both.
        ((7, 0), {"MAILERS": {"bulk": {}}}, {"MAILERS"}),
    ],
)
def test_the_form_of_mail_by_version(deployment, monkeypatch, version, base, names):
    monkeypatch.setattr(django, "VERSION", version)
    if version < (7, 0):
        deprecated = {"EMAIL_HOST", "EMAIL_BACKEND"}
        monkeypatch.setattr("django.conf.DEPRECATED_EMAIL_SETTINGS", deprecated, raising=False)
    result = load(deployment, options={"PRESETS": MAIL}, base=base)
    assert {name for name in result if name in {"EMAIL_HOST", "EMAIL_BACKEND", "MAILERS"}} == names
    assert {*base.get("MAILERS", {})} <= {*result.get("MAILERS", {})}


@pytest.mark.parametrize(
    ("user", "base", "sender"),
    [
        ("shop@example.org", {}, "shop@example.org"),
        ("shop@example.org", {"DEFAULT_FROM_EMAIL": "orders@example.org"}, None),
        ("AKIAIOSFODNN7EXAMPLE", {}, None),  # The user name of SES is no address.
    ],
)
@pytest.mark.parametrize("version", [(5, 2), (7, 0)])
def test_sender_of_mail(deployment, monkeypatch, version, user, base, sender):
    monkeypatch.setattr(django, "VERSION", version)
    deployment.put(email_user=user)
    result = load(deployment, options={"PRESETS": MAIL}, base=base)
    assert result.get("DEFAULT_FROM_EMAIL") == sender


def test_no_mail_unless_its_preset_is_chosen(deployment):
    assert mail_of(load(deployment)) == {}


def test_deployment_settings(deployment):
    hosts = ["a.example", " .b.example ", "", "*"]
    result = load(deployment, allowed_hosts=hosts, options={"PROBE_PATHS": ["/healthz", "/a.b/ready"]})
    assert (result["DEBUG"], result["ALLOWED_HOSTS"]) == (False, ["a.example", ".b.example", "*"])
    assert result["CSRF_TRUSTED_ORIGINS"] == ["https://a.example", "https://*.b.example"]
    assert result["SECURE_REDIRECT_EXEMPT"] == ["^healthz$", r"^a\.b/ready$"]
    assert result["TEST_RUNNER"] == "deploytools.testing.RefusingRunner"


def test_own_settings_from_the_secret(deployment):
    result = load(deployment, from_secret={"STRIPE": "stripe_secret_key", "OTHER": "other_tools_key"})
    secret = deployment.document()
    assert (result["STRIPE"], result["OTHER"]) == (secret["stripe_secret_key"], secret["other_tools_key"])
    with pytest.raises(SecretIncomplete) as caught:
        load(deployment, from_secret={"SENTRY_DSN": "sentry_dsn"}, base_settings="shop.settings")
    assert (caught.value.keys, caught.value.hint) == (
        ("sentry_dsn",),
        "Write them to a JSON file and run: python manage.py sync_secrets FILE --settings shop.settings",
    )


def test_the_login_and_the_secret_key_are_always_required(deployment):
    deployment.put(password=None, django_secret_key="PASTE_EXISTING_SECRET_KEY")
    with pytest.raises(SecretIncomplete) as caught:
        load(deployment, options={"PRESETS": []})
    assert caught.value.keys == ("password", "django_secret_key")


@pytest.mark.parametrize(("stage", "keys"), [("pre-launch", ("early",)), ("launch", ("early", "late"))])
def test_own_keys_are_required_from_their_stage(deployment, stage, keys):
    rows = {"early": {"required_from": "pre-launch"}, "late": {"required_from": "launch"}, "optional": {}}
    with pytest.raises(SecretIncomplete) as caught:
        load(deployment, options={"STAGE": stage, "SECRET_FIELDS": rows})
    assert caught.value.keys == keys


def test_an_invalid_port_of_mail(deployment):
    deployment.put(email_port="canary-587")
    with pytest.raises(SecretError) as caught:
        load(deployment, options={"PRESETS": MAIL})
    assert str(caught.value) == f"email_port in the secret {deployment.name} must be a number."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": {"DEPLOYTOOLS": []}}, "DEPLOYTOOLS is not a dict."),
        ({"options": {"SECRET_FIELDS": {"own": 1}}}, "DEPLOYTOOLS[\"SECRET_FIELDS\"]['own'] is not a dict."),
        ({"options": {"SECRET_NAME": ""}}, 'DEPLOYTOOLS["SECRET_NAME"] is not set.'),
        ({"options": {"SSLMODE": "always"}}, "DEPLOYTOOLS[\"SSLMODE\"] has an invalid value: 'always'."),
        ({"tenant": ""}, "DATABASE_NAME is not set in the environment."),
        ({"tenant": "", "allowed_hosts": ["", " "]}, "DATABASE_NAME and ALLOWED_HOSTS are not set in the environment."),
        ({"base": {"DEPLOYTOOLS": {}}}, 'DEPLOYTOOLS["SECRET_NAME"] is not set.'),
    ],
)
def test_errors_of_the_project(deployment, changes, message):
    with pytest.raises(DeployError) as caught:
        load(deployment, **changes)
    assert (type(caught.value), str(caught.value)) == (ConfigurationError, message)


def test_the_example_is_a_tenant_of_the_project(deployment):
    with pytest.raises(ConfigurationError) as caught:
        load(deployment, tenant="", options={"TENANTS": ["clinic_north"]})
    assert caught.value.hint == "For example: export DATABASE_NAME=clinic_north ALLOWED_HOSTS=www.example.com"
