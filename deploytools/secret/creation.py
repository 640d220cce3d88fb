"""AWS Secrets Manager: bring a secret into being, or back: create it with a first value, undo its deletion."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from deploytools import aws
from deploytools.errors import (
    AwsError,
    NotFound,
    Refused,
    SecretConflict,
    SecretDeleted,
    SecretEmpty,
    SecretError,
    SecretExists,
    SecretNotFound,
)
from deploytools.secret.document import Document
from deploytools.secret.labels import STAGED, SecretLabels
from deploytools.secret.sync import CURRENT, PREVIOUS
from deploytools.secret.value import Secret


class SecretCreation(SecretLabels):
    """One secret in one Region, which may not be there yet, or be on its way out."""

    def create(self, document: Document, *, tags: Mapping[str, str] | None = None, kms_key_id: str = "") -> str:
        """Create the secret with `document` as its first value, or give a secret without a value its first one.

        Idempotent by content: what is there already and holds `document` is found, and the call is done. The token is
        random: it shows in CloudTrail as the version's id, and a hash would let a document be guessed that holds
        nothing random.

        Args:
            document: what it will hold.
            tags: of a secret that is created; they show in CloudTrail. Neither they nor `kms_key_id` are put on a
                secret that is there.
            kms_key_id: id, ARN or alias of the key that encrypts it; empty: ``aws/secretsmanager``.

        Returns:
            The version that holds `document` and is current.

        Raises:
            SecretExists: it exists with another value; nothing was written.
            SecretDeleted: it is scheduled for deletion; nothing was written.
            Refused: it exists without a value, and `tags` or `kms_key_id` are asked for; nothing was written.
            SecretTooLarge: Secrets Manager does not take that much.
            AwsError: AWS could not be asked. Running it again finds out what was created.
        """
        text = document.to_json()
        token = secrets.token_hex(32)
        request: dict[str, Any] = {"Name": self.name, "ClientRequestToken": token}
        if tags:
            request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
        if kms_key_id:
            request["KmsKeyId"] = kms_key_id
        for _ in self._looks():
            state = self._existing(document)
            if isinstance(state, str):
                return state
            if state is SecretEmpty and (tags or kms_key_id):
                raise self.not_new()
            is_ours = self._put_first(token, text) if state is SecretEmpty else self._try_create(request, text)
            if is_ours:
                self._prove_first(token, document)
                return token
        raise SecretError(
            f"{self.name} can neither be created nor read in {self.region}: its name is taken, or is not free yet.",
            hint="Wait a minute where it was deleted just now; otherwise allow secretsmanager:DescribeSecret on it.",
        )

    def is_deleted(self) -> bool:
        """Whether the secret is scheduled for deletion.

        Raises:
            SecretNotFound: there is no such secret, or it is gone for good.
        """
        try:
            return "DeletedDate" in self._describe()
        except NotFound as error:
            raise self._why_unreadable(error) from error

    def restore(self) -> bool:
        """Undo the deletion that the secret is scheduled for.

        Returns:
            Whether there was something to undo.

        Raises:
            SecretNotFound: there is no such secret, or it is gone for good.
            SecretError: the service does not say that it is back.
        """
        if not self.is_deleted():
            return False
        with aws.calling("secretsmanager:RestoreSecret", self.name):
            self.client.restore_secret(SecretId=self.name)
        for _ in self._looks():
            if not self.is_deleted():
                return True
        raise SecretError(
            f"{self.name} was restored, and is still said to be scheduled for deletion.",
            hint="Wait a minute and run it again.",
        )

    # The steps of a creation.

    def _existing(self, document: Document) -> str | type[SecretError]:
        """The version that holds `document` already, or what kind of nothing is there.

        Raises:
            SecretExists, SecretDeleted: it must not be created.
        """
        try:
            version, stored = self.read_current()
        except (SecretNotFound, SecretEmpty) as error:
            return type(error)
        except SecretDeleted:
            raise
        except SecretError as error:
            raise self.taken() from error
        if stored != document:
            raise self.taken()
        return version

    def not_new(self) -> Refused:
        """What to raise where a secret without a value is there already, and is to be created otherwise than it is."""
        return Refused(
            f"The secret {self.name} exists already in {self.region}, without a value: --tag and --kms-key-id are for "
            "one that is created; nothing was written.",
            hint="Leave them out. To change them: aws secretsmanager tag-resource, aws secretsmanager update-secret "
            f"--kms-key-id ID, each with --secret-id {self.name} --region {self.region}",
        )

    def taken(self) -> SecretExists:
        """What to raise where something else is there already."""
        return SecretExists(
            f"The secret {self.name} exists already in {self.region} and holds something else; nothing was written.",
            hint="Without --create values are merged into it and none is lost: python manage.py sync_secrets FILE",
        )

    def _try_create(self, request: Mapping[str, Any], text: Secret[str]) -> bool:
        """Create it; False when it came into being meanwhile, or its name is not free yet after a deletion."""
        try:
            with aws.calling("secretsmanager:CreateSecret", self.name):
                self.client.create_secret(**request, SecretString=text.reveal())
        except AwsError as error:
            if aws.error_code(error) not in {"ResourceExistsException", "InvalidRequestException"}:
                raise
            return False
        return True

    def _put_first(self, token: str, text: Secret[str]) -> bool:
        """Give a secret without a value its first; False when another's was the first, or it is not seen yet."""
        with aws.calling("secretsmanager:PutSecretValue", self.name):
            self.client.put_secret_value(
                SecretId=self.name,
                SecretString=text.reveal(),
                ClientRequestToken=token,
                VersionStages=[STAGED],
            )
        if not any(CURRENT in labels for labels in self._labels().values()):
            self._take_current(token)
        labels = self._labels().get(token, ())
        self._drop_label(token)
        return CURRENT in labels or PREVIOUS in labels

    def _take_current(self, token: str) -> None:
        """Move AWSCURRENT to our version where it is nowhere; it goes to a first version by itself, mostly."""
        try:
            with aws.calling("secretsmanager:UpdateSecretVersionStage", self.name):
                self.client.update_secret_version_stage(SecretId=self.name, VersionStage=CURRENT, MoveToVersionId=token)
        except AwsError as error:
            if aws.error_code(error) != "InvalidParameterException":  # It is somewhere after all.
                raise

    def _prove_first(self, token: str, document: Document) -> None:
        """Read back by version, then by label: AWSCURRENT names this version, or a later one that has these keys."""
        if self._get_version(token) != document:
            raise SecretError(
                f"Version {token} of {self.name} does not hold what was written.",
                hint="Look at who else creates it (CloudTrail: CreateSecret, PutSecretValue).",
            )
        for _ in self._looks():
            with suppress(SecretNotFound, SecretEmpty):
                _, stored = self.read_current()
                if stored.merge(document) == stored:
                    return
        raise SecretConflict(
            f"{self.name} was created, but AWSCURRENT does not name a version with what was given.",
            hint="Find out who wrote after this run (CloudTrail), then run it again.",
        )
