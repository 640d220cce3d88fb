"""Fixtures: a deployment with tenant databases, and with a migrated tenant."""

from __future__ import annotations

import os

import pytest

from tests.deployment import Deployment
from tests.forked import manage
from tests.management.runner import run


@pytest.fixture
def created(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> Deployment:
    """A deployment with empty tenant databases."""
    made = run(capsys, "create_tenant_dbs", "--noinput")
    assert made.code == 0, made
    return deployment


@pytest.fixture
def migrated(created: Deployment) -> Deployment:
    """A deployment in which tenant one is migrated."""
    environment = os.environ | created.environment | {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings_production"}
    assert manage("migrate", "--verbosity", "0", environment=environment) == ("", "", 0)
    return created
