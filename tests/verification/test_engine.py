"""The engine: facts are read once, concurrently, within their deadline; what is no value is never a pass."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from deploytools.errors import AccessDenied, ConfigurationError, DatabaseError, NotFound
from deploytools.verification.facts import Absent, Denied, Failed, NotTried, Value
from deploytools.verification.findings import (
    Finding,
    Report,
    Severity,
    Stage,
    Status,
    Verdict,
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


@pytest.mark.parametrize(("level", "exit_code"), [("low", 1), ("medium", 1), ("high", 0), ("critical", 0)])
def test_failures_below_the_level_do_not_change_the_exit_code(level, exit_code):
    finding = Finding("a.b", "", Severity.MEDIUM, "", Status.FAIL, "", "", "")
    assert Report((finding,), 0.0, "", fail_level=Severity(level)).exit_code == exit_code
    not_known = replace(finding, status=Status.UNKNOWN, severity=Severity.LOW)
    assert Report((finding, not_known), 0.0, "", fail_level=Severity(level)).exit_code == 2


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ("", "Not known: nothing was looked at."),
        ("pass,warn,waived", "As it should be: nothing fails."),
        ("pass,fail", "Not as it should be: 1 fails."),
        ("fail,fail", "Not as it should be: 2 fail."),
        ("fail,unknown", "Not known: 1 could not be looked at, 1 fail."),
    ],
)
def test_the_verdict_in_a_sentence(statuses, verdict):
    found = [Status(status) for status in statuses.split(",") if status]
    report = Report(tuple(Finding("a.b", "", Severity.LOW, "", status, "", "", "") for status in found), 0.0, "")
    assert report.verdict == verdict


def staged(stage: Stage, verdict: Verdict) -> Registry:
    registry = Registry()

    @registry.check("a.b", **DETAILS | {"stage": stage})
    def check():
        """It matters."""
        return verdict

    return registry


@pytest.mark.parametrize(
    ("binds", "judged", "status"),
    [
        (Stage.LAUNCH, Stage.PRE_LAUNCH, Status.WARN),
        (Stage.LAUNCH, Stage.LAUNCH, Status.FAIL),
        (Stage.PRE_LAUNCH, Stage.PRE_LAUNCH, Status.FAIL),
    ],
)
def test_what_binds_from_launch_on_only_warns_before(binds, judged, status):
    (finding,) = judge_all(staged(binds, failed("open")).select(), {}, judged)
    assert (finding.status, finding.hint) == (status, "Mend it")
    assert ("(from launch on a failure)" in finding.evidence) == (status is Status.WARN)


@pytest.mark.parametrize("verdict", [unknown("unseen"), passed("seen"), warned("odd")])
def test_a_stage_changes_nothing_but_failures(verdict):
    (finding,) = judge_all(staged(Stage.LAUNCH, verdict).select(), {}, Stage.PRE_LAUNCH)
    assert (finding.status, finding.evidence) == (verdict.status, verdict.evidence)


@pytest.fixture
def three_checks() -> Registry:
    registry = Registry()
    for id, tags in {"a.one": ("x",), "a.two": (), "b.three": ("x",)}.items():

        def judge():
            """It matters."""

        registry.check(id, **DETAILS, tags=tags)(judge)
    return registry


@pytest.mark.parametrize(
    ("tags", "only", "exclude", "ids"),
    [
        ((), (), (), "a.one a.two b.three"),
        (("x",), (), (), "a.one b.three"),
        (("a", "b"), (), ("a.two",), "a.one b.three"),
        ((), ("b.three", "a.one"), (), "a.one b.three"),
        (("a",), ("b.three", "a.one"), (), "a.one"),
    ],
)
def test_selection_keeps_the_order_of_the_registry(three_checks, tags, only, exclude, ids):
    assert " ".join(check.id for check in three_checks.select(tags, only=only, exclude=exclude)) == ids


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"tags": ["y"]}, "No check bears the tag y.", "The tags are: a, b, x."),
        (
            {"only": ["a.on"]},
            "There is no check a.on.",
            "Did you mean a.one or a.two? All ids: python manage.py verify_deploy --list",
        ),
        ({"exclude": ["q"]}, "There is no check q.", "All ids: python manage.py verify_deploy --list"),
        (
            {"only": ["a.one"], "exclude": ["a.one"]},
            "No check is left to run.",
            "Ask for less with --tag, --only and --exclude.",
        ),
    ],
)
def test_a_selection_that_cannot_be_meant(three_checks, options, message, hint):
    with pytest.raises(ConfigurationError) as raised:
        three_checks.select(**options)
    assert (str(raised.value), raised.value.hint) == (message, hint)


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
