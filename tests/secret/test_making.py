"""What is made here keeps its own rules and survives where it goes."""

from __future__ import annotations

import random
import shlex
import urllib.parse

from psycopg.conninfo import conninfo_to_dict

from deploytools.secret.contract import FIELDS, by_name, is_placeholder
from deploytools.secret.making import ALPHABET, LENGTHS, make, makeable

PICK = random.Random(9).choice  # noqa: S311
ROWS = by_name(FIELDS)


def test_what_can_be_made():
    assert makeable(FIELDS) == ("password", "django_secret_key")
    assert list(make(FIELDS, PICK)) == ["password", "django_secret_key"]
    assert list(make(FIELDS, PICK, only=["password", "host"])) == ["password"]


def test_it_keeps_the_rules():
    for _ in range(200):
        for key, secret in make(FIELDS, PICK).items():
            value = secret.reveal()
            assert ROWS[key].rule(value) is None
            assert not is_placeholder(value)
            assert len(value) == LENGTHS[key]


def test_what_breaks_a_rule_is_thrown_away():
    texts = iter("a" * 40 + ALPHABET)
    made = make(FIELDS, lambda _: next(texts), only=["password"])["password"].reveal()
    assert made == ALPHABET[:40]


def test_it_survives_urls_shells_and_libpq():
    assert urllib.parse.quote(ALPHABET, safe="") == shlex.quote(ALPHABET) == ALPHABET
    assert conninfo_to_dict(f"password={ALPHABET} user=x")["password"] == ALPHABET
    assert conninfo_to_dict(f"postgresql://u:{ALPHABET}@h/d")["password"] == ALPHABET
