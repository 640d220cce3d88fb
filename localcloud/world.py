"""The AWS account that the guide assumes: its secret, RDS instance, security groups, alarms. Filled in over HTTP."""

from __future__ import annotations

import json
import secrets
import string
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from localcloud.certificates import RDS_HOST
from localcloud.environment import ACCESS_KEY, REGION, SECRET_NAME
from localcloud.state import MASTER

if TYPE_CHECKING:
    from types_boto3_cloudwatch.literals import ComparisonOperatorType
    from types_boto3_ec2.type_defs import IpPermissionTypeDef, UserIdGroupPairTypeDef

INSTANCE = "startupwebapp-multi-tenant-prod"
ENGINE_VERSION = "16.10"
GIB = 1024**3

#: Metric, comparison, threshold, what it means.
ALARMS: tuple[tuple[str, ComparisonOperatorType, int, str], ...] = (
    ("CPUCreditBalance", "LessThanThreshold", 50, "below 50: soon it is slow"),
    ("CPUUtilization", "GreaterThanThreshold", 80, "above 80 %"),
    ("DatabaseConnections", "GreaterThanThreshold", 150, "above 150"),
    ("FreeStorageSpace", "LessThanThreshold", 2 * GIB, "below 2 GiB of 20"),
    ("FreeableMemory", "LessThanThreshold", GIB // 4, "below 256 MiB of 2 GiB"),
)

DJANGO_CHARACTERS = string.ascii_lowercase + string.digits + "!@#$%^&*(-_=+)"


class World:
    """Fills the account behind `endpoint_url`. Neither this machine's AWS profile nor its proxy has a say in it."""

    def __init__(self, endpoint_url: str) -> None:
        options: dict[str, Any] = {
            "endpoint_url": endpoint_url,
            "region_name": REGION,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": ACCESS_KEY,
            "config": Config(proxies={}, retries={"total_max_attempts": 1}),
        }
        session = boto3.Session(ACCESS_KEY, ACCESS_KEY, region_name=REGION)
        self.secretsmanager = session.client("secretsmanager", **options)
        self.ec2 = session.client("ec2", **options)
        self.rds = session.client("rds", **options)
        self.cloudwatch = session.client("cloudwatch", **options)
        self.sns = session.client("sns", **options)

    def fill(self, port: int, master_password: str) -> None:
        """Make everything. `port` is where the database really answers, `master_password` the master's real one."""
        document = secret_document(port, master_password)
        self.secretsmanager.create_secret(Name=SECRET_NAME, SecretString=json.dumps(document))
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self._make_instance(self._make_subnet_group(vpc), self._make_security_group(vpc, port), port, master_password)
        self._make_alarms()

    def close(self) -> None:
        """Close the connections."""
        for client in (self.secretsmanager, self.ec2, self.rds, self.cloudwatch, self.sns):
            client.close()

    def _make_subnet_group(self, vpc: str) -> str:
        subnets = [
            self.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{index}.0/24", AvailabilityZone=f"{REGION}{zone}")
            for index, zone in enumerate("ab", start=1)
        ]
        self.rds.create_db_subnet_group(
            DBSubnetGroupName="private",
            DBSubnetGroupDescription="Subnets without a route to the internet",
            SubnetIds=[subnet["Subnet"]["SubnetId"] for subnet in subnets],
        )
        return "private"

    def _make_security_group(self, vpc: str, port: int) -> str:
        descriptions = {
            "backend": "Containers that run the application",
            "bastion": "Bastion host for administration",
            "rds": "PostgreSQL, from the backend and the bastion only",
        }
        groups = {
            name: self.ec2.create_security_group(GroupName=name, Description=description, VpcId=vpc)["GroupId"]
            for name, description in descriptions.items()
        }
        sources: list[UserIdGroupPairTypeDef] = [
            {"GroupId": groups[name], "Description": f"PostgreSQL from {name}"} for name in ("backend", "bastion")
        ]
        permission: IpPermissionTypeDef = {
            "IpProtocol": "tcp",
            "FromPort": port,
            "ToPort": port,
            "UserIdGroupPairs": sources,
        }
        self.ec2.authorize_security_group_ingress(GroupId=groups["rds"], IpPermissions=[permission])
        return groups["rds"]

    def _make_instance(self, subnet_group: str, security_group: str, port: int, master_password: str) -> None:
        self.rds.create_db_instance(
            DBInstanceIdentifier=INSTANCE,
            DBInstanceClass="db.t4g.small",
            Engine="postgres",
            EngineVersion=ENGINE_VERSION,
            AllocatedStorage=20,
            MaxAllocatedStorage=100,
            AutoMinorVersionUpgrade=True,
            CopyTagsToSnapshot=True,
            EnableCloudwatchLogsExports=["postgresql", "upgrade"],
            StorageType="gp3",
            StorageEncrypted=True,
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

    def _make_alarms(self) -> None:
        topic = self.sns.create_topic(Name="startupwebapp-alarms")["TopicArn"]
        self.sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="operations@example.com")
        for metric, comparison, threshold, meaning in ALARMS:
            self.cloudwatch.put_metric_alarm(
                AlarmName=f"{INSTANCE}-{metric}",
                AlarmDescription=f"{metric} of {INSTANCE} is {meaning}",
                Namespace="AWS/RDS",
                MetricName=metric,
                Dimensions=[{"Name": "DBInstanceIdentifier", "Value": INSTANCE}],
                Statistic="Average",
                Period=300,
                EvaluationPeriods=2,
                ComparisonOperator=comparison,
                Threshold=threshold,
                AlarmActions=[topic],
            )


def secret_document(port: int, master_password: str) -> dict[str, str | int]:
    """The guide's step 1, word for word, but for the port; and the master's credentials, which the guide lacks."""
    return {
        "engine": "postgresql",
        "host": RDS_HOST,
        "port": port,
        "username": "django_app",
        "password": make_password(32),
        "dbClusterIdentifier": INSTANCE,
        "django_secret_key": make_password(50, DJANGO_CHARACTERS),
        "stripe_secret_key": "sk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY",
        "stripe_publishable_key": "pk_live_PLACEHOLDER_UPDATE_WITH_REAL_KEY",
        "email_host": "smtp.example.com",
        "email_port": 587,
        "email_user": "notifications@example.com",
        "email_password": "PLACEHOLDER_UPDATE_WITH_REAL_PASSWORD",
        "master_username": MASTER,
        "master_password": master_password,
    }


def make_password(length: int = 32, characters: str = string.ascii_letters + string.digits) -> str:
    """A random password."""
    return "".join(secrets.choice(characters) for _ in range(length))
