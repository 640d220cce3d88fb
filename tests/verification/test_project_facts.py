"""Facts of the Django project: system checks, silenced checks and SECRET_KEY_FALLBACKS."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core import checks

from deploytools.verification.project import facts as project
from tests.verification.zoo.world import WORLD, findings


@pytest.fixture
def failing_checks() -> Iterator[None]:
    """A system check of models that always returns an error, and a deployment check that returns a warning."""

    def fail(**_: object) -> list[checks.CheckMessage]:
        return [checks.Error("Model is invalid.", id="shop.E001")]

    def warn(**_: object) -> list[checks.CheckMessage]:
        return [checks.Warning("Setting is insecure.", id="shop.W001")]

    registry = checks.registry.registry
    registry.register(fail, checks.Tags.models)
    registry.register(warn, deploy=True)
    yield
    registry.registered_checks.discard(fail)
    registry.deployment_checks.discard(warn)


@pytest.mark.usefixtures("failing_checks")
def test_messages_are_reported_unless_silenced(settings):
    assert "shop.E001: Model is invalid." in project.apps().errors
    assert {("shop.E001", "Model is invalid."), ("shop.W001", "Setting is insecure.")} <= set(
        project.project().messages
    )
    settings.SILENCED_SYSTEM_CHECKS = ["shop.E001", "shop.W001"]
    apps, found = project.apps(), project.project()
    assert (apps.errors, apps.silenced) == ((), ("shop.E001",))
    assert not [identifier for identifier, _ in found.messages if identifier.startswith("shop.")]
    assert found.silenced == ("shop.E001", "shop.W001")


def test_system_checks_get_no_database():
    """With one, Django 6.1 connects for the checks of a GeneratedField."""
    seen: list[object] = []

    def note(databases: object, **_: object) -> list[checks.CheckMessage]:
        seen.append(databases)
        return []

    checks.registry.registry.register(note, checks.Tags.models)
    try:
        project.apps(), project.project()
    finally:
        checks.registry.registry.registered_checks.discard(note)
    assert seen == [[], []]


@pytest.mark.slow
def test_apps_fact_loads_no_views():
    """Views and middleware take as long to load as everything else; `django.check-deploy` loads them."""
    code = (
        "import django, sys; django.setup(); before = set(sys.modules);"
        "from deploytools.verification.project.facts import apps; apps();"
        "print([name for name in set(sys.modules) - before if name.startswith('StartupWebApp')])"
    )
    environment = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_silenced_checks_are_in_the_evidence():
    changes = {
        "apps": project.AppsReport(10, 57, (), ("shop.E001",)),
        "project": project.ProjectReport("prod", (), silenced=("security.W008",)),
    }
    seen = {finding.check.id: finding.evidence for finding in findings(**changes)}
    assert seen["connection.apps"] == "10 apps, 57 models, no errors; silenced: shop.E001"
    assert seen["django.check-deploy"] == "with prod; silenced: security.W008"
    assert "silenced" not in str([finding.evidence for finding in findings(**{"apps": WORLD["apps"]})])


GOOD = "kJ8dP2sL0qWzX5vB7nM1aQ9eR3tY6uI4oPhG8fDxCsVbNm2WqE"


def test_fallback_keys_are_validated_like_the_key_in_use(settings):
    settings.SECRET_KEY_FALLBACKS = [GOOD[::-1], "short", f"django-insecure-{GOOD}", GOOD]
    settings.SECRET_KEY = GOOD
    found = project.secret_key_fallbacks()
    assert found.number == 4
    assert [index for index, _ in found.problems] == [1, 2, 3]
    assert found.problems[0][1].startswith("has 5 characters")
    assert found.problems[2][1] == "is the key in use"
    assert GOOD not in repr(found) and "short" not in repr(found)


def test_settings_of_development(settings):
    assert (project.project().weak, project.project().cookie_domains) == ((), ())
    settings.DEBUG_PROPAGATE_EXCEPTIONS = True
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.CORS_ALLOW_ALL_ORIGINS = settings.CORS_ALLOW_CREDENTIALS = True
    settings.SESSION_COOKIE_DOMAIN = ".shop.net"
    settings.ADMINS, settings.SERVER_EMAIL = ["ops@shop.net"], "root@localhost"
    found = list(project._weak_settings())
    assert [sentence.partition(" ")[0] for sentence in found] == [
        "DEBUG_PROPAGATE_EXCEPTIONS", "SERVER_EMAIL", "PASSWORD_HASHERS", "SESSION_ENGINE", "CORS_ALLOW_ALL_ORIGINS",
    ]  # fmt: skip
    assert project.project().cookie_domains == (("SESSION_COOKIE_DOMAIN", ".shop.net"),)
    settings.MIGRATION_MODULES = {"auth": None, "sessions": "shop.session_migrations", "gone": None}
    assert list(project._weak_settings())[-1] == "MIGRATION_MODULES['auth'] is None: its tables are not migrated"
    settings.MIGRATION_MODULES = {}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
    settings.SERVER_EMAIL = "Shop <errors@shop.net>"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher", settings.PASSWORD_HASHERS[0]]
    assert len(list(project._weak_settings())) == 2
