"""Version IDs of a secret: short forms on the screen, ages, and where a version comes from. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from deploytools.errors import ConfigurationError, SecretError

#: AWS's staging labels.
CURRENT = "AWSCURRENT"
PREVIOUS = "AWSPREVIOUS"
PENDING = "AWSPENDING"

#: Label of a version of `sync_secrets` that is not current yet. It is always the same: a secret can have 20 labels, and
#: each crashed run would leave one behind. AWSPENDING belongs to rotation.
STAGED = "deploytools-pending"
NOT_CURRENT_YET = {PENDING, STAGED}

#: Labels of the version of an unfinished `rotate_credentials`, beside AWSPENDING, and what each rotates.
ROTATIONS = {"deploytools-rotation": "password", "deploytools-rotation-master": "master_password"}
ROTATING, ROTATING_MASTER = ROTATIONS

#: Characters of a short version ID.
SHORT = 8

#: IDs that AWS and these commands generate. Any other ID, for example Terraform's, begins with the same word as others.
GENERATED = re.compile(r"[0-9a-f][0-9a-f-]{31,63}")

#: The ID of a version that `sync_secrets` wrote: a SHA-256.
OWN = re.compile("[0-9a-f]{64}")
TERRAFORM = "terraform-"

#: An age, for example ``2h``.
AGE = re.compile(r"(\d{1,4})([mhd])")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def short_id(version: str, others: Collection[str] = ()) -> str:
    """Return the first characters of a generated ID, unless one of `others` begins with them."""
    short = version[:SHORT]
    is_unique = not any(other.startswith(short) for other in others if other != version)
    return short if GENERATED.fullmatch(version) and is_unique else version


def find_version(prefix: str, versions: Collection[str], *, name: str) -> str:
    """Return the one of `versions` that begins with `prefix`.

    Raises:
        SecretError: there is none.
        ConfigurationError: there are several, or `prefix` has fewer than 8 characters.
    """
    if prefix in versions:
        return prefix
    found = [version for version in versions if version.startswith(prefix)]
    if len(prefix) < SHORT or len(found) > 1:
        reason = f"matches {len(found)} versions" if len(found) > 1 else f"has fewer than {SHORT} characters"
        raise ConfigurationError(
            f"{prefix!r} {reason} of {name}.", hint="Pass more of the ID: python manage.py sync_secrets --history"
        )
    if not found:
        raise SecretError(
            f"{name} has no version {prefix}.", hint="List the versions: python manage.py sync_secrets --history"
        )
    return found[0]


def parse_age(text: str) -> timedelta | None:
    """Return the age that `text` is, or None: it is a version ID."""
    match = AGE.fullmatch(text)
    return timedelta(**{UNITS[match[2]]: int(match[1])}) if match else None


@dataclass(frozen=True)
class Version:
    """One version of a secret.

    Attributes:
        created: None: not in the AWS response.
    """

    id: str
    created: datetime | None = None
    labels: tuple[str, ...] = ()


def version_at(moment: datetime, versions: Sequence[Version], *, name: str) -> str:
    """Return the newest version that was created at `moment` or before, without versions that were only staged.

    Raises:
        SecretError: there is none.
    """
    dated = [
        (version.created, version.id)
        for version in versions
        if version.created
        and version.created <= moment
        and not (version.labels and {*version.labels} <= NOT_CURRENT_YET)
    ]
    if not dated:
        raise SecretError(
            f"{name} has no version that is that old.",
            hint="List the versions: python manage.py sync_secrets --history",
        )
    return max(dated)[1]


def origin(version: Version, tags: Mapping[str, str]) -> str:
    """Return what wrote a version, as far as its ID, its labels and the secret's tags show; empty: not known."""
    if version.id.startswith(TERRAFORM):
        return "Terraform"
    if OWN.fullmatch(version.id):
        return "sync_secrets"
    if PENDING in version.labels:
        return "rotation"
    stack = tags.get("aws:cloudformation:stack-name")
    return f"CloudFormation stack {stack}, or another writer" if stack else ""
