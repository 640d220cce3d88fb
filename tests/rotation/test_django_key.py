"""`rotate_credentials django_secret_key`: three phases, and what old and new processes side by side lose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib import auth
from django.contrib.auth.tokens import default_token_generator
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import override_settings

from deploytools.errors import Refused
from deploytools.postgres.connections import Login
from deploytools.rotation.key_phases import leaked_phase, next_phase
from deploytools.secrets.document import Document, Secret
from tests.deployment import Deployment
from tests.management.runner import Result, rotate_credentials, run

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
TWO_WEEKS = timedelta(days=14)
KEY, FALLBACKS = "django_secret_key", "django_secret_key_fallbacks"
OLD, NEW = "old-" + "k" * 50, "new-" + "k" * 50


def apply(document: dict[str, Any], now: datetime) -> dict[str, Any]:
    phase = next_phase(Document(document), NEW, now, TWO_WEEKS)
    return {key: value for key, value in {**document, **phase.given}.items() if key not in phase.unset}


def states() -> list[tuple[str, list[str]]]:
    """Return key and fallbacks before, between and after the phases."""
    document: dict[str, Any] = {KEY: OLD}
    found = [(OLD, list[str]())]
    for now in (NOW, NOW, NOW + TWO_WEEKS):
        document = apply(document, now)
        found.append((document[KEY], document.get(FALLBACKS, [])))
    return found


def test_the_phases():
    assert states() == [(OLD, []), (OLD, [NEW]), (NEW, [OLD]), (NEW, [])]


def test_the_dates_of_the_phases():
    announced = apply({KEY: OLD, "rotated_at": {"password": "2026-01-01"}}, NOW)
    assert announced["rotated_at"] == {"password": "2026-01-01", f"{KEY}_announced": "2026-11-30T12:00:00+00:00"}
    switched = apply(announced, NOW)
    assert switched["rotated_at"] == {"password": "2026-01-01", KEY: "2026-11-30T12:00:00+00:00"}
    with pytest.raises(Refused, match=r"valid until 2026-12-14T12:00:00\+00:00. Nothing was changed"):
        apply(switched, NOW + TWO_WEEKS - timedelta(seconds=1))
    dropped = apply(switched, NOW + TWO_WEEKS)
    assert (FALLBACKS in dropped, dropped["rotated_at"]) == (False, switched["rotated_at"])
    with pytest.raises(Refused, match="is not a time with a time zone"):
        apply(switched | {"rotated_at": {KEY: "yesterday"}}, NOW)


def test_other_fallbacks_stay_until_the_end():
    announced = apply({KEY: OLD, FALLBACKS: ["older"]}, NOW)
    assert announced[FALLBACKS] == [NEW, "older"]
    assert apply(announced, NOW)[FALLBACKS] == [OLD, "older"]


def test_after_a_leak():
    for document in ({KEY: OLD}, apply({KEY: OLD}, NOW)):
        phase = leaked_phase(Document(document), "another", NOW)
        assert phase.given[KEY] == "another"
        assert phase.given["rotated_at"] == {KEY: "2026-11-30T12:00:00+00:00"}
        assert phase.unset == ((FALLBACKS,) if FALLBACKS in document else ())
        assert "all users are logged out" in str(phase)


def request(process: tuple[str, list[str]], session_key: str) -> tuple[str, bool, int]:
    """Serve a request that adds to a cart; return the session's key, whether the user is logged in, and the cart."""
    with override_settings(SECRET_KEY=process[0], SECRET_KEY_FALLBACKS=process[1]):
        request = HttpRequest()
        request.session = SessionStore(session_key)
        user = auth.get_user(request)
        request.session["cart"] = request.session.get("cart", 0) + 1
        request.session.save()
        return request.session.session_key or "", user.is_authenticated, request.session["cart"]


def is_lost(old: tuple[str, list[str]], new: tuple[str, list[str]], user: Any) -> list[str]:
    """Return what users lose while processes of both states serve them in turns."""
    lost = []
    for first, second in ((old, new), (new, old)):
        with override_settings(SECRET_KEY=first[0], SECRET_KEY_FALLBACKS=first[1]):
            login = HttpRequest()
            login.session = SessionStore()
            auth.login(login, user, backend="django.contrib.auth.backends.ModelBackend")
            login.session.save()
            session_key, token = login.session.session_key or "", default_token_generator.make_token(user)
        for number, process in enumerate([first, second, first, second, second, first], 1):
            session_key, is_logged_in, cart = request(process, session_key)
            lost += ["login"] if not is_logged_in else []
            lost += ["cart"] if cart != number else []
        with override_settings(SECRET_KEY=second[0], SECRET_KEY_FALLBACKS=second[1]):
            lost += ["link"] if not default_token_generator.check_token(user, token) else []
    return lost


@pytest.mark.slow
@pytest.mark.django_db
def test_nothing_is_lost_between_processes_of_two_phases(django_user_model):
    user = django_user_model(pk=1, password="unusable", last_login=None)
    user.save()
    found = states()
    for old, new in pairwise(found):
        assert is_lost(old, new, user) == []
    # The control: the usual two phases, without an announcement.
    assert {"login", "cart", "link"} <= set(is_lost(found[0], found[2], user))


@pytest.fixture
def made(capsys, deployment: Deployment) -> Deployment:
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


def rotate(capsys: pytest.CaptureFixture[str], *options: str) -> Result:
    return rotate_credentials(capsys, KEY, *options)


def application(made: Deployment, version: str) -> Any:
    """Open a session as a process that started from `version`."""
    import psycopg

    login = Login(made.postgres.address, made.role, Secret(made.document()["password"]))
    address = login.address
    return psycopg.connect(
        host=address.host, hostaddr=address.hostaddr, port=address.port, dbname=made.tenants[0], user=login.user,
        password=login.password.reveal(), sslrootcert=address.sslrootcert, sslmode=address.sslmode,
        application_name=f"shop-{version[:8]}" if version else "shop",
    )  # fmt: skip


def current(made: Deployment) -> str:
    (version,) = [version for version, labels in made.versions().items() if "AWSCURRENT" in labels]
    return version


@pytest.mark.slow
def test_a_phase_waits_for_processes_of_an_older_version(capsys, settings, made: Deployment):
    first, before = made.document(), current(made)
    with application(made, before):
        result = rotate(capsys, "--plan")
        assert (result.code, "announce: add a new key" in result.out, made.document()) == (0, True, first)
        result = rotate(capsys)
        assert (result.code, "Restart all processes" in result.out) == (0, True), result
        announced = made.document()
        assert announced[KEY] == first[KEY]
        assert announced[FALLBACKS] != [first[KEY]]
        for options in ((), ("--plan",)):  # The process does not know the announced key.
            result = rotate(capsys, *options)
            assert (result.code, f"shop-{before[:8]} from " in result.err) == (1, True)
        assert made.document() == announced
    with application(made, ""):
        result = rotate(capsys)
        assert (result.code, "whose version is not known" in result.err) == (1, True)
    with application(made, current(made)):
        assert run(capsys, "sync_secrets", "--set", "email_host=smtp.other-host.net", "--noinput").code == 0
        result = rotate(capsys)  # It is an older version with the same keys.
        assert (result.code, rotate(capsys).code) == (0, 1), result
    switched = made.document()
    assert (switched[KEY], switched[FALLBACKS]) == (announced[FALLBACKS][0], [first[KEY]])
    result = rotate(capsys)
    assert (result.code, "are valid until" in result.err) == (1, True)
    settings.SESSION_COOKIE_AGE = settings.PASSWORD_RESET_TIMEOUT = 0
    assert rotate(capsys).code == 0
    assert FALLBACKS not in made.document()


@pytest.mark.slow
def test_leaked(capsys, made: Deployment):
    first = made.document()
    with application(made, "older"):
        result = rotate(capsys, "--leaked")
    assert (result.code, "all users are logged out" in result.out) == (0, True)
    found = made.document()
    assert (found[KEY] != first[KEY], FALLBACKS in found) == (True, False)
    assert found[KEY] not in result.out + result.err


def test_options_of_the_other_credential_are_refused(capsys):
    result = rotate(capsys, "--finish")
    assert (result.code, "django_secret_key cannot be combined with --finish." in result.err) == (2, True)
    result = run(capsys, "rotate_credentials", "password", "--leaked")
    assert (result.code, "password cannot be combined with --leaked." in result.err) == (2, True)
