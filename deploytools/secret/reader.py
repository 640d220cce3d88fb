"""AWS Secrets Manager: read one secret, and say why it cannot be used (DESIGN.md §5).

The client comes in, so that the same code runs against AWS, against an emulator and against a strict fake.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from deploytools import aws
from deploytools.errors import (
    AwsError,
    NotFound,
    SecretBinary,
    SecretDeleted,
    SecretEmpty,
    SecretError,
    SecretNotFound,
)
from deploytools.secret.document import Document, parse
from deploytools.secret.sync import CURRENT, SecretState
from deploytools.secret.value import Secret

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

#: How often a look is repeated where the service may still show what was there before.
LOOKS = 6


@dataclass(frozen=True)
class SecretReader:
    """One secret in one Region.

    Attributes:
        client: botocore's Secrets Manager client, or something that behaves like it.
        name: name or ARN of the secret.
        region: the Region, for messages.
        sleep: how to wait between two looks, in seconds.
    """

    client: SecretsManagerClient
    name: str
    region: str
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def connect(cls, name: str, region: str) -> Self:
        """The secret `name` in `region`, with credentials from the environment. Asks AWS nothing yet."""
        return cls(aws.client("secretsmanager", region), name, region)

    def read_current(self) -> tuple[str, Document]:
        """Version id and content of AWSCURRENT. Needs ``secretsmanager:GetSecretValue`` only.

        Raises:
            SecretNotFound, SecretEmpty, SecretDeleted, SecretBinary, SecretNotJson: why it cannot be used.
            AwsError: AWS could not be asked.
        """
        try:
            version, text = self._get(VersionStage=CURRENT)
        except AwsError as error:
            raise self._why_unreadable(error) from error
        return version, self._parse(text)

    def read(self) -> SecretState:
        """The secret with its labels; what a plan starts from. Looks again where AWSCURRENT moves between the two.

        Raises:
            As `read_current`.
        """
        for _ in self._looks():
            version, document = self.read_current()
            description = self._describe()
            labels = _labels_of(description)
            if CURRENT in labels.get(version, ()):
                break
        changed = description.get("LastChangedDate")
        return SecretState(
            self.name,
            self.region,
            version,
            document,
            labels,
            changed=changed.isoformat(timespec="seconds") if changed else "",
            rotates=bool(description.get("RotationEnabled")),
        )

    def read_version(self, version: str) -> Document:
        """What one version holds, current or not.

        Raises:
            SecretError: there is no such version, or none any more.
        """
        try:
            return self._parse(self._get(VersionId=version)[1])
        except AwsError as error:
            if not isinstance(error, NotFound) and aws.error_code(error) != "InvalidParameterException":
                raise
            raise SecretError(
                f"{self.name} in {self.region} has no version {version} with a value.",
                hint=f"Versions that still have a label: aws secretsmanager list-secret-version-ids --secret-id "
                f"{self.name} --region {self.region}",
            ) from error

    def read_labelled(self, label: str) -> Document:
        """Content of the version that carries `label`, for example ``AWSPREVIOUS``.

        Raises:
            SecretBinary, SecretNotJson: why it cannot be used.
            AwsError: there is no such version, it is empty, or AWS could not be asked.
        """
        return self._parse(self._get(VersionStage=label)[1])

    def _looks(self) -> Iterator[None]:
        """One turn for each time that it is worth looking, with longer and longer waits between."""
        for attempt in range(LOOKS):
            if attempt:
                self.sleep(0.05 * 2**attempt)
            yield

    def _get(self, **which: str) -> tuple[str, Secret[str | None]]:
        """Version id and text; None instead of the text where the value is binary."""
        with aws.calling("secretsmanager:GetSecretValue", f"the secret {self.name} in {self.region}"):
            answer = self.client.get_secret_value(SecretId=self.name, **which)
        return answer["VersionId"], Secret(answer.get("SecretString"))

    def _get_version(self, version: str) -> Document:
        """What one version holds; one that was just made may not be found everywhere at once."""
        for _ in self._looks():
            with suppress(NotFound):
                return self._parse(self._get(VersionId=version)[1])
        return self._parse(self._get(VersionId=version)[1])

    def _describe(self) -> Mapping[str, Any]:
        with aws.calling("secretsmanager:DescribeSecret", f"the secret {self.name} in {self.region}"):
            return self.client.describe_secret(SecretId=self.name)

    def _labels(self) -> dict[str, tuple[str, ...]]:
        return _labels_of(self._describe())

    def _parse(self, text: Secret[str | None]) -> Document:
        if text.reveal() is None:
            raise SecretBinary(
                f"The secret {self.name} holds binary data (SecretBinary), not text.",
                hint="Something else writes it, or it is another secret: check DB_SECRET_NAME.",
            )
        return parse(cast(Secret[str], text), source=f"The secret {self.name}")

    def _why_unreadable(self, error: AwsError) -> Exception:
        """Absent, empty, or scheduled for deletion: AWS's codes tell them apart only with DescribeSecret."""
        if not isinstance(error, NotFound) and aws.error_code(error) != "InvalidRequestException":
            return error
        where = f"{self.name} in {self.region}"
        try:
            description = self._describe()
        except NotFound:
            return SecretNotFound(
                f"There is no secret {where}.",
                hint="Check DB_SECRET_NAME, AWS_REGION and the account: aws sts get-caller-identity; "
                f"aws secretsmanager list-secrets --region {self.region}",
            )
        except AwsError:
            return SecretNotFound(
                f"There is no secret {where} with a value (and secretsmanager:DescribeSecret may not be asked).",
                hint="Check DB_SECRET_NAME and AWS_REGION.",
            )
        if "DeletedDate" in description:
            return SecretDeleted(
                f"The secret {where} is scheduled for deletion.",
                hint="Bring it back: python manage.py sync_secrets --restore",
            )
        if isinstance(error, NotFound):
            return SecretEmpty(
                f"The secret {where} exists and has no value yet.",
                hint="Put a first value: python manage.py sync_secrets FILE --create",
            )
        return error


def _labels_of(description: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    stages = description.get("VersionIdsToStages") or {}
    return {version: tuple(labels) for version, labels in stages.items()}
