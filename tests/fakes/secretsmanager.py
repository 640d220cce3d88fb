"""A strict fake of boto3's Secrets Manager client, with errors, crashes, lost responses and outdated reads.

It is stricter than an emulator: a label is attached to one version and moves by compare-and-swap, and limits apply.
Calls have names: ``Describe``, ``Get AWSCURRENT``, ``Get version``, ``List``, ``Put``, ``Move <label>``,
``Drop <label>``, ``Create``.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from botocore.exceptions import ClientError, ParamValidationError

from tests.fakes.errors import fail, retried

CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
MAXIMUM_BYTES, MAXIMUM_LABELS = 65_536, 20
#: When the first version of a secret is created; each other one is created an hour later.
START = datetime(2030, 1, 1, tzinfo=UTC)

Response = TypeVar("Response")
Action = Callable[[], object]


@contextmanager
def patch(fake: Fake, name: str, value: object) -> Iterator[None]:
    before = getattr(fake, name)
    setattr(fake, name, value)
    try:
        yield
    finally:
        setattr(fake, name, before)


@dataclass
class Stored:
    """One secret: its versions (None: without a value), and the version that each label is attached to."""

    versions: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    deleted: bool = False
    tags: list[dict[str, str]] = field(default_factory=list)
    kms_key_id: str = ""
    created: dict[str, datetime] = field(default_factory=dict)
    #: More members of the response of DescribeSecret, for example ``ReplicationStatus``.
    description: dict[str, Any] = field(default_factory=dict)

    def labels_of(self, version: str) -> list[str]:
        return sorted(label for label, at in self.labels.items() if at == version)

    def move(self, label: str, version: str) -> None:
        """Attach `label` to `version`; AWSPREVIOUS follows AWSCURRENT automatically."""
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
        """Count a call; return whether the action applies to it."""
        if self.name not in (name, "*"):
            return False
        self.skip -= 1
        self.times -= self.skip < 0
        return self.skip < 0 <= self.times


class Fake:
    """The secrets of one account and Region; the tests inspect the one named `name`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.secrets: dict[str, Stored] = {}
        self.calls: list[str] = []
        #: The versions of the secret `name` that have been current, in order.
        self.been_current: list[str] = []
        self._planned: list[_Planned] = []
        self._before_last_write = self.secrets
        self._stale_reads = 0
        self._is_inside = False

    def on(
        self, call: str, action: Action | BaseException = int, *, when: str = "before", times: int = 1, skip: int = 0
    ) -> None:
        """Plan an action at a call: an error, another writer, or outdated reads.

        Args:
            call: name of the call, or ``*`` for any.
            action: a function to call, or an exception to raise. The function's own calls are not recorded, and no
                actions apply to them.
            when: ``before`` the call takes effect; ``after`` it (an exception then means a lost response); or
                ``again``: the response is lost and boto3 retries the request.
            times: number of calls that the action applies to, after the first `skip` ones.
        """
        self._planned.append(_Planned(call, when, action, times, skip))

    def forget(self) -> int:
        """Cancel all planned actions; return how many have not happened."""
        remaining = sum(planned.times > 0 for planned in self._planned)
        self._planned.clear()
        self._stale_reads = 0
        return remaining

    def read_stale(self, times: int) -> None:
        """Make the next `times` reads return the state before the last write."""
        self._stale_reads = times

    @property
    def stored(self) -> Stored:
        return self.secrets[self.name]

    @property
    def current(self) -> Any:
        """The text of the version that AWSCURRENT is attached to."""
        value = self.stored.versions[self.stored.labels[CURRENT]]
        assert value is not None
        return value["SecretString"]

    def create_secret(
        self, *, Name: str, Tags: list[dict[str, str]] | None = None, KmsKeyId: str = "", **request: Any
    ) -> dict[str, Any]:
        """Reject a name in use, even with the same token: AWS does not document that it accepts it."""

        def create() -> dict[str, Any]:
            if Name in self.secrets and self.secrets[Name].deleted:
                fail("InvalidRequestException", "a secret with this name is already scheduled for deletion.")
            if Name in self.secrets:
                fail("ResourceExistsException", f"the secret {Name} already exists.")
            self.secrets[Name] = Stored(tags=Tags or [], kms_key_id=KmsKeyId)
            return self._put(Name, **request) if request else {"Name": Name}

        return self._write("Create", create)

    def describe_secret(self, *, SecretId: str) -> dict[str, Any]:
        def describe() -> dict[str, Any]:
            secret = self._find(SecretId, allow_deleted=True)
            stages = {version: secret.labels_of(version) for version in secret.versions}
            response: dict[str, Any] = {
                "ARN": f"arn:aws:secretsmanager:us-east-1:1:secret:{SecretId}",
                "Name": SecretId,
            }
            if secret.tags:
                response["Tags"] = secret.tags
            if any(stages.values()):
                response["VersionIdsToStages"] = {version: labels for version, labels in stages.items() if labels}
            response |= secret.description
            return response | ({"DeletedDate": datetime(2030, 1, 1, tzinfo=UTC)} if secret.deleted else {})

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
            created = {"CreatedDate": secret.created[version]} if version in secret.created else {}
            stages = secret.labels_of(version)
            return {"Name": SecretId, "VersionId": version, "VersionStages": stages, **created, **value}

        return self._read("Get version" if VersionId else f"Get {VersionStage or 'default'}", get)

    def list_secret_version_ids(
        self, *, SecretId: str, IncludeDeprecated: bool = False, NextToken: str = "0"
    ) -> dict[str, Any]:
        """Return two versions a page."""

        def list_versions() -> dict[str, Any]:
            secret, start = self._find(SecretId, allow_deleted=True), int(NextToken)
            versions = [version for version in secret.versions if IncludeDeprecated or secret.labels_of(version)]
            rows = [
                {"VersionId": version, "VersionStages": secret.labels_of(version)}
                | ({"CreatedDate": secret.created[version]} if version in secret.created else {})
                for version in versions[start : start + 2]
            ]
            more = {"NextToken": str(start + 2)} if start + 2 < len(versions) else {}
            return {"Name": SecretId, "Versions": rows, **more}

        return self._read("List", list_versions)

    def put_secret_value(self, *, SecretId: str, **request: Any) -> dict[str, Any]:
        return self._write("Put", lambda: self._put(SecretId, **request))

    def update_secret_version_stage(
        self, *, SecretId: str, VersionStage: str, MoveToVersionId: str = "", RemoveFromVersionId: str = ""
    ) -> dict[str, Any]:
        def update() -> dict[str, Any]:
            secret = self._find(SecretId)
            current = secret.labels.get(VersionStage, "")
            if MoveToVersionId and MoveToVersionId not in secret.versions:
                fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret version.")
            if current != RemoveFromVersionId:
                fail("InvalidParameterException", f"Staging label {VersionStage} is attached to {current or 'none'}.")
            if not MoveToVersionId and (VersionStage == CURRENT or not current):
                fail("InvalidParameterException", f"You can only move staging label {VersionStage}.")
            if MoveToVersionId:
                secret.move(VersionStage, MoveToVersionId)
            else:
                del secret.labels[VersionStage]
            return {"Name": SecretId}

        return self._write(f"{'Move' if MoveToVersionId else 'Drop'} {VersionStage}", update)

    def rotate_secret(self, *, SecretId: str, ClientRequestToken: str) -> dict[str, Any]:
        """Attach AWSPENDING to a version without a value, as AWS does before it invokes the rotation function."""

        def rotate() -> dict[str, Any]:
            secret = self._find(SecretId)
            if secret.labels.get(PENDING) not in (None, secret.labels.get(CURRENT)):
                fail("InvalidRequestException", "A previous rotation isn't complete.")
            secret.versions[ClientRequestToken] = None
            secret.move(PENDING, ClientRequestToken)
            secret.description["RotationEnabled"] = True
            return {"Name": SecretId, "VersionId": ClientRequestToken}

        return self._write("Rotate", rotate)

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
            secret.created[token] = START + timedelta(hours=len(secret.created))
            for label in {*(VersionStages or [CURRENT]), *([CURRENT] if is_first else [])}:
                secret.move(label, token)
        return {"Name": name, "VersionId": token, "VersionStages": secret.labels_of(token)}

    def _find(self, name: str, *, allow_deleted: bool = False) -> Stored:
        if name not in self.secrets:
            fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        if self.secrets[name].deleted and not allow_deleted:
            fail("InvalidRequestException", "You can't perform this operation on the secret: marked for deletion.")
        return self.secrets[name]

    def _read(self, name: str, call: Callable[[], Response]) -> Response:
        def read() -> Response:
            if self._is_inside or not self._stale_reads:
                return call()
            self._stale_reads -= 1
            with patch(self, "secrets", self._before_last_write):
                return call()

        return self._call(name, read)

    def _write(self, name: str, call: Callable[[], Response]) -> Response:
        def write() -> Response:
            before = copy.deepcopy(self.secrets)
            try:
                response = call()
            except Exception:
                self.secrets = before  # All or nothing.
                raise
            if before != self.secrets:
                self._before_last_write = before
            current = self.secrets[self.name].labels.get(CURRENT) if self.name in self.secrets else None
            if current and current not in self.been_current[-1:]:
                self.been_current.append(current)
            return response

        return self._call(name, write)

    def _call(self, name: str, call: Callable[[], Response]) -> Response:
        if self._is_inside:
            return call()
        self.calls.append(name)
        due = [planned for planned in self._planned if planned.is_due(name)]
        self._act(due, "before")
        retries = [call() for planned in due if planned.when == "again"]
        try:
            response = call()
        except ClientError as error:
            error.response["ResponseMetadata"]["RetryAttempts"] = len(retries)
            raise
        self._act(due, "after")
        return response

    def _act(self, due: list[_Planned], when: str) -> None:
        for planned in (planned for planned in due if planned.when == when):
            if isinstance(planned.action, ClientError) and when == "after":
                raise retried(planned.action)
            if isinstance(planned.action, BaseException):
                raise planned.action
            with patch(self, "_is_inside", True):
                planned.action()
