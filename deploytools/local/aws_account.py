"""The resources of the emulated AWS account: a secret, an RDS instance, security groups and alarms."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from deploytools.local.cloud_state import MASTER, CloudNames, SmtpState
from deploytools.secrets.contract import DATABASE, DJANGO, EMAIL, Field
from deploytools.secrets.document import Document
from deploytools.secrets.inputs import ALPHABET, generate
from deploytools.secrets.inspection import template

if TYPE_CHECKING:
    from types_boto3_cloudwatch.literals import ComparisonOperatorType
    from types_boto3_ec2.type_defs import IpPermissionTypeDef, UserIdGroupPairTypeDef

ACCESS_KEY = "local"
ENGINE_VERSION = "16.10"
GIB = 1024**3

#: Metric, comparison, threshold, description.
ALARMS: tuple[tuple[str, ComparisonOperatorType, int, str], ...] = (
    ("CPUCreditBalance", "LessThanThreshold", 50, "below 50: the CPU will be throttled"),
    ("CPUUtilization", "GreaterThanThreshold", 80, "above 80 %"),
    ("DatabaseConnections", "GreaterThanThreshold", 150, "above 150"),
    ("FreeStorageSpace", "LessThanThreshold", 2 * GIB, "below 2 GiB of 20"),
    ("FreeableMemory", "LessThanThreshold", GIB // 4, "below 256 MiB of 2 GiB"),
)


class AwsAccount:
    """Clients of the account at `endpoint_url`. They ignore the AWS profile and the proxy of this machine."""

    def __init__(self, endpoint_url: str, names: CloudNames) -> None:
        self.names = names
        options: dict[str, Any] = {
            "endpoint_url": endpoint_url,
            "region_name": names.region,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": ACCESS_KEY,
            "config": Config(proxies={}, retries={"total_max_attempts": 1}),
        }
        session = boto3.Session(ACCESS_KEY, ACCESS_KEY, region_name=names.region)
        self.secretsmanager = session.client("secretsmanager", **options)
        self.ec2 = session.client("ec2", **options)
        self.rds = session.client("rds", **options)
        self.cloudwatch = session.client("cloudwatch", **options)
        self.sns = session.client("sns", **options)

    def create_resources(
        self, port: int, master_password: str, document: Mapping[str, Any], version: str = ENGINE_VERSION
    ) -> None:
        """Create all resources: the instance with port and version of the real database, the secret with `document`."""
        self.secretsmanager.create_secret(Name=self.names.secret, SecretString=json.dumps(document))
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        groups = (self._create_subnet_group(vpc), self._create_security_group(vpc, port))
        self._create_instance(*groups, port, master_password, version)
        self._create_alarms()

    def close(self) -> None:
        for client in (self.secretsmanager, self.ec2, self.rds, self.cloudwatch, self.sns):
            client.close()

    def _create_subnet_group(self, vpc: str) -> str:
        subnets = [
            self.ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=f"{self.names.region}{zone}"
            )
            for index, zone in enumerate("ab", start=1)
        ]
        self.rds.create_db_subnet_group(
            DBSubnetGroupName="private",
            DBSubnetGroupDescription="Subnets without a route to the internet",
            SubnetIds=[subnet["Subnet"]["SubnetId"] for subnet in subnets],
        )
        return "private"

    def _create_security_group(self, vpc: str, port: int) -> str:
        descriptions = {
            self.names.app_group: "Containers that run the application",
            self.names.bastion_group: "Bastion host for administration",
            "rds": "PostgreSQL, from the application and the bastion host only",
        }
        groups = {
            name: self.ec2.create_security_group(GroupName=name, Description=description, VpcId=vpc)["GroupId"]
            for name, description in descriptions.items()
        }
        sources: list[UserIdGroupPairTypeDef] = [
            {"GroupId": groups[name], "Description": f"PostgreSQL from {name}"}
            for name in (self.names.app_group, self.names.bastion_group)
        ]
        permission: IpPermissionTypeDef = {
            "IpProtocol": "tcp",
            "FromPort": port,
            "ToPort": port,
            "UserIdGroupPairs": sources,
        }
        self.ec2.authorize_security_group_ingress(GroupId=groups["rds"], IpPermissions=[permission])
        return groups["rds"]

    def _create_instance(
        self, subnet_group: str, security_group: str, port: int, master_password: str, version: str
    ) -> None:
        self.rds.create_db_instance(
            DBInstanceIdentifier=self.names.instance,
            DBInstanceClass="db.t4g.small",
            Engine="postgres",
            EngineVersion=version,
            AllocatedStorage=20,
            MaxAllocatedStorage=100,
            AutoMinorVersionUpgrade=True,
            CopyTagsToSnapshot=True,
            EnableCloudwatchLogsExports=["postgresql", "upgrade"],
            StorageType="gp3",
            StorageEncrypted=True,
            KmsKeyId="alias/aws/rds",
            MasterUsername=MASTER,
            MasterUserPassword=master_password,
            Port=port,
            BackupRetentionPeriod=7,
            DeletionProtection=False,
            PubliclyAccessible=False,
            MultiAZ=False,
            DBSubnetGroupName=subnet_group,
            VpcSecurityGroupIds=[security_group],
        )

    def _create_alarms(self) -> None:
        topic = self.sns.create_topic(Name=f"{self.names.instance}-alarms")["TopicArn"]
        self.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="operations@example.com")
        for metric, comparison, threshold, meaning in ALARMS:
            self.cloudwatch.put_metric_alarm(
                AlarmName=f"{self.names.instance}-{metric}",
                AlarmDescription=f"{metric} of {self.names.instance} is {meaning}",
                Namespace="AWS/RDS",
                MetricName=metric,
                Dimensions=[{"Name": "DBInstanceIdentifier", "Value": self.names.instance}],
                Statistic="Average",
                Period=300,
                EvaluationPeriods=2,
                ComparisonOperator=comparison,
                Threshold=threshold,
                AlarmActions=[topic],
            )


def secret_document(
    names: CloudNames,
    port: int,
    master_password: str,
    smtp: SmtpState | None = None,
    *,
    fields: Sequence[Field] = (*DATABASE, *DJANGO),
) -> dict[str, Any]:
    """Return a new secret: the logins of the database, and the required keys of the project.

    The mail server is the local one. What can be generated is generated; other keys are to be replaced.
    """
    known: dict[str, Any] = {
        "engine": "postgresql",
        "host": names.host,
        "port": port,
        "username": names.role,
        "dbClusterIdentifier": names.instance,
        "master_username": MASTER,
        "master_password": master_password,
    }
    if smtp and EMAIL[0] in fields:
        known |= {
            "email_host": "localhost",
            "email_port": smtp.port,
            "email_user": smtp.user,
            "email_password": smtp.password,
        }
    missing = template(Document(known), stage="launch", fields=fields)
    generated = generate(fields, secrets.choice, only=missing)
    return known | missing | {key: value.reveal() for key, value in generated.items()}


def make_password() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(32))
