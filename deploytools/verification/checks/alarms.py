"""Checks of the alarms on this instance: that they are there, that they act, and that somebody hears of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.policies import Policy, allowed_by, argument, principals
from deploytools.verification.registry import check
from deploytools.verification.sources.alarms import Alarm, Topic, TopicKey
from deploytools.verification.sources.rds import RdsInstance

CHECKLIST = "Security Checklist: CloudWatch alarms configured and email verified"

#: What stops a PostgreSQL on RDS: each metric with a threshold that warns in time.
METRICS = {
    "CPUUtilization": "--comparison-operator GreaterThanThreshold --threshold 80",
    "FreeStorageSpace": "--comparison-operator LessThanThreshold --threshold 2147483648",
    "FreeableMemory": "--comparison-operator LessThanThreshold --threshold 268435456",
    "DatabaseConnections": "--comparison-operator GreaterThanThreshold --threshold 150",
}
#: Instances of the t classes are slow when their credits are used up.
CREDITS = {"CPUCreditBalance": "--comparison-operator LessThanThreshold --threshold 50"}

#: Seconds. A new alarm has no data in its first minutes.
SETTLING = 30 * 60

#: Who writes to a topic when an alarm goes off, and what that takes of the topic's key.
CLOUDWATCH, USES = "cloudwatch.amazonaws.com", ("kms:Decrypt", "kms:GenerateDataKey*")

MISSING = "there is no alarm (see alarms.metrics)"


@check(
    "alarms.metrics",
    title="Every metric that tells of trouble has an alarm",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws cloudwatch put-metric-alarm",
)
def metrics(rds_instance: RdsInstance, alarms: tuple[Alarm, ...]) -> Iterable[Verdict]:
    """A full disk, memory or connection table is seen hours before it stops the tenants, by whoever is told."""
    wanted = METRICS | (CREDITS if (rds_instance.instance_class or "").startswith("db.t") else {})
    for metric, threshold in wanted.items():
        names = [alarm.name for alarm in alarms if alarm.metric == metric]
        if names:
            yield passed(", ".join(names), metric)
        else:
            hint = (
                f"Run: aws cloudwatch put-metric-alarm --alarm-name {rds_instance.identifier}-{metric} --namespace "
                f"AWS/RDS --metric-name {metric} "
                f"--dimensions Name=DBInstanceIdentifier,Value={rds_instance.identifier} "
                f"--statistic Average --period 300 --evaluation-periods 2 {threshold} --alarm-actions TOPIC_ARN"
            )
            yield failed(f"no alarm looks at it for {rds_instance.identifier}", metric, hint)


@check(
    "alarms.act",
    title="Every alarm does something when it goes off",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws cloudwatch enable-alarm-actions --alarm-names NAME",
    peers=(
        "FSBP CloudWatch.15",
        "FSBP CloudWatch.17",
        "Prowler cloudwatch_alarm_actions_enabled",
        "Prowler cloudwatch_alarm_actions_alarm_state_configured",
    ),
)
def act(alarms: tuple[Alarm, ...]) -> Iterable[Verdict]:
    """An alarm without an action turns a line on a page red that nobody looks at."""
    if not alarms:
        yield not_applicable(MISSING)
    for alarm in alarms:
        if alarm.acts is None:
            yield unknown("AWS's answer does not say (ActionsEnabled)", alarm.name)
        elif not alarm.acts:
            hint = f"Run: aws cloudwatch enable-alarm-actions --alarm-names {alarm.name}"
            yield failed("its actions are switched off", alarm.name, hint)
        elif not alarm.actions:
            hint = f"Run aws cloudwatch put-metric-alarm for {alarm.name} again, with --alarm-actions TOPIC_ARN"
            yield failed("it has no action", alarm.name, hint)
        else:
            yield passed(f"tells {', '.join(alarm.actions)}", alarm.name)


@check(
    "alarms.have-data",
    title="Every alarm has data to judge by",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Look at the alarm's metric and dimensions: aws cloudwatch describe-alarms --alarm-names NAME",
)
def have_data(rds_instance: RdsInstance, alarms: tuple[Alarm, ...]) -> Iterable[Verdict]:
    """An alarm with a slip of the pen in its dimension never goes off: it waits for data that nobody sends."""
    if not alarms:
        yield not_applicable(MISSING)
    for alarm in alarms:
        is_new = alarm.changed_at is not None and (rds_instance.read_at - alarm.changed_at).total_seconds() < SETTLING
        if alarm.state is None:
            yield unknown("AWS's answer does not say (StateValue)", alarm.name)
        elif alarm.state == "INSUFFICIENT_DATA" and is_new:
            yield passed("it is new, and has no data yet", alarm.name)
        elif alarm.state == "INSUFFICIENT_DATA" and rds_instance.status == "stopped":
            yield not_applicable("the instance is stopped", alarm.name)
        elif alarm.state == "INSUFFICIENT_DATA":
            hint = f"Look at its metric and dimensions: aws cloudwatch describe-alarms --alarm-names {alarm.name}"
            yield warned("it has no data (INSUFFICIENT_DATA)", alarm.name, hint)
        else:
            yield passed(f"its state is {alarm.state}", alarm.name)


@check(
    "alarms.heard",
    title="Somebody has confirmed to be told of the alarms",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Click the link in the mail that AWS sent, or subscribe again: aws sns subscribe",
)
def heard(alarm_topics: tuple[Topic, ...], alarms: tuple[Alarm, ...]) -> Iterable[Verdict]:
    """An address that was never confirmed gets no mail, and AWS says so nowhere else."""
    if not alarms:
        yield not_applicable(MISSING)
    elif not alarm_topics:
        yield not_applicable("no alarm tells an SNS topic (see alarms.act)")
    for topic in alarm_topics:
        again = f"Run: aws sns subscribe --topic-arn {topic.arn} --protocol email --notification-endpoint ADDRESS"
        if not topic.exists:
            yield failed("the topic does not exist", topic.arn, f"Make it: aws sns create-topic; then {again[5:]}")
        elif topic.confirmed:
            yield passed(f"tells {', '.join(topic.confirmed)}", topic.arn)
        elif topic.pending:
            hint = f"Click the link in the mail that AWS sent there, or have it sent again. {again}"
            yield failed(f"not confirmed: {', '.join(topic.pending)}", topic.arn, hint)
        else:
            yield failed("nobody is subscribed", topic.arn, again)


@check(
    "alarms.topic-key",
    title="CloudWatch may use the key of the alarms' topic",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Use a KMS key of your own whose policy lets cloudwatch.amazonaws.com kms:Decrypt and kms:GenerateDataKey*",
)
def topic_key(alarm_topics: tuple[Topic, ...], topic_keys: tuple[TopicKey, ...]) -> Iterable[Verdict]:
    """With a key that CloudWatch may not use it cannot write to the topic: the alarm goes off and no mail comes."""
    keys = {key.topic: key for key in topic_keys}
    existing = [topic for topic in alarm_topics if topic.exists]
    if not existing:
        yield not_applicable("no alarm tells an SNS topic that exists")
    for topic in existing:
        yield _judge_key(topic, keys[topic.arn]) if topic.key else passed("not encrypted with a key", topic.arn)


def _judge_key(topic: Topic, key: TopicKey) -> Verdict:
    other = (
        f"Run: aws sns set-topic-attributes --topic-arn {topic.arn} --attribute-name KmsMasterKeyId "
        f"--attribute-value KEY, with a key of your own that lets {CLOUDWATCH} use it"
    )
    if not key.arn:
        return failed(f"it is encrypted with {topic.key}, which does not exist", topic.arn, other)
    if key.is_of_aws:
        return failed(f"it is encrypted with {topic.key}, AWS's own, which CloudWatch may not use", topic.arn, other)
    about = Policy("default", tuple(filter(_is_about_cloudwatch, key.statements)))
    lacking = [action for action in USES if not allowed_by([about], action.removesuffix("*"), "*")]
    if not lacking:
        return passed(f"encrypted with {topic.key}, whose policy lets CloudWatch use it", topic.arn)
    wanted = {"Effect": "Allow", "Principal": {"Service": CLOUDWATCH}, "Action": list(USES), "Resource": "*"}
    hint = (
        f"Run: aws kms put-key-policy --key-id {key.arn} --policy-name default --policy "
        f"{argument([*key.statements, wanted])} (it adds the last statement; the others stay)"
    )
    seen = f"the policy of {topic.key}, which it is encrypted with, does not let CloudWatch {', '.join(lacking)}"
    return failed(seen, topic.arn, hint)


def _is_about_cloudwatch(statement: Mapping[str, Any]) -> bool:
    """Of everybody a service is one where that denies; where it allows, a service has to be named."""
    named = principals(statement)
    return CLOUDWATCH in named or ("*" in named and statement.get("Effect") == "Deny")
