"""The fire test: sets an instance's alarms off and looks whether they tell. It is asked for; no check does it.

CloudWatch sets a metric alarm back by itself, often within seconds: at its next evaluation. One that ignores missing
data may stay as it is where there is none.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deploytools import aws
from deploytools.errors import AccessDenied, AwsError
from deploytools.verification.sources.alarms import Alarm, Topic

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient

ACTIONS = ("cloudwatch:DescribeAlarmHistory", "cloudwatch:SetAlarmState")

#: Seconds to wait for the alarms' history, and between two looks.
PATIENCE, PAUSE = 60.0, 2.0

REASON = "Fire test of verify_deploy: this is a drill"

#: How far back an alarm's history is read, so that what was there before is known whatever this machine's clock says.
BEFORE = timedelta(hours=1)


@dataclass(frozen=True)
class Firing:
    """One alarm of the test.

    Attributes:
        topics: ARNs of the SNS topics that it tells.
        heard_by: who has confirmed to be told, ``email operations@example.com``.
        left_out: why it is not set off; empty: it is.
    """

    alarm: str
    topics: tuple[str, ...]
    heard_by: tuple[str, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class Told:
    """What came of one alarm's action; `failure` is empty where the topic was told."""

    alarm: str
    topic: str
    failure: str = ""


def plan(alarms: Iterable[Alarm], topics: Iterable[Topic]) -> tuple[Firing, ...]:
    """Which alarms would be set off. One that does something else than tell a topic is left out: it might act. Pure."""
    listeners = {topic.arn: topic.confirmed for topic in topics}
    return tuple(
        Firing(
            alarm.name,
            alarm.actions,
            tuple(name for topic in alarm.actions for name in listeners.get(topic, ())),
            _left_out(alarm),
        )
        for alarm in {alarm.name: alarm for alarm in alarms}.values()
    )


def _left_out(alarm: Alarm) -> str:
    if not alarm.acts or not alarm.actions:
        return "it does nothing when it goes off (see alarms.act)"
    if others := _not_telling(alarm.actions):
        return f"it does more than tell: {', '.join(others)}"
    if others := _not_telling(alarm.actions_after):
        return f"it does more than tell when it goes back: {', '.join(others)}"
    if alarm.missing == "ignore":
        return "it ignores missing data, and might stay in the state ALARM"
    return "it is in the state ALARM already, so nothing would be told" if alarm.state == "ALARM" else ""


def _not_telling(actions: Iterable[str]) -> list[str]:
    return [action for action in actions if action.split(":")[2:3] != ["sns"]]


def fire(firings: Sequence[Firing], region: str, setting_off: Callable[[str], None]) -> tuple[Told, ...]:
    """Set off those that are not left out, and wait until each of their topics is told, or is not.

    Args:
        setting_off: called with the name of each, before it is.

    Raises:
        AwsError: nothing was set off: the history could not be read, or the first is denied.
    """
    client, since = aws.client("cloudwatch", region), datetime.now(UTC) - BEFORE
    wanted = [firing for firing in firings if not firing.left_out]
    before = {firing.alarm: _history(client, firing.alarm, since) for firing in wanted}
    told: dict[tuple[str, str], Told] = {}
    for index, firing in enumerate(wanted):
        setting_off(firing.alarm)
        failure = _set_off(client, firing.alarm, is_first=not index)
        told |= {(firing.alarm, topic): Told(firing.alarm, topic, failure) for topic in firing.topics if failure}
    asked = [(firing.alarm, topic) for firing in wanted for topic in firing.topics]
    told |= _outcomes(client, {key for key in asked if key not in told}, before, since)
    return tuple(told[key] for key in asked)


def _outcomes(
    client: CloudWatchClient,
    waiting: set[tuple[str, str]],
    before: Mapping[str, Collection[tuple[datetime, str]]],
    since: datetime,
) -> dict[tuple[str, str], Told]:
    """What the history says of each alarm and topic in `waiting`, as soon as it does; or that it does not."""
    silent = f"nothing of it in the alarm's history after {PATIENCE:.0f} s"
    told: dict[tuple[str, str], Told] = {}
    seen = {alarm: silent for alarm, _ in waiting}
    deadline = time.monotonic() + PATIENCE
    while (left := waiting - set(told)) and time.monotonic() < deadline:
        for alarm in sorted({alarm for alarm, _ in left}):
            try:
                news, seen[alarm] = _history(client, alarm, since), silent
            except AwsError as error:
                news, seen[alarm] = {}, f"not known: {str(error).rstrip('.')}"
            for key in sorted(set(news) - set(before[alarm])):  # A later one may be of its way back.
                told.setdefault((alarm, news[key].topic), news[key])
        if waiting - set(told):
            time.sleep(PAUSE)
    return {key: Told(*key, seen[key[0]]) for key in waiting} | told


def _set_off(client: CloudWatchClient, alarm: str, *, is_first: bool) -> str:
    """Set `alarm` off; returns why it could not be, or nothing.

    Raises:
        AccessDenied: it is the first, so that nothing was set off.
    """
    try:
        with aws.calling("cloudwatch:SetAlarmState", f"the alarm {alarm}"):
            client.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason=REASON)
    except AwsError as error:
        if is_first and isinstance(error, AccessDenied):
            raise
        return str(error)
    return ""


def _history(client: CloudWatchClient, alarm: str, since: datetime) -> dict[tuple[datetime, str], Told]:
    """The actions that `alarm` has finished since then, by what tells them apart."""
    with aws.calling("cloudwatch:DescribeAlarmHistory", f"the alarm {alarm}"):
        pages = client.get_paginator("describe_alarm_history")
        answer = pages.paginate(AlarmName=alarm, HistoryItemType="Action", StartDate=since).build_full_result()
    found = {}
    for item in answer["AlarmHistoryItems"]:
        data, summary = json.loads(item.get("HistoryData") or "{}"), item.get("HistorySummary", "")
        state = data.get("actionState", "")
        if state != "InProgress":
            failure = "" if state == "Succeeded" else summary or "its action failed"
            found[item["Timestamp"], summary] = Told(alarm, data.get("notificationResource", ""), failure)
    return found
