"""Composite alarms: which alarms set them off, directly or through other composite alarms."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deploytools.conf import Settings
from deploytools.verification.alarms.facts import alarms, sufficient_alarms
from deploytools.verification.rds.facts import RdsInstance
from tests.fakes.aws_api import respond
from tests.verification.zoo.world import RDS, TOPIC

OTHER_TOPIC = f"{TOPIC}-2"
ARN = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:"


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ("ALARM(a)", {"a"}),
        ('ALARM("a b") OR ALARM( c )', {"a b", "c"}),
        (f'ALARM("{ARN}a")', {f"{ARN}a"}),
        ('(ALARM("a") OR (ALARM(b) OR ALARM(c)))', {"a", "b", "c"}),
        ("ALARM(a) OR (ALARM(b) AND ALARM(c))", {"a"}),
        ("ALARM(a) OR (ALARM(b) AND NOT ALARM(c)) OR NOT ALARM(d)", {"a"}),
        ("(ALARM(a)) OR (ALARM(b))", {"a", "b"}),
        ('ALARM("a AND b") OR ALARM("OR")', {"a AND b", "OR"}),
        ("ALARM(a) AND ALARM(b)", set()),
        ("ALARM(a) OR ALARM(b) AND ALARM(c)", set()),
        ("(ALARM(a) OR ALARM(b)) AND NOT ALARM(deploying)", set()),
        ("NOT (ALARM(a) OR ALARM(b))", set()),
        ("NOT ALARM(a)", set()),
        ("OK(a) OR INSUFFICIENT_DATA(b)", set()),
        ("AT_LEAST(2, ALARM, (a, b, c))", set()),
        ("not ALARM(a)", set()),
        ("TRUE", set()),
        ('ALARM("CPU (prod)") OR ALARM( "a b" )', {"CPU (prod)", "a b"}),
        pytest.param(f"{'(' * 2000}ALARM(a){')' * 2000}", {"a"}, id="2000 parentheses"),
        pytest.param(f"{'(ALARM(a) OR ' * 500}ALARM(b){')' * 500}", {"a", "b"}, id="500 levels"),
        ("(ALARM(a)", set()),
        ("ALARM(a))", set()),
        ("()", set()),
        ("", set()),
    ],
)
def test_alarms_that_alone_set_off_a_composite_alarm(rule, names):
    assert sufficient_alarms(rule) == names


def composite(name: str, rule: str, topic: str = "", **members: Any) -> dict[str, Any]:
    actions = [topic] if topic else []
    found = {"AlarmName": name, "AlarmArn": f"{ARN}{name}", "AlarmRule": rule, "AlarmActions": actions}
    return {**found, "ActionsEnabled": True, **members}


@pytest.mark.parametrize(
    ("composites", "via"),
    [
        ([composite("one", "ALARM(cpu)", TOPIC)], [("one", TOPIC)]),
        ([composite("one", "ALARM(cpu)", TOPIC, ActionsEnabled=False)], []),
        (
            [composite("one", "ALARM(cpu)", ActionsEnabled=False), composite("two", "ALARM(one) OR ALARM(x)", TOPIC)],
            [("two", TOPIC)],
        ),
        (
            [
                composite("two", f"ALARM({ARN}one)", OTHER_TOPIC),
                composite("one", f"ALARM({ARN}cpu)", TOPIC),
                composite("three", "ALARM(two) AND ALARM(x)", "arn:aws:sns:us-east-1:1:never"),
            ],
            [("one", TOPIC), ("two", OTHER_TOPIC)],
        ),
        ([composite("one", "ALARM(cpu) OR ALARM(one)", TOPIC)], [("one", TOPIC)]),
    ],
)
def test_composite_alarms_of_composite_alarms(monkeypatch, composites, via):
    (found,) = read(monkeypatch, composites)
    assert [(arn.removeprefix(ARN), action) for arn, action in found.via] == via


@pytest.mark.parametrize(
    ("days", "state", "is_suppressed"), [(2, "ALARM", True), (0, "ALARM", False), (2, "OK", False)]
)
def test_suppressed_actions_of_composite_alarms(monkeypatch, days, state, is_suppressed):
    since = {"StateValue": state, "StateTransitionedTimestamp": RDS.read_at - timedelta(days=days)}
    suppressed = composite("one", "ALARM(cpu)", TOPIC, ActionsSuppressor=f"{ARN}maintenance")
    (found,) = read(monkeypatch, [suppressed, composite("maintenance", "ALARM(x)", **since)])
    assert (found.via, found.suppressed) == (
        ((), (f"one by {ARN}maintenance",)) if is_suppressed else (((f"{ARN}one", TOPIC),), ())
    )


def test_each_composite_alarm_is_read_once(monkeypatch):
    """Every pair of them is another path: there are far too many to follow each."""
    rules = [" OR ".join(f"ALARM({name})" for name in ("cpu", *(f"c{at}" for at in range(24) if at != own)))
             for own in range(24)]  # fmt: skip
    (found,) = read(monkeypatch, [composite(f"c{at}", rule, TOPIC) for at, rule in enumerate(rules)])
    assert len(found.via) == 24


@pytest.mark.parametrize(
    ("dimensions", "engine", "further"),
    [
        ({"DBInstanceIdentifier": "good"}, "postgres", ()),
        ({"DBInstanceIdentifier": "good", "EngineName": "postgres"}, "postgres", ("EngineName",)),
        ({"DBClusterIdentifier": "orders", "Role": "WRITER"}, "aurora-postgresql", ()),
        ({"DBClusterIdentifier": "orders"}, "aurora-postgresql", ()),
        ({"DBClusterIdentifier": "orders", "EngineName": "x"}, "aurora-postgresql", ("EngineName",)),
        ({"DBClusterIdentifier": "orders", "Role": "READER"}, "aurora-postgresql", None),
        ({"DBClusterIdentifier": "other", "Role": "WRITER"}, "aurora-postgresql", None),
        ({"DBClusterIdentifier": "orders", "Role": "WRITER"}, "postgres", None),
        ({"Role": "WRITER"}, "aurora-postgresql", None),
    ],
)
def test_alarms_on_the_writer_of_an_aurora_cluster(monkeypatch, dimensions, engine, further):
    found = read(monkeypatch, [], replace(RDS, cluster="orders", engine=engine), dimensions)
    assert [alarm.dimensions for alarm in found] == ([] if further is None else [further])


def read(monkeypatch, composites: Any, instance: RdsInstance = RDS, dimensions: Any = None) -> Any:
    metric = {
        "AlarmName": "cpu",
        "AlarmArn": f"{ARN}cpu",
        "Namespace": "AWS/RDS",
        "MetricName": "CPUUtilization",
        "Dimensions": [
            {"Name": name, "Value": value}
            for name, value in (dimensions or {"DBInstanceIdentifier": RDS.identifier}).items()
        ],
    }
    answer = {"MetricAlarms": [metric], "CompositeAlarms": composites}
    respond(monkeypatch, lambda *_: answer)
    return alarms(instance, Settings())
