"""What the application's role, and the one that ECS starts it with, are asked about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploytools.verification.sources.iam import fetched, key_arn
from tests.verification.world import ARN, CONTAINER, WORLD

KEYS = "arn:aws:kms:us-east-1:123456789012"


@pytest.mark.parametrize(
    ("key", "arn"),
    [
        ("", ""),
        ("1234abcd", f"{KEYS}:key/1234abcd"),
        (f"{KEYS}:key/1234abcd", f"{KEYS}:key/1234abcd"),
        ("alias/shop", "*"),
        (f"{KEYS}:alias/shop", "*"),
    ],
)
def test_the_key_by_its_arn(key, arn):
    assert key_arn(replace(WORLD["secret_description"], key=key)) == arn


def test_what_ecs_fetches_is_a_whole_secret_once():
    named = (
        ("A", f"{ARN}:django_secret_key::"),
        ("B", f"{ARN}:password:AWSCURRENT:"),
        ("C", ARN),
        ("D", "/shop/level"),
    )
    definition = replace(WORLD["task_definition"], containers=(replace(CONTAINER, secrets=named),))
    assert fetched(definition) == (ARN, "/shop/level")
