"""Django system checks of settings.DEPLOYTOOLS, compared as whole lists."""

from __future__ import annotations

import pytest
from django.conf import settings as django_settings
from django.core.checks import Error
from django.core.management import call_command, get_commands
from django.core.management.base import SystemCheckError

from deploytools.checks import check_settings
from deploytools.conf import SETTINGS, read_setting, read_settings
from deploytools.errors import ConfigurationError
from deploytools.verification.waivers import EXAMPLE


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({"TENANTS": ["shop"], "SSLROOTCERT": "/x.pem", "PORT": 15432, "STAGE": "launch"}, []),
        ({"PORT": "15432"}, []),
        (
            [],
            [
                Error(
                    "DEPLOYTOOLS is not a dict.",
                    hint='Write: DEPLOYTOOLS = {"TENANTS": ["shop_one"]}',
                    id="deploytools.E001",
                )
            ],
        ),
        (
            {"TENNANTS": []},
            [
                Error(
                    'Unknown setting DEPLOYTOOLS["TENNANTS"].',
                    hint=f"The settings are: {', '.join(SETTINGS)}.",
                    id="deploytools.E001",
                )
            ],
        ),
        (
            {"REGION": None, "TENANTS": "shop", "PROCESSES": True},
            [
                Error(
                    'DEPLOYTOOLS["REGION"] has an invalid value: None.',
                    hint="Set it to a value of type str.",
                    id="deploytools.E002",
                ),
                Error(
                    "DEPLOYTOOLS[\"TENANTS\"] has an invalid value: 'shop'.",
                    hint="Set it to a value of type list or tuple.",
                    id="deploytools.E002",
                ),
                Error(
                    'DEPLOYTOOLS["PROCESSES"] has an invalid value: True.',
                    hint="Set it to a value of type int.",
                    id="deploytools.E002",
                ),
            ],
        ),
        (
            {"STAGE": "prod", "ISOLATION": "schema"},
            [
                Error(
                    "DEPLOYTOOLS[\"STAGE\"] has an invalid value: 'prod'.",
                    hint="Set it to one of: pre-launch, launch.",
                    id="deploytools.E002",
                ),
                Error(
                    "DEPLOYTOOLS[\"ISOLATION\"] has an invalid value: 'schema'.",
                    hint="Set it to one of: shared, role-per-tenant.",
                    id="deploytools.E002",
                ),
            ],
        ),
        (
            {"PRESETS": ["database", "mail"]},
            [
                Error(
                    "DEPLOYTOOLS[\"PRESETS\"] has an invalid value: ['database', 'mail'].",
                    hint="Set it to a list of: database, django, stripe, email.",
                    id="deploytools.E002",
                )
            ],
        ),
        (
            {"TENANTS": ["shop", "shop_b"], "ISOLATION": "role-per-tenant"},
            [
                Error(
                    'Tenant "shop_b" has the name of the second login of tenant "shop".',
                    hint="Rename one of the two.",
                    id="deploytools.E003",
                )
            ],
        ),
        (
            {"PORT": "70000"},
            [
                Error(
                    "DEPLOYTOOLS[\"PORT\"] is not a port: '70000'.",
                    hint="Set it to a number from 1 to 65535.",
                    id="deploytools.E002",
                )
            ],
        ),
    ],
)
def test_settings(settings, given, messages):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop"} | given if isinstance(given, dict) else given
    assert check_settings() == messages


@pytest.mark.parametrize(
    ("given", "key", "example"),
    [
        ({}, "SECRET_NAME", "prod/shop"),
        ({"SECRET_NAME": ""}, "SECRET_NAME", "prod/shop"),
        (
            {
                "SECRET_NAME": "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf",
                "ISOLATION": "role-per-tenant",
            },
            "TENANT_SECRET_PREFIX",
            "prod/shop/tenant/",
        ),
        (
            {"SECRET_NAME": "prod/shop", "ISOLATION": "role-per-tenant", "TENANT_SECRET_PREFIX": ""},
            "TENANT_SECRET_PREFIX",
            "prod/shop/tenant/",
        ),
    ],
)
def test_required_settings(settings, given, key, example):
    settings.DEPLOYTOOLS = given
    assert check_settings() == [
        Error(
            f'DEPLOYTOOLS["{key}"] is not set.',
            hint=f'Set it, for example: DEPLOYTOOLS = {{"{key}": "{example}"}}',
            id="deploytools.E007",
        )
    ]


def test_account(settings):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "ACCOUNT": "123456789012"}
    assert check_settings() == []
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "ACCOUNT": "1234-5678-9012"}
    assert check_settings() == [
        Error(
            "DEPLOYTOOLS[\"ACCOUNT\"] is not a 12-digit AWS account ID: '1234-5678-9012'.",
            hint="Run: aws sts get-caller-identity --query Account --output text",
            id="deploytools.E005",
        )
    ]


@pytest.mark.parametrize(("waivers", "ids"), [("all", ["deploytools.E002"]), ([], [])])
def test_waivers_of_a_wrong_type_are_reported_once(settings, waivers, ids):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "WAIVERS": waivers}
    assert [message.id for message in check_settings()] == ids


def test_waivers(settings):
    waiver = {"check": "rds.storage-encrypted", "reason": "it moves", "owner": "ops"}
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "WAIVERS": [waiver]}
    assert check_settings() == [
        Error('DEPLOYTOOLS["WAIVERS"]: Waiver 1 has no expires.', hint=f"For example: {EXAMPLE}", id="deploytools.E004")
    ]


def test_tenants(settings):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "TENANTS": ["shop", "Shop!"]}
    assert check_settings() == [
        Error(
            '"Shop!" is not a valid tenant name.',
            hint="Use 1 to 63 characters of a-z, 0-9 and _, beginning with a letter.",
            id="deploytools.E003",
        )
    ]


DESK = {"NAME": "desk_north", "ENGINE": "django.db.backends.postgresql"}
SQLITE = {"NAME": "/srv/db.sqlite3", "ENGINE": "django.db.backends.sqlite3"}


@pytest.mark.parametrize(
    ("databases", "alias"),
    [
        ({"default": SQLITE, "desk": DESK}, "desk"),
        ({"default": {}, "desk": DESK}, "desk"),
        ({"desk": DESK}, "desk"),
        ({"default": DESK, "replica": DESK}, ""),
        ({"default": DESK | {"NAME": "desk_south"}, "desk": DESK}, ""),
        ({"default": SQLITE, "archive": DESK | {"NAME": "archive"}}, ""),
    ],
)
def test_a_tenant_in_another_alias_than_default(settings, monkeypatch, databases, alias):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/desk", "TENANTS": ["desk_south", {"NAME": "desk_north"}]}
    monkeypatch.setattr(django_settings, "DATABASES", databases)
    expected = Error(
        f"The tenant desk_north is DATABASES['{alias}'], but the database of a tenant must be DATABASES['default'].",
        hint=f"Rename the alias {alias} to default, in DATABASES and in DATABASE_ROUTERS.",
        id="deploytools.E008",
    )
    assert check_settings() == [expected] * bool(alias)


def test_every_command_refuses_another_alias_than_default(settings, monkeypatch, tmp_path):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/desk", "TENANTS": ["desk_north"]}
    monkeypatch.setattr(django_settings, "DATABASES", {"default": SQLITE, "desk": DESK})
    names = [name for name, app in get_commands().items() if app == "deploytools"]
    assert len(names) >= 8
    arguments = {"sync_secrets": [tmp_path / "values.json"], "rotate_credentials": ["password"], "localcloud": ["up"]}
    for name in names:
        with pytest.raises(SystemCheckError, match="E008") as caught:
            call_command(name, *arguments.get(name, []), skip_checks=False)
        assert caught.value.returncode == 2


def test_defaults(settings):
    settings.DEPLOYTOOLS = {}
    read = read_settings()
    assert (read.sslmode, read.port, read.stage, read.is_shared) == ("verify-full", None, "launch", True)


def test_the_prefix_of_tenant_secrets_derives_from_the_secret(settings):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop"}
    assert read_settings().tenant_secret_prefix == "prod/shop/tenant/"
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "TENANT_SECRET_PREFIX": "prod/tenants/"}
    assert read_settings().tenant_secret_prefix == "prod/tenants/"


def test_settings_are_read_at_access(settings):
    settings.DEPLOYTOOLS = {"PORT": "15432", "URL": "https://shop.example/", "APP_SECURITY_GROUPS": ["sg-1"]}
    read = read_settings()
    assert (read.port, read.url, read.app_security_groups) == (15432, "https://shop.example", ("sg-1",))
    assert read.database == settings.DATABASES["default"]["NAME"]
    settings.DEPLOYTOOLS = {}
    assert read_settings().port is None


def test_one_setting_is_read_whatever_the_others_are(settings):
    settings.DEPLOYTOOLS = {"STAGE": "prod", "HEALTH_PATH": "/readyz"}
    assert (read_setting("HEALTH_PATH"), read_setting("SSLMODE")) == ("/readyz", "verify-full")
    with pytest.raises(ConfigurationError):
        read_setting("STAGE")


@pytest.mark.parametrize("port", ["abc", "99999", "0"])
def test_an_invalid_port_of_the_environment(settings, monkeypatch, port):
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    monkeypatch.setenv("PGPORT", port)
    settings.DEPLOYTOOLS = {}
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert str(caught.value) == f"The environment variable PGPORT has an invalid value: {port!r}."
    assert caught.value.hint == "Correct it: export PGPORT=…"
    settings.DEPLOYTOOLS = {"PORT": 5432}
    assert read_settings().port == 5432


def test_presets_that_are_always_included(settings):
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "PRESETS": ["email"], "SECRET_FIELDS": {"password": {}}}
    assert read_settings().presets == ("database", "django", "email")
    (error,) = check_settings()
    assert error.msg == "DEPLOYTOOLS[\"SECRET_FIELDS\"]['password'] is a key of the preset database."


@pytest.mark.parametrize(
    "given", [{"STAGE": "prod"}, {"PORT": None}, {"PORT": "abc"}, {"PORT": "99999"}, {"TENANTS": "shop"}]
)
def test_an_invalid_value_is_an_error_at_access(settings, given):
    settings.DEPLOYTOOLS = given
    ((key, value),) = given.items()
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert str(caught.value) == f'DEPLOYTOOLS["{key}"] has an invalid value: {value!r}.'
    assert caught.value.hint == "Run: python manage.py check"


def test_options_of_tenants(settings):
    options = {"CONNECTION_LIMIT": 0}
    settings.DEPLOYTOOLS = {"SECRET_NAME": "prod/shop", "TENANTS": ["shop"], "TENANT_OPTIONS": options}
    assert check_settings() == [
        Error(
            'DEPLOYTOOLS["TENANT_OPTIONS"] has an invalid CONNECTION_LIMIT: 0.',
            hint="Set CONNECTION_LIMIT to an integer of at least 1, or -1 for no limit.",
            id="deploytools.E003",
        )
    ]
