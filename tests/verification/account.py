"""An AWS account of the emulator's with something of everything, and what stands between it and the code under test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.validate import validate_parameters

from localcloud.world import INSTANCE, World
from tests.verification.world import DOCUMENT

SECRET = "prod/shop"
ROLE = "shop-web"

#: Somewhere that alarms go, with keys in it.
HOOK = "https://canary-user:canary-key@hooks.example.net/services/canary-path?token=canary-token#canary"

#: How each service says no.
DENIED = {
    "ec2": "UnauthorizedOperation",
    "sns": "AuthorizationError",
    "secretsmanager": "AccessDeniedException",
    "ecs": "AccessDeniedException",
    "ssm": "AccessDeniedException",
    "cloudtrail": "AccessDeniedException",
    "sesv2": "AccessDeniedException",
}

#: What the emulator does not answer, in the shape that AWS documents.
DOCUMENTED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "ses:GetAccount": lambda _: {
        "ProductionAccessEnabled": False,
        "SendingEnabled": True,
        "EnforcementStatus": "HEALTHY",
    },
    "ses:GetEmailIdentity": lambda _: {
        "IdentityType": "DOMAIN",
        "VerifiedForSendingStatus": True,
        "DkimAttributes": {"SigningEnabled": True, "Status": "PENDING"},
    },
    "ssm:DescribeInstanceInformation": lambda _: {"InstanceInformationList": [{"PingStatus": "Online"}]},
    "cloudtrail:LookupEvents": lambda request: _looked_up(request.get("NextToken")),
    "iam:SimulatePrincipalPolicy": lambda request: _simulated(request["ActionNames"][0], request["ResourceArns"][0]),
}

#: The ids of the rules that `account` makes; which ones, the emulator decides.
MADE_RULES: list[str] = []


def _looked_up(token: str | None) -> dict[str, Any]:
    """Two pages: an attempt that was refused, then the one that made the rules."""
    refused = {"userIdentity": {"type": "Root"}, "errorCode": "Client.UnauthorizedOperation", "responseElements": None}
    made = {
        "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/Admin/alice"},
        "responseElements": {
            "_return": True,
            "securityGroupRuleSet": {
                "items": [{"securityGroupRuleId": rule, "isEgress": False} for rule in MADE_RULES]
            },
        },
    }
    event = {
        "EventId": "1",
        "EventName": "AuthorizeSecurityGroupIngress",
        "EventTime": datetime(2026, 10, 1, tzinfo=UTC),
        "EventSource": "ec2.amazonaws.com",
        "Username": "alice",
        "CloudTrailEvent": json.dumps(made if token else refused),
    }
    return {"Events": [event, event | {"CloudTrailEvent": "cut {"}], **({} if token else {"NextToken": "2"})}


#: What the role's policies allow, by name: an action and a resource each.
GRANTS = {
    "all-secrets": ("secretsmanager:Get*", "*"),
    "deletes": ("rds:Delete*", f"arn:aws:rds:us-east-1:123456789012:db:{INSTANCE}"),
    "opens": ("ec2:AuthorizeSecurityGroupIngress", "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1"),
    "changes": ("rds:ModifyDBInstance", "arn:aws:rds:us-east-1:123456789012:db:another"),
}


def _simulated(action: str, resource: str) -> dict[str, Any]:
    """As IAM does: ``*`` is no more than a resource of that name, which only a policy for all of them is about."""
    by = [name for name, grant in GRANTS.items() if fnmatchcase(action, grant[0]) and fnmatchcase(resource, grant[1])]
    result = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": "allowed" if by else "implicitDeny",
        "MatchedStatements": [{"SourcePolicyId": name, "SourcePolicyType": "IAM Policy"} for name in by],
    }
    return {"EvaluationResults": [result]}


_real_call: Any = BaseClient._make_api_call  # type: ignore[attr-defined]


@dataclass
class Wire:
    """What comes between boto3 and the endpoint: remembers answers, gives them again, denies actions.

    Attributes:
        called: the IAM actions that were called.
        denied: the actions that are answered with no.
    """

    called: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    remembered: dict[tuple[str, str], Any] = field(default_factory=dict)

    def call(self, client: Any, operation: str, request: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        action = f"{'ses' if service == 'sesv2' else service}:{operation}"
        self.called.add(action)
        if action in self.denied:
            code = DENIED.get(service, "AccessDenied")
            raise ClientError({"Error": {"Code": code, "Message": "not authorized"}}, operation)
        key = (action, json.dumps(request, sort_keys=True))
        if key not in self.remembered:
            self.remembered[key] = self._answer(client, action, operation, request)
        return self.remembered[key]

    def _answer(self, client: Any, action: str, operation: str, request: dict[str, Any]) -> Any:
        if action not in DOCUMENTED:
            return _real_call(client, operation, request)
        answer = DOCUMENTED[action](request)
        validate_parameters(answer, client.meta.service_model.operation_model(operation).output_shape)
        return answer


@contextmanager
def account(endpoint_url: str) -> Iterator[str]:
    """Fill the account behind `endpoint_url`; yields the bastion host's id."""
    world = World(endpoint_url)
    world.fill(5432, "not-used")
    world.secretsmanager.create_secret(
        Name=SECRET, SecretString=json.dumps(DOCUMENT | {"dbClusterIdentifier": INSTANCE})
    )
    world.secretsmanager.put_resource_policy(
        SecretId=SECRET, ResourcePolicy=json.dumps(_policy("secretsmanager:*", "*"))
    )
    (instance,) = world.rds.describe_db_instances()["DBInstances"]
    world.rds.add_tags_to_resource(
        ResourceName=instance["DBInstanceArn"], Tags=[{"Key": "deploytools:restore-drill", "Value": "2026-10-01"}]
    )
    world.rds.create_db_snapshot(DBSnapshotIdentifier="by-hand", DBInstanceIdentifier=INSTANCE)
    world.rds.modify_db_snapshot_attribute(DBSnapshotIdentifier="by-hand", AttributeName="restore", ValuesToAdd=["all"])
    (topic,) = world.sns.list_topics()["Topics"]
    world.sns.subscribe(TopicArn=topic["TopicArn"], Protocol="https", Endpoint=HOOK)
    _widen(world.ec2)
    _make_role(endpoint_url)
    _make_service(endpoint_url)
    yield _make_bastion(world.ec2)
    world.close()


def _policy(action: str, resource: str) -> dict[str, Any]:
    statement = {"Sid": "All", "Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _widen(ec2: Any) -> None:
    """Rules of every kind on the database's group, and a way to the internet for one of its subnets."""
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["rds"]}])["SecurityGroups"]
    prefixes = ec2.create_managed_prefix_list(
        PrefixListName="offices", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": "192.0.2.0/24"}]
    )["PrefixList"]["PrefixListId"]
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 5000,
                "ToPort": 6000,
                "IpRanges": [{"CidrIp": "203.0.113.7/32", "Description": "TEMP"}],
                "Ipv6Ranges": [{"CidrIpv6": "::/0"}],
            },
            {"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": prefixes}]},
        ],
    )
    made = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group["GroupId"]]}])
    MADE_RULES[:] = [rule["SecurityGroupRuleId"] for rule in made["SecurityGroupRules"]]
    _lengthen(ec2, group["VpcId"])
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=group["VpcId"])
    table = ec2.create_route_table(VpcId=group["VpcId"])["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    subnets = ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.0.1.0/24"]}])["Subnets"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnets[0]["SubnetId"])


def _lengthen(ec2: Any, vpc: str) -> None:
    """A chain of five groups, of which the first may reach the bastion host."""
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["bastion"]}])["SecurityGroups"]
    last = group["GroupId"]
    for number in range(1, 6):
        hop = ec2.create_security_group(GroupName=f"hop-{number}", Description="one more", VpcId=vpc)["GroupId"]
        pairs = [{"GroupId": hop}]
        permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "UserIdGroupPairs": pairs}
        ec2.authorize_security_group_ingress(GroupId=last, IpPermissions=[permission])
        last = hop


def _client(service: str, endpoint_url: str) -> Any:
    return boto3.Session("testing", "testing", region_name="us-east-1").client(service, endpoint_url=endpoint_url)  # type: ignore[call-overload]


def _make_role(endpoint_url: str) -> None:
    iam = _client("iam", endpoint_url)
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))
    for name, (action, resource) in GRANTS.items():
        document = {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": action, "Resource": resource},
        }
        if name != "all-secrets":
            iam.put_role_policy(RoleName=ROLE, PolicyName=name, PolicyDocument=json.dumps(document))
            continue
        made = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]["Arn"]
        iam.attach_role_policy(RoleName=ROLE, PolicyArn=made)
    iam.close()


def _make_service(endpoint_url: str) -> None:
    ecs = _client("ecs", endpoint_url)
    ecs.create_cluster(clusterName="prod")
    container = {
        "name": "web",
        "image": "shop:latest",
        "memory": 512,
        "environment": [
            {"name": "DB_PASSWORD", "value": DOCUMENT["password"]},
            {"name": "API_TOKEN", "value": "x"},
            {"name": "DB_SECRET_NAME", "value": SECRET},
        ],
        "command": ["serve", f"--password={DOCUMENT['password']}"],
        "logConfiguration": {"logDriver": "awslogs"},
        "user": "1000",
    }
    ecs.register_task_definition(
        family="web",
        taskRoleArn=f"arn:aws:iam::123456789012:role/{ROLE}",
        containerDefinitions=[container],
    )
    ecs.create_service(cluster="prod", serviceName="web", taskDefinition="web", desiredCount=2)
    ecs.close()


def _make_bastion(ec2: Any) -> str:
    """With a group of its own, which no setting names, open to a prefix list."""
    group = ec2.create_security_group(GroupName="launch-wizard-1", Description="made by the console")["GroupId"]
    offices = ec2.describe_managed_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": ["offices"]}])
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
        "PrefixListIds": [{"PrefixListId": offices["PrefixLists"][0]["PrefixListId"]}],
    }
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    made = ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=1, MaxCount=1, InstanceType="t3.nano", SecurityGroupIds=[group]
    )
    return str(made["Instances"][0]["InstanceId"])
