"""A secret on the strict fake, and its writers: our own runs, a careless writer, and a rotation."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState, SyncPlan, plan_rollback, plan_sync
from deploytools.secrets.store import SecretStore
from tests.fakes.secretsmanager import CURRENT, PENDING, Fake

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

NAME, REGION = "prod/shop", "us-east-1"
FIRST = "1" * 32
STORED = {"a": "a0", "b": "b0", "kept": {"port": 5432, "big": 10**30, "yes": True, "none": None, "é": ["日本"]}}


def fake(**values: Any) -> Fake:
    """Return a secret whose first version is `STORED` with `values`."""
    made = Fake(NAME)
    made.create_secret(Name=NAME, ClientRequestToken=FIRST, SecretString=text(STORED | values))
    made.calls.clear()
    return made


def empty() -> Fake:
    """Return a secret without a value."""
    made = Fake(NAME)
    made.create_secret(Name=NAME)
    made.calls.clear()
    return made


def empty_after_failed_rotation() -> Fake:
    made = empty()
    made.stored.versions["2" * 32] = None
    made.stored.labels["AWSPENDING"] = "2" * 32
    return made


def deleted() -> Fake:
    """Return a secret that is scheduled for deletion."""
    made = fake()
    made.stored.deleted = True
    return made


def text(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


def content(fake: Fake) -> Any:
    """Return the content of AWSCURRENT."""
    return json.loads(fake.current)


def store(fake: Fake) -> SecretStore:
    return SecretStore(cast("SecretsManagerClient", fake), NAME, REGION, sleep=lambda seconds: None)


def sync(fake: Fake, *, unset: Collection[str] = (), defaults: dict[str, Any] | None = None, **given: Any) -> SyncPlan:
    """Read, plan and write like the command; return the applied plan."""
    target = store(fake)

    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document(given), stage="launch", unset=unset, defaults=Document(defaults or {}))

    return target.write(replan(target.read()), replan)


def roll_back(fake: Fake, version: str) -> None:
    """Roll back like ``--rollback VERSION``."""
    target = store(fake)
    target.roll_back(plan_rollback(target.read(), version, target.read_version(version).document, stage="launch"))


def overwrite(fake: Fake, version: str, **values: Any) -> None:
    """Write carelessly: read, change and replace, without a check for other writers."""
    fake.put_secret_value(SecretId=NAME, ClientRequestToken=version, SecretString=text(content(fake) | values))


def start_rotation(fake: Fake, version: str, **values: Any) -> None:
    """Start a rotation (createSecret): AWSPENDING on a copy of the current version with new values."""
    fake.put_secret_value(
        SecretId=NAME,
        ClientRequestToken=version,
        SecretString=text(content(fake) | values),
        VersionStages=[PENDING],
    )


def finish_rotation(fake: Fake) -> None:
    """Finish a rotation (finishSecret) like AWS's own functions, which leave AWSPENDING attached."""
    labels = fake.stored.labels
    if labels[PENDING] != labels[CURRENT]:
        fake.update_secret_version_stage(
            SecretId=NAME,
            VersionStage=CURRENT,
            MoveToVersionId=labels[PENDING],
            RemoveFromVersionId=labels[CURRENT],
        )
