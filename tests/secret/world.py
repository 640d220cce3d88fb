"""A secret on the strict fake, and those who write it: we, another of us, a careless writer, a rotation."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from deploytools.secret.document import Document
from deploytools.secret.rollback import plan_rollback
from deploytools.secret.store import SecretStore
from deploytools.secret.sync import SecretState, SyncPlan, plan_sync
from tests.fakes.secretsmanager import CURRENT, PENDING, Fake

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

NAME, REGION = "prod/shop", "us-east-1"
FIRST = "1" * 32
STORED = {"a": "a0", "b": "b0", "kept": {"port": 5432, "big": 10**30, "yes": True, "none": None, "é": ["日本"]}}


def fake(**values: Any) -> Fake:
    """A secret whose first version holds `STORED` and `values`."""
    made = Fake(NAME)
    made.create_secret(Name=NAME, ClientRequestToken=FIRST, SecretString=text(STORED | values))
    made.calls.clear()
    return made


def text(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


def content(fake: Fake) -> Any:
    """What AWSCURRENT holds."""
    return json.loads(fake.current)


def store(fake: Fake) -> SecretStore:
    return SecretStore(cast("SecretsManagerClient", fake), NAME, REGION, sleep=lambda seconds: None)


def sync(fake: Fake, *, unset: Collection[str] = (), fills: dict[str, Any] | None = None, **given: Any) -> SyncPlan:
    """What the command does: read, plan, write. Returns the plan that was applied."""
    target = store(fake)

    def replan(state: SecretState) -> SyncPlan:
        return plan_sync(state, Document(given), stage="launch", unset=unset, fills=Document(fills or {}))

    return target.write(replan(target.read()), replan)


def roll_back(fake: Fake, version: str) -> None:
    """What ``--rollback VERSION`` does."""
    target = store(fake)
    target.roll_back(plan_rollback(target.read(), version, target.read_version(version), stage="launch"))


def overwrite(fake: Fake, version: str, **values: Any) -> None:
    """A careless writer: reads, changes, replaces, without looking whether anybody else did."""
    fake.put_secret_value(SecretId=NAME, ClientRequestToken=version, SecretString=text(content(fake) | values))


def start_rotation(fake: Fake, version: str, **values: Any) -> None:
    """createSecret of a rotation: AWSPENDING on what is current now, with new values."""
    fake.put_secret_value(
        SecretId=NAME,
        ClientRequestToken=version,
        SecretString=text(content(fake) | values),
        VersionStages=[PENDING],
    )


def finish_rotation(fake: Fake) -> None:
    """finishSecret of a rotation, as AWS's own functions do it: AWSPENDING stays where it is."""
    labels = fake.stored.labels
    if labels[PENDING] != labels[CURRENT]:
        fake.update_secret_version_stage(
            SecretId=NAME,
            VersionStage=CURRENT,
            MoveToVersionId=labels[PENDING],
            RemoveFromVersionId=labels[CURRENT],
        )
