"""AWS's rotation: Secrets Manager invokes `handler` once for each of four steps, and again if one fails.

The steps are those of `rotate_credentials`, which can also continue or cancel a rotation that this function began. The
environment of the Lambda function:

``MASTER_SECRET``
    Name or ARN of the secret with the master user's login. Not set: ``masterarn`` or ``master_password`` of the secret,
    or the secret that RDS manages for ``RDS_INSTANCE``.
``GRACE``
    Time after which PostgreSQL refuses the former login, for example ``24h``. Not set: it stays open until
    ``rotate_credentials password --finish``.
``DEPLOYTOOLS_APP_ROLE``, ``PGSSLROOTCERT``
    As for the commands.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.conf import parse_settings
from deploytools.errors import ConfigurationError, DeployError, Refused, SecretError, format_error
from deploytools.loader import LOGIN_KEYS, require_keys
from deploytools.postgres.connections import Connection, locked_session, translate_database_errors
from deploytools.rotation.rotation_plan import plan_rotation
from deploytools.rotation.rotation_state import command_for
from deploytools.rotation.rotation_steps import (
    CopySettings,
    CreateSecondLogin,
    CreateVersion,
    EndRotation,
    LimitLogin,
    OpenLogin,
    Switch,
    TestLogin,
)
from deploytools.rotation.rotation_store import RotationStore
from deploytools.rotation.rotator import Rotator
from deploytools.secrets.document import EMPTY, Document
from deploytools.secrets.plan import SecretState
from deploytools.secrets.versions import CURRENT, PENDING, ROTATING, parse_age, short_id
from deploytools.tenants.credentials import application_login, owner_role
from deploytools.tenants.master import find_master
from deploytools.tenants.operations import AssignLogin, GrantToMaster, Operation
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX
from deploytools.tenants.state import TENANT_COMMENT

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)  # Lambda's own level is WARNING.

#: The operations of a rotation's plan that each of AWS's steps executes. The last one tests the login again: AWS can
#: repeat steps, and a login that does not work must never become current.
STEPS: Mapping[str, tuple[type[Operation], ...]] = {
    "createSecret": (CreateVersion,),
    "setSecret": (CreateSecondLogin, GrantToMaster, CopySettings, AssignLogin, OpenLogin),
    "testSecret": (TestLogin,),
    "finishSecret": (TestLogin, Switch, EndRotation, LimitLogin),
}

#: Seconds to wait for another run.
LOCK_WAIT = 30


def handler(event: Mapping[str, Any], context: object) -> None:
    """Execute one step of AWS's rotation.

    Args:
        event: ``SecretId``, ``ClientRequestToken`` and ``Step``.

    Raises:
        DeployError: the step was refused, or failed. AWS repeats it.
    """
    try:
        _execute(event["SecretId"], event["ClientRequestToken"], event["Step"])
    except DeployError as error:
        logger.error(format_error(error))
        raise


def _execute(secret_id: str, token: str, step: str) -> None:
    if step not in STEPS:
        raise ConfigurationError(f"{step} is not a step of AWS's rotation.", hint=f"The steps are {', '.join(STEPS)}.")
    grace = _grace()
    store = replace(RotationStore.connect(secret_id, os.environ["AWS_DEFAULT_REGION"]), aws_version=token)
    secret = store.read()
    is_switched = _is_switched(store, secret)
    if is_switched and step != "finishSecret":
        return
    if not is_switched and step != "createSecret":
        _require_version(store, secret)
    require_keys(secret.document, LOGIN_KEYS, name=store.name)
    with _rotator(store, secret.document) as rotator:
        state = rotator.read()
        if is_switched and not state.has_leftover_labels:
            return
        steps = [operation for operation in plan_rotation(state, grace=grace) if isinstance(operation, STEPS[step])]
        rotator.run(steps)


def _grace() -> int:
    text = os.environ.get("GRACE", "")
    age = parse_age(text) if text else timedelta()
    if age is None:
        raise ConfigurationError(
            f"The environment variable GRACE has an invalid value: {text!r}.", hint="Set it to a time, for example 24h."
        )
    return int(age.total_seconds())


def _is_switched(store: RotationStore, secret: SecretState) -> bool:
    """Return whether the token's version is current, or a version with its login that replaced it.

    Raises:
        Refused: the secret does not rotate, or the token is not the one of its rotation.
    """
    if not secret.is_rotated:
        raise Refused(
            f"Rotation of {store.name} is not enabled.",
            hint=f"Enable it: aws secretsmanager rotate-secret --secret-id {store.name} --region {store.region} "
            "--rotation-lambda-arn ARN --rotation-rules AutomaticallyAfterDays=30",
        )
    labels = secret.labels.get(store.aws_version, ())
    if CURRENT in labels or PENDING in labels:
        return CURRENT in labels
    # The switch replaces a version if another writer has changed other keys since it was created.
    with suppress(SecretError):
        replaced = store.read_version(store.aws_version).document if not labels else EMPTY
        if _has_login(secret.document, replaced):
            return True
        pending = secret.pending_version
        if pending and _has_login(store.read_version(pending).document, replaced):
            return False
    raise Refused(
        f"Version {short_id(store.aws_version)} of {store.name} is not one of a rotation in progress.",
        hint=f"Start a rotation: aws secretsmanager rotate-secret --secret-id {store.name} --region {store.region}",
    )


def _has_login(document: Document, other: Document) -> bool:
    return "password" in other and all(document.get(key) == other.get(key) for key in ("username", "password"))


def _require_version(store: RotationStore, secret: SecretState) -> None:
    pending = secret.pending_version
    if not pending or ROTATING not in secret.labels[pending]:
        raise Refused(
            f"The version of AWSPENDING of {store.name} has no login yet: createSecret of this function has not run.",
            hint=f"Start the rotation again: aws secretsmanager rotate-secret --secret-id {store.name} "
            f"--region {store.region}",
        )
    host, expected = (_text(found, "host") for found in (store.read_version(pending).document, secret.document))
    if host != expected:
        raise Refused(
            f"The version of AWSPENDING of {store.name} has host {host}, AWSCURRENT has {expected}.",
            hint=f"Cancel the rotation: {command_for(_tenant(secret.document))} --abort. Then start it again.",
        )


@contextmanager
def _rotator(store: RotationStore, secret: Document) -> Iterator[Rotator]:
    instance = os.environ.get("RDS_INSTANCE", "")
    settings = parse_settings({"SECRET_NAME": store.name, "REGION": store.region, "RDS_INSTANCE": instance})
    named = os.environ.get("MASTER_SECRET") or _text(secret, "masterarn")
    master = find_master(settings, secret, username=None, named=named, interactive=False)
    tenant = _tenant(secret)
    owner = tenant or owner_role(settings, secret)
    with locked_session(master.login, wait=LOCK_WAIT) as connection:
        yield Rotator(
            connection,
            store,
            application_login(settings, secret),
            owner,
            [tenant] if tenant else _read_databases(connection, owner),
            tenant,
            on_step=lambda step: logger.info("%s", step),
        )


def _tenant(secret: Document) -> str:
    """Return the tenant whose own secret it is; empty: the shared secret, which can have ``dbname``, too."""
    name = _text(secret, "dbname")
    return name if _text(secret, "username") in (name, name + SECOND_LOGIN_SUFFIX) else ""


def _read_databases(connection: Connection, owner: str) -> list[str]:
    """Return the managed databases of `owner`: the function has no settings with the tenants."""
    with translate_database_errors("read the databases"):
        rows = connection.execute(
            "SELECT datname::text AS name FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE rolname = %s "
            "AND datallowconn AND starts_with(shobj_description(pg_database.oid, 'pg_database'), %s) ORDER BY datname",
            [owner, TENANT_COMMENT],
        ).fetchall()
    return [row.name for row in rows]


def _text(document: Document, key: str) -> str:
    return str(document[key].reveal()) if key in document else ""
