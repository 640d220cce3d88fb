"""The version of a rotation in the secret: created under AWSPENDING, which is the lock, then made current."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from deploytools.errors import AwsError, Refused, RotationInProgress, SecretConflict
from deploytools.rotation.rotation_state import PASSWORD, Credential
from deploytools.secrets.contract import ROTATED_AT
from deploytools.secrets.document import Document, Secret
from deploytools.secrets.plan import SecretState, rotation_dates
from deploytools.secrets.store import AGAIN, WRITE_ATTEMPTS, SecretStore
from deploytools.secrets.versions import CURRENT, PENDING, ROTATIONS, short_id


@dataclass(frozen=True)
class NewLogin:
    """What a rotation changes in the secret.

    Attributes:
        former: the login that the secret has before.
        rotated_at: the time of the rotation, in ISO 8601.
    """

    user: str
    password: Secret[str]
    owner: str
    former: str
    rotated_at: str
    credential: Credential = PASSWORD

    def merge_into(self, document: Document) -> Document:
        """Return `document` with this login."""
        key = self.credential.password_key
        values: dict[str, Any] = {key: self.password.reveal()}
        values[ROTATED_AT] = {**rotation_dates(document), key: self.rotated_at}
        if self.credential == PASSWORD:
            values |= {"username": self.user, "owner": self.owner}
        return document.merge({key: Secret(value) for key, value in values.items()})


@dataclass(frozen=True)
class RotationStore(SecretStore):
    """One secret that is rotated.

    Attributes:
        credential: what is rotated.
        aws_version: the version, without a value, that AWS has attached AWSPENDING to. Empty: AWS has not begun this
            rotation.
    """

    credential: Credential = PASSWORD
    aws_version: str = ""

    def begin(self, state: SecretState, document: Document) -> str:
        """Create a version with `document` and attach AWSPENDING to it; return its ID. AWSCURRENT does not move.

        Raises:
            RotationInProgress: another rotation holds AWSPENDING, also one of AWS.
            Refused: the secret is a replica, or the rotation of its other credential was interrupted.
        """
        self.progress.start("the new login")
        if self.aws_version:
            return self._put_rotating(document, PENDING, version=self.aws_version)
        self.require_writable(state)
        self._require_no_leftover(state)
        self._end_finished_rotation(state)
        version = self._put_rotating(document)
        try:
            self._move_label(PENDING, MoveToVersionId=version)  # Without a version to take it from, AWS refuses.
        except AwsError:
            after = self.read()
            if PENDING not in after.labels.get(version, ()):
                self.require_writable(after)
                raise
        return version

    def switch(self, version: str, login: NewLogin) -> str:
        """Make the rotation's version current, by compare-and-swap; return the ID of the version that is current now.

        If another writer changed other keys since `begin`, a new version is made from what they wrote.

        Raises:
            SecretConflict: another writer changed the login, or kept writing.
        """
        for _ in range(WRITE_ATTEMPTS):
            state = self.read()
            if state.version == version:
                return version
            self._require_former(state, login)
            document = login.merge_into(state.document)
            if self._get_version(version) != document:
                version = self._put_rotating(document, PENDING)  # Both labels at once: it is one rotation.
            if self._promote(version, state.version):
                self._read_until_moved(state.version)
                return version
        raise SecretConflict(
            f"{self.name} was changed by another writer {WRITE_ATTEMPTS} times in a row. AWSCURRENT was not moved.",
            hint=f"Find the writer in CloudTrail (UpdateSecretVersionStage, PutSecretValue), then {AGAIN}.",
        )

    def end(self, version: str) -> None:
        """Detach the labels of the rotation from `version`."""
        labels = self.read().labels.get(version, ())
        for label in (PENDING, self.credential.label):
            if label in labels:
                self._move_label(label, RemoveFromVersionId=version)

    def _require_no_leftover(self, state: SecretState) -> None:
        """Raise Refused if another credential's rotation was interrupted after its switch: AWSPENDING shows that."""
        labels = state.labels.get(state.version, ())
        others = [name for label, name in ROTATIONS.items() if label in labels and label != self.credential.label]
        if PENDING in labels and others:
            raise Refused(
                f"A rotation of {others[0]} in {self.name} was interrupted after its switch. AWSCURRENT was not moved.",
                hint="Complete it, with the same options: python manage.py rotate_credentials " + others[0],
            )

    def _require_former(self, state: SecretState, login: NewLogin) -> None:
        found = self.credential.user_in(state.document)
        if found != login.former:
            raise SecretConflict(
                f"Another writer changed {self.credential.user_key} in {self.name} to {found or 'nothing'}. AWSCURRENT "
                "was not moved.",
                hint="Find the writer in CloudTrail. To cancel this rotation, run the command with --abort.",
            )

    def _put_rotating(self, document: Document, *labels: str, version: str = "") -> str:
        """Put a version under our own label and `labels`; a new version's ID is random, as its password is."""
        token, text = version or secrets.token_hex(16), document.to_json()

        def put() -> Any:
            return self.client.put_secret_value(
                SecretId=self.name,
                SecretString=text.reveal(),
                ClientRequestToken=token,
                VersionStages=[self.credential.label, *labels],
            )

        version = str(self._ask("PutSecretValue", "VersionId", put)["VersionId"])
        if self._get_version(version) != document:
            raise self._content_error(version)
        return version


def require_not_rotated_by_others(state: SecretState, credential: Credential, aws_version: str = "") -> None:
    """Raise RotationInProgress if AWSPENDING is on another version than `aws_version` and those of `credential`."""
    pending = state.pending_version
    if pending and pending != aws_version and not credential.pending_in(state):
        raise RotationInProgress(
            f"Another rotation of {state.name} is in progress: AWSPENDING is on version {short_id(pending)}. Nothing "
            "was changed.",
            hint=f"Wait for it to finish. {state.how_to_end()}",
        )


def is_current(state: SecretState, version: str) -> bool:
    """Return whether AWSCURRENT is attached to `version`."""
    return CURRENT in state.labels.get(version, ())
