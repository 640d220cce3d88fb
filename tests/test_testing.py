"""``deploytools.testing``: what the tests of a project use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploytools.errors import SecretIncomplete, SecretNotFound
from deploytools.loader import load_secrets, load_tenant_secret
from deploytools.settings import production_settings

LOGIN = {"host": "shop.example", "port": 5432, "username": "shop", "password": "pW7kP0mZx2Lw9RtY4vBn6cD1"}
CONTENT = {**LOGIN, "engine": "postgres", "django_secret_key": "dJ8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDxK5jN2bV0cM"}


@pytest.fixture(autouse=True)
def _without_credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # Nothing listens there.


def test_production_settings_without_aws(stored_secret):
    stored_secret("shop/prod", CONTENT)
    settings = production_settings(
        {"DEPLOYTOOLS": {"SECRET_NAME": "shop/prod", "SSLROOTCERT": "/ca.pem"}},
        tenant="shop",
        allowed_hosts=["shop.example"],
    )
    assert settings["SECRET_KEY"] == CONTENT["django_secret_key"]
    assert settings["DATABASES"]["default"]["PASSWORD"] == LOGIN["password"]


def test_each_secret_has_a_content_of_its_own(stored_secret):
    stored_secret("shop/prod", CONTENT)
    stored_secret("shop/one", LOGIN | {"username": "one"})
    assert load_tenant_secret("shop/one", region="us-east-1")["username"].reveal() == "one"
    assert load_secrets("shop/prod", region="us-east-1")["username"].reveal() == "shop"


def test_missing_keys_are_refused_as_in_production(stored_secret):
    stored_secret("shop/prod", CONTENT | {"password": ""})
    with pytest.raises(SecretIncomplete, match="is missing 1 required key: password"):
        load_secrets("shop/prod", region="us-east-1", presets=("database",))


def test_other_secrets_do_not_exist(stored_secret):
    with pytest.raises(SecretNotFound, match="The test has not stored the secret shop/prod"):
        load_secrets("shop/prod", region="us-east-1")


def test_the_runner_needs_no_pytest():
    code = "import sys; sys.modules['pytest'] = None; from deploytools.testing import __all__; print(__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['RefusingRunner']\n"
