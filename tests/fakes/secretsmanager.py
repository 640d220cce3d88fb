"""A strict stand-in for boto3's Secrets Manager client: what the service promises, and every way it can fail.

Stricter than an emulator: labels sit on one version only, move at once and by compare-and-swap; sizes and quotas hold.
Calls have names: ``Describe``, ``Get AWSCURRENT``, ``Get version``, ``Put``, ``Move <label>``, ``Drop <label>``,
``Create``, ``Restore``.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from botocore.exceptions import ParamValidationError

from tests.fakes.errors import fail

CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
MAXIMUM_BYTES, MAXIMUM_LABELS = 65_536, 20

Answer = TypeVar("Answer")
Action = Callable[[], object]


@contextmanager
def patch(holder: Fake, name: str, value: object) -> Iterator[None]:
    held = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, held)


@dataclass
class Stored:
    """One secret: its versions (None: a version without a value) and the version that each label sits on."""

    versions: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    tags: list[dict[str, str]] = field(default_factory=list)
    kms_key_id: str = ""

    def labels_of(self, version: str) -> list[str]:
        return sorted(label for label, at in self.labels.items() if at == version)

    def move(self, label: str, version: str) -> None:
        """Put `label` on `version` and off every other; AWSPREVIOUS follows AWSCURRENT by itself."""
        held = self.labels.get(label)
        if label not in self.labels_of(version) and len(self.labels_of(version)) >= MAXIMUM_LABELS:
            fail("LimitExceededException", f"A version can have up to {MAXIMUM_LABELS} staging labels.")
        if label == CURRENT and held and held != version:
            self.labels[PREVIOUS] = held
        self.labels[label] = version
        if self.labels.get(PREVIOUS) == self.labels.get(CURRENT):
            self.labels.pop(PREVIOUS, None)


@dataclass
class _Planned:
    name: str
    when: str
    action: Action | BaseException
    times: int
    skip: int

    def is_due(self, name: str) -> bool:
        """Whether this is for the call that begins now, which counts."""
        if self.name not in (name, "*"):
            return False
        self.skip -= 1
        self.times -= self.skip < 0
        return self.skip < 0 <= self.times


class Fake:
    """The secrets of one account and Region, of which the tests look at the one named `name`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.secrets: dict[str, Stored] = {}
        self.calls: list[str] = []
        self._planned: list[_Planned] = []
        self._before_last_write = self.secrets
        self._stale_reads = 0
        self._is_inside = False

    def on(
        self, call: str, action: Action | BaseException = int, *, when: str = "before", times: int = 1, skip: int = 0
    ) -> None:
        """Do something at a call: raise an error, run another writer, go back to old reads.

        Args:
            call: the call's name, or ``*`` for any; the first `skip` of them pass, the next `times` are meant.
            action: what to call or to raise; calls made inside are neither recorded nor disturbed.
            when: ``before`` it takes effect; ``after`` (the answer is lost if `action` is an error); or ``again``:
                the answer is lost and botocore sends the same request once more by itself.
        """
        self._planned.append(_Planned(call, when, action, times, skip))

    def forget(self) -> None:
        """Everything that was still to happen at a call."""
        self._planned.clear()
        self._stale_reads = 0

    def read_stale(self, times: int) -> None:
        """The next `times` reads see the state before the last write."""
        self._stale_reads = times

    @property
    def stored(self) -> Stored:
        return self.secrets[self.name]

    @property
    def current(self) -> Any:
        """The text that AWSCURRENT names."""
        value = self.stored.versions[self.stored.labels[CURRENT]]
        assert value is not None
        return value["SecretString"]

    def create_secret(
        self, *, Name: str, Tags: list[dict[str, str]] | None = None, KmsKeyId: str = "", **request: Any
    ) -> dict[str, Any]:
        """Refuses a name that is taken, even where the token is the same: the least that the service may do."""

        def create() -> dict[str, Any]:
            if Name in self.secrets and self.secrets[Name].deleted:
                fail("InvalidRequestException", "a secret with this name is already scheduled for deletion.")
            if Name in self.secrets:
                fail("ResourceExistsException", f"the secret {Name} already exists.")
            self.secrets[Name] = Stored(tags=Tags or [], kms_key_id=KmsKeyId)
            return self._put(Name, **request) if request else {"Name": Name}

        return self._write("Create", create)

    def restore_secret(self, *, SecretId: str) -> dict[str, Any]:
        def restore() -> dict[str, Any]:
            self._find(SecretId, may_be_deleted=True).deleted = False
            return {"Name": SecretId}

        return self._write("Restore", restore)

    def describe_secret(self, *, SecretId: str) -> dict[str, Any]:
        def describe() -> dict[str, Any]:
            secret = self._find(SecretId, may_be_deleted=True)
            stages = {version: secret.labels_of(version) for version in secret.versions}
            answer: dict[str, Any] = {"ARN": f"arn:aws:secretsmanager:us-east-1:1:secret:{SecretId}", "Name": SecretId}
            if any(stages.values()):
                answer["VersionIdsToStages"] = {version: labels for version, labels in stages.items() if labels}
            return answer | ({"DeletedDate": datetime(2030, 1, 1, tzinfo=UTC)} if secret.deleted else {})

        return self._read("Describe", describe)

    def get_secret_value(self, *, SecretId: str, VersionId: str = "", VersionStage: str = "") -> dict[str, Any]:
        def get() -> dict[str, Any]:
            secret = self._find(SecretId)
            stage = VersionStage or ("" if VersionId else CURRENT)
            version = VersionId or secret.labels.get(stage, "")
            if stage and VersionId and secret.labels.get(stage) != VersionId:
                fail("InvalidParameterException", "You provided a VersionStage that is not associated to the version.")
            value = secret.versions.get(version)
            if value is None:
                what = f"VersionId: {VersionId}" if VersionId else f"staging label: {stage}"
                fail("ResourceNotFoundException", f"Secrets Manager can't find the specified secret value for {what}")
            return {"Name": SecretId, "VersionId": version, "VersionStages": secret.labels_of(version), **value}

        return self._read("Get version" if VersionId else f"Get {VersionStage or 'default'}", get)

    def put_secret_value(self, *, SecretId: str, **request: Any) -> dict[str, Any]:
        return self._write("Put", lambda: self._put(SecretId, **request))

    def update_secret_version_stage(
        self, *, SecretId: str, VersionStage: str, MoveToVersionId: str = "", RemoveFromVersionId: str = ""
    ) -> dict[str, Any]:
        def update() -> dict[str, Any]:
            secret = self._find(SecretId)
            held = secret.labels.get(VersionStage, "")
            if MoveToVersionId and MoveToVersionId not in secret.versions:
                fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret version.")
            if held != RemoveFromVersionId:
                fail("InvalidParameterException", f"Staging label {VersionStage} is attached to {held or 'none'}.")
            if not MoveToVersionId and (VersionStage == CURRENT or not held):
                fail("InvalidParameterException", f"You can only move staging label {VersionStage}.")
            if MoveToVersionId:
                secret.move(VersionStage, MoveToVersionId)
            else:
                del secret.labels[VersionStage]
            return {"Name": SecretId}

        return self._write(f"{'Move' if MoveToVersionId else 'Drop'} {VersionStage}", update)

    def _put(
        self, name: str, *, ClientRequestToken: str = "", VersionStages: list[str] | None = None, **value: Any
    ) -> dict[str, Any]:
        token = ClientRequestToken or str(uuid.uuid4())
        content = value.get("SecretString", "").encode() or value.get("SecretBinary", b"")
        if not 32 <= len(token) <= 64 or (VersionStages is not None and not 1 <= len(VersionStages) <= MAXIMUM_LABELS):
            raise ParamValidationError(report="ClientRequestToken has 32 to 64 characters, VersionStages 1 to 20 items")
        if len(value) != 1 or not 1 <= len(content) <= MAXIMUM_BYTES:
            fail("InvalidParameterException", f"one of SecretString and SecretBinary, of 1 to {MAXIMUM_BYTES} bytes.")
        secret = self._find(name)
        if secret.versions.get(token) not in (None, value):
            fail("ResourceExistsException", f"You can't use ClientRequestToken {token} because that value is in use.")
        if secret.versions.get(token) is None:
            is_first = CURRENT not in secret.labels
            secret.versions[token] = value
            for label in {*(VersionStages or [CURRENT]), *([CURRENT] if is_first else [])}:
                secret.move(label, token)
        return {"Name": name, "VersionId": token, "VersionStages": secret.labels_of(token)}

    def _find(self, name: str, *, may_be_deleted: bool = False) -> Stored:
        if name not in self.secrets:
            fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        if self.secrets[name].deleted and not may_be_deleted:
            fail("InvalidRequestException", "You can't perform this operation on the secret: marked for deletion.")
        return self.secrets[name]

    def _read(self, name: str, work: Callable[[], Answer]) -> Answer:
        def read() -> Answer:
            if self._is_inside or not self._stale_reads:
                return work()
            self._stale_reads -= 1
            with patch(self, "secrets", self._before_last_write):
                return work()

        return self._call(name, read)

    def _write(self, name: str, work: Callable[[], Answer]) -> Answer:
        def write() -> Answer:
            before = copy.deepcopy(self.secrets)
            try:
                answer = work()
            except Exception:
                self.secrets = before  # All or nothing.
                raise
            if before != self.secrets:
                self._before_last_write = before
            return answer

        return self._call(name, write)

    def _call(self, name: str, work: Callable[[], Answer]) -> Answer:
        if self._is_inside:
            return work()
        self.calls.append(name)
        due = [planned for planned in self._planned if planned.is_due(name)]
        self._act(due, "before")
        for _ in (planned for planned in due if planned.when == "again"):
            work()
        answer = work()
        self._act(due, "after")
        return answer

    def _act(self, due: list[_Planned], when: str) -> None:
        for planned in (planned for planned in due if planned.when == when):
            if isinstance(planned.action, BaseException):
                raise planned.action
            with patch(self, "_is_inside", True):
                planned.action()
