"""The SMTP server requires STARTTLS and a login."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

import pytest

from deploytools.local import CloudState


def make_message(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@example.com", "customer@example.com", subject
    message.set_content("Grüße")
    return message


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
def test_message(cloud: CloudState, mechanism: str) -> None:
    context = ssl.create_default_context(cafile=cloud.ca_file)
    with smtplib.SMTP("localhost", cloud.smtp.port, timeout=5) as client:
        client.starttls(context=context)
        client.user, client.password = cloud.smtp.user, cloud.smtp.password
        client.ehlo()
        client.auth(mechanism[5:].upper(), getattr(client, mechanism))
        client.send_message(make_message(f"by {mechanism}"))
    kept = [path.read_text(encoding="utf-8") for path in Path(cloud.smtp.messages_dir).glob("*.eml")]
    assert [text for text in kept if f"Subject: by {mechanism}" in text]


def test_wrong_password(cloud: CloudState) -> None:
    with smtplib.SMTP(cloud.smtp.host, cloud.smtp.port, timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=cloud.ca_file))
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            client.login(cloud.smtp.user, "wrong")
    assert caught.value.smtp_code == 535


def test_message_without_tls_or_login(cloud: CloudState) -> None:
    with smtplib.SMTP(cloud.smtp.host, cloud.smtp.port, timeout=5) as client:
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.send_message(make_message("plain"))
        assert caught.value.smtp_code == 530
    with smtplib.SMTP(cloud.smtp.host, cloud.smtp.port, timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=cloud.ca_file))
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.send_message(make_message("anonymous"))
        assert caught.value.smtp_code == 530
