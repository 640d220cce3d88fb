"""Django system checks of settings.DEPLOYTOOLS, compared as whole lists."""

from __future__ import annotations

import pytest
from django.core.checks import Error

from deploytools.checks import check_settings, check_tenants, check_waivers
from deploytools.conf import KEYS, configuration
from deploytools.errors import ConfigurationError
from deploytools.verification.waivers import EXAMPLE


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({}, []),
        ({"TENANTS": ["shop"], "SSLROOTCERT": "/x.pem", "PORT": 15432, "STAGE": "launch"}, []),
        ({"PORT": "15432"}, []),
        (
            [],
            [Error("DEPLOYTOOLS is not a dict.", hint='Write DEPLOYTOOLS = {"TENANTS": [...]}', id="deploytools.E001")],
        ),
        (
            {"TENNANTS": []},
            [
                Error(
                    'DEPLOYTOOLS has a key that nobody reads: "TENNANTS".',
                    hint=f"The keys are: {', '.join(KEYS)}.",
                    id="deploytools.E001",
                )
            ],
        ),
        (
            {"REGION": None, "TENANTS": "shop"},
            [
                Error('DEPLOYTOOLS["REGION"] is of type NoneType.', hint="It must be: str.", id="deploytools.E002"),
                Error(
                    'DEPLOYTOOLS["TENANTS"] is of type str.', hint="It must be: list or tuple.", id="deploytools.E002"
                ),
            ],
        ),
        (
            {"STAGE": "prod"},
            [
                Error(
                    "DEPLOYTOOLS[\"STAGE\"] is 'prod'.",
                    hint="It must be one of: pre-launch, launch.",
                    id="deploytools.E002",
                )
            ],
        ),
        (
            {"ISOLATION": "schema"},
            [
                Error(
                    "DEPLOYTOOLS[\"ISOLATION\"] is 'schema'.",
                    hint="It must be one of: shared, role-per-tenant.",
                    id="deploytools.E002",
                )
            ],
        ),
        (
            {"PORT": "70000"},
            [Error('DEPLOYTOOLS["PORT"] is not a port.', hint="It must be from 1 to 65535.", id="deploytools.E002")],
        ),
    ],
)
def test_settings(settings, given, messages):
    settings.DEPLOYTOOLS = given
    assert check_settings() == messages


def test_an_account(settings):
    settings.DEPLOYTOOLS = {"ACCOUNT": "123456789012"}
    assert check_settings() == []
    settings.DEPLOYTOOLS = {"ACCOUNT": "1234-5678-9012"}
    assert check_settings() == [
        Error(
            "DEPLOYTOOLS[\"ACCOUNT\"] is '1234-5678-9012', which is no AWS account.",
            hint="It has twelve digits, as a text: aws sts get-caller-identity --query Account",
            id="deploytools.E005",
        )
    ]


@pytest.mark.parametrize("given", [[], {"WAIVERS": "all"}, {"WAIVERS": []}])
def test_waivers_of_a_wrong_type_are_told_of_once(settings, given):
    settings.DEPLOYTOOLS = given
    assert check_waivers() == []


def test_waivers(settings):
    settings.DEPLOYTOOLS = {"WAIVERS": [{"check": "rds.encrypted", "reason": "it moves", "owner": "ops"}]}
    assert check_waivers() == [
        Error('DEPLOYTOOLS["WAIVERS"]: Waiver 1 has no expires.', hint=f"For example: {EXAMPLE}", id="deploytools.E004")
    ]


def test_what_an_option_names_comes_before_the_settings(settings):
    settings.DEPLOYTOOLS = {"STAGE": "launch"}
    with configuration.overriding(STAGE="pre-launch", DATABASE="other"):
        with configuration.overriding(DATABASE="third"):
            assert (configuration.stage, configuration.database) == ("pre-launch", "third")
        assert configuration.database == "other"
    assert (configuration.stage, configuration.database) == ("launch", settings.DATABASES["default"]["NAME"])


def test_tenants(settings):
    settings.DEPLOYTOOLS = {"TENANTS": ["shop", "Shop!"]}
    assert check_tenants() == [
        Error(
            '"Shop!" is not a database name that is safe everywhere.',
            hint="Use 1 to 63 of a-z, 0-9 and _, a letter first.",
            id="deploytools.E003",
        )
    ]


def test_defaults_fit_the_guide(settings):
    settings.DEPLOYTOOLS = {}
    assert (configuration.secret_name, configuration.region, configuration.sslmode, configuration.port) == (
        "rds/startupwebapp/multi-tenant/master",
        "us-east-1",
        "verify-full",
        None,
    )


def test_a_wrong_value_is_an_error_at_access(settings):
    settings.DEPLOYTOOLS = {"STAGE": "prod"}
    with pytest.raises(ConfigurationError) as caught:
        _ = configuration.stage
    assert str(caught.value) == "DEPLOYTOOLS[\"STAGE\"] is 'prod', which it cannot be."


def test_options_of_tenants(settings):
    settings.DEPLOYTOOLS = {"TENANTS": ["shop"], "TENANT_OPTIONS": {"CONNECTION_LIMIT": 0}}
    assert check_tenants() == [
        Error(
            'DEPLOYTOOLS["TENANT_OPTIONS"] has CONNECTION_LIMIT 0.',
            hint="CONNECTION_LIMIT is a whole number from 1 on, or -1 for no limit.",
            id="deploytools.E003",
        )
    ]
