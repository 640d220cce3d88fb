"""Facts of the CloudWatch alarms of the RDS instance, and of the SNS topics that they notify."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.conf import Settings
from deploytools.errors import NotFound
from deploytools.verification.iam.policies import account_of, parse_policy
from deploytools.verification.rds.facts import RdsInstance
from deploytools.verification.registry import fact

if TYPE_CHECKING:
    from types_boto3_sns import SNSClient

#: Composite alarms, and the names and ARNs of the alarms each of which alone sets one off.
Composites = Sequence[tuple[Any, set[str]]]

CONFIRMED_PREFIX = "arn:"


@dataclass(frozen=True)
class Alarm:
    """One CloudWatch alarm on a metric of the RDS instance.

    Attributes:
        actions: ARNs of the actions in the ALARM state.
        changed_at: when its configuration last changed; None: not in the AWS response.
        operator, threshold, statistic, unit: as in the AWS API; empty or None: not set.
        seconds: the period times the number of evaluated periods.
        dimensions: names of further dimensions; the metric of an RDS instance has none.
        via: the composite alarms that go off with this alarm, directly or through others, and their actions, by ARN.
        is_expression: whether it evaluates metric math, or a band of anomaly detection.
        missing_data: ``TreatMissingData``; empty: not set.
        state_since: when its state last changed; None: not in the AWS response.
        suppressed: those composite alarms that are not in `via`, because another alarm has suppressed their actions for
            more than a day, each with the name of that alarm.
    """

    name: str
    metric: str
    actions_enabled: bool | None
    actions: tuple[str, ...]
    state: str | None
    changed_at: datetime | None
    operator: str = ""
    threshold: float | None = None
    statistic: str = ""
    seconds: int = 0
    unit: str = ""
    dimensions: tuple[str, ...] = ()
    via: tuple[tuple[str, str], ...] = ()
    is_expression: bool = False
    missing_data: str = ""
    state_since: datetime | None = None
    arn: str = ""
    suppressed: tuple[str, ...] = ()

    @property
    def called(self) -> tuple[tuple[str, str], ...]:
        """The actions of the alarm and of its composite alarms, each with the ARN of the alarm."""
        return (*((self.arn, action) for action in self.actions), *self.via)


@fact(actions=("cloudwatch:DescribeAlarms",), deadline=30)
def alarms(rds_instance: RdsInstance, settings: Settings) -> tuple[Alarm, ...]:
    """The alarms of the Region on metrics of the RDS instance, directly or in a metric math expression."""
    pages = aws.client("cloudwatch", settings.region).get_paginator("describe_alarms")
    with aws.translate_aws_errors("cloudwatch:DescribeAlarms", f"the Region {settings.region}"):
        found: Any = pages.paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"]).build_full_result()
    composites = [(item, sufficient_alarms(item.get("AlarmRule", ""))) for item in found.get("CompositeAlarms") or ()]
    everything = [*(found.get("MetricAlarms") or ()), *(found.get("CompositeAlarms") or ())]
    in_alarm = [item for item in everything if _is_long_in_alarm(item, rds_instance.read_at)]
    suppressors = {name for item in in_alarm for name in (item["AlarmName"], item.get("AlarmArn"))}
    return tuple(
        _alarm(item, metric, rds_instance, composites, suppressors)
        for item in sorted(found.get("MetricAlarms") or (), key=lambda item: item["AlarmName"])
        for metric in _metrics(item, rds_instance)
    )


def _is_long_in_alarm(item: Any, now: datetime) -> bool:
    since = item.get("StateTransitionedTimestamp") or item.get("StateUpdatedTimestamp")
    return item.get("StateValue") == "ALARM" and since is not None and now - since > timedelta(days=1)


def _alarm(item: Any, metric: str, instance: RdsInstance, composites: Composites, suppressors: Set[str]) -> Alarm:
    dimensions, via = item.get("Dimensions") or (), _via(item, composites)
    suppressed = [other for other in via if other.get("ActionsSuppressor") in suppressors]
    return Alarm(
        item["AlarmName"],
        metric,
        item.get("ActionsEnabled"),
        tuple(sorted(item.get("AlarmActions") or ())),
        item.get("StateValue"),
        item.get("AlarmConfigurationUpdatedTimestamp"),
        item.get("ComparisonOperator", ""),
        item.get("Threshold"),
        item.get("Statistic") or item.get("ExtendedStatistic") or "",
        int(item.get("Period") or 0) * int(item.get("EvaluationPeriods") or 0),
        item.get("Unit", ""),
        tuple(sorted({part["Name"] for part in dimensions} - _identifying(dimensions, instance))),
        tuple(sorted({(o.get("AlarmArn", ""), a) for o in via if o not in suppressed for a in o["AlarmActions"]})),
        bool(item.get("Metrics") or item.get("ThresholdMetricId")),
        item.get("TreatMissingData", ""),
        item.get("StateTransitionedTimestamp") or item.get("StateUpdatedTimestamp"),
        item.get("AlarmArn", ""),
        tuple(sorted(f"{other['AlarmName']} by {other['ActionsSuppressor']}" for other in suppressed)),
    )


def _via(alarm: Any, composites: Composites) -> list[Any]:
    """Return each composite alarm with an action that goes off whenever `alarm` does, also through another one."""
    reached, pending = dict[str, Any](), [alarm]
    while pending:
        item = pending.pop()
        names = {item["AlarmName"], item.get("AlarmArn")}
        next_ones = {other["AlarmName"]: other for other, sufficient in composites if names & sufficient}
        pending += [other for name, other in next_ones.items() if name not in reached]
        reached |= next_ones
    return [other for other in reached.values() if other.get("ActionsEnabled") and other.get("AlarmActions")]


#: The parts of the rule of a composite alarm.
RULE = re.compile(
    r'((?:ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:"[^"]*"|[^"()]*)\s*\)|[()]|\b(?:AND|OR|NOT|TRUE|FALSE)\b|\s+)'
)


#: The state of one alarm in a rule.
ALARM = re.compile(r'ALARM\s*\(\s*(?:"([^"]*)"|([^"()]*?))\s*\)')


def sufficient_alarms(rule: str) -> set[str]:
    """Return the names and ARNs of the alarms each of which alone makes the rule of a composite alarm true.

    These are the alternatives of OR. Beside AND, on the same level, none is sufficient.
    """
    parts = RULE.split(rule)
    found, pending = set[str](), [] if any(parts[::2]) else [[part for part in parts[1::2] if part.strip()]]
    while pending:
        term = _without_parentheses(pending.pop())
        if len(term) > 1:
            pending += _alternatives(term)
        elif term and (alarm := ALARM.fullmatch(term[0])):
            found.add(alarm[1] or alarm[2])
    return found


def _depths(term: list[str]) -> list[int]:
    return list(accumulate({"(": 1, ")": -1}.get(part, 0) for part in term))


def _without_parentheses(term: list[str]) -> list[str]:
    """Remove the parentheses that enclose the whole term."""
    opening = len(list(takewhile("(".__eq__, term)))
    closing = len(list(takewhile(")".__eq__, reversed(term))))
    enclosing = max(0, min([opening, closing, *_depths(term)[opening : len(term) - closing]]))
    return term[enclosing : len(term) - enclosing]


def _alternatives(term: list[str]) -> list[list[str]]:
    depths = _depths(term)
    joins = [at for at, part in enumerate(term) if part == "OR" and depths[at] == 0]
    if not joins or any(part == "AND" and depth == 0 for part, depth in zip(term, depths, strict=True)):
        return []
    bounds = zip([-1, *joins], [*joins, len(term)], strict=True)
    return [term[start + 1 : end] for start, end in bounds]


def _identifying(dimensions: Iterable[Any], instance: RdsInstance) -> set[str]:
    """Return the names of the dimensions that identify the instance; none: those of another resource.

    Aurora has its metrics by cluster, too: of all instances, or of one role.
    """
    given = {part["Name"]: part["Value"] for part in dimensions}
    if given.get("DBInstanceIdentifier") == instance.identifier:
        return {"DBInstanceIdentifier"}
    is_cluster = instance.is_aurora and given.get("DBClusterIdentifier") == instance.cluster
    return {"DBClusterIdentifier", "Role"} if is_cluster and given.get("Role", "WRITER") == "WRITER" else set()


def _metrics(alarm: Any, instance: RdsInstance) -> list[str]:
    metrics = [alarm, *(item["MetricStat"]["Metric"] for item in alarm.get("Metrics") or () if "MetricStat" in item)]
    return [
        metric["MetricName"]
        for metric in metrics
        if metric.get("Namespace") == "AWS/RDS" and _identifying(metric.get("Dimensions") or (), instance)
    ]


@dataclass(frozen=True)
class Topic:
    """One SNS topic that an alarm notifies.

    Attributes:
        key: the KMS key that encrypts it; empty: none.
        confirmed, pending: protocol and endpoint of its subscriptions: ``email operations@example.com``.
        filtered: confirmed subscriptions with a filter policy, which the message of an alarm might not meet.
        policy: the statements of its access policy; None: not in the AWS response.
    """

    arn: str
    exists: bool = True
    key: str = ""
    confirmed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()
    policy: tuple[Mapping[str, Any], ...] | None = None


def redact_endpoint(endpoint: str) -> str:
    """Return an endpoint without the path and the query of a URL: they often hold a credential."""
    if "://" not in endpoint:
        return endpoint
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


def is_topic(arn: str) -> bool:
    """Return whether an ARN is that of an SNS topic."""
    return arn.split(":")[2:3] == ["sns"]


@fact(actions=("sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic", "sns:GetSubscriptionAttributes"), deadline=30)
def alarm_topics(alarms: tuple[Alarm, ...], settings: Settings) -> tuple[Topic, ...]:
    arns = {action for alarm in alarms for _, action in alarm.called if is_topic(action)}
    return tuple(_topic(arn, settings.region) for arn in sorted(arns))


def _topic(arn: str, region: str) -> Topic:
    client = aws.client("sns", arn.split(":")[3] or region)
    try:
        with aws.translate_aws_errors("sns:GetTopicAttributes", f"the topic {arn}"):
            attributes = client.get_topic_attributes(TopicArn=arn)["Attributes"]
        with aws.translate_aws_errors("sns:ListSubscriptionsByTopic", f"the topic {arn}"):
            pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            subscriptions = pages.build_full_result()["Subscriptions"]
    except NotFound:
        return Topic(arn, exists=False)
    confirmed, pending, filtered = list[str](), list[str](), list[str]()
    for item in subscriptions:
        subscription = item.get("SubscriptionArn", "")
        endpoint = f"{item.get('Protocol', '')} {redact_endpoint(item.get('Endpoint', ''))}".strip()
        if not subscription.startswith(CONFIRMED_PREFIX):
            pending.append(endpoint)
        else:
            (filtered if _is_filtered(client, subscription) else confirmed).append(endpoint)
    key = attributes.get("KmsMasterKeyId", "")
    document = attributes.get("Policy")
    policy = parse_policy("topic", document).statements if document else None
    lists = [tuple(sorted(found)) for found in (confirmed, pending, filtered)]
    return Topic(arn, True, key, lists[0], lists[1], lists[2], policy)


def _is_filtered(client: SNSClient, subscription: str) -> bool:
    with aws.translate_aws_errors("sns:GetSubscriptionAttributes", f"the subscription {subscription}"):
        attributes = client.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    return attributes.get("FilterPolicy", "{}").strip() not in {"", "{}", "null"}


#: The statements of the resource policy of each function; none: it does not exist, or has no policy.
FunctionPolicies = Mapping[str, tuple[Mapping[str, Any], ...]]


@fact(actions=("lambda:GetPolicy",), deadline=30)
def alarm_functions(alarms: tuple[Alarm, ...], alarm_topics: tuple[Topic, ...], settings: Settings) -> FunctionPolicies:
    """The resource policies of the Lambda functions that alarms and their topics invoke."""
    arns = {action for alarm in alarms for _, action in alarm.called if is_function(action)}
    arns |= {function for topic in alarm_topics for name in topic.confirmed if (function := function_of(name, topic))}
    return {arn: function_policy(arn, settings.region) for arn in sorted(arns)}


def function_of(subscription: str, topic: Topic) -> str:
    """Return the ARN of the function that a subscription (protocol and endpoint) invokes.

    Empty: none, or one of another account, whose policy cannot be read.
    """
    protocol, _, endpoint = subscription.partition(" ")
    return endpoint if protocol == "lambda" and account_of(endpoint) == account_of(topic.arn) else ""


def is_function(arn: str) -> bool:
    """Return whether an ARN is that of a Lambda function."""
    return arn.split(":")[2:3] == ["lambda"]


def function_policy(arn: str, region: str) -> tuple[Mapping[str, Any], ...]:
    """Return the statements; a function without a policy, and one that does not exist, have the same response."""
    client = aws.client("lambda", arn.split(":")[3] or region)
    try:
        with aws.translate_aws_errors("lambda:GetPolicy", f"the function {arn}"):
            return parse_policy("function", client.get_policy(FunctionName=arn)["Policy"]).statements
    except NotFound:
        return ()


@dataclass(frozen=True)
class TopicKey:
    """The KMS key of a topic.

    Attributes:
        topic: ARN of the topic.
        arn: ARN of the key; empty: the key does not exist.
        is_aws_managed: whether it is an AWS managed key, whose policy cannot be changed.
        statements: the statements of its policy; none for an AWS managed key.
        state: ``Enabled``, ``Disabled``, ``PendingDeletion``, …
    """

    topic: str
    arn: str = ""
    is_aws_managed: bool = False
    statements: tuple[Mapping[str, Any], ...] = ()
    state: str = "Enabled"


@fact(actions=("kms:DescribeKey", "kms:GetKeyPolicy"), deadline=30)
def topic_keys(alarm_topics: tuple[Topic, ...], settings: Settings) -> tuple[TopicKey, ...]:
    return tuple(_key(topic, settings.region) for topic in alarm_topics if topic.key)


def _key(topic: Topic, region: str) -> TopicKey:
    client = aws.client("kms", topic.arn.split(":")[3] or region)
    try:
        with aws.translate_aws_errors("kms:DescribeKey", f"the key {topic.key}"):
            metadata = client.describe_key(KeyId=topic.key)["KeyMetadata"]
    except NotFound:
        return TopicKey(topic.arn)
    if metadata.get("KeyManager") == "AWS":
        return TopicKey(topic.arn, metadata["Arn"], is_aws_managed=True)
    with aws.translate_aws_errors("kms:GetKeyPolicy", f"the key {topic.key}"):
        document = client.get_key_policy(KeyId=metadata["Arn"], PolicyName="default")["Policy"]
    statements = parse_policy("default", document).statements
    return TopicKey(topic.arn, metadata["Arn"], statements=statements, state=str(metadata.get("KeyState")))
