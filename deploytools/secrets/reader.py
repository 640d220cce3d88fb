"""Read one secret from AWS Secrets Manager. The client is an argument: the tests use a strict fake and an emulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self, cast

from deploytools import aws
from deploytools.errors import AwsError, NotFound, SecretBinary, SecretDeleted, SecretEmpty, SecretError, SecretNotFound
from deploytools.secrets.document import Document, Secret, parse
from deploytools.secrets.plan import SecretState
from deploytools.secrets.versions import CURRENT, SHORT, Version, find_version, parse_age, short_id, version_at

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

CREATE = "Create it from a JSON file: python manage.py sync_secrets FILE --create"
SETTINGS = 'DEPLOYTOOLS["SECRET_NAME"], DEPLOYTOOLS["REGION"]'

#: Attempts to read while AWS might return an outdated response.
READ_ATTEMPTS = 6

#: Characters that the ID of a version has at least.
FULL = 32


@dataclass(frozen=True)
class Content:
    """The content of one version.

    Attributes:
        created: time of its creation, in ISO 8601. Empty: not in the AWS response.
    """

    version: str
    document: Document
    created: str = ""


@dataclass(frozen=True)
class SecretReader:
    """One secret in one Region."""

    client: SecretsManagerClient
    name: str
    region: str
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def connect(cls, name: str, region: str) -> Self:
        """Return the secret `name` in `region`, with credentials from the environment. AWS is not queried yet."""
        return cls(aws.client("secretsmanager", region), name, region)

    def read_current(self) -> tuple[str, Document]:
        """Return version ID and content of AWSCURRENT. It needs only ``secretsmanager:GetSecretValue``.

        Raises:
            SecretNotFound, SecretEmpty, SecretDeleted, SecretBinary, SecretNotJson: the secret cannot be used.
            AwsError: AWS could not be queried.
        """
        current = self._read_current()
        return current.version, current.document

    def read(self) -> SecretState:
        """Return the secret with its labels. It reads again if AWSCURRENT moves between the two calls."""
        for _ in self._retries():
            current = self._read_current()
            description = self._describe()
            labels = _labels_of(description)
            if CURRENT in labels.get(current.version, ()):
                break
        return SecretState(
            self.name,
            self.region,
            current.version,
            current.document,
            labels,
            last_changed=_iso(description.get("LastChangedDate"), "seconds"),
            is_rotated=bool(description.get("RotationEnabled")),
            created=current.created,
            tags={tag["Key"]: tag["Value"] for tag in description.get("Tags") or ()},
            owning_service=description.get("OwningService") or "",
            primary_region=description.get("PrimaryRegion") or "",
            replicas=replicas_of(description),
        )

    def read_version(self, version: str) -> Content:
        """Return the content of a version, current or not.

        Raises:
            SecretError: the version does not exist, or has no value.
        """
        try:
            return self._get(VersionId=version)
        except AwsError as error:
            if not isinstance(error, NotFound) and aws.error_code(error) != "InvalidParameterException":
                raise
            raise SecretError(
                f"{self.name} in {self.region} has no version {version} with a value.",
                hint="List the versions: python manage.py sync_secrets --history",
            ) from error

    def read_stage(self, label: str) -> Content:
        """Return the content of the version that a staging label is attached to, for example ``AWSPREVIOUS``.

        Raises:
            NotFound: the label is not attached to a version with a value.
        """
        return self._get(VersionStage=label)

    def list_versions(self) -> tuple[Version, ...]:
        """Return all versions that AWS still has, the newest first; also those without a label, which AWS deletes."""
        found: list[Version] = []
        token: dict[str, Any] = {}
        while True:
            call = partial(self.client.list_secret_version_ids, SecretId=self.name, IncludeDeprecated=True, **token)
            response = self._ask("ListSecretVersionIds", "Versions", call)
            found += [
                Version(item["VersionId"], item.get("CreatedDate"), tuple(item.get("VersionStages") or ()))
                for item in response["Versions"]
            ]
            if not response.get("NextToken"):
                newest_first = reversed(found)  # Of versions with the same time, AWS returns the older one first.
                return tuple(
                    sorted(newest_first, key=lambda item: item.created.timestamp() if item.created else 0, reverse=True)
                )
            token = {"NextToken": response["NextToken"]}

    def find_version(self, text: str, state: SecretState, now: datetime) -> str:
        """Return the ID of the version that ``--rollback`` names.

        Args:
            text: the beginning of an ID, or an age. Empty: the previous version.

        Raises:
            ConfigurationError, SecretError: there is no such version, or more than one.
        """
        if not text:
            if state.previous_version is None:
                raise SecretError(
                    f"{state.name} has no previous version to roll back to.",
                    hint="Write the values instead: python manage.py sync_secrets FILE",
                )
            return state.previous_version
        if (age := parse_age(text)) is not None:
            return version_at(now - age, self.list_versions(), name=self.name)
        labeled = [version for version in state.labels if version.startswith(text)]
        if len(text) >= SHORT and len(labeled) == 1:
            return labeled[0]
        if len(text) >= FULL:
            return text
        return find_version(text, [version.id for version in self.list_versions()], name=self.name)

    def _read_current(self) -> Content:
        try:
            return self._get(VersionStage=CURRENT)
        except AwsError as error:
            raise self._explain(error) from error

    def _retries(self, attempts: int = READ_ATTEMPTS) -> Iterator[None]:
        for attempt in range(attempts):
            if attempt:
                self.sleep(0.05 * 2**attempt)
            yield

    def _get(self, **which: str) -> Content:
        version, text, created = self._get_text(**which)
        return Content(version, self._parse(text), created)

    def _get_text(self, **which: str) -> tuple[str, Secret[str | None], str]:
        """Return version ID, text and time of creation; the text is None if the value is binary."""
        call = partial(self.client.get_secret_value, SecretId=self.name, **which)
        response = self._ask("GetSecretValue", "VersionId", call)
        if not response.keys() & {"SecretString", "SecretBinary"}:
            raise self._empty_error()
        return response["VersionId"], Secret(response.get("SecretString")), _iso(response.get("CreatedDate"))

    def _get_version(self, version: str) -> Document:
        """Return the content of a new version; AWS might not find it at once."""
        for _ in self._retries(READ_ATTEMPTS + 1):
            with suppress(NotFound):
                return self._get(VersionId=version).document
        raise NotFound(
            f"AWS does not find version {short_id(version)} of {self.name}, which was just written.",
            hint="Run the command again: it writes the same version",
        )

    def _describe(self) -> Mapping[str, Any]:
        return self._ask("DescribeSecret", "Name", partial(self.client.describe_secret, SecretId=self.name))

    def _ask(self, operation: str, expected: str, call: Callable[[], Any]) -> Mapping[str, Any]:
        """Return AWS's response to one request about this secret; it must have the member `expected`.

        The request is inside of `call`: the frames of an error's traceback must not contain a value.
        """
        action, resource = f"secretsmanager:{operation}", f"the secret {self.name} in {self.region}"
        with aws.translate_aws_errors(action, resource):
            response: Mapping[str, Any] = call()
        if response.get(expected) in (None, ""):  # A page of versions can be empty.
            del response
            raise aws.incomplete_response(action, resource)
        return response

    def _labels(self) -> dict[str, tuple[str, ...]]:
        return _labels_of(self._describe())

    def _parse(self, text: Secret[str | None]) -> Document:
        if text.reveal() is None:
            raise SecretBinary(
                f"The secret {self.name} contains binary data (SecretBinary), not text.",
                hint='Check DEPLOYTOOLS["SECRET_NAME"]: it is another secret, or another tool writes it.',
            )
        return parse(cast(Secret[str], text), source=f"The secret {self.name}")

    def _explain(self, error: AwsError) -> Exception:
        """Return the reason of a failed read. Only DescribeSecret distinguishes absent, empty and deleted secrets."""
        if not isinstance(error, NotFound) and aws.error_code(error) != "InvalidRequestException":
            return error
        where = f"{self.name} in {self.region}"
        try:
            description = self._describe()
        except NotFound:
            return SecretNotFound(
                f"There is no secret {where}.",
                hint=f"{CREATE} (or, if it exists, check {SETTINGS} and the account: aws sts get-caller-identity; "
                f"aws secretsmanager list-secrets --region {self.region})",
            )
        except AwsError:
            return SecretNotFound(
                f"There is no secret {where} with a value, and secretsmanager:DescribeSecret is not allowed.",
                hint=f"{CREATE} (or, if it exists, check {SETTINGS})",
            )
        if "DeletedDate" in description:
            return SecretDeleted(
                f"The secret {where} is scheduled for deletion.",
                hint=f"Run: aws secretsmanager restore-secret --secret-id {self.name} --region {self.region}",
            )
        if isinstance(error, NotFound):
            return self._empty_error()
        return error

    def _empty_error(self) -> SecretEmpty:
        return SecretEmpty(
            f"The secret {self.name} in {self.region} has no value yet.",
            hint="Set a first value: python manage.py sync_secrets FILE --create",
        )


def _labels_of(description: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    stages = description.get("VersionIdsToStages") or {}
    return {version: tuple(labels) for version, labels in stages.items()}


def replicas_of(description: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return status and message of each replica in the response of DescribeSecret, by Region."""
    return {
        replica.get("Region", ""): (replica.get("Status", ""), replica.get("StatusMessage", ""))
        for replica in description.get("ReplicationStatus") or ()
    }


def _iso(moment: datetime | None, timespec: str = "milliseconds") -> str:
    return moment.astimezone(UTC).isoformat(timespec=timespec) if moment else ""
