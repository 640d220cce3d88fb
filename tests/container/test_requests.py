"""Logs and error pages of gunicorn while the database is down."""

from __future__ import annotations

import http.client
import json
import logging
import re
from pathlib import Path

import pytest

from deploytools.container import JsonFormatter
from deploytools.container.json_logs import LimitedTracebacks
from tests.container.gunicorn_server import serving
from tests.container.http_client import get, wait_for
from tests.sockets import free_port

TRACE = "Root=1-67891233-abcdef012345678912345678"


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture
def without_database() -> dict[str, str]:
    return {
        "LOG_FORMAT": "json", "WEB_CONCURRENCY": "1", "WEB_THREADS": "1", "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(free_port()), "ALLOWED_HOSTS": "localhost",
    }  # fmt: skip


@pytest.mark.slow
def test_error_pages_need_no_database_and_have_the_request_id(tmp_path, without_database):
    def loggers(request_id: str) -> list[object]:
        return [line["logger"] for line in lines(tmp_path / "log") if line.get("request_id") == request_id]

    with serving(tmp_path / "log", **without_database) as (port, _):
        status, page = get(port, "/", Host="localhost", X_Amzn_Trace_Id=TRACE)
        missing_status, missing = get(port, "/nothing", Host="localhost")
        shown = re.search(r"Request ID: ([0-9a-f]{32})", missing.decode())
        assert shown
        both = ["django.request", "gunicorn.access"]
        wait_for(lambda: [loggers(TRACE), loggers(shown[1])] == [both, both])
    assert (status, f"Request ID: {TRACE}" in page.decode(), "shop.css" in page.decode()) == (500, True, True)
    assert (missing_status, b"Page not found" in missing) == (404, True)


@pytest.mark.slow
def test_an_outage_logs_one_traceback_of_a_kind(tmp_path, without_database):
    with serving(tmp_path / "log", **without_database) as (port, _):
        assert {get(port, "/", Host="localhost")[0] for _ in range(30)} == {500}
    errors = [line for line in lines(tmp_path / "log") if line["logger"] == "django.request"]
    assert [("exception" in line) for line in errors] == [True] + [False] * 29
    assert str(errors[1]["message"]).startswith("Internal Server Error: / (OperationalError: connection failed: ")


@pytest.mark.slow
def test_a_host_that_is_not_allowed_is_one_line(tmp_path, without_database):
    with serving(tmp_path / "log", **without_database) as (port, _):
        assert get(port, "/", Host="evil.example")[0] == 400
    (line,) = [line for line in lines(tmp_path / "log") if line["logger"] == "django.security.DisallowedHost"]
    assert (line["level"], "exception" in line) == ("WARNING", False)


@pytest.mark.slow
def test_a_head_request_logs_no_warning(tmp_path, without_database):
    with serving(tmp_path / "log", **without_database) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("HEAD", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        wait_for(lambda: [line for line in lines(tmp_path / "log") if line["logger"] == "gunicorn.access"])
    assert [line["message"] for line in lines(tmp_path / "log") if line["level"] == "WARNING"] == []


@pytest.mark.slow
def test_an_invalid_trace_id_is_not_used(tmp_path, without_database):
    with serving(tmp_path / "log", **without_database) as (port, _):
        page = get(port, "/nothing", Host="localhost", X_Amzn_Trace_Id="<script>")[1].decode()
    assert re.search(r"Request ID: [0-9a-f]{32}<", page)


def test_the_next_traceback_has_the_number_of_those_that_were_omitted(monkeypatch):
    now = 100.0
    monkeypatch.setattr("deploytools.container.json_logs.time.monotonic", lambda: now)
    handler = LimitedTracebacks()
    handler.setFormatter(JsonFormatter())

    def log() -> dict[str, object]:
        try:
            raise ValueError("a value")
        except ValueError as error:
            info = (ValueError, error, error.__traceback__)
        record = logging.LogRecord("shop", logging.ERROR, __file__, 1, "Failed %s", ("here",), info)
        formatted: dict[str, object] = json.loads(handler.format(record))
        return formatted

    first, second, third = log(), log(), log()
    now += 60
    last = log()
    assert [line["message"] for line in (first, second, third, last)] == [
        "Failed here", "Failed here (ValueError: a value)", "Failed here (ValueError: a value)",
        "Failed here (2 equal tracebacks omitted)",
    ]  # fmt: skip
    assert ["exception" in line for line in (first, second, third, last)] == [True, False, False, True]
