"""An emulated AWS account with all kinds of resources, and the `Wire` between it and the code under test."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import boto3
from botocore import xform_name
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from deploytools.local.aws_account import AwsAccount, secret_document
from deploytools.verification.alarms.checks import INVOKER
from tests.local_cloud import INSTANCE, NAMES
from tests.verification.zoo.world import DOCUMENT

SECRET = "prod/shop"
ROLE = "shop-web"
EXECUTION_ROLE = "shop-execution"

#: Secrets that ECS is to fetch: for the container, for its log driver, for the registry of its image.
SENTRY, SPLUNK, IMAGES = (
    f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf" for name in ("sentry", "splunk", "images")
)

#: Somewhere that alarms go, with keys in it.
HOOK = "https://canary-user:canary-key@hooks.example.net/services/canary-path?token=canary-token#canary"

#: What IAM calls a service whose client has another name.
PREFIXES = {"sesv2": "ses", "elbv2": "elasticloadbalancing"}

#: How each service says no.
DENIED = {
    "ec2": "UnauthorizedOperation",
    "sns": "AuthorizationError",
    "secretsmanager": "AccessDeniedException",
    "ecs": "AccessDeniedException",
    "logs": "AccessDeniedException",
    "application-autoscaling": "AccessDeniedException",
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
    "cloudwatch:GetMetricStatistics": lambda request: {
        "Datapoints": [
            {"Timestamp": request["EndTime"] - timedelta(hours=hours), "Average": rate}
            for hours, rate in ((3, 0.9), (1, 0.25), (2, 0.5))
        ]
    },
    "ses:GetEmailIdentity": lambda _: {
        "IdentityType": "DOMAIN",
        "VerifiedForSendingStatus": True,
        "DkimAttributes": {"SigningEnabled": True, "Status": "PENDING"},
    },
    "secretsmanager:DescribeSecret": lambda _: DESCRIBED,
    "ecs:ListServiceDeployments": lambda request: _deployments(request.get("nextToken")),
    "ssm:DescribeInstanceInformation": lambda _: {"InstanceInformationList": [{"PingStatus": "Online"}]},
    "cloudtrail:LookupEvents": lambda request: _looked_up(request.get("NextToken")),
    "iam:SimulatePrincipalPolicy": lambda request: _simulated(
        request["PolicySourceArn"], request["ActionNames"][0], request["ResourceArns"][0]
    ),
}

#: The description of the secret, which is rotated by a function.
DESCRIBED: dict[str, Any] = {}

#: The ids of the rules that `account` makes; which ones, the emulator decides.
MADE_RULES: list[str] = []


def _looked_up(token: str | None) -> dict[str, Any]:
    """Two pages: a denied request, then the one that created the rules."""
    refused = {"userIdentity": {"type": "Root"}, "errorCode": "Client.UnauthorizedOperation", "responseElements": None}
    made = {
        "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/Admin/alice"},
        "sessionCredentialFromConsole": "true",
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


def _deployments(token: str | None) -> dict[str, Any]:
    """Two pages, the last deployment on the second."""
    day, status = (2, "ROLLBACK_SUCCESSFUL") if token else (1, "SUCCESSFUL")
    said = {"status": status, "createdAt": datetime(2026, 10, day, tzinfo=UTC), "statusReason": f"on day {day}"}
    return {"serviceDeployments": [said], **({} if token else {"nextToken": "2"})}


#: What the role's policies allow, by name: an action, a resource and a condition each.
GRANTS: dict[str, tuple[Any, ...]] = {
    "all-secrets": ("secretsmanager:Get*", "*"),
    "deletes": ("rds:Delete*", f"arn:aws:rds:us-east-1:123456789012:db:{INSTANCE}"),
    "opens": ("ec2:AuthorizeSecurityGroupIngress", "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1"),
    "decrypts": ("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/1"),
    "changes": ("rds:ModifyDBInstance", "arn:aws:rds:us-east-1:123456789012:db:another"),
    "tagged": ("rds:StopDBInstance", "*", {"StringEquals": {"aws:ResourceTag/stage": "test"}}),
}

#: Of the role that ECS starts the tasks with.
EXECUTION_GRANTS: dict[str, tuple[Any, ...]] = {
    "pulls": ("ecr:GetAuthorizationToken", "*"),
    "tagged": ("iam:PassRole", "*", {"StringEquals": {"aws:ResourceTag/stage": "test"}}),
    "parameters": ("ssm:GetParameters", "arn:aws:ssm:us-east-1:123456789012:parameter/shop/*"),
}

#: The policies that are attached; the others are written into the role.
ATTACHED = {"all-secrets", "pulls"}


def _simulated(role: str, action: str, resource: str) -> dict[str, Any]:
    """As in IAM, ``*`` matches only a policy for all resources."""
    grants = GRANTS if role.endswith(f"/{ROLE}") else EXECUTION_GRANTS
    by = [name for name, grant in grants.items() if fnmatchcase(action, grant[0]) and fnmatchcase(resource, grant[1])]
    result = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": "allowed" if by else "implicitDeny",
        "MatchedStatements": [{"SourcePolicyId": name, "SourcePolicyType": "IAM Policy"} for name in by],
    }
    return {"EvaluationResults": [result]}


_real_call: Any = BaseClient._make_api_call  # type: ignore[attr-defined]
_lock = threading.RLock()


@dataclass
class Wire:
    """Records responses, replays them and denies actions, between boto3 and the endpoint.

    Attributes:
        called: the IAM actions that were called.
        denied: the actions that are answered with no.
        documented: what is answered in the emulator's place.
    """

    called: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    remembered: dict[tuple[str, str], Any] = field(default_factory=dict)
    documented: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = field(default_factory=lambda: DOCUMENTED)

    def call(self, client: Any, operation: str, request: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        action = f"{PREFIXES.get(service, service)}:{operation}"
        self.called.add(action)
        if action in self.denied:
            code = DENIED.get(service, "AccessDenied")
            raise ClientError({"Error": {"Code": code, "Message": "not authorized"}}, operation)
        key = (action, json.dumps(request, sort_keys=True, default=str))
        with _lock:  # Threads share clients, and a stubber answers all calls of its client.
            if key not in self.remembered:
                self.remembered[key] = self._answer(client, action, operation, request)
            return self.remembered[key]

    def _answer(self, client: Any, action: str, operation: str, request: dict[str, Any]) -> Any:
        """Return the emulator's response or the documented one; botocore validates both against its model of AWS."""
        if action not in self.documented:
            return _real_call(client, operation, request)
        with Stubber(client) as stubber:
            stubber.add_response(xform_name(operation), self.documented[action](request), request)
            return _real_call(client, operation, request)


@contextmanager
def account(endpoint_url: str) -> Iterator[str]:
    """Fill the account behind `endpoint_url` and yield the ID of the bastion host."""
    world = AwsAccount(endpoint_url, NAMES)
    world.create_resources(5432, "not-used", secret_document(NAMES, 5432, "not-used"))
    made = world.secretsmanager.create_secret(
        Name=SECRET, SecretString=json.dumps(DOCUMENT | {"dbClusterIdentifier": INSTANCE}), KmsKeyId="1"
    )
    world.secretsmanager.put_resource_policy(
        SecretId=SECRET, ResourcePolicy=json.dumps(_policy("secretsmanager:*", "*"))
    )
    DESCRIBED.update(world.secretsmanager.describe_secret(SecretId=SECRET), RotationEnabled=True)
    DESCRIBED.update(RotationLambdaARN="arn:aws:lambda:us-east-1:123456789012:function:rotate")
    del DESCRIBED["ResponseMetadata"]
    (instance,) = world.rds.describe_db_instances()["DBInstances"]
    world.rds.add_tags_to_resource(
        ResourceName=instance["DBInstanceArn"], Tags=[{"Key": "deploytools:restore-drill", "Value": "2026-10-01"}]
    )
    world.rds.create_db_snapshot(DBSnapshotIdentifier="by-hand", DBInstanceIdentifier=INSTANCE)
    world.rds.modify_db_snapshot_attribute(DBSnapshotIdentifier="by-hand", AttributeName="restore", ValuesToAdd=["all"])
    (topic,) = world.sns.list_topics()["Topics"]
    world.sns.subscribe(TopicArn=topic["TopicArn"], Protocol="https", Endpoint=HOOK)
    world.sns.set_topic_attributes(
        TopicArn=topic["TopicArn"], AttributeName="KmsMasterKeyId", AttributeValue=_make_key(endpoint_url)
    )
    _add_functions(world, endpoint_url)
    _widen(world.ec2)
    _make_role(endpoint_url)
    _make_service(endpoint_url, world.ec2, made["ARN"])
    yield _make_bastion(world.ec2, endpoint_url)
    world.close()


def _add_functions(world: AwsAccount, endpoint_url: str) -> None:
    """An alarm that invokes three functions: CloudWatch can invoke one, cannot invoke another, and one is gone."""
    code = {"ZipFile": b"PK\x05\x06" + bytes(18)}  # An empty archive.
    iam, functions = _client("iam", endpoint_url), _client("lambda", endpoint_url)
    trust = json.dumps(_policy("sts:AssumeRole", "*"))
    role = iam.create_role(RoleName="functions", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for name in ("pager", "closed"):
        functions.create_function(FunctionName=name, Runtime="python3.13", Role=role, Handler="pager.page", Code=code)
    functions.add_permission(
        FunctionName="pager", StatementId="alarms", Action="lambda:InvokeFunction", Principal=INVOKER
    )
    world.cloudwatch.put_metric_alarm(
        AlarmName="functions",
        Namespace="AWS/RDS",
        MetricName="DatabaseConnections",
        Dimensions=[{"Name": "DBInstanceIdentifier", "Value": INSTANCE}],
        Statistic="Average",
        Period=300,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=100,
        AlarmActions=[f"arn:aws:lambda:us-east-1:123456789012:function:{name}" for name in ("pager", "closed", "gone")],
    )
    iam.close()
    functions.close()


def _policy(action: str, resource: str) -> dict[str, Any]:
    statement = {"Sid": "All", "Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _allowing(action: str, resource: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition or {}}
    return {"Version": "2012-10-17", "Statement": statement}


def _widen(ec2: Any) -> None:
    """Rules of all kinds on the database's group, and a route to the internet in one of its subnets."""
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
    """A chain of five security groups; the first has access to the bastion host."""
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
    most = iam.create_policy(PolicyName="most", PolicyDocument=json.dumps(_allowing("*", "*")))["Policy"]["Arn"]
    for role, grants in ((ROLE, GRANTS), (EXECUTION_ROLE, EXECUTION_GRANTS)):
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust), PermissionsBoundary=most)
        for name, grant in grants.items():
            document = json.dumps(_allowing(*grant))
            if name not in ATTACHED:
                iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=document)
                continue
            made = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
            iam.attach_role_policy(RoleName=role, PolicyArn=made)
    iam.close()


def _make_key(endpoint_url: str) -> str:
    """The alias of a key that only the account can use."""
    kms = _client("kms", endpoint_url)
    made = kms.create_key(Policy=json.dumps(_policy("kms:*", "*")))["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/ops", TargetKeyId=made)
    kms.close()
    return "alias/ops"


def _make_balancer(endpoint_url: str, group: dict[str, Any], subnets: list[str]) -> str:
    """The target group of a load balancer, with one task."""
    elb = _client("elbv2", endpoint_url)
    made = elb.create_target_group(Name="web", Protocol="HTTP", Port=8000, VpcId=group["VpcId"], TargetType="ip")
    target_group = made["TargetGroups"][0]["TargetGroupArn"]
    balancer = elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    forward = [{"Type": "forward", "TargetGroupArn": target_group}]
    elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=forward)
    elb.register_targets(TargetGroupArn=target_group, Targets=[{"Id": "10.0.1.7", "Port": 8000}])
    elb.close()
    return str(target_group)


def _make_service(endpoint_url: str, ec2: Any, secret: str) -> None:
    (group,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["backend"]}])["SecurityGroups"]
    vpc = [{"Name": "vpc-id", "Values": [group["VpcId"]]}]
    subnets = [item["SubnetId"] for item in ec2.describe_subnets(Filters=vpc)["Subnets"]]
    target_group = _make_balancer(endpoint_url, group, subnets)
    ecs = _client("ecs", endpoint_url)
    ecs.create_cluster(clusterName="prod", settings=[{"name": "containerInsights", "value": "enabled"}])
    container = {
        "name": "web",
        "image": "shop:latest",
        "memory": 512,
        "environment": [
            {"name": "DB_PASSWORD", "value": DOCUMENT["password"]},
            {"name": "API_TOKEN", "value": "x"},
            {"name": "CLINIC_SECRET", "value": SECRET},
            {"name": "SENTRY_SECRET_NAME", "value": "prod/sentry"},
            {"name": "VAULT_SECRET_ID", "value": "canary-vault"},
            {"name": "SPLUNK", "value": SPLUNK},
        ],
        "environmentFiles": [{"value": "arn:aws:s3:::shop/web.env", "type": "s3"}],
        "command": ["serve", f"--password={DOCUMENT['password']}"],
        "logConfiguration": {
            "logDriver": "splunk",
            "secretOptions": [{"name": "splunk-token", "valueFrom": SPLUNK}],
        },
        "repositoryCredentials": {"credentialsParameter": IMAGES},
        "user": "1000",
        "secrets": [
            {"name": "SECRET_KEY", "valueFrom": f"{secret}:django_secret_key::"},
            {"name": "SENTRY", "valueFrom": f"{SENTRY}:dsn::"},
            {"name": "LEVEL", "valueFrom": "/shop/level"},
        ],
    }
    options = {"awslogs-group": "/ecs/proxy", "awslogs-region": "us-east-1"}
    proxy = {
        "name": "proxy",
        "image": "proxy:latest",
        "memory": 128,
        "logConfiguration": {"logDriver": "awslogs", "options": options},
    }
    ecs.register_task_definition(
        family="web",
        taskRoleArn=f"arn:aws:iam::123456789012:role/{ROLE}",
        executionRoleArn=f"arn:aws:iam::123456789012:role/{EXECUTION_ROLE}",
        containerDefinitions=[container, proxy],
    )
    groups = [group["GroupId"], _make_open_group(ec2, "debug", group["VpcId"])]
    network = {"subnets": subnets, "securityGroups": groups, "assignPublicIp": "DISABLED"}
    ecs.create_service(
        cluster="prod",
        serviceName="web",
        taskDefinition="web",
        desiredCount=2,
        loadBalancers=[{"targetGroupArn": target_group, "containerName": "web", "containerPort": 8000}],
        networkConfiguration={"awsvpcConfiguration": network},
    )
    ecs.close()


def _make_open_group(ec2: Any, name: str, vpc: str = "") -> str:
    """A security group that is open to the internet and to a prefix list, and allows egress to another one."""
    where = {"VpcId": vpc} if vpc else {}
    group = ec2.create_security_group(GroupName=name, Description="made by the console", **where)["GroupId"]
    offices = ec2.describe_managed_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": ["offices"]}])
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
        "PrefixListIds": [{"PrefixListId": offices["PrefixLists"][0]["PrefixListId"]}],
    }
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])
    peers = ec2.create_managed_prefix_list(
        PrefixListName=f"{name}-peers", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": "198.51.100.0/24"}]
    )["PrefixList"]["PrefixListId"]
    lists = [{"PrefixListId": peers}]
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[{"IpProtocol": "-1", "PrefixListIds": lists}])
    return str(group)


def _make_bastion(ec2: Any, endpoint_url: str) -> str:
    """The bastion host with a security group that is not configured and is open to a prefix list."""
    group = _make_open_group(ec2, "launch-wizard-1")
    iam = _client("iam", endpoint_url)
    iam.create_instance_profile(InstanceProfileName="bastion")
    iam.add_role_to_instance_profile(InstanceProfileName="bastion", RoleName=ROLE)
    iam.close()
    made = ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        InstanceType="t3.nano",
        SecurityGroupIds=[group],
        IamInstanceProfile={"Name": "bastion"},
    )
    return str(made["Instances"][0]["InstanceId"])
