"""`verify_deploy --fire-test`: shown, agreed to, done, told; each alarm that is not told by name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from deploytools.verification import fire_test
from deploytools.verification.fire_test import Firing, Told, plan
from deploytools.verification.sources.alarms import Alarm, Topic, alarms
from localcloud.world import ALARMS, INSTANCE
from tests.management.runner import run
from tests.management.terminal import answer
from tests.verification.world import WORLD

#: One after the other: they set the same alarms off.
pytestmark = pytest.mark.xdist_group("fire")

TOPIC = "arn:aws:sns:us-east-1:123456789012:startupwebapp-alarms"
LISTED = f"{TOPIC} (email operations@example.com)"
OPTIONS = ("verify_deploy", "--only", "alarms.heard", "--fire-test")


def alarm(name: str, *actions: str, acts: bool | None = True, state: str = "OK", **after: Any) -> Alarm:
    return Alarm(name, "CPUUtilization", acts, actions, state, datetime(2026, 3, 1, tzinfo=UTC), **after)


@pytest.fixture
def cloudwatch(cloud: Any) -> Any:
    client = boto3.Session("local", "local", region_name="us-east-1").client(
        "cloudwatch", endpoint_url=cloud.aws_endpoint_url
    )
    yield client
    client.close()


def put_alarm(cloudwatch: Any, name: str, topic: str, *, acts: bool = True, **more: Any) -> None:
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/RDS",
        MetricName="ReadLatency",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanThreshold",
        Threshold=1,
        AlarmActions=[topic],
        ActionsEnabled=acts,
        **more,
    )


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls to CloudWatch, in their order."""
    real, names = BaseClient._make_api_call, []  # type: ignore[attr-defined]

    def call(client: Any, operation: str, request: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name == "cloudwatch":
            names.append(operation)
        return real(client, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", call)
    return names


def test_what_would_be_set_off():
    bucket = "arn:aws:lambda:us-east-1:123456789012:function:scale"
    found = plan(
        [
            alarm("cpu", TOPIC),
            alarm("cpu", TOPIC),
            alarm("off", TOPIC, acts=False),
            alarm("mute"),
            alarm("scales", TOPIC, bucket),
            alarm("red", TOPIC, state="ALARM"),
            alarm("stops", TOPIC, actions_after=(TOPIC, bucket)),
            alarm("stays", TOPIC, missing="ignore"),
            alarm("back", TOPIC, actions_after=(TOPIC,), missing="notBreaching"),
        ],
        [Topic(TOPIC, confirmed=("email ops@shop.net",), pending=("email boss@shop.net",))],
    )
    assert [(item.alarm, item.left_out) for item in found] == [
        ("cpu", ""),
        ("off", "it does nothing when it goes off (see alarms.act)"),
        ("mute", "it does nothing when it goes off (see alarms.act)"),
        ("scales", f"it does more than tell: {bucket}"),
        ("red", "it is in the state ALARM already, so nothing would be told"),
        ("stops", f"it does more than tell when it goes back: {bucket}"),
        ("stays", "it ignores missing data, and might stay in the state ALARM"),
        ("back", ""),
    ]
    assert found[0] == Firing("cpu", (TOPIC,), ("email ops@shop.net",))


def test_what_an_alarm_does_on_its_way_back_is_read(deployment, cloudwatch):
    instance = replace(WORLD["rds_instance"], identifier=deployment.name)
    of_it: dict[str, Any] = {"Dimensions": [{"Name": "DBInstanceIdentifier", "Value": deployment.name}]}
    stops = "arn:aws:automate:us-east-1:ec2:stop"
    back: dict[str, Any] = {"OKActions": [TOPIC], "InsufficientDataActions": [stops], "TreatMissingData": "ignore"}
    put_alarm(cloudwatch, f"a-{deployment.name}", TOPIC, **of_it)
    put_alarm(cloudwatch, f"b-{deployment.name}", TOPIC, **of_it, **back)
    assert [(found.actions_after, found.missing) for found in alarms(instance)] == [
        ((), "missing"),
        ((TOPIC, stops), "ignore"),
    ]


def test_all_alarms_tell(capsys, deployment, called):
    result = run(capsys, *OPTIONS, "--noinput")
    names = [f"{INSTANCE}-{metric}" for metric, *_ in ALARMS]
    assert result.err.splitlines() == [
        "Fire test: these alarms are set to ALARM, and tell whom they tell in earnest.",
        *(f"  {name}: {LISTED}" for name in names),
        *(f"  {name}: told {TOPIC}" for name in names),
        "Fire test: all were told; look whether it arrives.",
    ]
    assert result.code == 0
    assert {f"cloudwatch:{name}" for name in called} == {"cloudwatch:DescribeAlarms", *fire_test.ACTIONS}
    assert called.count("SetAlarmState") == len(ALARMS)


@pytest.mark.parametrize(
    ("topic", "acts", "failure"),
    [
        (f"{TOPIC}-gone", True, f"Failed to execute action {TOPIC}-gone"),
        (TOPIC, False, "nothing of it in the alarm's history after 1 s"),
    ],
)
def test_an_alarm_that_is_not_told_is_named(capsys, deployment, cloudwatch, monkeypatch, topic, acts, failure):
    """It is of no instance, so that others who look at the same account do not see it."""
    name = f"lost-{deployment.name}"
    put_alarm(cloudwatch, name, topic, acts=acts)
    monkeypatch.setattr(fire_test, "PATIENCE", 1)
    monkeypatch.setattr(fire_test, "PAUSE", 0.1)
    monkeypatch.setattr(fire_test, "plan", lambda alarms, topics: (Firing(name, (topic,)),))
    result = run(capsys, *OPTIONS, "--noinput")
    assert result.err.splitlines()[1:] == [
        f"  {name}: {topic} (nobody has confirmed (see alarms.heard))",
        f"  {name}: FAILED: {failure}",
        "Fire test: 1 of 1 were not told, 1 of 1 alarms reach nobody (see alarms.heard).",
    ]
    assert result.code == 1


def test_what_reaches_nobody_is_no_success_and_what_is_left_out_is_counted(capsys, deployment, cloudwatch, monkeypatch):
    name, heard = f"there-{deployment.name}", ("email operations@example.com",)
    put_alarm(cloudwatch, name, TOPIC)
    for listeners, code, said in [
        (heard, 0, "all were told; look whether it arrives; 1 of 2 alarms were left out."),
        ((), 1, "1 of 1 alarms reach nobody (see alarms.heard); 1 of 2 alarms were left out."),
    ]:
        firings = Firing(name, (TOPIC,), listeners), Firing("red", (TOPIC,), heard, "it is red")
        monkeypatch.setattr(fire_test, "plan", lambda alarms, topics, firings=firings: firings)
        result = run(capsys, *OPTIONS, "--noinput")
        assert (result.err.splitlines()[-1], result.code) == (f"Fire test: {said}", code)
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="back")


def test_an_alarm_that_is_gone_does_not_stop_the_others(capsys, deployment, cloudwatch):
    name = f"there-{deployment.name}"
    put_alarm(cloudwatch, name, TOPIC)
    lost, there = fire_test.fire([Firing("gone", (TOPIC,)), Firing(name, (TOPIC,))], "us-east-1", print)
    assert lost.failure.startswith("cloudwatch:SetAlarmState failed for the alarm gone: ")
    assert there == Told(name, TOPIC)


@pytest.mark.parametrize(
    ("typed", "sentence", "hint"),
    [
        (None, "this is not a terminal, so nobody could be asked.", "Say --noinput to fire."),
        ("n", "the answer was not yes.", "Run it again when it is."),
    ],
)
def test_nothing_is_set_off_that_nobody_agreed_to(capsys, deployment, called, monkeypatch, typed, sentence, hint):
    if typed:
        answer(monkeypatch, typed)
    result = run(capsys, *OPTIONS)
    assert result.err.endswith(f"Error: Nothing was changed: {sentence}\nHint: {hint}\n")
    assert ("Set off 5 alarms? Each goes back by itself. [y/N]" in result.err) == bool(typed)
    assert (result.code, "SetAlarmState" in called) == (1, False)


def test_what_is_unknown_stays_so_when_nothing_is_set_off(capsys, deployment):
    options = ("verify_deploy", "--only", "databases.migrated", "--fire-test")
    assert (run(capsys, *options).code, run(capsys, *options[:-1]).code) == (2, 2)


def test_it_is_done_when_somebody_says_yes(capsys, deployment, called, monkeypatch):
    answer(monkeypatch, "y")
    assert run(capsys, *OPTIONS).code == 0
    assert called.count("SetAlarmState") == len(ALARMS)


@pytest.fixture
def breaking(called, monkeypatch):
    """Makes the calls of an operation with those numbers raise something."""

    def break_(operation: str, error: BaseException, *numbers: int) -> None:
        recorded = BaseClient._make_api_call  # type: ignore[attr-defined]

        def call(client: Any, name: str, request: dict[str, Any]) -> Any:
            if name == operation and called.count(name) in numbers:
                called.append(name)
                raise error
            return recorded(client, name, request)

        monkeypatch.setattr(BaseClient, "_make_api_call", call)

    return break_


def refusal(operation: str, code: str = "AccessDenied") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


FIRST, SECOND = (f"{INSTANCE}-{metric}" for metric, *_ in ALARMS[:2])


@pytest.mark.parametrize(("denied", "sent"), [("DescribeAlarmHistory", 0), ("SetAlarmState", 1)])
def test_a_denied_action_is_named(capsys, deployment, called, breaking, denied, sent):
    breaking(denied, refusal(denied), 0)
    result = run(capsys, *OPTIONS, "--noinput")
    assert f"Error: AWS denied cloudwatch:{denied} on the alarm {FIRST}.\nHint: Allow" in result.err
    assert (result.code, called.count("SetAlarmState")) == (2, sent)


def test_a_denial_half_way_does_not_hide_what_was_set_off(capsys, deployment, called, breaking):
    breaking("SetAlarmState", refusal("SetAlarmState"), 1)
    result = run(capsys, *OPTIONS, "--noinput")
    assert f"  {FIRST}: told {TOPIC}\n" in result.err
    assert f"  {SECOND}: FAILED: AWS denied cloudwatch:SetAlarmState on the alarm {SECOND}." in result.err
    assert result.err.splitlines()[-1] == f"Fire test: 1 of {len(ALARMS)} were not told."
    assert (result.code, called.count("SetAlarmState")) == (1, len(ALARMS))


def test_a_history_that_cannot_be_read_is_read_again(capsys, deployment, breaking, monkeypatch):
    monkeypatch.setattr(fire_test, "PAUSE", 0.1)
    after = len(ALARMS)
    breaking("DescribeAlarmHistory", refusal("DescribeAlarmHistory", "Throttling"), after)
    assert run(capsys, *OPTIONS, "--noinput").code == 0


def test_a_history_that_is_never_read_hides_nothing(capsys, deployment, breaking, monkeypatch):
    monkeypatch.setattr(fire_test, "PATIENCE", 0.5)
    monkeypatch.setattr(fire_test, "PAUSE", 0.1)
    breaking("DescribeAlarmHistory", refusal("DescribeAlarmHistory", "Throttling"), *range(len(ALARMS), 1000))
    result = run(capsys, *OPTIONS, "--noinput")
    (said,) = [line for line in result.err.splitlines() if line.startswith(f"  {FIRST}: FAILED")]
    assert said.startswith(f"  {FIRST}: FAILED: not known: AWS ")
    assert (result.err.splitlines()[-1], result.code) == (
        f"Fire test: {len(ALARMS)} of {len(ALARMS)} were not told.",
        1,
    )


@pytest.mark.parametrize(
    ("operation", "number", "hint"),
    [
        ("SetAlarmState", 0, FIRST),
        ("SetAlarmState", 1, f"{FIRST}, {SECOND}"),
        ("DescribeAlarmHistory", 0, ""),
    ],
)
def test_who_is_interrupted_hears_what_was_set_off(capsys, deployment, breaking, operation, number, hint):
    breaking(operation, KeyboardInterrupt(), number)
    result = run(capsys, *OPTIONS, "--noinput")
    if hint:
        look = f"aws cloudwatch describe-alarms --alarm-names {hint.replace(',', '')}"
        hint = f"Some alarms may have been set off, and go back by themselves: {hint}; look at them: {look}"
    else:
        hint = "Nothing was changed; run the same command again."
    assert result.err.endswith(f"Error: Interrupted.\nHint: {hint}\n")
    assert result.code == 130


def test_no_alarm_to_set_off(capsys, deployment, monkeypatch):
    monkeypatch.setattr(fire_test, "plan", lambda alarms, topics: ())
    result = run(capsys, *OPTIONS, "--noinput")
    assert result.err.splitlines()[-1].startswith("Fire test: there is no alarm to set off")
    assert result.code == 1


def test_what_was_kept_is_not_set_off(capsys, deployment, tmp_path):
    result = run(capsys, *OPTIONS, "--replay", str(tmp_path / "facts.json"))
    assert result.err == ("Error: What was kept has no alarm to set off.\nHint: Say --fire-test without --replay.\n")
    assert result.code == 2


def test_its_actions_are_in_the_policy_only_where_it_is_asked_for(capsys, deployment):
    def allowed(*options: str, of: str = "--tag=alarms") -> dict[str, str]:
        document = json.loads(run(capsys, "verify_deploy", of, "--iam-policy", *options).out)
        return {action: item["Resource"] for item in document["Statement"] for action in item["Action"]}

    assert not set(fire_test.ACTIONS) & set(allowed())
    with_it = allowed("--fire-test")
    assert set(with_it) == set(allowed()) | set(fire_test.ACTIONS)
    assert {with_it[action].partition(":cloudwatch:")[2] for action in fire_test.ACTIONS} == {"us-east-1:*:alarm:*"}
    assert set(allowed("--fire-test", of="--only=django.check-deploy")) == set(
        allowed("--fire-test", of="--only=alarms.heard")
    )
