"""The engine: facts are read once, concurrently, within their deadline; what is no value is never a pass."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from deploytools.errors import AccessDenied, DatabaseError, NotFound
from deploytools.verification.facts import Absent, Denied, Failed, NotTried, Value
from deploytools.verification.findings import (
    Finding,
    Report,
    Severity,
    Stage,
    Status,
    failed,
    not_applicable,
    passed,
    unknown,
    warned,
)
from deploytools.verification.registry import Registry, load_registry
from deploytools.verification.runner import judge_all, read_facts

DETAILS: dict[str, Any] = {
    "title": "Good",
    "severity": Severity.HIGH,
    "stage": Stage.PRE_LAUNCH,
    "guide": "Step 1",
    "hint": "Mend it",
}


def test_a_fact_is_read_once_and_shared():
    registry, reads = Registry(), []

    @registry.fact()
    def base() -> int:
        reads.append("base")
        return 1

    @registry.fact()
    def first(base: int) -> int:
        return base + 1

    @registry.fact()
    def second(base: int, first: int) -> int:
        return base + first

    @registry.check("a.check", **DETAILS)
    def check(second, first):
        """It matters."""
        return passed(f"{second} {first}")

    facts = read_facts(registry.sources_for(registry.select()))
    assert facts == {"base": Value(1), "first": Value(2), "second": Value(3)}
    assert reads == ["base"]
    assert judge_all(registry.select(), facts) == (
        Finding("a.check", "Good", Severity.HIGH, "Step 1", Status.PASS, "", "3 2", ""),
    )


def test_facts_are_read_at_the_same_time():
    registry, together = Registry(), threading.Barrier(2, timeout=5)

    @registry.fact()
    def one() -> int:
        return together.wait() * 0

    @registry.fact()
    def two() -> int:
        return together.wait() * 0

    assert read_facts(registry.sources) == {"one": Value(0), "two": Value(0)}


def test_a_fact_that_hangs_meets_its_deadline_and_holds_up_nobody():
    registry, release = Registry(), threading.Event()

    @registry.fact(deadline=0.2)
    def hangs() -> int:
        release.wait(20)
        return 1

    @registry.fact(deadline=0.2)
    def after(hangs: int) -> int:
        return hangs

    @registry.fact()
    def quick() -> int:
        return 1

    started = time.monotonic()
    facts = read_facts(registry.sources)
    assert time.monotonic() - started < 5
    release.set()
    assert (facts["quick"], facts["after"]) == (Value(1), NotTried("hangs"))
    assert isinstance(facts["hangs"], Failed)
    assert str(facts["hangs"].error) == "Reading hangs took more than 0.2 s."


DENIED = AccessDenied("AWS denied rds:X on y.", hint="Allow it.", action="rds:X")
GONE = NotFound("It does not exist.", hint="Look again.")
BROKEN = DatabaseError("It broke.", hint="Wait.")
REFUSED = DatabaseError("No.", hint="Be postgres.", sqlstate="42501")


@pytest.mark.parametrize(
    ("raised", "fact", "status", "evidence", "hint"),
    [
        (DENIED, Denied("rds:X", DENIED), Status.UNKNOWN, "AWS denied rds:X on y.", "Allow it."),
        (GONE, Absent(GONE), Status.FAIL, "It does not exist.", "Look again."),
        (BROKEN, Failed(BROKEN), Status.UNKNOWN, "It broke.", "Wait."),
        (
            REFUSED,
            Failed(REFUSED),
            Status.UNKNOWN,
            "No.",
            'Be postgres. (guide, Troubleshooting: "permission denied to create database")',
        ),
    ],
)
def test_what_could_not_be_read_is_never_a_pass(raised, fact, status, evidence, hint):
    registry = Registry()

    @registry.fact()
    def world() -> int:
        raise raised

    @registry.check("a.direct", **DETAILS)
    def direct(world):
        """It matters."""
        return passed("never")

    facts = read_facts(registry.sources)
    assert facts == {"world": fact}
    assert judge_all(registry.select(), facts) == (
        Finding("a.direct", "Good", Severity.HIGH, "Step 1", status, "", evidence, hint),
    )


def test_an_unexpected_exception_is_unknown_and_its_text_is_not_shown():
    registry = Registry()

    @registry.fact()
    def world() -> int:
        raise RuntimeError("hunter2")

    @registry.fact()
    def fine() -> int:
        return 1

    @registry.check("a.fact", **DETAILS)
    def of_fact(world):
        """It matters."""
        return passed("never")

    @registry.check("a.itself", **DETAILS)
    def of_itself(fine):
        """It matters."""
        raise KeyError("hunter2")

    @registry.check("a.nothing", **DETAILS)
    def of_nothing(fine):
        """It matters."""
        return []

    findings = judge_all(registry.select(), read_facts(registry.sources))
    assert [(finding.status, finding.evidence) for finding in findings] == [
        (Status.UNKNOWN, "Reading world raised RuntimeError."),
        (Status.UNKNOWN, "The check a.itself raised KeyError."),
        (Status.UNKNOWN, "There was nothing to judge."),
    ]
    assert "hunter2" not in repr(findings)


def test_what_depends_on_a_missing_fact_says_so_with_the_root_hint():
    registry = Registry()

    @registry.fact()
    def root() -> int:
        raise DENIED

    @registry.fact()
    def between(root: int) -> int:
        return root

    @registry.check("a.leaf", **DETAILS)
    def leaf(between):
        """It matters."""
        return passed("never")

    (finding,) = judge_all(registry.select(), read_facts(registry.sources))
    assert (finding.status, finding.evidence, finding.hint) == (
        Status.UNKNOWN,
        "Not tried: there is no root.",
        "Allow it.",
    )


@pytest.mark.parametrize(
    ("verdicts", "exit_code"),
    [
        ([], 2),
        ([passed("")], 0),
        ([passed(""), warned(""), not_applicable("")], 0),
        ([passed(""), failed("")], 1),
        ([failed(""), unknown("")], 2),
    ],
)
def test_exit_codes(verdicts, exit_code):
    findings = tuple(Finding("a.b", "", Severity.LOW, "", v.status, "", "", "") for v in verdicts)
    assert Report(findings, 0.0, "").exit_code == exit_code


@pytest.mark.parametrize(
    ("id", "changes", "problem"),
    [
        ("a.b", {}, "The check a.b is registered twice."),
        ("nodot", {}, "'nodot' is not of the form area.subject."),
        ("a.c", {"hint": ""}, "The check a.c needs a title, a guide reference and a hint."),
        ("a.c", {"guide": ""}, "The check a.c needs a title, a guide reference and a hint."),
        ("a.c", {"severity": None}, "The check a.c needs a severity and a stage."),
        ("a.c", {"stage": "later"}, "The check a.c needs a severity and a stage."),
    ],
)
def test_the_registry_refuses_what_is_half_defined(id, changes, problem):
    registry = Registry()

    @registry.check("a.b", **DETAILS)
    def first():
        """It matters."""

    with pytest.raises(ValueError, match=problem):
        registry.check(id, **DETAILS | changes)


def test_a_check_says_why_it_matters():
    with pytest.raises(ValueError, match=r"The check a\.b has no docstring that says why it matters\."):
        Registry().check("a.b", **DETAILS)(lambda: passed(""))


def test_every_check_of_ours_needs_facts_that_exist():
    registry = load_registry()
    assert len(registry.checks) >= 12
    assert registry.sources_for(registry.select()).keys() <= registry.sources.keys()
