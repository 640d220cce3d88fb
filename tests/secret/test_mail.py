"""The mail presets, and the derivation of SES's SMTP password against published vectors."""

from __future__ import annotations

import pytest

from deploytools.secret.contract import problems
from deploytools.secret.document import Document
from deploytools.secret.mail import preset, smtp_password, with_derived_password
from deploytools.secret.value import Secret
from tests.secret.samples import SES_PASSWORD, SES_USER, good

SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY"


@pytest.mark.parametrize(
    ("region", "secret_key", "expected"),
    [
        ("eu-central-1", "some+secret+key", "BMXhUYlu5Z3gSXVQORxlVa7XPaz91aGWdfHxvkOZdWZ2"),
        ("eu-central-1", "another+secret+key", "BBbphbrQmrKMx42d1N6+C7VINYEBGI5v9VsZeTxwskfh"),
        ("us-west-1", "some+secret+key", "BH+jbMzper5WwlwUar9E1ySBqHa9whi0GPo+sJ0mVYJj"),
        ("us-west-1", "another+secret+key", "BKVmjjMDFk/qqw8EROW99bjCS65PF8WKvK5bSr4Y6EqF"),
    ],
)
def test_the_published_vectors(region, secret_key, expected):
    """Those of terraform-provider-aws (``TestSESSMTPPasswordFromSecretKeySigV4``)."""
    assert smtp_password(Secret(secret_key), region) == Secret(expected)


@pytest.mark.parametrize(
    ("provider", "region", "host"),
    [
        ("gmail", "us-east-1", "smtp.gmail.com"),
        ("ses", "us-east-1", "email-smtp.us-east-1.amazonaws.com"),
        ("ses", "cn-north-1", "email-smtp.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_presets(provider, region, host):
    assert preset(provider, region) == Document({"email_host": host, "email_port": 587})


def test_what_is_derived_keeps_the_contract():
    given = with_derived_password(Document({"email_user": SES_USER, "email_password": SECRET_KEY}), "eu-west-1")
    assert list(given) == ["email_user", "email_password"]
    assert given["email_password"] == smtp_password(Secret(SECRET_KEY), "eu-west-1")
    assert problems(good(**{key: value.reveal() for key, value in given.items()}, email_host=SES), stage="launch") == ()


SES = "email-smtp.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("values", [{}, {"email_password": SES_PASSWORD}, {"email_password": 7}, {"email_user": "x"}])
def test_everything_else_stays_as_it_is(values):
    assert with_derived_password(Document(values), "eu-west-1") == Document(values)
