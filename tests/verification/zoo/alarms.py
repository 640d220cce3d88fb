"""Worlds of the area alarms: faults with the statuses that they change, and good variations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploytools.verification.alarms.facts import Topic, TopicKey
from tests.verification.zoo.row import FAIL, NA, UNKNOWN, WARN, Row
from tests.verification.zoo.world import (
    ALARMS,
    KEY,
    NOW,
    TOPIC,
    Changes,
    alarm,
    rds,
)

DAY = timedelta(days=1)


NO_SUBSCRIPTION = Topic(TOPIC)
BY_ACCOUNT = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
    "Action": "kms:*",
    "Resource": "*",
}
BY_CLOUDWATCH = {
    "Effect": "Allow",
    "Principal": {"Service": "cloudwatch.amazonaws.com"},
    "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
    "Resource": "*",
}


PUBLISHING = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "SNS:Publish", "Resource": TOPIC}
OF_ORGANIZATION = {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}


def encrypted(*statements: dict[str, Any], arn: str = KEY, is_aws_managed: bool = False) -> Changes:
    """The topic is encrypted with a key with this policy."""
    return {
        "alarm_topics": (replace(NO_SUBSCRIPTION, confirmed=("sms",), key="alias/ops"),),
        "topic_keys": (TopicKey(TOPIC, arn, is_aws_managed, statements),),
    }


def larger() -> Changes:
    """The alarms of an instance with 8 GiB of memory."""
    thresholds = {"FreeableMemory": 2**30, "DatabaseConnections": 600}
    return {"alarms": tuple(replace(a, threshold=thresholds.get(a.metric, a.threshold)) for a in ALARMS[:4])}


#: Alarms that never go off, or too late.
SILENT = (
    ("FreeStorageSpace", {"operator": "GreaterThanThreshold"}, "it compares with GreaterThanThreshold"),
    ("FreeStorageSpace", {"threshold": 2}, "its threshold is 2, expected 1,073,741,824 to"),
    ("FreeStorageSpace", {"threshold": 200 * 2**30}, "its threshold is"),
    ("FreeStorageSpace", {"statistic": "Maximum"}, "its statistic is Maximum"),
    ("FreeableMemory", {"threshold": 1024}, "its threshold is 1024"),
    ("CPUUtilization", {"threshold": 100.0}, "its threshold is 100.0"),
    ("CPUUtilization", {"operator": "LessThanThreshold"}, "it compares with LessThanThreshold"),
    ("CPUUtilization", {"statistic": "Minimum"}, "its statistic is Minimum"),
    ("CPUUtilization", {"statistic": "SampleCount"}, "its statistic is SampleCount"),
    ("CPUUtilization", {"seconds": 86_400}, "it evaluates 86,400 seconds"),
    ("CPUUtilization", {"unit": "Gigabytes"}, "its unit is Gigabytes"),
    ("CPUUtilization", {"dimensions": ("EngineName",)}, "its dimension EngineName"),
    ("DatabaseConnections", {"threshold": 5000}, "its threshold is 5000"),
    ("CPUCreditBalance", {"threshold": 0}, "its threshold is 0"),
    ("CPUCreditBalance", {"threshold": None}, "its threshold is None"),
)
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:gone"
COMPOSITE = ALARMS[0].arn.replace("good-", "any-of-")


def invoking(**changes: Any) -> Changes:
    """An alarm that only invokes a function, with a policy whose statement differs in these."""
    principal = {"Service": "lambda.alarms.cloudwatch.amazonaws.com"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "lambda:InvokeFunction", "Resource": FUNCTION}
    return alarm(actions=(FUNCTION,)) | {"alarm_functions": {FUNCTION: ({**statement, **changes},)}}


ALARM = [
    *(Row(alarm(metric, **changes), {"alarms.metrics": FAIL}, seen) for metric, changes, seen in SILENT),
    Row(alarm(is_expression=True, operator=""), {"alarms.metrics": UNKNOWN}, "metric math is not evaluated"),
    *(
        Row(alarm(metric, **changes), good=("alarms.metrics",))
        for metric, changes in (
            ("CPUUtilization", {"operator": "GreaterThanOrEqualToThreshold", "threshold": 90, "statistic": "p95"}),
            ("CPUUtilization", {"unit": "Percent", "seconds": 3600, "statistic": "Maximum"}),
            ("FreeStorageSpace", {"operator": "LessThanOrEqualToThreshold", "threshold": 5e9, "statistic": "Minimum"}),
            ("DatabaseConnections", {"threshold": 100}),
        )
    ),
    Row({"alarms": (replace(ALARMS[0], threshold=100), *ALARMS)}, good=("alarms.metrics",)),
    Row({"alarms": tuple(replace(a, actions=(), via=((COMPOSITE, TOPIC),)) for a in ALARMS)}, good=("alarms.actions",)),
    Row(alarm(actions=(), via=((COMPOSITE, FUNCTION),)), {"alarms.actions": FAIL}, "it has no action"),
    Row(
        alarm(actions=("arn:aws:ssm:us-east-1:123456789012:opsitem:1",)),
        {"alarms.actions": WARN},
        "only SNS topics and functions are verified",
    ),
    Row(
        alarm(actions=(FUNCTION,)) | {"alarm_functions": {FUNCTION: ()}},
        {"alarms.actions": FAIL},
        "function:gone does not exist, or does not allow lambda.alarms.cloudwatch.amazonaws.com to invoke it",
    ),
    *(
        Row(invoking(**changes), {"alarms.actions": status}, seen)
        for changes, status, seen in (
            ({"Action": "lambda:GetFunction"}, FAIL, "does not allow lambda.alarms.cloudwatch.amazonaws.com"),
            ({"Effect": "Deny"}, FAIL, "does not exist, or does not allow"),
            ({"Principal": {"Service": "s3.amazonaws.com"}}, FAIL, "does not exist, or does not allow"),
            ({"Condition": {"StringEquals": {"AWS:SourceAccount": "999999999999"}}}, FAIL, "does not exist, or does"),
            ({"Condition": {"ArnLike": {"AWS:SourceArn": f"{ALARMS[1].arn}*"}}}, FAIL, "does not exist, or does not"),
            ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, UNKNOWN, "a condition in the policy of"),
        )
    ),
    *(
        Row(invoking(**changes), good=("alarms.actions",))
        for changes in (
            {},
            {"Action": "lambda:*", "Principal": "*"},
            {"Condition": {"StringEquals": {"AWS:SourceAccount": "123456789012"}}},
            {"Condition": {"ArnLike": {"AWS:SourceArn": ALARMS[0].arn.replace("good-", "*-")}}},
        )
    ),
    Row(invoking() | alarm(actions=(), via=((COMPOSITE, FUNCTION),)), good=("alarms.actions",)),
    *(
        Row(alarm(missing_data=value), {"alarms.have-data": WARN}, f"TreatMissingData is {value}")
        for value in ("notBreaching", "ignore")
    ),
    *(Row(alarm(missing_data=value), good=("alarms.have-data",)) for value in ("missing", "breaching")),
    Row(alarm(missing_data="notBreaching", state="ALARM"), good=("alarms.have-data",)),
    Row(
        {"alarm_topics": (Topic(TOPIC, filtered=("email ops@shop.net",)),)},
        {"alarms.subscriptions": FAIL},
        "only with a filter policy: email ops@shop.net",
    ),
    Row(
        {"alarm_topics": (Topic(TOPIC, confirmed=("sms",), filtered=("email a@b.c",)),)}, good=("alarms.subscriptions",)
    ),
    Row({"alarms": ALARMS[1:]}, {"alarms.metrics": FAIL}, "no alarm monitors this metric of good"),
    Row({"alarms": ALARMS[:4], **rds(instance_class="db.m6g.large", allocated=25)} | larger(), {}),
    Row(
        {"alarms": (), "alarm_topics": ()},
        {
            "alarms.metrics": FAIL,
            "alarms.actions": NA,
            "alarms.have-data": NA,
            "alarms.subscriptions": NA,
            "alarms.topic-key": NA,
        },
        "no alarm monitors this metric of good",
    ),
    Row(alarm(actions_enabled=False), {"alarms.actions": FAIL}, "its actions are disabled"),
    Row(alarm(actions=()), {"alarms.actions": FAIL}, "it has no action"),
    Row(alarm(actions_enabled=None), {"alarms.actions": UNKNOWN}, "no ActionsEnabled"),
    Row(alarm(state="INSUFFICIENT_DATA"), {"alarms.have-data": WARN}, "it has no data"),
    Row(alarm(state="INSUFFICIENT_DATA", changed_at=NOW - timedelta(minutes=5)), {}),
    Row(alarm(state="ALARM"), {}),
    Row(alarm(state=None), {"alarms.have-data": UNKNOWN}, "no StateValue"),
    Row({"alarm_topics": (NO_SUBSCRIPTION,)}, {"alarms.subscriptions": FAIL}, "it has no subscription"),
    Row(
        {"alarm_topics": (replace(NO_SUBSCRIPTION, pending=("email ops@shop.net",)),)},
        {"alarms.subscriptions": FAIL},
        "not confirmed: email ops@shop.net",
    ),
    Row(
        {"alarm_topics": (replace(NO_SUBSCRIPTION, exists=False),)},
        {"alarms.subscriptions": FAIL, "alarms.topic-key": NA},
        "the topic does not exist",
    ),
    Row({"alarm_topics": ()}, {"alarms.subscriptions": NA, "alarms.topic-key": NA}, "no alarm notifies an SNS topic"),
    Row(encrypted(is_aws_managed=True), {"alarms.topic-key": FAIL}, "an AWS managed key, which CloudWatch cannot use"),
    Row(
        encrypted(BY_ACCOUNT, {**BY_CLOUDWATCH, **OF_ORGANIZATION}),
        {"alarms.topic-key": UNKNOWN},
        "a condition in the policy of its key alias/ops cannot be evaluated here",
    ),
    Row(
        {"alarm_topics": (replace(NO_SUBSCRIPTION, confirmed=("sms",), policy=({**PUBLISHING, **OF_ORGANIZATION},)),)},
        {"alarms.topic-key": UNKNOWN},
        "a condition in the policy of the topic cannot be evaluated here",
    ),
    Row(
        {"alarm_topics": (replace(NO_SUBSCRIPTION, confirmed=("sms",), policy=(PUBLISHING,)),)},
        good=("alarms.topic-key",),
    ),
    Row(encrypted(arn=""), {"alarms.topic-key": FAIL}, "its key alias/ops does not exist"),
    Row(encrypted(BY_ACCOUNT, BY_CLOUDWATCH), {}),
    Row(encrypted(BY_ACCOUNT, {**BY_CLOUDWATCH, "Action": "kms:*"}), {}),
    Row(
        encrypted({**BY_CLOUDWATCH, "Principal": "*", "Condition": {"StringEquals": {"kms:CallerAccount": "123"}}}),
        {"alarms.topic-key": FAIL},
        "does not allow CloudWatch kms:Decrypt",
    ),
    Row(
        encrypted(BY_ACCOUNT, {**BY_CLOUDWATCH, "Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}),
        {"alarms.topic-key": FAIL},
        "does not allow CloudWatch kms:Decrypt",
    ),
    Row(
        encrypted(BY_ACCOUNT),
        {"alarms.topic-key": FAIL},
        "the policy of its key alias/ops does not allow CloudWatch kms:Decrypt, kms:GenerateData",
    ),
    Row(
        encrypted(BY_ACCOUNT, {**BY_CLOUDWATCH, "Action": ["kms:Decrypt"]}),
        {"alarms.topic-key": FAIL},
        "does not allow CloudWatch kms:GenerateDataKey*",
    ),
    Row(
        encrypted(BY_CLOUDWATCH, {**BY_CLOUDWATCH, "Principal": "*", "Effect": "Deny"}),
        {"alarms.topic-key": FAIL},
        "does not allow CloudWatch kms:Decrypt",
    ),
]
