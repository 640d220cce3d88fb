"""Django's debug page, which shows the locals of every frame, shows no value of a write that failed."""

from __future__ import annotations

import sys

import pytest
from django.views.debug import ExceptionReporter

from deploytools.errors import Unreachable
from deploytools.secret.document import Document
from deploytools.secret.store import SecretStore
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync
from tests.fakes import endpoints

CANARY = "canary-7d1f"


@pytest.fixture
def store(monkeypatch):
    """AWS is not there."""
    for name, value in endpoints.environment(endpoints.closed()).items():
        monkeypatch.setenv(name, value)
    return SecretStore.connect("prod/shop", endpoints.REGION)


def planned() -> SyncPlan:
    state = SecretState("prod/shop", endpoints.REGION, "1" * 32, Document({"a": f"{CANARY}-old"}), {})
    return plan_sync(state, Document({"b": f"{CANARY}-new"}), stage="launch")


def page(error: BaseException) -> str:
    return str(ExceptionReporter(None, type(error), error, error.__traceback__).get_traceback_html())


def test_a_write_that_fails(store):
    with pytest.raises(Unreachable) as caught:
        store.write(planned(), lambda state: pytest.fail("nothing came in between"))
    html = page(caught.value)
    assert "put_secret_value" in html
    assert CANARY not in html


def test_a_creation_that_fails(store):
    with pytest.raises(Unreachable) as caught:
        store._try_create({"Name": "prod/shop"}, planned().after.to_json())
    html = page(caught.value)
    assert "create_secret" in html
    assert CANARY not in html


def test_the_page_would_show_it():
    held = f"{CANARY}-plain"
    try:
        raise ValueError(len(held))
    except ValueError:
        assert CANARY in page(sys.exc_info()[1] or ValueError())
