"""The checks of a rotation on a real server: the former login is tried with the password of AWSPREVIOUS."""

from __future__ import annotations

import json

import pytest

from tests.deployment import Deployment
from tests.management.runner import ROTATE, run

CHECKS = ("secret.former-login", "secret.credential-age", "secret.no-pending-rotation")


def verify(capsys: pytest.CaptureFixture[str], check: str) -> tuple[str, str]:
    """Return status and evidence of the last finding of a check, except for the master user's password."""
    result = run(capsys, "verify_deploy", "--only", *CHECKS, "--format", "json")
    findings = [item for item in json.loads(result.out)["findings"] if item["check"] == check]
    finding = [item for item in findings if item["resource"] != "master_password"][-1]
    return finding["status"], finding["evidence"]


def rotate(capsys: pytest.CaptureFixture[str], *options: str) -> None:
    result = run(capsys, "rotate_credentials", "password", *ROTATE, *options)
    assert result.code == 0, result


@pytest.mark.slow
def test_former_login(capsys, settings, deployment: Deployment):
    def former() -> tuple[str, str]:
        deployment.use_login(deployment.document())
        return verify(capsys, "secret.former-login")

    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    assert former() == ("not applicable", "the password was never rotated")
    rotate(capsys)
    assert former()[0] == "warn"
    assert f"{deployment.role} is open since the rotation" in former()[1]
    # AWSPREVIOUS has the login of AWSCURRENT after another change; the former one is still open.
    assert run(capsys, "sync_secrets", "--set", "email_host=smtp.other-host.net", "--noinput").code == 0
    assert former()[0] == "warn"
    rotate(capsys, "--finish")
    assert former() == ("pass", f"PostgreSQL refuses {deployment.role}")
    rotate(capsys, "--grace", "24h")
    assert former()[0] == "pass"
    assert f"{deployment.role}_b is open until " in former()[1]
    with deployment.postgres.admin() as admin:
        admin.execute(f"ALTER ROLE {deployment.role}_b VALID UNTIL 'yesterday'".encode())
    assert former() == ("pass", f"PostgreSQL refuses {deployment.role}_b")
    rotate(capsys, "--one-login")
    assert former() == ("pass", f"PostgreSQL refuses {deployment.role}_b")
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"MAX_AGE_DAYS": 90}
    assert verify(capsys, "secret.credential-age") == ("warn", "rotated_at in the secret has no date for it")
    assert run(capsys, "rotate_credentials", "django_secret_key", *ROTATE, "--leaked").code == 0
    assert verify(capsys, "secret.credential-age")[0] == "pass"


@pytest.mark.slow
def test_a_rotation_that_was_interrupted(capsys, deployment: Deployment, monkeypatch):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    with monkeypatch.context() as patched, pytest.raises(TypeError):
        patched.setattr("deploytools.rotation.rotator.Rotator.test_login", None)
        run(capsys, "rotate_credentials", "password", *ROTATE)
    result = run(capsys, "verify_deploy", "--only", CHECKS[2])
    assert "Continue it: python manage.py rotate_credentials password" in result.out
    rotate(capsys)
    assert verify(capsys, CHECKS[2])[0] == "pass"
