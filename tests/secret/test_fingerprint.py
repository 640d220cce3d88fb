"""Fingerprints tell whether two values are the same, and nobody can try values against them."""

from __future__ import annotations

import hashlib

import pytest

from deploytools.secret.contract import FIELDS, Field
from deploytools.secret.document import Document
from deploytools.secret.fingerprint import DIGITS, fingerprints
from tests.secret.samples import GOOD, GUIDE_STEP_1, good


def of(name: str = "prod/shop", **changes: object) -> dict[str, str]:
    return fingerprints(name, good(**changes), FIELDS)


def test_each_value_has_one():
    made = of()
    assert list(made) == list(GOOD)
    assert {len(text) for text in made.values()} == {DIGITS}
    assert len(set(made.values())) == len(made)
    assert of() == made


@pytest.mark.parametrize("key", ["email_user", "port", "stripe_secret_key"])
def test_another_value_has_another_and_the_rest_stays(key):
    before, after = of(), of(**{key: "another"})
    assert {name for name in before if before[name] != after[name]} == {key}


def test_types_and_secrets_do_not_look_equal():
    assert of(port=5432)["port"] != of(port="5432")["port"]
    assert of()["port"] != of("prod/other")["port"]
    assert of(a="x", b="x")["a"] != of(a="x", b="x")["b"]


@pytest.mark.parametrize("key", ["password", "django_secret_key"])
def test_they_hang_on_every_random_value(key):
    before, after = of(), of(**{key: GOOD[key][::-1]})
    assert [name for name in before if before[name] == after[name]] == []


def test_without_a_random_value_there_are_none():
    assert fingerprints("prod/shop", Document(GUIDE_STEP_1), FIELDS) == {}
    assert fingerprints("prod/shop", Document({"port": 5432}), FIELDS) == {}


@pytest.mark.parametrize("value", ["short", "q" * 31, 7, None])
def test_a_value_of_the_hosts_own_that_may_be_guessed_makes_no_key(value):
    fields = [Field("salt", lambda _: None, "", made_by="password")]  # type: ignore[arg-type]
    assert fingerprints("prod/shop", Document({"salt": value, "port": 5432}), fields) == {}
    assert set(fingerprints("prod/shop", Document({"salt": "q" * 32, "port": 1}), fields)) == {"salt", "port"}


def test_a_word_list_does_not_find_a_value():
    """Hashes of the value, alone or with what is printed beside it."""
    shown = of(email_port=587)["email_port"]
    for text in ("587", "email_port587", "email_port\0587", "prod/shop587", '["email_port", 587]'):
        for algorithm in ("md5", "sha1", "sha256"):
            assert not hashlib.new(algorithm, text.encode()).hexdigest().startswith(shown)
