"""Django's debug page shows the local variables of every frame, but no value of a failed write."""

from __future__ import annotations

import sys

import pytest
from django.views.debug import ExceptionReporter

from deploytools.errors import Unreachable
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState, SyncPlan, plan_sync
from deploytools.secrets.store import SecretStore
from tests.fakes import endpoints

CANARY = "canary-7d1f"


@pytest.fixture
def store(monkeypatch):
    """A secret whose endpoint cannot be reached."""
    for name, value in endpoints.environment(endpoints.closed()).items():
        monkeypatch.setenv(name, value)
    return SecretStore.connect("prod/shop", endpoints.REGION)


def planned() -> SyncPlan:
    state = SecretState("prod/shop", endpoints.REGION, "1" * 32, Document({"a": f"{CANARY}-old"}), {})
    return plan_sync(state, Document({"b": f"{CANARY}-new"}), stage="launch")


def page(error: BaseException) -> str:
    return str(ExceptionReporter(None, type(error), error, error.__traceback__).get_traceback_html())


def test_failed_write(store):
    with pytest.raises(Unreachable) as caught:
        store.write(planned(), lambda state: pytest.fail("no other writer"))
    html = page(caught.value)
    assert "put_secret_value" in html
    assert CANARY not in html


def test_failed_creation(store):
    with pytest.raises(Unreachable) as caught:
        store._try_create({"Name": "prod/shop"}, planned().after.to_json())
    html = page(caught.value)
    assert "create_secret" in html
    assert CANARY not in html


def test_page_shows_plain_values():
    value = f"{CANARY}-plain"
    try:
        raise ValueError(len(value))
    except ValueError:
        assert CANARY in page(sys.exc_info()[1] or ValueError())
