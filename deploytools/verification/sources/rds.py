"""Facts of the RDS instance, as AWS describes it."""

from __future__ import annotations

from dataclasses import dataclass

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import ConfigurationError, NotFound
from deploytools.secret.sync import SecretState
from deploytools.verification.registry import fact


@dataclass(frozen=True)
class RdsInstance:
    """What DescribeDBInstances says; None where it says nothing."""

    identifier: str
    status: str | None
    endpoint: str | None
    deletion_protection: bool | None
    backup_days: int | None
    is_public: bool | None
    is_encrypted: bool | None


@fact(actions=("rds:DescribeDBInstances",))
def rds_instance(secret: SecretState) -> RdsInstance:
    """The instance of this deployment: ``DEPLOYTOOLS["RDS_INSTANCE"]``, else the secret's ``dbClusterIdentifier``."""
    stored = secret.document.get("dbClusterIdentifier")
    identifier = configuration.rds_instance or (str(stored.reveal()) if stored else "")
    if not identifier:
        raise ConfigurationError(
            "Nobody says which RDS instance it is.",
            hint='Set DEPLOYTOOLS["RDS_INSTANCE"], or dbClusterIdentifier in the secret.',
        )
    with aws.calling("rds:DescribeDBInstances", f"the RDS instance {identifier} in {configuration.region}"):
        answer = aws.client("rds", configuration.region).describe_db_instances(DBInstanceIdentifier=identifier)
    if not answer["DBInstances"]:
        raise NotFound(f"The RDS instance {identifier} does not exist.", hint="Check the identifier and the Region.")
    found = answer["DBInstances"][0]
    return RdsInstance(
        identifier=identifier,
        status=found.get("DBInstanceStatus"),
        endpoint=found.get("Endpoint", {}).get("Address"),
        deletion_protection=found.get("DeletionProtection"),
        backup_days=found.get("BackupRetentionPeriod"),
        is_public=found.get("PubliclyAccessible"),
        is_encrypted=found.get("StorageEncrypted"),
    )
