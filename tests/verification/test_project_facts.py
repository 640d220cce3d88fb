"""The project as Django's own checks see it, with what the settings silence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core import checks

from deploytools.verification.sources import connection, project
from tests.verification.world import WORLD, findings


@pytest.fixture
def complaint() -> Iterator[None]:
    """A system check of models that always finds something: an error, and at a deployment a warning too."""

    def complain(**_: object) -> list[checks.CheckMessage]:
        return [checks.Error("The shop burns.", id="shop.E001")]

    def warn(**_: object) -> list[checks.CheckMessage]:
        return [checks.Warning("The shop smokes.", id="shop.W001")]

    registry = checks.registry.registry
    registry.register(complain, checks.Tags.models)
    registry.register(warn, deploy=True)
    yield
    registry.registered_checks.discard(complain)
    registry.deployment_checks.discard(warn)


@pytest.mark.usefixtures("complaint")
def test_what_django_finds_is_told_unless_it_is_silenced(settings):
    assert "shop.E001: The shop burns." in connection.apps().errors
    assert {("shop.E001", "The shop burns."), ("shop.W001", "The shop smokes.")} <= set(project.project().messages)
    settings.SILENCED_SYSTEM_CHECKS = ["shop.E001", "shop.W001"]
    apps, found = connection.apps(), project.project()
    assert (apps.errors, apps.silenced) == ((), ("shop.E001",))
    assert not [identifier for identifier, _ in found.messages if identifier.startswith("shop.")]
    assert found.silenced == ("shop.E001", "shop.W001")


def test_a_connection_loads_no_views():
    """They and the middleware take as long as everything else together; `django.check-deploy` looks at them."""
    code = (
        "import django, sys; django.setup(); before = set(sys.modules);"
        "from deploytools.verification.sources.connection import apps; apps();"
        "print([name for name in set(sys.modules) - before if name.startswith('StartupWebApp')])"
    )
    environment = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_is_silenced_is_named():
    changes = {
        "apps": connection.AppsReport(10, 57, (), ("shop.E001",)),
        "project": project.ProjectReport("prod", (), silenced=("security.W008",)),
    }
    seen = {finding.check: finding.evidence for finding in findings(**changes)}
    assert seen["connection.apps"] == "10 apps, 57 models, no errors; silenced: shop.E001"
    assert seen["django.check-deploy"] == "under prod; silenced: security.W008"
    assert "silenced" not in str([finding.evidence for finding in findings(**{"apps": WORLD["apps"]})])


GOOD = "kJ8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDxCsVbNm2WqE"


def test_old_keys_are_judged_as_the_one_in_use(settings):
    settings.SECRET_KEY_FALLBACKS = [GOOD[::-1], "short", f"django-insecure-{GOOD}", GOOD]
    settings.SECRET_KEY = GOOD
    found = project.old_keys()
    assert found.number == 4
    assert [index for index, _ in found.problems] == [1, 2, 3]
    assert found.problems[0][1].startswith("has 5 characters")
    assert found.problems[2][1] == "is the key in use"
    assert GOOD not in repr(found) and "short" not in repr(found)
