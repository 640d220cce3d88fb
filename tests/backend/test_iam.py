"""Tokens of IAM instead of a password."""

from __future__ import annotations

import urllib.parse

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from deploytools import aws
from deploytools.backend import login_source
from deploytools.backend.login_source import IamLogins
from tests.backend.world import World, session

IAM = {"IAM": True, "REGION": "us-east-1"}


def test_the_token_is_a_signed_request(aws_environment):
    url = urllib.parse.urlsplit("https://" + aws.database_token("db.example", 5432, "shop", "us-east-1"))
    given = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
    assert (url.netloc, url.path, given["Action"], given["DBUser"]) == ("db.example:5432", "/", "connect", "shop")
    assert given["X-Amz-Credential"].endswith("/us-east-1/rds-db/aws4_request")
    assert given["X-Amz-Expires"] == "900"


def test_the_token_is_the_password_and_is_reused(made: World, monkeypatch):
    connection = made.connection("", LOGIN=IAM)
    source = connection.login_source  # type: ignore[attr-defined]
    assert isinstance(source, IamLogins)
    token = source.newest().password.reveal()
    assert token.startswith(f"{made.postgres.address.host}:{made.postgres.address.port}/?Action=connect&DBUser=")
    made.set_role(made.name, token)  # The emulation of a server that accepts it.
    for _ in range(2):
        assert session(connection)[0] == made.name
        connection.close()
    signed = source.newest()
    assert source.newest() is signed
    monkeypatch.setattr(login_source, "TOKEN_AGE", 0)
    assert source.newest() is not signed


def test_a_refused_token_is_replaced_once(made: World, monkeypatch):
    signed: list[str] = []

    def sign(*_: object) -> str:
        signed.append(f"token-{len(signed)}")
        return signed[-1]

    monkeypatch.setattr(aws, "database_token", sign)
    made.set_role(made.name, "token-1")
    connection = made.connection("", LOGIN=IAM)
    assert session(connection)[0] == made.name
    connection.close()
    made.set_role(made.name, "another")
    with pytest.raises(OperationalError, match="password authentication failed"):
        connection.ensure_connection()
    assert signed == ["token-0", "token-1", "token-2"]


@pytest.mark.parametrize("sslmode", ["verify-ca", "require", "disable", ""])
def test_below_verify_full_it_is_refused(made: World, sslmode):
    with pytest.raises(ImproperlyConfigured, match="requires HOST, and sslmode verify-full"):
        made.connection("", LOGIN=IAM, OPTIONS={"sslmode": sslmode}).ensure_connection()


def test_without_credentials(made: World, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(OperationalError, match=f"No IAM token for {made.name}: No usable AWS credentials"):
        made.connection("", LOGIN=IAM).ensure_connection()
