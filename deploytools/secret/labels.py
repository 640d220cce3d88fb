"""AWS Secrets Manager: staging labels, and the one move that decides who wins: compare-and-swap of AWSCURRENT."""

from __future__ import annotations

import logging

from deploytools import aws
from deploytools.errors import AccessDenied, AwsError, NoCredentials, RotationUnderWay
from deploytools.secret.reader import SecretReader
from deploytools.secret.sync import CURRENT, PENDING, SecretState

logger = logging.getLogger(__name__)

#: Our label on a version that is not current yet. Fixed: a label a run would leak one of twenty slots at each crash.
STAGED = "deploytools-pending"


class SecretLabels(SecretReader):
    """One secret in one Region, with the labels of its versions."""

    def _rotation(self, state: SecretState, consequence: str, again: str = "run it again") -> RotationUnderWay:
        return RotationUnderWay(
            f"A rotation of {self.name} is under way (AWSPENDING is on version {state.pending_version}); "
            f"it would undo what others write meanwhile, and {consequence}.",
            hint=f"Wait for it to finish, then {again}. One that failed long ago is ended with: "
            f"{state.end_of_rotation}",
        )

    def _end_finished_rotation(self, state: SecretState) -> None:
        """AWS's rotation functions leave AWSPENDING on the version that they made current, where it does no harm.

        It would stay on that version when it is current no more, and read as a rotation under way, to AWS as well.
        """
        if PENDING in state.labels.get(state.version, ()):
            self._remove_label(PENDING, state.version)

    def _has_moved(self, version: str, base: str) -> bool:
        """Whether AWSCURRENT is on `version`; seen on `base`, it may be an old answer, so it is looked at again."""
        for _ in self._looks():
            labels = self._labels()
            if CURRENT not in labels.get(base, ()):
                break
        return CURRENT in labels.get(version, ())

    def _promote(self, version: str, base: str) -> bool:
        """Move AWSCURRENT from `base` to `version`; False when AWSCURRENT was no longer on `base`."""
        try:
            with aws.calling("secretsmanager:UpdateSecretVersionStage", self.name):
                self.client.update_secret_version_stage(
                    SecretId=self.name, VersionStage=CURRENT, MoveToVersionId=version, RemoveFromVersionId=base
                )
        except AwsError as error:
            is_certain = isinstance(error, AccessDenied | NoCredentials)
            if not is_certain and self._has_moved(version, base):
                return True  # It took effect and the answer was lost.
            if aws.error_code(error) in {"InvalidParameterException", "InvalidRequestException"}:
                return False
            self._drop_label(version)
            raise
        return True

    def _drop_label(self, version: str) -> None:
        """Take our label off `version`. It does no harm where it stays, so a failure is only told."""
        try:
            self._remove_label(STAGED, version)
        except AwsError as error:
            is_elsewhere = aws.error_code(error) == "InvalidParameterException"
            level = logging.DEBUG if is_elsewhere else logging.WARNING
            logger.log(level, "The label %s stays on version %s until the next write: %s", STAGED, version, error)

    def _remove_label(self, label: str, version: str) -> None:
        with aws.calling("secretsmanager:UpdateSecretVersionStage", self.name):
            self.client.update_secret_version_stage(SecretId=self.name, VersionStage=label, RemoveFromVersionId=version)
