"""A deployment that is ready to serve: databases made, tenant one migrated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.management.runner import run

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def created(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> Deployment:
    """The tenants' databases, empty."""
    made = run(capsys, "create_tenant_dbs", "--noinput")
    assert made.code == 0, made
    return deployment


@pytest.fixture
def migrated(created: Deployment) -> Deployment:
    """The same with the tables of tenant one."""
    environment = os.environ | created.environment | {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production"}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=120)
    return created
