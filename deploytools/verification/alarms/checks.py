"""Checks of the CloudWatch alarms of the RDS instance: metrics, actions, data and subscriptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from deploytools.verification.alarms.facts import (
    Alarm,
    FunctionPolicies,
    Topic,
    TopicKey,
    function_of,
    is_function,
    is_topic,
)
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.iam.policies import (
    Policy,
    account_of,
    argument,
    decision,
    invocation,
    principals,
    source_context,
)
from deploytools.verification.rds.facts import RdsInstance
from deploytools.verification.registry import check

CHECKLIST = "Security Checklist: CloudWatch alarms configured and email verified"

GIB = 2**30

#: GiB of memory of the size "large" of a family of instance classes, by its first letters.
LARGE = {"t": 8, "m": 8, "r": 16, "x": 32, "c": 4, "z": 16}
SIZES = {"micro": 1 / 8, "small": 1 / 4, "medium": 1 / 2, "large": 1.0}

#: The longest time over which an alarm may evaluate its metric, in seconds.
MAX_SECONDS = 3600

ABOVE = ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold")
BELOW = ("LessThanThreshold", "LessThanOrEqualToThreshold")


@dataclass(frozen=True)
class Requirement:
    """How an alarm on a metric must be set so that it goes off in time.

    Attributes:
        operators: comparison operators of the direction in which the metric gets worse.
        threshold: the recommended one.
        least, most: the range of thresholds that are neither too late nor always exceeded.
        unit: the unit of the metric. With another one, the alarm receives no data.
    """

    operators: tuple[str, ...]
    threshold: int
    least: float
    most: float
    unit: str

    @property
    def options(self) -> str:
        return f"--comparison-operator {self.operators[0]} --threshold {self.threshold}"


def memory(instance_class: str) -> float | None:
    """Return the memory of an instance class in bytes; None: unknown."""
    family, _, size = instance_class.removeprefix("db.").partition(".")
    large, factor, xlarge = LARGE.get(family[:1]), SIZES.get(size), re.fullmatch(r"(\d*)xlarge", size)
    if xlarge:
        factor = 2.0 * int(xlarge[1] or 1)
    return large * factor * GIB if large and factor else None


def requirements(instance: RdsInstance, max_connections: str | None) -> dict[str, Requirement]:
    """Return the required metrics of an instance of this class and storage, with this value of the parameter."""
    instance_class = instance.instance_class or ""
    of_memory, storage = memory(instance_class) or 2 * GIB, (instance.allocated or 20) * GIB
    connections = min(int(of_memory / 9_531_392), 5000)  # The default on RDS.
    if max_connections and max_connections.isdecimal():
        connections = int(max_connections)
    found = {
        "CPUUtilization": Requirement(ABOVE, 80, 20, 95, "Percent"),
        "FreeStorageSpace": Requirement(BELOW, storage // 10, storage / 20, storage * 0.9, "Bytes"),
        "FreeableMemory": Requirement(BELOW, int(of_memory // 8), of_memory / 40, of_memory * 0.75, "Bytes"),
        "DatabaseConnections": Requirement(ABOVE, connections * 2 // 3, 5, connections * 0.95, "Count"),
    }
    if instance.is_aurora:  # Its storage grows automatically, and the metric does not exist.
        del found["FreeStorageSpace"]
    if instance_class.startswith("db.t"):  # Burstable classes slow down when their CPU credits are used up.
        found["CPUCreditBalance"] = Requirement(BELOW, 50, 5, 500, "Count")
    return found


#: ``TreatMissingData`` with which an alarm without data stays in the state OK.
HIDING = {"notBreaching", "ignore"}

#: Seconds in which a new alarm has no data yet.
NEW_ALARM_SECONDS = 30 * 60

#: The service that publishes to an alarm's topic, and the actions on the topic's KMS key that it needs.
CLOUDWATCH, KEY_ACTIONS = "cloudwatch.amazonaws.com", ("kms:Decrypt", "kms:GenerateDataKey*")

#: The services that invoke the function of an alarm, and that of a topic's subscription.
INVOKER, SNS = "lambda.alarms.cloudwatch.amazonaws.com", "sns.amazonaws.com"

#: Seconds.
DAY = 24 * 60 * 60

NO_ALARM = "there is no alarm (see alarms.metrics)"

alarm_check = partial(check, guide=CHECKLIST)


@alarm_check(
    "alarms.metrics",
    title="Every required metric has an alarm that goes off in time",
    severity=Severity.HIGH,
    hint="Run: aws cloudwatch put-metric-alarm",
)
def metrics(
    rds_instance: RdsInstance, rds_parameters: Mapping[str, str | None], alarms: tuple[Alarm, ...]
) -> Iterable[Verdict]:
    """Without an alarm, a full disk or exhausted memory is noticed only when the application stops working."""
    dimensions = f"Name=DBInstanceIdentifier,Value={rds_instance.identifier}"
    if rds_instance.is_aurora:  # After a failover, another instance is the writer.
        dimensions = f"Name=DBClusterIdentifier,Value={rds_instance.cluster} Name=Role,Value=WRITER"
    for metric, required in requirements(rds_instance, rds_parameters.get("max_connections")).items():
        of_metric = [alarm for alarm in alarms if alarm.metric == metric]
        problems = {alarm.name: _problem(alarm, required) for alarm in of_metric}
        effective = [name for name, problem in problems.items() if not problem]
        hint = (
            f"Run: aws cloudwatch put-metric-alarm --alarm-name {rds_instance.identifier}-{metric} --namespace "
            f"AWS/RDS --metric-name {metric} "
            f"--dimensions {dimensions} "
            f"--statistic Average --period 300 --evaluation-periods 2 {required.options} --alarm-actions TOPIC_ARN"
        )
        if effective:
            yield passed(", ".join(effective), metric)
        elif not of_metric:
            yield failed(f"no alarm monitors this metric of {rds_instance.identifier}", metric, hint)
        elif all(alarm.is_expression for alarm in of_metric):
            yield unknown(f"{', '.join(problems)}: metric math is not evaluated", metric, hint)
        else:
            yield failed("; ".join(f"{name}: {problem}" for name, problem in problems.items()), metric, hint)


def _problem(alarm: Alarm, required: Requirement) -> str:
    """Return why an alarm does not go off in time; empty: it does."""
    is_below = alarm.operator in BELOW
    statistics = {"Average", "Minimum"} if is_below else {"Average", "Maximum"}
    is_percentile = alarm.statistic.startswith(("p", "tm"))
    if alarm.is_expression:
        return "metric math is not evaluated"
    if alarm.operator not in required.operators:
        return f"it compares with {alarm.operator or 'nothing'}, expected {required.operators[0]}"
    if alarm.threshold is None or not required.least <= alarm.threshold <= required.most:
        expected = f"{required.least:,.0f} to {required.most:,.0f}"
        return f"its threshold is {alarm.threshold}, expected {expected}"
    if alarm.statistic not in statistics and not is_percentile:
        return f"its statistic is {alarm.statistic or 'not set'}, expected {' or '.join(sorted(statistics))}"
    if not 0 < alarm.seconds <= MAX_SECONDS:
        return f"it evaluates {alarm.seconds:,} seconds, expected at most {MAX_SECONDS:,}"
    if alarm.unit not in {"", required.unit}:
        return f"its unit is {alarm.unit}, in which there is no data"
    if alarm.dimensions:
        return f"its dimension {alarm.dimensions[0]} does not exist on this metric"
    return ""


@alarm_check(
    "alarms.actions",
    title="Every alarm notifies an SNS topic, or invokes a function that exists",
    severity=Severity.HIGH,
    hint="Run: aws cloudwatch enable-alarm-actions --alarm-names NAME",
    references=(
        "FSBP CloudWatch.15",
        "FSBP CloudWatch.17",
        "Prowler cloudwatch_alarm_actions_enabled",
        "Prowler cloudwatch_alarm_actions_alarm_state_configured",
    ),
)
def actions(alarms: tuple[Alarm, ...], alarm_functions: FunctionPolicies) -> Iterable[Verdict]:
    """An alarm without an action sends no notification."""
    if not alarms:
        yield not_applicable(NO_ALARM)
    for alarm in alarms:
        own = {action: _reach(action, alarm.arn, alarm_functions) for action in alarm.actions}
        of_others = [action for arn, action in alarm.via if _reach(action, arn, alarm_functions) == "allowed"]
        if of_others:
            yield passed(f"a composite alarm notifies {', '.join(of_others)}", alarm.name)
        elif alarm.suppressed and not (alarm.actions_enabled and "allowed" in own.values()):
            hint = "Fix the cause of the suppressing alarm, or remove ActionsSuppressor from the composite alarm"
            evidence = f"the actions of its composite alarm are suppressed for a day: {', '.join(alarm.suppressed)}"
            yield failed(evidence, alarm.name, hint)
        elif alarm.actions_enabled is None:
            yield unknown("the AWS response has no ActionsEnabled", alarm.name)
        elif not alarm.actions_enabled:
            hint = f"Run: aws cloudwatch enable-alarm-actions --alarm-names {alarm.name}"
            yield failed("its actions are disabled", alarm.name, hint)
        elif not alarm.actions:
            hint = f"Run aws cloudwatch put-metric-alarm for {alarm.name} again, with --alarm-actions TOPIC_ARN"
            yield failed("it has no action", alarm.name, hint)
        elif called := [action for action, reach in own.items() if reach == "allowed"]:
            yield passed(f"notifies {', '.join(called)}", alarm.name)
        elif functions := [action for action in own if is_function(action)]:
            yield _not_invoked(alarm, functions[0], own[functions[0]])
        else:
            hint = f"Add an SNS topic: run aws cloudwatch put-metric-alarm for {alarm.name} again with --alarm-actions"
            evidence = f"only SNS topics and functions are verified; its actions are {', '.join(alarm.actions)}"
            yield warned(evidence, alarm.name, hint)


def _reach(action: str, alarm: str, functions: FunctionPolicies) -> str:
    """Return ``allowed`` if the alarm can use the action, or the decision of the function's policy."""
    if is_topic(action):
        return "allowed"
    return invocation(action, functions.get(action, ()), INVOKER, alarm)


def _not_invoked(alarm: Alarm, function: str, reach: str) -> Verdict:
    hint = (
        f"Run: aws lambda add-permission --function-name {function} --statement-id alarms --action "
        f"lambda:InvokeFunction --principal {INVOKER} --source-account {account_of(function)}"
    )
    if reach == "conditional":
        return unknown(f"a condition in the policy of {function} cannot be evaluated here", alarm.name, hint)
    return failed(f"{function} does not exist, or does not allow {INVOKER} to invoke it", alarm.name, hint)


@alarm_check(
    "alarms.have-data",
    title="Every alarm receives metric data, and none has been in the state ALARM for a day",
    severity=Severity.MEDIUM,
    hint="Check the alarm's metric and dimensions: aws cloudwatch describe-alarms --alarm-names NAME",
)
def have_data(rds_instance: RdsInstance, alarms: tuple[Alarm, ...]) -> Iterable[Verdict]:
    """An alarm with a wrong dimension receives no data and never goes into the ALARM state."""
    if not alarms:
        yield not_applicable(NO_ALARM)
    for alarm in alarms:
        age = (rds_instance.read_at - alarm.changed_at).total_seconds() if alarm.changed_at else None
        if alarm.state is None:
            yield unknown("the AWS response has no StateValue", alarm.name)
        elif (
            alarm.state == "ALARM"
            and alarm.state_since
            and (rds_instance.read_at - alarm.state_since).total_seconds() > DAY
        ):
            evidence, since = "it has been in the state ALARM for more than a day", f"{alarm.state_since:%Y-%m-%d}"
            yield warned(evidence, alarm.name, f"Check {alarm.metric}, and fix the cause", measured=f"since {since}")
        elif alarm.state == "OK" and alarm.missing_data in HIDING:
            hint = f"Run aws cloudwatch put-metric-alarm for {alarm.name} again, with --treat-missing-data missing"
            yield warned(f"it can be OK without data: TreatMissingData is {alarm.missing_data}", alarm.name, hint)
        elif alarm.state != "INSUFFICIENT_DATA":
            yield passed(f"the state is {alarm.state}", alarm.name)
        elif age is not None and age < NEW_ALARM_SECONDS:
            yield passed("it is new and has no data yet", alarm.name)
        elif rds_instance.status == "stopped":
            yield not_applicable("the instance is stopped", alarm.name)
        else:
            hint = f"Check its metric and dimensions: aws cloudwatch describe-alarms --alarm-names {alarm.name}"
            yield warned("it has no data (INSUFFICIENT_DATA)", alarm.name, hint)


@alarm_check(
    "alarms.subscriptions",
    title="Every alarm topic has a confirmed subscription without a filter",
    severity=Severity.HIGH,
    hint="Open the confirmation link in the email from AWS, or subscribe again: aws sns subscribe",
)
def subscriptions(
    alarm_topics: tuple[Topic, ...], alarms: tuple[Alarm, ...], alarm_functions: FunctionPolicies
) -> Iterable[Verdict]:
    """SNS sends no notification to a subscription that is not confirmed."""
    if not alarms:
        yield not_applicable(NO_ALARM)
    elif not alarm_topics:
        yield not_applicable("no alarm notifies an SNS topic (see alarms.actions)")
    for topic in alarm_topics:
        functions = {name: function_of(name, topic) for name in topic.confirmed if function_of(name, topic)}
        reach = {name: invocation(f, alarm_functions.get(f, ()), SNS, topic.arn) for name, f in functions.items()}
        notified = [name for name in topic.confirmed if reach.get(name, "allowed") == "allowed"]
        subscribe = f"aws sns subscribe --topic-arn {topic.arn} --protocol email --notification-endpoint ADDRESS"
        if not topic.exists:
            yield failed("the topic does not exist", topic.arn, f"Create it: aws sns create-topic; then {subscribe}")
        elif notified:
            yield passed(f"notifies {', '.join(notified)}", topic.arn)
        elif reach:
            verdict = unknown if "conditional" in reach.values() else failed
            evidence = f"{', '.join(reach)}: the function does not exist, or does not allow {SNS} to invoke it"
            yield verdict(evidence, topic.arn, f"Allow {SNS} lambda:InvokeFunction in its policy, or run: {subscribe}")
        elif topic.filtered:
            hint = f"Remove the filter policy, or subscribe without one. Run: {subscribe}"
            yield failed(f"only with a filter policy: {', '.join(topic.filtered)}", topic.arn, hint)
        elif topic.pending:
            hint = f"Open the confirmation link in the email from AWS, or request it again. Run: {subscribe}"
            yield failed(f"not confirmed: {', '.join(topic.pending)}", topic.arn, hint)
        else:
            yield failed("it has no subscription", topic.arn, f"Run: {subscribe}")


@alarm_check(
    "alarms.topic-key",
    title="CloudWatch can publish to every alarm topic and use its KMS key",
    severity=Severity.HIGH,
    hint="Use a customer managed key whose policy allows cloudwatch.amazonaws.com kms:Decrypt and kms:GenerateDataKey*",
)
def topic_key(
    alarms: tuple[Alarm, ...], alarm_topics: tuple[Topic, ...], topic_keys: tuple[TopicKey, ...]
) -> Iterable[Verdict]:
    """Without access to the key, CloudWatch cannot publish to the topic, and no notification is sent."""
    keys = {key.topic: key for key in topic_keys}
    existing = [topic for topic in alarm_topics if topic.exists]
    if not existing:
        yield not_applicable("no alarm notifies an existing SNS topic")
    for topic in existing:
        contexts = [source_context(arn) for alarm in alarms for arn, action in alarm.called if action == topic.arn]
        publishing = "allowed" if topic.policy is None else _publishing(topic, contexts)
        if publishing != "allowed":
            hint = (
                f"Allow {CLOUDWATCH} sns:Publish in the topic's policy. Run: aws sns set-topic-attributes --topic-arn "
            )
            hint += f"{topic.arn} --attribute-name Policy --attribute-value file://FILE"
            if publishing == "conditional":
                yield unknown("a condition in the policy of the topic cannot be evaluated here", topic.arn, hint)
            else:
                yield failed("the policy of the topic does not allow CloudWatch sns:Publish", topic.arn, hint)
            continue
        if topic.key:
            yield _evaluate_key(topic, keys[topic.arn], contexts)
        else:
            yield passed("not encrypted with a KMS key", topic.arn)


def _publishing(topic: Topic, contexts: Iterable[Mapping[str, str]]) -> str:
    account = account_of(topic.arn)
    named = {CLOUDWATCH, "*", account, f"arn:aws:iam::{account}:root"}
    policy = Policy("topic", tuple(s for s in topic.policy or () if named & set(principals(s))))
    return _decision(policy, "sns:publish", topic.arn, contexts)


def _decision(policy: Policy, action: str, resource: str, contexts: Iterable[Mapping[str, str]]) -> str:
    """Return ``allowed`` if CloudWatch is allowed it for each alarm, ``conditional``, or ``denied``."""
    decisions = {decision([policy], action, resource, context)[0] for context in contexts}
    if decisions <= {"allowed"}:
        return "allowed"
    return "conditional" if decisions <= {"allowed", "conditional"} else "denied"


def _evaluate_key(topic: Topic, key: TopicKey, contexts: Iterable[Mapping[str, str]]) -> Verdict:
    replace_key = (
        f"Run: aws sns set-topic-attributes --topic-arn {topic.arn} --attribute-name KmsMasterKeyId "
        f"--attribute-value KEY, with a customer managed key that {CLOUDWATCH} can use"
    )
    if not key.arn:
        return failed(f"its key {topic.key} does not exist", topic.arn, replace_key)
    if key.is_aws_managed:
        return failed(f"its key {topic.key} is an AWS managed key, which CloudWatch cannot use", topic.arn, replace_key)
    if key.state != "Enabled":
        return failed(f"the state of its key {topic.key} is {key.state}", topic.arn, replace_key)
    policy = Policy("default", tuple(filter(_applies_to_cloudwatch, key.statements)))
    decisions = {action: _decision(policy, action.removesuffix("*"), "*", contexts) for action in KEY_ACTIONS}
    missing = [action for action, decided in decisions.items() if decided == "denied"]
    if set(decisions.values()) == {"allowed"}:
        return passed(f"the policy of its key {topic.key} allows CloudWatch to use it", topic.arn)
    added = {"Effect": "Allow", "Principal": {"Service": CLOUDWATCH}, "Action": list(KEY_ACTIONS), "Resource": "*"}
    hint = (
        f"Run: aws kms put-key-policy --key-id {key.arn} --policy-name default --policy "
        f"{argument([*key.statements, added])} (adds the last statement; the others are unchanged)"
    )
    if not missing:
        evidence = f"a condition in the policy of its key {topic.key} cannot be evaluated here"
        return unknown(evidence, topic.arn, hint)
    return failed(f"the policy of its key {topic.key} does not allow CloudWatch {', '.join(missing)}", topic.arn, hint)


def _applies_to_cloudwatch(statement: Mapping[str, Any]) -> bool:
    """``"*"`` includes AWS services in a Deny statement; an Allow statement must name the service."""
    named = principals(statement)
    return CLOUDWATCH in named or ("*" in named and statement.get("Effect") == "Deny")
