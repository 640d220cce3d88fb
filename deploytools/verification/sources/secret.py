"""Facts of the secret beside its content: rotation, who else may read it, and where its values lie about."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings

from deploytools import aws
from deploytools.conf import configuration
from deploytools.secret.contract import FIELDS, Problem, by_name, is_placeholder, missing, problems
from deploytools.secret.document import Document
from deploytools.secret.host import contract
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact
from deploytools.verification.sources.connection import Expectation

#: Where no code of the project lies.
SKIPPED = {".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".tox"}

#: A larger file is data; more files than these are somebody's home directory.
LARGEST_FILE, MOST_FILES = 1_000_000, 20_000

#: A shorter value is a word that may stand anywhere.
SHORTEST_VALUE = 12

#: Different characters that a credential has at least.
MANY_LETTERS = 10

#: In the table of the secret's fields, and known to whoever visits the shop or gets mail from it.
KNOWN_TO_ALL = {"stripe_publishable_key", "superuser_username", "superuser_email"}


@dataclass(frozen=True)
class OwnKeys:
    """The project's own keys of the secret, judged by the validators that it names for them.

    Attributes:
        declared: the keys of ``SECRET_FIELDS``.
        missing: those that the stage asks for and the secret lacks.
        problems: the rules that the others break.
    """

    declared: tuple[str, ...]
    missing: tuple[str, ...]
    problems: tuple[Problem, ...]


@fact()
def own_keys(secret: SecretState, expectation: Expectation) -> OwnKeys:
    """What ``DEPLOYTOOLS["SECRET_FIELDS"]`` says of the secret."""
    fields, stage = contract()[len(FIELDS) :], expectation.stage
    return OwnKeys(
        declared=tuple(field.name for field in fields),
        missing=missing(secret.document, (), stage=stage, fields=fields),
        problems=tuple(
            item for item in problems(secret.document, stage=stage, fields=fields) if item.key in by_name(fields)
        ),
    )


@dataclass(frozen=True)
class SecretDescription:
    """What DescribeSecret says; None where it says nothing.

    Attributes:
        key: the customer-managed key that encrypts it, by id, ARN or alias; empty: AWS's own, ``aws/secretsmanager``.
    """

    arn: str
    read_at: datetime
    rotates: bool | None
    rotated_at: datetime | None
    next_rotation: datetime | None
    key: str = ""


@fact(actions=("secretsmanager:DescribeSecret",))
def secret_description(secret: SecretState) -> SecretDescription:
    """The secret's ARN and the dates of its rotation."""
    with aws.calling("secretsmanager:DescribeSecret", f"the secret {secret.name} in {secret.region}"):
        said = aws.client("secretsmanager", secret.region).describe_secret(SecretId=secret.name)
    return SecretDescription(
        said["ARN"],
        datetime.now(UTC),
        said.get("RotationEnabled"),
        said.get("LastRotatedDate"),
        said.get("NextRotationDate"),
        "" if said.get("KmsKeyId", "").endswith("alias/aws/secretsmanager") else said.get("KmsKeyId", ""),
    )


@fact()
def secret_port(secret: SecretState) -> int | None:
    """The port that the secret names; None: it names none that is a number."""
    value = str(secret.document["port"].reveal()) if "port" in secret.document else ""
    return int(value) if value.isdecimal() else None


@dataclass(frozen=True)
class ResourcePolicy:
    """Who may do what with the secret besides the account's own identities.

    Attributes:
        account: the account that the secret is in.
        statements: the policy's statements; none where there is no policy.
    """

    account: str
    statements: tuple[Mapping[str, Any], ...]


@fact(actions=("secretsmanager:GetResourcePolicy",))
def secret_policy(secret: SecretState) -> ResourcePolicy:
    """The secret's resource policy."""
    with aws.calling("secretsmanager:GetResourcePolicy", f"the secret {secret.name} in {secret.region}"):
        said = aws.client("secretsmanager", secret.region).get_resource_policy(SecretId=secret.name)
    found = json.loads(said.get("ResourcePolicy") or "{}").get("Statement", [])
    statements = found if isinstance(found, list) else [found]
    return ResourcePolicy(said["ARN"].split(":")[4], tuple(statements))


@dataclass(frozen=True)
class StrayValues:
    """Where values of the secret lie about in the code.

    Attributes:
        directory: where was looked; empty: the project has no ``BASE_DIR``.
        files: how many files were read.
        is_complete: whether every file was.
        found: key, file and line of each; never the value.
        unreadable: files that could not be read.
        oversized: files that are too large to be code, and were not.
    """

    directory: str
    files: int
    is_complete: bool
    found: tuple[tuple[str, str, int], ...]
    unreadable: tuple[str, ...] = ()
    oversized: tuple[str, ...] = ()


@fact(deadline=60)
def stray_values(secret: SecretState) -> StrayValues:
    """The secret's own values, searched for in every text file of the project."""
    directory = getattr(settings, "BASE_DIR", None)
    if not directory:
        return StrayValues("", 0, True, ())
    root, values = Path(directory), telling_values(secret.document)
    found: list[tuple[str, str, int]] = []
    unread: dict[type, list[str]] = {TooLarge: [], Unreadable: []}
    paths = list(islice(_files(root), MOST_FILES + 1))
    for path in paths[:MOST_FILES]:
        name = str(path.relative_to(root))
        try:
            content = _read(path)
        except (TooLarge, Unreadable) as error:
            unread[type(error)].append(name)
            continue
        found += [(key, name, line) for key, line in _lines(content, values)]
    return StrayValues(
        str(root),
        min(len(paths), MOST_FILES),
        len(paths) <= MOST_FILES,
        tuple(found),
        tuple(unread[Unreadable]),
        tuple(unread[TooLarge]),
    )


def _lines(content: bytes, values: Mapping[str, bytes]) -> Iterator[tuple[str, int]]:
    for key, value in values.items():
        if (at := content.find(value)) >= 0:
            yield key, content.count(b"\n", 0, at) + 1


def telling_values(document: Document) -> dict[str, bytes]:
    """The values that would be a leak wherever they were seen: long enough, sensitive, and no placeholder."""
    texts = {key: secret.reveal() for key, secret in document.items()}
    fields = by_name(contract())
    return {
        key: value.encode()
        for key, value in texts.items()
        if isinstance(value, str)
        and len(value) >= SHORTEST_VALUE
        and (fields[key].is_sensitive if key in fields else _looks_random(value))
        and key not in KNOWN_TO_ALL
        and not is_placeholder(value)
    }


def _looks_random(value: str) -> bool:
    """Whether a value that no rule of ours knows is a credential, and not a name or an address."""
    is_mixed = any(letter.isdigit() for letter in value) and any(letter.isalpha() for letter in value)
    return is_mixed and len(set(value)) >= MANY_LETTERS and not re.search(r"://|@|\s|\.[a-z]+$", value)


def _files(root: Path) -> Iterator[Path]:
    """The files below `root`, in a fixed order; links are not followed."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(set(names) - SKIPPED)
        yield from (Path(directory, name) for name in sorted(files))


class TooLarge(Exception):
    """The file is data."""


class Unreadable(Exception):
    """Whether a value is in the file is not known."""


def _read(path: Path) -> bytes:
    """The file's content; nothing of a binary one, and of a link, whose target is read where it lies.

    Raises:
        TooLarge, Unreadable: nobody looked into it.
    """
    try:
        if path.is_symlink() or not path.is_file():
            return b""
        if path.stat().st_size > LARGEST_FILE:
            raise TooLarge
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable from error
    return b"" if b"\0" in content[:8192] else content


@dataclass(frozen=True)
class SettingsInUse:
    """Which of Django's settings hold what the secret holds.

    Attributes:
        agreeing, differing: names of settings.
    """

    agreeing: tuple[str, ...]
    differing: tuple[str, ...]


@fact()
def settings_in_use(secret: SecretState) -> SettingsInUse:
    """Django's server and credentials beside the secret's; a tenant's own login is in another secret."""
    database = settings.DATABASES.get("default", {})
    used = {
        "SECRET_KEY": (settings.SECRET_KEY, "django_secret_key"),
        "DATABASES['default']['HOST']": (database.get("HOST"), "host"),
        "EMAIL_HOST": (settings.EMAIL_HOST, "email_host"),
        "EMAIL_HOST_PASSWORD": (settings.EMAIL_HOST_PASSWORD, "email_password"),
    }
    if configuration.is_shared:
        used["DATABASES['default']['PASSWORD']"] = (database.get("PASSWORD"), "password")
        used["DATABASES['default']['USER']"] = (database.get("USER"), "username")
    by_agreement: dict[bool, list[str]] = {True: [], False: []}
    for name, (value, key) in used.items():
        if key in secret.document:
            by_agreement[str(secret.document[key].reveal()) == str(value)].append(name)
    return SettingsInUse(tuple(by_agreement[True]), tuple(by_agreement[False]))
