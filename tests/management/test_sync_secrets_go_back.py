"""`sync_secrets`: the command that it prints to go back restores the secret, and `--rollback --key master_password`."""

from __future__ import annotations

import pytest

from deploytools.secrets.document import Secret
from tests.deployment import Deployment
from tests.management.runner import Result, run

OWN = "own-master-password-0123456789-0123456789"
KEY = "another-django-secret-key-0123456789-abcdefghijklmnopqrstuvwxyz"


def follow(capsys, result: Result) -> Result:
    """Run the command after "Go back:"."""
    assert result.code == 0, result
    return run(capsys, *result.out.split("Go back:\n  python manage.py ")[1].split("\n")[0].split(), "--noinput")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "keys"),
    [
        ({"master_username": None, "master_password": None}, ("master_username", "master_password")),
        ({"django_secret_key": "PLACEHOLDER_generate_this"}, ("django_secret_key",)),
        ({}, ("master_password",)),
    ],
)
def test_going_back_restores_the_secret(capsys, deployment: Deployment, monkeypatch, before, keys):
    deployment.put(**before)
    first = deployment.document()
    values = {"master_username": "postgres", "master_password": OWN, "django_secret_key": KEY}
    for key in keys:
        monkeypatch.setenv(key.upper(), values[key])
    options = [word for key in keys for word in ("--from-env", f"{key}={key.upper()}")]
    result = run(capsys, "sync_secrets", *options, "--noinput")
    back = follow(capsys, result)
    assert (back.code, deployment.document()) == (0, first), back


@pytest.mark.slow
def test_going_back_from_the_first_password(capsys, deployment: Deployment, monkeypatch):
    """The placeholder does not work as a login: the login stays."""
    deployment.put(password="PLACEHOLDER_generate_this")
    first = deployment.document()
    monkeypatch.setenv("PASSWORD", OWN)
    result = run(capsys, "sync_secrets", "--from-env", "password=PASSWORD", "--set", "email_port=2525", "--noinput")
    back = follow(capsys, result)
    assert (back.code, deployment.document()) == (0, first | {"password": OWN}), back


@pytest.mark.slow
def test_the_restored_password_of_the_master_user_is_tried_where_it_will_be_used(
    capsys, deployment: Deployment, monkeypatch
):
    """On the server and as the user that the secret has now."""
    user = f"{deployment.name}_master"
    deployment.postgres.make_role(user, Secret(OWN), "CREATEROLE CREATEDB")
    deployment.put(host="192.0.2.1", master_username="postgres", master_password=OWN)
    (first,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    deployment.put(master_username=user, master_password="wrong-master-password-0123456789")
    result = run(capsys, "sync_secrets", "--rollback", first, "--key", "master_password", "--noinput")
    assert (result.code, deployment.document()["master_password"]) == (0, OWN), result
    with deployment.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {user} VALID UNTIL '2100-01-01'".encode())
    deployment.put(master_username=user, master_password="wrong-master-password-0123456789")
    before = deployment.document()
    result = run(capsys, "sync_secrets", "--rollback", first, "--key", "master_password", "--noinput")
    assert (result.code, deployment.document()) == (1, before), result
    assert f"ALTER ROLE \"{user}\" VALID UNTIL 'infinity'" in result.err
    keys = ("--key", "master_password", "--key", "master_username")
    result = run(capsys, "sync_secrets", "--rollback", first, *keys, "--noinput")
    assert (result.code, "The login postgres of version" in result.err) == (1, True), result
