"""Two looks at a world in which nothing has changed say the same: only what was measured differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from deploytools.verification.sources.connection import ConnectionAttempt
from tests.verification.world import (
    LINKS,
    RDS,
    REPORT,
    WORLD,
    Changes,
    description,
    findings,
    mail,
    outside,
    rds,
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
