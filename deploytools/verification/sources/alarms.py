"""Facts of the alarms on this instance, and of whom they reach."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deploytools import aws
from deploytools.conf import configuration
from deploytools.errors import NotFound
from deploytools.verification.policies import parse_policy
from deploytools.verification.registry import fact
from deploytools.verification.sources.rds import RdsInstance

CONFIRMED_PREFIX = "arn:"


@dataclass(frozen=True)
class Alarm:
    """One alarm on a metric of this instance.

    Attributes:
        actions: ARNs of what it does when it goes off.
        changed_at: when somebody last changed it; None where AWS does not say.
        actions_after: ARNs of what it does when it goes back, to OK or to INSUFFICIENT_DATA.
        missing: what it makes of missing data: ``missing``, ``ignore``, ``breaching``, ``notBreaching``.
    """

    name: str
    metric: str
    acts: bool | None
    actions: tuple[str, ...]
    state: str | None
    changed_at: datetime | None
    actions_after: tuple[str, ...] = ()
    missing: str = "missing"


@fact(actions=("cloudwatch:DescribeAlarms",), deadline=30)
def alarms(rds_instance: RdsInstance) -> tuple[Alarm, ...]:
    """The alarms of this Region that look at this instance, by themselves or in a formula."""
    pages = aws.client("cloudwatch", configuration.region).get_paginator("describe_alarms")
    with aws.calling("cloudwatch:DescribeAlarms", f"the Region {configuration.region}"):
        found: Any = pages.paginate(AlarmTypes=["MetricAlarm"]).build_full_result().get("MetricAlarms", [])
    return tuple(
        Alarm(
            said["AlarmName"],
            metric,
            said.get("ActionsEnabled"),
            tuple(sorted(said.get("AlarmActions") or ())),
            said.get("StateValue"),
            said.get("AlarmConfigurationUpdatedTimestamp"),
            (*(said.get("OKActions") or ()), *(said.get("InsufficientDataActions") or ())),
            said.get("TreatMissingData") or "missing",
        )
        for said in sorted(found, key=lambda said: said["AlarmName"])
        for metric in _metrics(said, rds_instance.identifier)
    )


def _metrics(said: Any, instance: str) -> list[str]:
    """The metrics of `instance` that an alarm looks at."""
    looked_at = [said, *(item["MetricStat"]["Metric"] for item in said.get("Metrics") or () if "MetricStat" in item)]
    wanted = {"Name": "DBInstanceIdentifier", "Value": instance}
    return [
        metric["MetricName"]
        for metric in looked_at
        if metric.get("Namespace") == "AWS/RDS" and wanted in (metric.get("Dimensions") or ())
    ]


@dataclass(frozen=True)
class Topic:
    """One SNS topic that an alarm tells.

    Attributes:
        exists: whether there is one.
        key: the KMS key that it is encrypted with; empty: none.
        confirmed, pending: where it leads to, ``email operations@example.com``.
    """

    arn: str
    exists: bool = True
    key: str = ""
    confirmed: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


def shown(endpoint: str) -> str:
    """An endpoint as a report may show it: the path and the query of a URL are often the key to what is behind it."""
    if "://" not in endpoint:
        return endpoint
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


@fact(actions=("sns:GetTopicAttributes", "sns:ListSubscriptionsByTopic"), deadline=30)
def alarm_topics(alarms: tuple[Alarm, ...]) -> tuple[Topic, ...]:
    """The topics that the alarms tell, with who listens."""
    arns = {action for alarm in alarms for action in alarm.actions if action.split(":")[2:3] == ["sns"]}
    return tuple(_topic(arn) for arn in sorted(arns))


def _topic(arn: str) -> Topic:
    client = aws.client("sns", arn.split(":")[3] or configuration.region)
    try:
        with aws.calling("sns:GetTopicAttributes", f"the topic {arn}"):
            attributes = client.get_topic_attributes(TopicArn=arn)["Attributes"]
        with aws.calling("sns:ListSubscriptionsByTopic", f"the topic {arn}"):
            pages = client.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
            subscriptions = pages.build_full_result()["Subscriptions"]
    except NotFound:
        return Topic(arn, exists=False)
    by_state: dict[bool, list[str]] = {True: [], False: []}
    for said in subscriptions:
        is_confirmed = said.get("SubscriptionArn", "").startswith(CONFIRMED_PREFIX)
        by_state[is_confirmed].append(f"{said.get('Protocol', '')} {shown(said.get('Endpoint', ''))}".strip())
    return Topic(
        arn,
        key=attributes.get("KmsMasterKeyId", ""),
        confirmed=tuple(sorted(by_state[True])),
        pending=tuple(sorted(by_state[False])),
    )


@dataclass(frozen=True)
class TopicKey:
    """The KMS key of a topic.

    Attributes:
        topic: ARN of the topic.
        arn: of the key; empty: there is none.
        is_of_aws: whether it is AWS's own, whose policy nobody can change.
        statements: of its policy; none where it is AWS's own.
    """

    topic: str
    arn: str = ""
    is_of_aws: bool = False
    statements: tuple[Mapping[str, Any], ...] = ()


@fact(actions=("kms:DescribeKey", "kms:GetKeyPolicy"), deadline=30)
def topic_keys(alarm_topics: tuple[Topic, ...]) -> tuple[TopicKey, ...]:
    """The keys that the alarms' topics are encrypted with, and who may use them."""
    return tuple(_key(topic) for topic in alarm_topics if topic.key)


def _key(topic: Topic) -> TopicKey:
    client = aws.client("kms", topic.arn.split(":")[3] or configuration.region)
    try:
        with aws.calling("kms:DescribeKey", f"the key {topic.key}"):
            said = client.describe_key(KeyId=topic.key)["KeyMetadata"]
    except NotFound:
        return TopicKey(topic.arn)
    if said.get("KeyManager") == "AWS":
        return TopicKey(topic.arn, said["Arn"], is_of_aws=True)
    with aws.calling("kms:GetKeyPolicy", f"the key {topic.key}"):
        document = client.get_key_policy(KeyId=said["Arn"], PolicyName="default")["Policy"]
    return TopicKey(topic.arn, said["Arn"], statements=parse_policy("default", document).statements)
