"""The fire test: sets an instance's alarms off and looks whether they tell. It is asked for; no check does it.

CloudWatch sets a metric alarm back by itself, often within seconds: at its next evaluation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
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
    others = [action for action in alarm.actions if action.split(":")[2:3] != ["sns"]]
    if others:
        return f"it does more than tell: {', '.join(others)}"
    return "it is in the state ALARM already, so nothing would be told" if alarm.state == "ALARM" else ""


def fire(firings: Sequence[Firing], region: str) -> tuple[Told, ...]:
    """Set off those that are not left out, and wait until each of their topics is told, or is not.

    Raises:
        AccessDenied: one of `ACTIONS`; where it is the history, nothing was set off.
    """
    client, since = aws.client("cloudwatch", region), datetime.now(UTC) - BEFORE
    wanted = [firing for firing in firings if not firing.left_out]
    before = {firing.alarm: _history(client, firing.alarm, since) for firing in wanted}
    told: dict[tuple[str, str], Told] = {}
    for firing in wanted:
        failure = _set_off(client, firing.alarm)
        told |= {(firing.alarm, topic): Told(firing.alarm, topic, failure) for topic in firing.topics if failure}
    waiting = {(firing.alarm, topic) for firing in wanted for topic in firing.topics} - set(told)
    deadline = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline:
        for alarm in sorted({alarm for alarm, _ in waiting}):
            news = _history(client, alarm, since)
            for key in sorted(set(news) - set(before[alarm])):  # A later one may be of its way back.
                told.setdefault((alarm, news[key].topic), news[key])
        waiting -= set(told)
        if waiting:
            time.sleep(PAUSE)
    silent = f"nothing of it in the alarm's history after {PATIENCE:.0f} s"
    return tuple(
        told.get((firing.alarm, topic), Told(firing.alarm, topic, silent))
        for firing in wanted
        for topic in firing.topics
    )


def _set_off(client: CloudWatchClient, alarm: str) -> str:
    """Set `alarm` off; returns why it could not be, or nothing."""
    try:
        with aws.calling("cloudwatch:SetAlarmState", f"the alarm {alarm}"):
            client.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason=REASON)
    except AccessDenied:
        raise
    except AwsError as error:
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
