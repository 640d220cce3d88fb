"""Two runs without a change between them report the same evidence; only measured values differ."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from deploytools.postgres.connection_probe import ProbeResult, ProbeStage
from deploytools.verification.network.facts import RuleCreation, RuleHistory
from tests.findings import change
from tests.verification.zoo.deployment import NO_DATABASE
from tests.verification.zoo.world import (
    NEEDED,
    OFFICE,
    PERMISSIONS,
    RDS,
    REPORT,
    STAGES,
    WORLD,
    Changes,
    description,
    findings,
    mail,
    rds,
    rules,
    site_response,
    slots,
)

LATER = WORLD["rds_instance"].read_at + timedelta(minutes=7)


def later() -> Changes:
    """The good world seven minutes later: clocks have gone on, everything took longer, more slots are in use."""
    slower = replace(REPORT, connect_seconds=1.2, query_seconds=0.4)
    return {
        **rds(read_at=LATER, latest_restorable=(RDS.latest_restorable or LATER) + timedelta(minutes=5)),
        **site_response(read_at=LATER),
        **description(read_at=LATER),
        **mail(seconds=tuple((stage, seconds + 1) for stage, seconds in WORLD["mail_login"].seconds)),
        **slots(used=31),
        "leaked_secrets": replace(WORLD["leaked_secrets"], files=301),
        "connection": slower,
        "connection_attempt": ProbeResult(slower, stages=tuple(replace(stage, seconds=1) for stage in STAGES)),
    }


def evidence(check: str, **changes: object) -> list[str]:
    return [finding.evidence for finding in findings(**changes) if finding.check.id == check]


def test_evidence_does_not_depend_on_the_address_that_responds_first():
    name, _, tls = (replace(stage, detail="10.0.1.5, 10.0.2.5") for stage in STAGES)
    first, second = (
        ProbeResult(error=NO_DATABASE, stages=(name, ProbeStage("TCP", 0.1, seen), tls), failed_stage="database")
        for seen in ("10.0.1.5", "10.0.2.5")
    )
    found = evidence("connection.connect", connection_attempt=first)
    assert found == evidence("connection.connect", connection_attempt=second)
    assert "completed: DNS (10.0.1.5, 10.0.2.5), TCP, TLS" in found[0]


def test_evidence_does_not_depend_on_cloudtrail():
    opened, check = (
        rules("sg-db", replace(OFFICE, identifier="sgr-x", first=5432, last=5432)),
        "network.no-temporary-rules",
    )
    found = evidence(check, **opened, rule_history=RuleHistory({"sgr-x": RuleCreation(LATER, "user/alice")}))
    assert found == evidence(check, **opened, rule_history=RuleHistory(gap="AWS throttled cloudtrail:LookupEvents"))


def test_evidence_does_not_depend_on_the_reason_why_iam_is_not_queried():
    denied, throttled = (
        replace(PERMISSIONS, how="evaluation of its policies", without=why, needed=dict.fromkeys(NEEDED, ""))
        for why in ("AWS denied it", "AWS throttled it")
    )
    found = evidence("iam.secret-access", task_role_permissions=denied)
    assert found == evidence("iam.secret-access", task_role_permissions=throttled)


def test_findings_are_the_same_seven_minutes_later():
    before, after = findings(), findings(**later())
    assert [change(finding, measured="") for finding in after] == [change(item, measured="") for item in before]
    assert {
        new.check.id for old, new in zip(before, after, strict=True) if old.verdict.measured != new.verdict.measured
    } == {
        "connection.connect",
        "connection.query",
        "secret.not-in-code",
        "databases.connections-free",
        "mail.login",
        "rds.restorable",
        "rds.certificate",
        "web.certificate",
    }
