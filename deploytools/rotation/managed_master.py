"""Rotation of the master user's password by RDS, which manages its secret: start it, and wait until it is complete."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from deploytools import aws
from deploytools.errors import AwsError, ConfigurationError, Refused, Throttled, Unreachable
from deploytools.rotation.rotation_state import COMMAND, MASTER_COMMAND
from deploytools.secrets.reader import SecretReader
from deploytools.tenants.master import Master, describe_managed_secret
from deploytools.tenants.options import SECOND_LOGIN_SUFFIX

ACTIVE, ROTATING, IMPAIRED = "active", "rotating", "impaired"

#: Seconds that a rotation can take. RDS needs about one minute.
LIMIT = 600

#: Seconds between two reads of the status, and between two reports of an unchanged status.
PAUSE, REPORT = 5, 30


@dataclass(frozen=True)
class ManagedState:
    """The secret that RDS manages.

    Attributes:
        status: RDS's ``SecretStatus``.
        version: ID of the version that is current.
        rotated_at: the time of the last rotation, in ISO 8601: that of the version.
    """

    arn: str
    status: str
    version: str
    rotated_at: str


@dataclass(frozen=True)
class ManagedMaster:
    """The master user of one RDS instance.

    Attributes:
        sleep, clock: of the module `time`.
    """

    instance: str
    user: str
    region: str
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def steps(self) -> tuple[str, ...]:
        """Return what `rotate` does, for the plan."""
        return (
            f"start a rotation of the secret that RDS manages for {self.instance}, unless one is in progress",
            f"wait until RDS has changed the password of {self.user} and the secret (at most {LIMIT} s)",
            f"log in as {self.user} with the new password",
        )

    def read(self) -> ManagedState:
        """Return the state of the secret."""
        managed = describe_managed_secret(self.instance, self.region)
        if "SecretArn" not in managed:
            raise AwsError(
                f"RDS does not manage the password of the master user of {self.instance} any more.",
                hint="Run the command again.",
            )
        secret = SecretReader.connect(managed["SecretArn"], self.region).read()
        created = datetime.fromisoformat(secret.created).isoformat(timespec="seconds") if secret.created else "unknown"
        return ManagedState(secret.name, managed.get("SecretStatus", ACTIVE), secret.version, created)

    def rotate(self, report: Callable[[str], None]) -> ManagedState:
        """Start a rotation, unless one is in progress, and wait until it is complete.

        Args:
            report: receives a sentence about the status while it is waited for.

        Raises:
            Refused: RDS cannot rotate the secret.
            AwsError: AWS could not be queried, or the rotation takes too long.
        """
        before = self.read()
        if before.status == IMPAIRED:
            raise self._impaired_error("Nothing was changed.")
        if before.status != ROTATING:
            self._start()
        start, reported, last = self.clock(), 0.0, ""
        while True:
            state = self._read_again(before)
            waited = self.clock() - start
            if state.status == ACTIVE and (before.status == ROTATING or state.version != before.version):
                return state
            if state.status == IMPAIRED:
                raise self._impaired_error("The rotation failed.")
            if waited >= LIMIT:
                raise AwsError(
                    f"RDS has not rotated the password of {self.user} within {LIMIT} s (status: {state.status}).",
                    hint=f"RDS continues. Check it: {MASTER_COMMAND} --status, and the events of the instance: aws rds "
                    f"describe-events --source-type db-instance --source-identifier {self.instance}",
                )
            if state.status != last or waited - reported >= REPORT:
                report(f"waiting for RDS (status: {state.status}, {waited:.0f} s)")
                reported, last = waited, state.status
            self.sleep(PAUSE)

    def _start(self) -> None:
        with aws.translate_aws_errors("rds:ModifyDBInstance", f"the RDS instance {self.instance}"):
            aws.client("rds", self.region).modify_db_instance(
                DBInstanceIdentifier=self.instance, RotateMasterUserPassword=True, ApplyImmediately=True
            )

    def _read_again(self, before: ManagedState) -> ManagedState:
        """Return the state; `before` if AWS does not respond at the moment: RDS rotates nevertheless."""
        with suppress(Throttled, Unreachable):
            return self.read()
        return before

    def _impaired_error(self, consequence: str) -> Refused:
        return Refused(
            f"RDS cannot rotate the secret for the master user of {self.instance}: its status is impaired. "
            f"{consequence}",
            hint="Check that its KMS key is enabled and that RDS can use it: aws rds describe-events --source-type "
            f"db-instance --source-identifier {self.instance}",
        )


def require_changeable(master: Master, owner: str) -> None:
    """Require that the password of the master user is in a secret that these commands can change.

    Args:
        owner: the role that owns the databases.

    Raises:
        ConfigurationError: RDS manages the secret, or the user is a login of the application.
    """
    user = master.login.user
    if "rds!cluster" in master.secret:
        raise ConfigurationError(
            f"RDS manages the secret {master.secret} for an Aurora cluster, which rotate_credentials does not support. "
            "Nothing was changed.",
            hint="Let RDS rotate it: aws rds modify-db-cluster --db-cluster-identifier CLUSTER "
            "--rotate-master-user-password --apply-immediately",
        )
    if "rds!" in master.secret:
        raise ConfigurationError(
            f"RDS manages the secret {master.secret}: only RDS can change it. Nothing was changed.",
            hint='Remove --master-secret, and set DEPLOYTOOLS["RDS_INSTANCE"] to its instance.',
        )
    if user in (owner, owner + SECOND_LOGIN_SUFFIX):
        raise ConfigurationError(
            f"{user} is a login of the application, not the master user. Nothing was changed.",
            hint=f"Rotate it with: {COMMAND}",
        )
