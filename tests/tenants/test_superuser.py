"""The superuser of a custom user model, in a database of its own."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from deploytools.errors import ConfigurationError, Refused
from deploytools.postgres.connections import Login
from deploytools.secrets.document import Document, Secret
from deploytools.tenants.migration_graph import read_graph
from deploytools.tenants.superuser import create_superuser, has_superuser, read_account
from deploytools.tenants.tables import run_migrations
from tests.fleet.world import make_databases

PASSWORD = "canary-superuser-Zx81"
LOGIN = Secret("correct-horse-battery-staple-0123456789")
BIRTH = {"date_of_birth": "1990-01-31"}


def account_of(username="boss@example.net", **more):
    return read_account(Document({"superuser_username": username, "superuser_password": PASSWORD, **more}))


@pytest.fixture
def people(one_postgres, django_db_blocker, settings):
    """A login and a database with the tables of a user model; a call selects the model."""
    name = one_postgres.fresh_name()
    login = Login(one_postgres.address, f"{name}_app", LOGIN)
    make_databases(one_postgres, login, [name])
    settings.MIGRATION_MODULES = {}
    settings.INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "deploytools", "tests.people"]

    def select(model: str) -> tuple[Login, str]:
        settings.AUTH_USER_MODEL = f"people.{model}"
        run_migrations(login, name, read_graph())
        return login, name

    with django_db_blocker.unblock():
        yield select
    one_postgres.sweep(name)


@pytest.mark.slow
def test_user_model_of_djangos_documentation(people):
    login, name = people("Person")
    account = account_of(superuser_email="other@example.net", superuser_extra=BIRTH)
    create_superuser(login, name, account)
    create_superuser(login, name, account)  # It has one now.
    with login.connect(name) as connection:
        rows = connection.execute("SELECT email, date_of_birth::text, is_admin FROM people_person").fetchall()
        assert [tuple(row) for row in rows] == [("boss@example.net", "1990-01-31", True)]
        connection.execute("UPDATE people_person SET is_admin = false")
    with pytest.raises(Refused, match="who is not a superuser"):
        has_superuser(login, name, account)


@pytest.mark.slow
def test_user_model_without_an_email_address(people):
    login, name = people("Clerk")
    create_superuser(login, name, account_of("7", superuser_email="unused@example.net"))
    with login.connect(name) as connection:
        assert connection.execute("SELECT number FROM people_clerk").fetchone() == (7,)
    assert has_superuser(login, name, account_of("7"))
    with pytest.raises(Refused) as caught:
        has_superuser(login, name, account_of("boss"))
    assert str(caught.value) == "superuser_username in the secret has an invalid value for people.Clerk.number."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ({}, "people.Person requires date_of_birth of a superuser."),
        ({"date_of_birth": ""}, "people.Person requires date_of_birth of a superuser."),
        (
            {"date_of_birth": "Canary"},
            "superuser_extra in the secret has an invalid value for people.Person.date_of_birth.",
        ),
        (
            BIRTH | {"badge": 7},
            "Could not create the superuser in {} (TypeError): PersonManager.create_superuser() got an unexpected "
            "keyword argument 'badge'",
        ),
    ],
)
def test_values_that_the_manager_does_not_take(people, extra, error):
    login, name = people("Person")
    with pytest.raises(Refused) as caught:
        create_superuser(login, name, account_of(superuser_extra=extra))
    assert str(caught.value) == error.format(name)


@pytest.mark.slow
def test_error_of_the_manager_shows_no_value(people, monkeypatch):
    login, name = people("Person")

    def fail(self, email, date_of_birth, password=None):
        raise ValueError(f"{password} is refused")

    monkeypatch.setattr("tests.people.models.PersonManager.create_superuser", fail)
    with pytest.raises(Refused) as caught:
        create_superuser(login, name, account_of(superuser_extra=BIRTH))
    assert str(caught.value) == f"Could not create the superuser in {name} (ValueError)"


class OtherDatabase:
    """A router that keeps users in another database."""

    def allow_migrate(self, db, app_label, **hints):
        return False if app_label == "people" and db == "default" else None


def test_users_in_another_database(settings):
    settings.INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "tests.people"]
    settings.AUTH_USER_MODEL = "people.Person"
    settings.DATABASE_ROUTERS = [OtherDatabase()]
    assert get_user_model()._meta.label == "people.Person"
    with pytest.raises(ConfigurationError, match=r"people\.Person is not in the tenants' databases"):
        account_of()
