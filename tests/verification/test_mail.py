"""The dialogue with a real mail server, up to the login and stage by stage."""

from __future__ import annotations

import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploytools.errors import ConfigurationError, SecretIncomplete
from deploytools.secret.document import Document
from deploytools.secret.sync import SecretState
from deploytools.verification.sources import mail
from tests.sockets import silent_port


@pytest.fixture
def login(cloud, monkeypatch) -> dict[str, Any]:
    """What the secret says of the cloud's mail server, whose authority this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", cloud.ca_file)
    smtp = cloud.smtp
    return {
        "email_host": "localhost",
        "email_port": smtp.port,
        "email_user": smtp.user,
        "email_password": smtp.password,
    }


def secret(values: dict[str, Any]) -> SecretState:
    return SecretState("prod", "us-east-1", "v1", Document(values))


@contextmanager
def saying(*lines: bytes) -> Iterator[int]:
    """A port that greets with the first line and answers each thing said to it with the next; then it hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for line in lines:
                    connection.sendall(line + b"\r\n")
                    connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


def test_the_server_takes_the_login(login, cloud):
    before = len(list(Path(cloud.smtp.messages_dir).glob("*")))
    found = mail.mail_dialogue(secret(login))
    assert (found.broken, found.said) == ("", "")
    assert [stage for stage, _ in found.seconds] == list(mail.STAGES)
    assert len(list(Path(cloud.smtp.messages_dir).glob("*"))) == before, "no message is sent"


@pytest.mark.parametrize(
    ("changes", "stage", "code", "said"),
    [
        ({"email_host": "no-such.invalid"}, "name", None, ""),
        ({"email_port": 9}, "TCP", None, "Connection refused"),
        ({"email_password": "canary-wrong"}, "AUTH", 535, "535 5.7.8 Authentication credentials invalid"),
        ({"email_password": "canary-ü"}, "AUTH", None, "the login has characters that SMTP cannot send"),
        ({"email_user": "nobody@shop.net"}, "AUTH", 535, "535 5.7.8 Authentication credentials invalid"),
    ],
)
def test_the_stage_that_failed_is_named(login, changes, stage, code, said):
    found = mail.mail_dialogue(secret(login | changes))
    assert (found.broken, found.code) == (stage, code)
    assert found.said.startswith(said)
    assert "canary" not in repr(found)
    assert [name for name, _ in found.seconds] == list(mail.STAGES[: mail.STAGES.index(stage)])


def test_a_certificate_that_nobody_vouches_for(login, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    found = mail.mail_dialogue(secret(login))
    assert (found.broken, found.said.partition(":")[0]) == ("STARTTLS", "certificate verify failed")


@pytest.mark.parametrize(
    ("lines", "stage", "said"),
    [
        ((b"554 go away",), "TCP", "554 go away"),
        ((b"220 hello", b"500 what?", b"500 what?"), "EHLO", "500 what?"),
        ((b"220 hello", b"250 no extensions"), "STARTTLS", "STARTTLS extension not supported by server."),
        ((b"220 hello",), "EHLO", "Connection unexpectedly closed"),
    ],
)
def test_a_server_that_answers_half(login, lines, stage, said):
    with saying(*lines) as port:
        found = mail.mail_dialogue(secret(login | {"email_host": "127.0.0.1", "email_port": port}))
    assert (found.broken, found.said) == (stage, said)


def test_a_server_that_quotes_what_it_was_sent(login):
    with saying(
        b"220 hello", b"250 no extensions for localhost", b"554 who is notifications@mosaicmeshai.com?"
    ) as port:
        found = mail.mail_dialogue(secret(login | {"email_host": "127.0.0.1", "email_port": port}))
    assert (found.server, found.broken) == ("the mail server", "STARTTLS")
    with saying(b"554 127.0.0.1 does not like you") as port:
        found = mail.mail_dialogue(secret(login | {"email_host": "127.0.0.1", "email_port": port}))
    assert found.said == "554 … does not like you"


@pytest.mark.parametrize("sent", ["{password}", "\0{user}\0{password}", "{user}"], ids=["LOGIN", "PLAIN", "user"])
def test_a_server_that_quotes_the_login_as_it_was_sent(login, sent):
    quoted = b64encode(sent.format(user=login["email_user"], password=login["email_password"]).encode())
    with saying(b"554 no: " + quoted + b" is wrong") as port:
        found = mail.mail_dialogue(secret(login | {"email_host": "127.0.0.1", "email_port": port}))
    assert found.said == "554 no: … is wrong"


def test_a_server_that_says_nothing_is_given_up(login, monkeypatch):
    monkeypatch.setattr(mail, "TIMEOUT", 0.2)
    with silent_port() as port:
        found = mail.mail_dialogue(secret(login | {"email_host": "127.0.0.1", "email_port": port}))
    assert (found.broken, found.said) == ("TCP", "Connection unexpectedly closed: timed out")


def test_a_message_is_sent_when_asked_for(login, cloud):
    before = set(Path(cloud.smtp.messages_dir).glob("*.eml"))
    mail.send_test_mail(secret(login), "me@shop.net")
    (sent,) = set(Path(cloud.smtp.messages_dir).glob("*.eml")) - before
    text = sent.read_text()
    assert f"From: {cloud.smtp.user}" in text
    assert "To: me@shop.net" in text


def test_a_message_that_cannot_be_sent(login):
    with pytest.raises(ConfigurationError) as caught:
        mail.send_test_mail(secret(login | {"email_password": "canary-wrong"}), "me@shop.net")
    assert str(caught.value).startswith("No mail was sent: the mail server: AUTH failed: 535 ")
    assert "canary" not in str(caught.value)


def test_a_secret_without_a_mail_server(login):
    with pytest.raises(SecretIncomplete):
        mail.mail_dialogue(secret({**login, "email_host": ""}))
