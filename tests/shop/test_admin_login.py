"""The login of the admin: failures are logged and limited."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

from tests.shop.builders import make
from user.admin_login import client_address

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> User:
    return make_staff("staff")


def make_staff(username: str) -> User:
    user: User = make(User, username=username, is_staff=True, is_superuser=True)
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
def test_logins_are_allowed_again_after_15_minutes(staff):
    assert {login("wrong") for _ in range(7)} == {200}
    assert LogEntry.objects.update(action_time=F("action_time") - timedelta(minutes=15)) == 5
    assert login("right-password") == 302


@pytest.mark.slow
def test_a_client_cannot_choose_its_address(staff):
    assert [login("wrong", forwarded=f"10.0.0.{number}, 203.0.113.7") for number in range(5)] == [200] * 5
    assert login("right-password", forwarded="10.0.0.9, 203.0.113.7") == 200


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:51234", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("unknown", "unknown"),
        ("", "127.0.0.1"),
    ],
)
def test_the_addresses_of_one_client_are_one(rf, forwarded, address):
    """A client has every address of its IPv6 network, and a port for each connection."""
    assert client_address(rf.get("/", headers={"x-forwarded-for": forwarded})) == address


@pytest.mark.slow
def test_an_address_that_tries_many_accounts_is_refused(staff):
    for number in range(4):
        make_staff(f"name-{number}")
    assert {login("wrong", username=f"name-{number}") for number in range(4) for _ in range(5)} == {200}
    assert login("right-password") == 200


@pytest.mark.slow
def test_a_login_ends_the_count(staff):
    for password in ["wrong"] * 4 + ["right-password"] + ["wrong"] * 4:
        login(password)
    assert login("right-password") == 302


@pytest.mark.slow
def test_failures_are_in_the_history_of_the_account(staff, client):
    login("wrong")
    client.force_login(staff)
    for path in (f"/admin/auth/user/{staff.pk}/history/", "/admin/"):
        assert client.get(path).status_code == 200
    assert "Failed login from 203.0.113.7." in client.get(f"/admin/auth/user/{staff.pk}/history/").text


@pytest.mark.slow
def test_an_unknown_account_is_not_logged_and_looks_like_a_refused_one(staff, caplog):
    def page(username: str) -> str:
        response = Client().post("/admin/login/", {"username": username, "password": "x"})
        return response.text[response.text.index("errornote") :].partition("</p>")[0]

    pages = {page(username) for username in ["staff"] * 7 + ["a-password-in-the-wrong-field"] * 7}
    assert len(pages) == 1
    assert "Login of an unknown account from 127.0.0.1 failed." in caplog.text
    assert "a-password-in-the-wrong-field" not in caplog.text
