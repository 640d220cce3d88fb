"""`load_secrets`: what a production settings module imports. Fails closed, and imports no Django.

::

    from deploytools.loader import load_secrets

    secret = load_secrets("rds/startupwebapp/multi-tenant/master", region="us-east-1", required=("password", …))
    DATABASES["default"]["PASSWORD"] = secret["password"].reveal()
"""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.errors import SecretDeleted, SecretEmpty, SecretIncomplete, SecretNotFound
from deploytools.secret.contract import FIELDS, by_name, is_placeholder
from deploytools.secret.document import Document
from deploytools.secret.reader import SecretReader

#: The command that puts missing keys into the secret; a host project may name its own.
MEND = "python manage.py sync_secrets FILE"

_FILE = " FILE"

#: The command that makes a tenant's own secret, and the keys in it that a login needs.
MEND_TENANT = "python manage.py create_tenant_dbs"
LOGIN_KEYS = ("host", "port", "username", "password")

#: What must be nobody's guess: a placeholder in its place is known to everybody who has read the guide.
NO_PLACEHOLDER = ("password", "django_secret_key")


def load_secrets(name: str, *, region: str, required: Iterable[str] = (), mend: str = MEND) -> Document:
    """The current content of one secret, read once.

    Gives up after seconds, not minutes; never falls back to another source or a default value.

    Args:
        name: name or ARN of the secret in AWS Secrets Manager.
        region: its AWS Region.
        required: keys that must be present and not empty; `NO_PLACEHOLDER` must hold no placeholder either.
        mend: the command that the error names for putting in missing keys; one with ``FILE`` is `sync_secrets`, and
            names the way to a first value, and back from a deletion, too.

    Returns:
        A read-only mapping of masked values; ``secret["password"].reveal()`` is the password.

    Raises:
        SecretIncomplete: with *all* required keys that are missing.
        SecretNotFound, SecretEmpty, SecretDeleted, SecretBinary, SecretNotJson: why the secret cannot be used.
        NoCredentials, AccessDenied, Unreachable, Throttled, AwsError: why AWS did not give it.
        ConfigurationError: the AWS profile or Region does not exist.
    """
    try:
        _, document = SecretReader.connect(name, region).read_current()
    except SecretEmpty as error:
        error.hint = f"Put a first value: {mend} --create" if _FILE in mend else f"Give it a first value, then: {mend}"
        raise
    except SecretDeleted as error:
        by_hand = f"aws secretsmanager restore-secret --secret-id {name} --region {region}"
        error.hint = f"Bring it back: {mend.replace(_FILE, ' --restore') if _FILE in mend else by_hand}"
        raise
    require(document, required, name=name, mend=mend)
    return document


def load_tenant_secret(name: str, *, region: str, mend: str = MEND_TENANT) -> Document:
    """A tenant's own secret, with ``host port username password dbname``: where each tenant has a role of its own.

    Args:
        name: as for `load_secrets`.
        mend: the command that makes it.

    Raises:
        As `load_secrets`.
    """
    try:
        return load_secrets(name, region=region, required=LOGIN_KEYS, mend=mend)
    except SecretIncomplete as error:
        error.hint = f"Run: {mend}"
        raise
    except (SecretNotFound, SecretEmpty) as error:
        raise type(error)(f"{error}"[:-1] + ", the tenant's own.", hint=f"Run: {mend}") from error


def require(document: Document, required: Iterable[str], *, name: str, mend: str = MEND) -> None:
    """Raises `SecretIncomplete` naming every key of `required` that `document` lacks, or in whose place it has nothing.

    The empty text, null and, for `NO_PLACEHOLDER`, a placeholder are nothing.
    """
    missing = {key: said for key in required if (said := _lack(document, key))}
    if missing:
        raise SecretIncomplete(
            f"The secret {name} lacks {len(missing)} of the keys it needs: {', '.join(missing.values())}.",
            hint=f"Write them into a JSON file and run: {mend}",
            keys=missing,
        )


def _lack(document: Document, key: str) -> str:
    """The key, and what holds its place; empty where there is a value."""
    value = document[key].reveal() if key in document else None
    if value in ("", None):
        return key
    is_placed = key in NO_PLACEHOLDER and is_placeholder(value, by_name(FIELDS)[key])
    return f"{key} (only a placeholder is there)" if is_placed else ""
