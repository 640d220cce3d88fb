"""What the two mail providers of the guide need in the secret, and the SMTP password of Amazon SES. Pure.

SES's SMTP password is derived from an IAM secret access key by the algorithm that AWS publishes
(https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html), so that the key itself is stored nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from deploytools.secret.document import Document
from deploytools.secret.pairs import GMAIL_HOST
from deploytools.secret.value import Secret

SUBMISSION = 587

#: What a provider's preset needs besides host and port.
NEEDED = ("email_user", "email_password")

IAM_SECRET_KEY = re.compile("[A-Za-z0-9+/]{40}")

_VERSION = b"\x04"


def preset(provider: str, region: str) -> Document:
    """Host and port.

    Args:
        provider: ``gmail`` or ``ses``.
        region: the AWS Region of SES.
    """
    host = GMAIL_HOST if provider == "gmail" else f"email-smtp.{region}.amazonaws.com{_suffix(region)}"
    return Document({"email_host": host, "email_port": SUBMISSION})


def with_derived_password(given: Mapping[str, Secret[Any]], region: str) -> Document:
    """`given`, where ``email_password`` is SES's SMTP password in place of the IAM secret key it is made from."""
    document = Document({}).merge(given)
    password = given.get("email_password", Secret(None)).reveal()
    if not isinstance(password, str) or not IAM_SECRET_KEY.fullmatch(password):
        return document
    return document.merge({"email_password": smtp_password(Secret(password), region)})


def smtp_password(secret_key: Secret[str], region: str) -> Secret[str]:
    """The SMTP password that belongs to an IAM secret access key in one Region."""
    signature = f"AWS4{secret_key.reveal()}".encode()
    for part in ("11111111", region, "ses", "aws4_request", "SendRawEmail"):
        signature = hmac.digest(signature, part.encode(), hashlib.sha256)
    return Secret(base64.b64encode(_VERSION + signature).decode())


def _suffix(region: str) -> str:
    return ".cn" if region.startswith("cn-") else ""
