"""The SMTP server is one that a real mail client has to log in to."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

import pytest

from localcloud import CloudState


def message(subject: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "shop@example.com", "customer@example.com", subject
    made.set_content("Grüße")
    return made


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
def test_starttls_login_and_a_message(cloud: CloudState, mechanism: str) -> None:
    context = ssl.create_default_context(cafile=cloud.ca_file)
    with smtplib.SMTP("localhost", cloud.smtp.port, timeout=5) as client:
        client.starttls(context=context)
        client.user, client.password = cloud.smtp.user, cloud.smtp.password
        client.ehlo()
        client.auth(mechanism[5:].upper(), getattr(client, mechanism))
        client.send_message(message(f"by {mechanism}"))
    kept = [path.read_text(encoding="utf-8") for path in Path(cloud.smtp.messages_dir).glob("*.eml")]
    assert [text for text in kept if f"Subject: by {mechanism}" in text]


def test_a_wrong_password_is_refused(cloud: CloudState) -> None:
    with smtplib.SMTP(cloud.smtp.host, cloud.smtp.port, timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=cloud.ca_file))
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            client.login(cloud.smtp.user, "wrong")
    assert caught.value.smtp_code == 535


def test_nothing_goes_without_tls_or_login(cloud: CloudState) -> None:
    with smtplib.SMTP(cloud.smtp.host, cloud.smtp.port, timeout=5) as client:
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.send_message(message("plain"))
        assert caught.value.smtp_code == 530
    with smtplib.SMTP(cloud.smtp.host, cloud.smtp.port, timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=cloud.ca_file))
        with pytest.raises(smtplib.SMTPSenderRefused) as caught:
            client.send_message(message("anonymous"))
        assert caught.value.smtp_code == 530
