"""`scripts/lambda`: the function rotates from its zip alone, in a new interpreter without installed packages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from deploytools.rotation.lambda_handler import STEPS
from tests.deployment import Deployment
from tests.management.runner import ROTATE, run
from tests.rotation.aws_rotation import TOKEN, begin_rotation, function_environment

ROOT = Path(__file__).parent.parent.parent

INVOKE = """
import sys
sys.path.insert(0, sys.argv[1])
from deploytools.rotation import lambda_handler
import psycopg
assert all(module.__file__.startswith(sys.argv[1]) for module in (lambda_handler, psycopg))
lambda_handler.LOCK_WAIT = 60  # Other tests hold the lock.
lambda_handler.handler(dict(zip(("SecretId", "ClientRequestToken", "Step"), sys.argv[2:])), None)
"""


@pytest.mark.slow
def test_the_package_rotates(capsys, deployment: Deployment, tmp_path: Path):
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    address, file, package = deployment.postgres.address, tmp_path / "function.zip", tmp_path / "package"
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    environment = {
        **os.environ,
        "DEPLOYTOOLS_VENV": sys.prefix,
        "LAMBDA_PYTHON": f"3.{sys.version_info.minor}",
        "LAMBDA_PLATFORM": f"{machine}-manylinux2014",
    }
    subprocess.run([ROOT / "scripts/lambda", file, address.sslrootcert], env=environment, check=True, timeout=600)
    with ZipFile(file) as archive:
        archive.extractall(package)
        assert {member.external_attr >> 16 & 0o044 for member in archive.infolist() if not member.is_dir()} == {0o044}
    begin_rotation(deployment)
    environment = {**deployment.environment, **function_environment(address)}
    environment["PGSSLROOTCERT"] = str(package / "global-bundle.pem")
    for step in STEPS:
        event = [deployment.name, TOKEN, step]
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", INVOKE, package, *event], env=environment, check=True, timeout=120
        )
    assert deployment.document()["username"] == f"{deployment.role}_b"
    assert run(capsys, "rotate_credentials", "password", *ROTATE, "--finish").code == 0
