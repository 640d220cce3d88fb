"""`load_secrets` fails closed, reports all missing keys at once, and needs neither Django nor boto3 to be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import boto3
import pytest

from deploytools.errors import (
    ConfigurationError,
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
from deploytools.loader import load_secrets, require_keys
from deploytools.secrets.document import Document
from tests.fakes import endpoints
from tests.secrets.reach import reachable
from tests.secrets.samples import GOOD, GUIDE_STEP_1, GUIDE_STEP_3

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


def test_import_needs_no_django_and_no_boto3():
    code = (
        "import sys, deploytools.loader;"
        "sys.exit(','.join({m.split('.')[0] for m in sys.modules} & {'django', 'boto3', 'botocore'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, "", "")


def test_loads(aws):
    secret = load_secrets("good", region=REGION, required=("host", "port", "password", "zero", "no"))
    assert secret == Document(DOCUMENT)
    assert (secret["password"].reveal(), secret["port"].reveal()) == (CANARY, 5432)
    assert CANARY not in f"{secret} {secret!r} {dict(secret)}"


def test_all_missing_keys_are_reported_at_once(aws):
    required = ("gone", "host", "empty", "null", "django_secret_key")
    with pytest.raises(SecretIncomplete) as caught:
        load_secrets("good", region=REGION, required=required, fix_command="just fix")
    assert (str(caught.value), caught.value.hint, caught.value.keys) == (
        "The secret good is missing 4 required keys: gone, empty, null, django_secret_key.",
        "Write them to a JSON file and run: just fix",
        ("gone", "empty", "null", "django_secret_key"),
    )
    assert [text for text in reachable(caught.value) if CANARY in text] == []


def test_default_fix_command():
    with pytest.raises(SecretIncomplete) as caught:
        require_keys(Document({}), ["a"], name="prod/shop")
    assert caught.value.hint == "Write them to a JSON file and run: python manage.py sync_secrets FILE"


@pytest.mark.parametrize("document", [GUIDE_STEP_1, GUIDE_STEP_3])
def test_placeholder_is_not_a_password_or_secret_key(document):
    """The guide's temporary Stripe keys are allowed: the shop reports that it takes no money."""
    with pytest.raises(SecretIncomplete) as caught:
        require_keys(Document(document), GUIDE_STEP_1, name="prod/shop")
    assert (str(caught.value), caught.value.keys) == (
        "The secret prod/shop is missing 2 required keys: password (it is a placeholder), "
        "django_secret_key (it is a placeholder).",
        ("password", "django_secret_key"),
    )
    require_keys(Document(document | {key: GOOD[key] for key in caught.value.keys}), GUIDE_STEP_1, name="prod/shop")


def test_presets_require_their_keys(aws):
    with pytest.raises(SecretIncomplete) as caught:
        load_secrets("good", region=REGION, presets=["database", "email"], required=["sentry_dsn"])
    assert set(caught.value.keys) >= {"email_host", "email_password", "sentry_dsn"}
    with pytest.raises(ConfigurationError, match="There is no preset 'mail'"):
        load_secrets("good", region=REGION, presets=["mail"])


@pytest.mark.parametrize("required", [(), ("a",), iter(["a"])])
def test_nothing_missing(required):
    require_keys(Document({"a": 0}), required, name="prod/shop")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("absent", SecretNotFound, "There is no secret absent in us-east-1."),
        ("without-value", SecretEmpty, "The secret without-value in us-east-1 has no value yet."),
        ("deleted", SecretDeleted, "The secret deleted in us-east-1 is scheduled for deletion."),
        ("binary", SecretBinary, "The secret binary contains binary data (SecretBinary), not text."),
        ("not-json", SecretNotJson, "The secret not-json is not valid JSON (line 1, column 1)."),
        ("list", SecretNotJson, "The secret list is JSON, but not an object."),
    ],
)
def test_secrets_that_cannot_be_used(aws, name, error, message):
    with pytest.raises(DeployError) as caught:
        load_secrets(name, region=REGION, required=("host",))
    assert (type(caught.value), str(caught.value)) == (error, message)
    assert caught.value.hint
    assert [text for text in reachable(caught.value) if CANARY in text] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fix_command", "hint"),
    [
        ("without-value", "sync FILE --settings base", "Set a first value: sync FILE --settings base --create"),
        ("without-value", "create it", "Set a value, then run: create it"),
        ("absent", "create it", "Check the name, the Region and the account: aws sts get-caller-identity"),
        (
            "absent",
            "sync FILE --settings base",
            "Create it from a JSON file: sync FILE --settings base --create (or, if it exists, check "
            'DEPLOYTOOLS["SECRET_NAME"], DEPLOYTOOLS["REGION"] and the account: aws sts get-caller-identity; '
            "aws secretsmanager list-secrets --region us-east-1)",
        ),
        (
            "deleted",
            "create it",
            "Run: aws secretsmanager restore-secret --secret-id deleted --region us-east-1",
        ),
    ],
)
def test_hints_contain_the_fix_command(aws, name, fix_command, hint):
    with pytest.raises(DeployError) as caught:
        load_secrets(name, region=REGION, fix_command=fix_command)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"AWS_ENDPOINT_URL": endpoints.closed()}, Unreachable),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, NoCredentials),
    ],
)
def test_no_fallback(aws, monkeypatch, changes: dict[str, Any], error):
    monkeypatch.setenv("PASSWORD", "from the environment")
    for name, value in changes.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(error):
        load_secrets("good", region=REGION)
