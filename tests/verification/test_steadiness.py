"""Two looks at a world in which nothing has changed say the same: only what was measured differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from deploytools.databases.chain import Link
from deploytools.verification.sources.connection import ConnectionAttempt
from deploytools.verification.sources.rule_history import Making, RuleHistory
from tests.verification import faults
from tests.verification.world import (
    LINKS,
    OFFICE,
    POWERS,
    QUESTIONS,
    RDS,
    REPORT,
    WORLD,
    Changes,
    description,
    findings,
    mail,
    outside,
    rds,
    rules,
    slots,
)

LATER = WORLD["rds_instance"].read_at + timedelta(minutes=7)


def later() -> Changes:
    """The good world seven minutes later: clocks have gone on, everything took longer, more slots are in use."""
    slower = replace(REPORT, connect_seconds=1.2, query_seconds=0.4)
    return {
        **rds(read_at=LATER, latest_restorable=(RDS.latest_restorable or LATER) + timedelta(minutes=5)),
        **outside(read_at=LATER),
        **description(read_at=LATER),
        **mail(seconds=tuple((stage, seconds + 1) for stage, seconds in WORLD["mail_dialogue"].seconds)),
        **slots(used=31),
        "stray_values": replace(WORLD["stray_values"], files=301),
        "connection": slower,
        "connection_attempt": ConnectionAttempt(slower, links=tuple(replace(link, seconds=1) for link in LINKS)),
    }


def evidence(check: str, **changes: object) -> list[str]:
    return [finding.evidence for finding in findings(**changes) if finding.check == check]


def test_which_of_several_addresses_answered_first_is_not_told():
    name, _, tls = (replace(link, seen="10.0.1.5, 10.0.2.5") for link in LINKS)
    first, second = (
        ConnectionAttempt(error=faults.NO_DATABASE, links=(name, Link("TCP", 0.1, seen), tls), broken="database")
        for seen in ("10.0.1.5", "10.0.2.5")
    )
    told = evidence("connection.connect", connection_attempt=first)
    assert told == evidence("connection.connect", connection_attempt=second)
    assert "held: name (10.0.1.5, 10.0.2.5), TCP, TLS" in told[0]


def test_that_cloudtrail_was_too_slow_changes_no_evidence():
    opened, check = (
        rules("sg-db", replace(OFFICE, identifier="sgr-x", first=5432, last=5432)),
        "network.no-temporary-rules",
    )
    told = evidence(check, **opened, rule_history=RuleHistory({"sgr-x": Making(LATER, "user/alice")}))
    assert told == evidence(check, **opened, rule_history=RuleHistory(gap="AWS throttled cloudtrail:LookupEvents"))


def test_why_iam_was_not_asked_changes_no_evidence():
    denied, throttled = (
        replace(POWERS, how="reading its policies", without=why, allowed=dict.fromkeys(QUESTIONS, "policy p"))
        for why in ("AWS denied it", "AWS throttled it")
    )
    told = evidence("iam.least-privilege", task_role_powers=denied)
    assert told == evidence("iam.least-privilege", task_role_powers=throttled)


def test_seven_minutes_later_the_findings_are_the_same():
    before, after = findings(), findings(**later())
    assert [replace(finding, measured="") for finding in after] == [replace(item, measured="") for item in before]
    assert {new.check for old, new in zip(before, after, strict=True) if old.measured != new.measured} == {
        "connection.connect",
        "connection.query",
        "secret.not-in-code",
        "databases.connections-free",
        "mail.login",
        "rds.restorable",
        "rds.certificate",
        "outside.certificate",
    }
