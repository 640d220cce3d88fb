"""`load_secrets`: fails closed, names everything that is missing at once, and needs no Django."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import boto3
import pytest

from deploytools.errors import (
    DeployError,
    NoCredentials,
    SecretBinary,
    SecretDeleted,
    SecretEmpty,
    SecretIncomplete,
    SecretNotFound,
    SecretNotJson,
    Unreachable,
)
from deploytools.loader import load_secrets, require
from deploytools.secret.document import Document
from tests.fakes import endpoints
from tests.secret.reach import reachable
from tests.secret.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3

REGION = endpoints.REGION
CANARY = "canary-7d1f"
DOCUMENT = {"host": "db", "port": 5432, "password": CANARY, "empty": "", "null": None, "zero": 0, "no": False}


@pytest.fixture(scope="module")
def emulator():
    with endpoints.emulator() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in endpoints.environment(url).items():
            patch.setenv(name, value)
        client = boto3.client("secretsmanager", REGION)
        texts = {"good": json.dumps(DOCUMENT), "not-json": CANARY, "list": f'["{CANARY}"]', "deleted": "{}"}
        for name, text in texts.items():
            client.create_secret(Name=name, SecretString=text)
        client.create_secret(Name="binary", SecretBinary=CANARY.encode())
        client.create_secret(Name="without-value")
        client.delete_secret(SecretId="deleted")
        yield url


@pytest.fixture
def aws(monkeypatch, emulator):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in endpoints.environment(emulator).items():
        monkeypatch.setenv(name, value)


def test_importing_it_imports_no_django():
    code = "import sys, deploytools.loader; sys.exit(','.join(m for m in sys.modules if m.split('.')[0] == 'django'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, "", "")


def test_loads(aws):
    secret = load_secrets("good", region=REGION, required=("host", "port", "password", "zero", "no"))
    assert secret == Document(DOCUMENT)
    assert (secret["password"].reveal(), secret["port"].reveal()) == (CANARY, 5432)
    assert CANARY not in f"{secret} {secret!r} {dict(secret)}"


def test_names_all_missing_keys_at_once_and_the_command(aws):
    required = ("gone", "host", "empty", "null", "django_secret_key")
    with pytest.raises(SecretIncomplete) as caught:
        load_secrets("good", region=REGION, required=required, mend="just mend")
    assert (str(caught.value), caught.value.hint, caught.value.keys) == (
        "The secret good lacks 4 of the keys it needs: gone, empty, null, django_secret_key.",
        "Write them into a JSON file and run: just mend",
        ("gone", "empty", "null", "django_secret_key"),
    )
    assert [text for text in reachable(caught.value) if CANARY in text] == []


def test_the_command_by_default():
    with pytest.raises(SecretIncomplete) as caught:
        require(Document({}), ["a"], name="prod/shop")
    assert caught.value.hint == "Write them into a JSON file and run: python manage.py sync_secrets FILE"


@pytest.mark.parametrize("document", [GUIDE_STEP_1, GUIDE_STEP_3])
def test_a_placeholder_is_no_password_and_no_key(document):
    """The guide's stand-ins for Stripe keys are allowed: there the shop takes no money and says so."""
    with pytest.raises(SecretIncomplete) as caught:
        require(Document(document), GUIDE_STEP_1, name="prod/shop")
    assert (str(caught.value), caught.value.keys) == (
        "The secret prod/shop lacks 2 of the keys it needs: password (only a placeholder is there), "
        "django_secret_key (only a placeholder is there).",
        ("password", "django_secret_key"),
    )
    require(Document(document | {key: GOOD[key] for key in caught.value.keys}), GUIDE_STEP_1, name="prod/shop")


@pytest.mark.parametrize("required", [(), ("a",), iter(["a"])])
def test_nothing_missing(required):
    require(Document({"a": 0}), required, name="prod/shop")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("absent", SecretNotFound, "There is no secret absent in us-east-1."),
        ("without-value", SecretEmpty, "The secret without-value in us-east-1 exists and has no value yet."),
        ("deleted", SecretDeleted, "The secret deleted in us-east-1 is scheduled for deletion."),
        ("binary", SecretBinary, "The secret binary holds binary data (SecretBinary), not text."),
        ("not-json", SecretNotJson, "The secret not-json is not JSON: it breaks off at line 1, column 1."),
        ("list", SecretNotJson, "The secret list is JSON, but not an object."),
    ],
)
def test_what_cannot_be_used(aws, name, error, message):
    with pytest.raises(DeployError) as caught:
        load_secrets(name, region=REGION, required=("host",))
    assert (type(caught.value), str(caught.value)) == (error, message)
    assert caught.value.hint
    assert [text for text in reachable(caught.value) if CANARY in text] == []


@pytest.mark.parametrize(
    ("name", "mend", "hint"),
    [
        ("without-value", "sync FILE --settings base", "Put a first value: sync FILE --settings base --create"),
        ("deleted", "sync FILE --settings base", "Bring it back: sync --restore --settings base"),
        ("without-value", "make it", "Give it a first value, then: make it"),
        (
            "deleted",
            "make it",
            "Bring it back: aws secretsmanager restore-secret --secret-id deleted --region us-east-1",
        ),
    ],
)
def test_the_way_back_is_the_consumers_own_command(aws, name, mend, hint):
    """Under production settings `sync_secrets` itself would not start, and a tenant's secret is another one."""
    with pytest.raises(DeployError) as caught:
        load_secrets(name, region=REGION, mend=mend)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"AWS_ENDPOINT_URL": endpoints.closed()}, Unreachable),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, NoCredentials),
    ],
)
def test_never_falls_back(aws, monkeypatch, changes: dict[str, Any], error):
    monkeypatch.setenv("PASSWORD", "from the environment")
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(error):
        load_secrets("good", region=REGION)
