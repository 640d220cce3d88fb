"""Documents that the tests share: the guide's two, and a valid one. All values are invented."""

from __future__ import annotations

from typing import Any

from deploytools.secrets.document import Document

ENDPOINT = "startupwebapp-multi-tenant-prod.cqbgoe8omhyh.us-east-1.rds.amazonaws.com"

#: The guide, Step 1: the secret at first.
GUIDE_STEP_1: dict[str, Any] = {
    "engine": "postgresql",
    "host": ENDPOINT,
    "port": 5432,
    "username": "django_app",
    "password": "AUTO_GENERATED_32_CHARS",
    "dbClusterIdentifier": "startupwebapp-multi-tenant-prod",
    "django_secret_key": "AUTO_GENERATED_50_CHARS",
    "stripe_secret_key": "sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY",
    "stripe_publishable_key": "pk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY",
    "email_host": "smtp.example.com",
    "email_port": 587,
    "email_user": "notifications@example.com",
    "email_password": "PLACEHOLDER_UPDATE_WITH_REAL_PASSWORD",
}

#: The guide, Step 3: the template of the file to upload.
GUIDE_STEP_3: dict[str, Any] = GUIDE_STEP_1 | {
    "password": "PASTE_EXISTING_PASSWORD_FROM_STEP_1",
    "django_secret_key": "PASTE_EXISTING_SECRET_KEY_FROM_STEP_1",
    "stripe_secret_key": "sk_test_placeholder_no_stripe_account_yet",
    "stripe_publishable_key": "pk_test_placeholder_no_stripe_account_yet",
    "email_host": "smtp.gmail.com",
    "email_user": "your-email@mosaicmeshai.com",
    "email_password": "REPLACE_WITH_GMAIL_APP_PASSWORD",
}

GOOD: dict[str, Any] = GUIDE_STEP_1 | {
    "password": "q7Zt2mXc9LbV4nRk8WsY3pHd6JfGa1Te",
    "django_secret_key": "k3%v8#w1!z5^x7&c9(b2)n4-m6=l0+p" + "QwErTyUiOpAsDfGhJkLz",
    "stripe_secret_key": "sk_live_" + "a1B2" * 6,
    "stripe_publishable_key": "pk_live_" + "c3D4" * 6,
    "email_host": "smtp.gmail.com",
    "email_user": "shop@mosaicmeshai.com",
    "email_password": "qwvzhtpmxkdrbnfs",
}
SES_USER = "AKIAIOSFODNN7ABCDEFG"
SES_PASSWORD = "BK" + "x9/Q+" * 8 + "zz"


def good(**changes: Any) -> Document:
    """Return `GOOD` with changes."""
    return Document(GOOD | changes)
