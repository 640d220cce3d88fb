"""`load_secrets` for a production settings module. It fails closed, and imports no Django.

::

    from deploytools.loader import load_secrets

    secret = load_secrets("prod/shop", region="us-east-1", presets=("database", "django"))
    DATABASES["default"]["PASSWORD"] = secret["password"].reveal()
"""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.errors import SecretEmpty, SecretIncomplete, SecretNotFound
from deploytools.secrets.contract import FIELDS, by_name, is_placeholder, preset_fields, required_keys
from deploytools.secrets.document import Document, value_of

FIX_COMMAND = "python manage.py sync_secrets FILE"
TENANT_FIX_COMMAND = "python manage.py create_tenant_dbs"

_FILE = " FILE"

__all__ = ["load_secrets", "load_tenant_secret", "require_keys"]

#: Keys of a secret that a login needs.
LOGIN_KEYS = ("host", "port", "username", "password")

#: Required keys in which a placeholder counts as missing, because its value is public.
NO_PLACEHOLDER = ("password", "django_secret_key")


def load_secrets(
    name: str, *, region: str, presets: Iterable[str] = (), required: Iterable[str] = (), fix_command: str = FIX_COMMAND
) -> Document:
    """Read the current content of a secret, without a fallback to another source or a default value.

    The time-outs are a few seconds, so that a process does not hang at startup.

    Args:
        name: name or ARN of the secret in AWS Secrets Manager.
        region: AWS Region of the secret.
        presets: presets whose required keys must have a value, for example ``DEPLOYTOOLS["PRESETS"]``.
        required: other keys that must have a value. A placeholder is not a value for the keys in `NO_PLACEHOLDER`.
        fix_command: the command in the hint that adds missing keys. If it contains ``FILE``, it is `sync_secrets`, and
            with ``--create`` it sets the first value.

    Returns:
        A read-only mapping of masked values; ``secret["password"].reveal()`` is the password.

    Raises:
        SecretIncomplete: required keys are missing; the message lists all of them.
        SecretNotFound, SecretEmpty, SecretDeleted, SecretBinary, SecretNotJson: the secret cannot be used.
        NoCredentials, AccessDenied, Unreachable, Throttled, AwsError: AWS could not be queried.
        ConfigurationError: the AWS profile, the Region or a preset does not exist.
    """
    return load_version(name, region=region, presets=presets, required=required, fix_command=fix_command)[1]


def load_version(
    name: str, *, region: str, presets: Iterable[str], required: Iterable[str], fix_command: str
) -> tuple[str, Document]:
    """Return the ID of the current version, too. Otherwise as `load_secrets`."""
    from deploytools.secrets.reader import SecretReader  # boto3 takes long to import.

    fields = preset_fields(presets)
    try:
        version, document = SecretReader.connect(name, region).read_current()
    except (SecretNotFound, SecretEmpty) as error:
        if _FILE in fix_command:
            error.hint = error.hint.replace(FIX_COMMAND, fix_command)
        elif isinstance(error, SecretNotFound):
            error.hint = "Check the name, the Region and the account: aws sts get-caller-identity"
        else:
            error.hint = f"Set a value, then run: {fix_command}"
        raise
    required = [*required_keys(document, stage="launch", fields=fields), *required]
    require_keys(document, required, name=name, fix_command=fix_command)
    return version, document


def load_tenant_secret(name: str, *, region: str, fix_command: str = TENANT_FIX_COMMAND) -> Document:
    """Read a tenant's own secret (``host port username password dbname``), where each tenant has its own role.

    Args:
        name: name or ARN of the secret in AWS Secrets Manager.
        region: AWS Region of the secret.
        fix_command: the command in the hint that creates the secret.

    Returns:
        A read-only mapping of masked values.

    Raises:
        DeployError: as `load_secrets`.
    """
    try:
        return load_secrets(name, region=region, required=LOGIN_KEYS, fix_command=fix_command)
    except SecretIncomplete as error:
        error.hint = f"Run: {fix_command}"
        raise
    except (SecretNotFound, SecretEmpty) as error:
        message = f"{str(error).removesuffix('.')}; it is the tenant's own secret."
        raise type(error)(message, hint=f"Run: {fix_command}") from error


def require_keys(document: Document, required: Iterable[str], *, name: str, fix_command: str = FIX_COMMAND) -> None:
    """Check that `document` has a value for every key in `required`.

    An empty string and null are not values; for the keys in `NO_PLACEHOLDER`, neither is a placeholder.

    Raises:
        SecretIncomplete: required keys are missing; the message lists all of them.
    """
    missing = {key: reason for key in required if (reason := _missing_reason(document, key))}
    if missing:
        keys = "1 required key" if len(missing) == 1 else f"{len(missing)} required keys"
        raise SecretIncomplete(
            f"The secret {name} is missing {keys}: {', '.join(missing.values())}.",
            hint=f"Write them to a JSON file and run: {fix_command}",
            keys=missing,
        )


def _missing_reason(document: Document, key: str) -> str:
    """Return the key with the reason why it counts as missing, or "" if it has a value."""
    value = value_of(document, key)
    if value in ("", None):
        return key
    has_placeholder = key in NO_PLACEHOLDER and is_placeholder(value, by_name(FIELDS)[key])
    return f"{key} (it is a placeholder)" if has_placeholder else ""
