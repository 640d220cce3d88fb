"""Generated values, mail presets, and the derivation of the Amazon SES SMTP password."""

from __future__ import annotations

import random
import shlex
import urllib.parse

import pytest
from psycopg.conninfo import conninfo_to_dict

from deploytools.secrets.contract import FIELDS, by_name, find_problems, is_placeholder
from deploytools.secrets.document import Document, Secret
from deploytools.secrets.inputs import (
    ALPHABET,
    GENERATED_LENGTHS,
    generate,
    generated_keys,
    mail_server,
    smtp_password,
    with_smtp_password,
)
from tests.secrets.samples import SES_PASSWORD, SES_USER, good

PICK = random.Random(9).choice  # noqa: S311
FIELDS_BY_NAME = by_name(FIELDS)


def test_generated_keys():
    assert generated_keys(FIELDS) == ("password", "django_secret_key")
    assert list(generate(FIELDS, PICK)) == ["password", "django_secret_key"]
    assert list(generate(FIELDS, PICK, only=["password", "host"])) == ["password"]


def test_generated_values_satisfy_the_rules():
    for _ in range(200):
        for key, secret in generate(FIELDS, PICK).items():
            value = secret.reveal()
            assert FIELDS_BY_NAME[key].rule(value) is None
            assert not is_placeholder(value)
            assert len(value) == GENERATED_LENGTHS[key]


def test_generated_value_that_violates_the_rule_is_discarded():
    texts = iter("a" * 40 + ALPHABET)
    generated = generate(FIELDS, lambda _: next(texts), only=["password"])["password"].reveal()
    assert generated == ALPHABET[:40]


def test_generated_values_need_no_quoting_in_urls_shells_and_libpq():
    assert urllib.parse.quote(ALPHABET, safe="") == shlex.quote(ALPHABET) == ALPHABET
    assert conninfo_to_dict(f"password={ALPHABET} user=x")["password"] == ALPHABET
    assert conninfo_to_dict(f"postgresql://u:{ALPHABET}@h/d")["password"] == ALPHABET


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
def test_published_vectors(region, secret_key, expected):
    """The vectors of terraform-provider-aws (``TestSESSMTPPasswordFromSecretKeySigV4`)."""
    assert smtp_password(Secret(secret_key), region) == Secret(expected)


@pytest.mark.parametrize(
    ("provider", "region", "host"),
    [
        ("gmail", "us-east-1", "smtp.gmail.com"),
        ("ses", "us-east-1", "email-smtp.us-east-1.amazonaws.com"),
        ("ses", "cn-north-1", "email-smtp.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_mail_servers(provider, region, host):
    assert mail_server(provider, region) == Document({"email_host": host, "email_port": 587})


def test_derived_password_satisfies_the_contract():
    given = with_smtp_password(Document({"email_user": SES_USER, "email_password": SECRET_KEY}), "eu-west-1")
    assert list(given) == ["email_user", "email_password"]
    assert given["email_password"] == smtp_password(Secret(SECRET_KEY), "eu-west-1")
    assert (
        find_problems(good(**{key: value.reveal() for key, value in given.items()}, email_host=SES), stage="launch")
        == ()
    )


SES = "email-smtp.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("values", [{}, {"email_password": SES_PASSWORD}, {"email_password": 7}, {"email_user": "x"}])
def test_other_values_are_unchanged(values):
    assert with_smtp_password(Document(values), "eu-west-1") == Document(values)
