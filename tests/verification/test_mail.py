"""Django's connection to a real SMTP server, stage by stage."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import AuthResult

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError
from deploytools.local import certificates, ports
from deploytools.local.smtp_server import smtp_server
from deploytools.verification.fact_result import Value
from deploytools.verification.findings import Status
from deploytools.verification.mail import facts as mail
from deploytools.verification.registry import load_registry
from deploytools.verification.runner import evaluate_checks
from tests.sockets import silent_port

SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.fixture
def login(cloud, monkeypatch, settings) -> Any:
    """Return the result for Django's settings of the local SMTP server, with changes."""
    monkeypatch.setenv("SSL_CERT_FILE", cloud.ca_file)
    smtp = cloud.smtp

    def login(**changes: Any) -> mail.MailLogin:
        values = {"HOST": "localhost", "PORT": smtp.port, "HOST_USER": smtp.user, "HOST_PASSWORD": smtp.password}
        values |= {"USE_TLS": True, "USE_SSL": False, "BACKEND": SMTP, **changes}
        settings.DEFAULT_FROM_EMAIL = values.pop("FROM", "Shop <orders@shop.net>")
        if django.VERSION >= (6, 1):
            backend = values.pop("BACKEND")
            given = values if backend == SMTP else values.keys() & {"FILE_PATH"}
            options = {OPTIONS[key]: values[key] for key in given}
            settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": options}}
        else:
            for key, value in values.items():
                setattr(settings, f"EMAIL_{key}", value)
        return mail.mail_login()

    return login


OPTIONS = {
    "HOST": "host",
    "PORT": "port",
    "HOST_USER": "username",
    "HOST_PASSWORD": "password",
    "USE_TLS": "use_tls",
    "USE_SSL": "use_ssl",
    "TIMEOUT": "timeout",
    "FILE_PATH": "file_path",
}


@contextmanager
def responding(*lines: bytes) -> Iterator[int]:
    """The port of a server that sends the first line, responds to each command with the next one, then disconnects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for line in lines:
                    connection.sendall(line + b"\r\n")
                    connection.recv(4096)

        thread = threading.Thread(target=serve, daemon=True)  # A client that never connects must not keep the process.
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def evaluated(found: mail.MailLogin, stage: str = "launch") -> Status:
    facts = {"mail_login": Value(found), "settings": Value(Settings(stage=stage))}
    (finding,) = evaluate_checks([load_registry().checks["mail.login"]], facts)
    return finding.status


def test_server_accepts_the_login(login, cloud):
    before = len(list(Path(cloud.smtp.messages_dir).glob("*")))
    found = login()
    assert (found.failed_stage, found.reason, found.sender) == ("", "", "orders@shop.net")
    assert [stage for stage, _ in found.seconds] == [stage for stage in mail.STAGES if stage != "TLS"]
    assert len(list(Path(cloud.smtp.messages_dir).glob("*"))) == before, "no message is sent"
    assert evaluated(found) is Status.PASS


@pytest.mark.parametrize(
    ("changes", "stage", "code", "reason"),
    [
        ({"HOST": "no-such.invalid"}, "DNS", None, ""),
        ({"PORT": 9}, "TCP", None, "Connection refused"),
        ({"HOST_PASSWORD": "canary-wrong"}, "AUTH", 535, "535 5.7.8 Authentication credentials invalid"),
        ({"HOST_PASSWORD": "canary-ü"}, "AUTH", None, "the login has characters that SMTP cannot send"),
        ({"HOST_USER": "unknown@shop.net"}, "AUTH", 535, "535 5.7.8 Authentication credentials invalid"),
        ({"USE_TLS": False, "USE_SSL": True}, "TLS", None, ""),
        ({"USE_TLS": False}, "AUTH", None, ""),
    ],
)
def test_failed_stage_is_reported(login, changes, stage, code, reason):
    found = login(**changes)
    assert (found.failed_stage, found.code) == (stage, code)
    assert found.reason.startswith(reason)
    assert "canary" not in repr(found)
    assert evaluated(found) is Status.FAIL


def test_a_failure_in_django_without_partial_connections(login, monkeypatch):
    create = mail._connection

    def without_partial_connection() -> Any:
        connection = create()
        vars(connection).pop("_partial_connection", None)
        return connection

    monkeypatch.setattr(mail, "_connection", without_partial_connection)
    assert login(HOST="no-such.invalid").failed_stage == "DNS"


@pytest.mark.slow
def test_a_port_with_implicit_tls_needs_the_setting_for_it(login, monkeypatch):
    """EMAIL_USE_TLS waits in vain for the greeting of a server that waits for TLS."""
    monkeypatch.setattr(mail, "TIMEOUT", 0.5)
    with silent_port() as port:
        assert login(PORT=port).failed_stage == "TCP"


def test_implicit_tls(login, tmp_path, monkeypatch):
    """As on port 465: TLS from the first byte."""
    issued = certificates.issue(tmp_path, "db.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(issued.ca_file))
    with ports.reserve() as reserved:
        port = ports.number(reserved)
    server = Controller(
        Sink(),
        hostname="127.0.0.1",
        port=port,
        server_hostname="localhost",
        ready_timeout=30,
        ssl_context=certificates.server_context(issued.mail),
        auth_require_tls=False,  # aiosmtpd knows only the TLS of STARTTLS.
        authenticator=lambda *arguments: AuthResult(success=arguments[-1].password == b"right", handled=False),
    )
    server.start()
    try:
        found = login(PORT=port, HOST_PASSWORD="right", USE_TLS=False, USE_SSL=True)
        wrong = login(PORT=port, HOST_PASSWORD="wrong", USE_TLS=False, USE_SSL=True)
    finally:
        server.stop()
    assert (found.failed_stage, found.reason, found.is_encrypted) == ("", "", True)
    assert evaluated(found) is Status.PASS
    assert (wrong.failed_stage, wrong.code) == ("AUTH", 535)


@pytest.mark.parametrize("name", ["console", "dummy", "locmem", "filebased"])
def test_backends_that_send_nothing(login, name, tmp_path):
    options = {"FILE_PATH": str(tmp_path)} if name == "filebased" else {}
    found = login(BACKEND=f"django.core.mail.backends.{name}.EmailBackend", **options)
    assert found.backend == f"django.core.mail.backends.{name}.EmailBackend"
    assert (evaluated(found), evaluated(found, "pre-launch")) == (Status.FAIL, Status.WARN)


def test_a_backend_that_cannot_be_loaded(login):
    with pytest.raises(ConfigurationError, match=r"Django could not create its mailer: .*shop_mail") as caught:
        login(BACKEND="shop_mail.Backend")
    assert caught.value.hint == "Correct MAILERS['default'], or EMAIL_BACKEND before Django 6.1"


@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django has no MAILERS")
def test_no_default_mailer(settings):
    settings.MAILERS = {}
    with pytest.raises(ConfigurationError, match="The mailer 'default' is not configured"):
        mail.mail_login()


@pytest.mark.parametrize(
    ("sender", "status"),
    [("webmaster@localhost", Status.FAIL), ("a@example.com", Status.FAIL), ("a@shop.net", Status.PASS)],
)
def test_the_default_sender_is_evaluated(login, sender, status):
    assert evaluated(login(FROM=sender)) is status


def test_untrusted_certificate(login, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    found = login()
    assert (found.failed_stage, found.reason.partition(":")[0]) == ("STARTTLS", "certificate verify failed")


@pytest.mark.parametrize(
    ("lines", "stage", "reason"),
    [
        ((b"554 go away",), "TCP", "554 go away"),
        ((b"220 hello", b"500 what?", b"500 what?"), "EHLO", "500 what?"),
        ((b"220 hello", b"250 no extensions"), "STARTTLS", "STARTTLS extension not supported by server."),
        ((b"220 hello",), "EHLO", "Connection unexpectedly closed"),
    ],
)
def test_incomplete_responses(login, lines, stage, reason):
    with responding(*lines) as port:
        found = login(HOST="127.0.0.1", PORT=port)
    assert (found.failed_stage, found.reason) == (stage, reason)


def test_a_server_that_refuses_every_sender(login):
    lines = (b"220 hello", b"250 no extensions", b"554 not from you")
    with responding(*lines) as port:
        found = login(HOST="127.0.0.1", PORT=port, USE_TLS=False, HOST_USER="", HOST_PASSWORD="")
    assert (found.failed_stage, found.code, found.has_login) == ("MAIL FROM", 554, False)


def test_quoted_values_are_redacted(login):
    with responding(b"554 127.0.0.1 does not like you") as port:
        assert login(HOST="127.0.0.1", PORT=port).reason == "554 … does not like you"


@pytest.mark.parametrize("sent", ["{password}", "\0{user}\0{password}", "{user}"], ids=["LOGIN", "PLAIN", "user"])
def test_quoted_login_is_redacted_in_base64(login, sent):
    quoted = b64encode(sent.format(user="canary-user", password="canary-password").encode())
    with responding(b"554 no: " + quoted + b" is wrong") as port:
        found = login(HOST="127.0.0.1", PORT=port, HOST_USER="canary-user", HOST_PASSWORD="canary-password")
    assert found.reason == "554 no: … is wrong"


def test_relay_without_login(login, tmp_path, monkeypatch):
    issued = certificates.issue(tmp_path, "db.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(issued.ca_file))
    context = certificates.server_context(issued.mail)
    with smtp_server(tmp_path / "messages", "unused", context, requires_login=False) as server:
        found = login(PORT=server.port, HOST_USER="", HOST_PASSWORD="")
    assert (found.failed_stage, found.has_login, list((tmp_path / "messages").iterdir())) == ("", False, [])
    assert evaluated(found) is Status.PASS


def test_server_that_requires_a_login_is_not_a_relay(login):
    found = login(HOST_USER="", HOST_PASSWORD="")
    assert (found.failed_stage, found.code, found.reason) == ("MAIL FROM", 530, "530 5.7.0 Authentication required")
