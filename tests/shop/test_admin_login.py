"""The login of the admin: failures are logged and limited."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from tests.shop.builders import make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_failures():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def staff() -> User:
    user: User = make(User, username="staff", is_staff=True)
    user.set_password("right-password")
    user.save()
    return user


def login(password: str, *, username: str = "staff", forwarded: str = "203.0.113.7") -> int:
    """Return the status: 302 after a login, 200 for the form with an error."""
    values = {"username": username, "password": password}
    return Client().post("/admin/login/", values, headers={"x-forwarded-for": forwarded}).status_code


@pytest.mark.slow
def test_logins_are_refused_after_five_failures(staff, caplog):
    assert [login("wrong") for _ in range(5)] == [200] * 5
    assert login("right-password") == 200
    assert [record.getMessage() for record in caplog.records if record.name == "user.admin_login"] == [
        *["Login of account 'staff' from 203.0.113.7 failed."] * 5,
        "Login of account 'staff' from 203.0.113.7 refused: too many failures.",
    ]
    assert login("right-password", forwarded="198.51.100.1") == 302  # The account is not locked for others.


@pytest.mark.slow
def test_a_client_cannot_choose_its_address(staff):
    assert [login("wrong", forwarded=f"10.0.0.{number}, 203.0.113.7") for number in range(5)] == [200] * 5
    assert login("right-password", forwarded="10.0.0.9, 203.0.113.7") == 200


@pytest.mark.slow
def test_an_address_that_tries_many_accounts_is_refused(staff):
    assert {login("wrong", username=f"name-{number}") for number in range(20)} == {200}
    assert login("right-password") == 200


@pytest.mark.slow
def test_a_login_ends_the_count(staff):
    for password in ["wrong"] * 4 + ["right-password"] + ["wrong"] * 4:
        login(password)
    assert login("right-password") == 302


@pytest.mark.slow
def test_input_that_is_not_an_account_is_not_logged(staff, caplog):
    login("x", username="a-password-in-the-wrong-field")
    assert "Login of an unknown account from 203.0.113.7 failed." in caplog.text
    assert "a-password-in-the-wrong-field" not in caplog.text
