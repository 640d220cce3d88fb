"""Registry and runner: facts are read once, concurrently and with a deadline; a fact without a value never passes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from deploytools import verification
from deploytools.errors import AccessDenied, DatabaseError, NotFound
from deploytools.reports.findings_text import to_text
from deploytools.verification.fact_result import Absent, Fact, Failed, NotTried, Value
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
from deploytools.verification.runner import evaluate_checks, read_facts, seconds_of_checks
from tests.findings import CHECK_DETAILS, make_finding


def test_a_fact_is_read_once():
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

    @registry.check("a.check", **CHECK_DETAILS)
    def check(second, first):
        """The risk."""
        return passed(f"{second} {first}")

    facts = read_facts(registry.sources_for(registry.select()))
    assert facts == {"base": Value(1), "first": Value(2), "second": Value(3)}
    assert reads == ["base"]
    assert evaluate_checks(registry.select(), facts) == (Finding(registry.checks["a.check"], passed("3 2")),)


def test_seconds_of_a_fact_count_for_the_first_check_that_needs_it():
    registry = Registry()

    @registry.fact()
    def base(settings: object) -> int:
        return 1

    @registry.fact()
    def derived(base: int) -> int:
        return base

    def check(derived):
        """The risk."""
        return passed("")

    for id in ("a.first", "a.second"):
        registry.check(id, **CHECK_DETAILS)(check)
    facts: dict[str, Fact] = {
        "settings": Value(1),
        "base": Failed(DENIED, seconds=2),
        "derived": NotTried("base", seconds=1),
    }
    checks = registry.select()
    assert seconds_of_checks(checks, registry.sources_for(checks), facts) == {"a.first": 3, "a.second": 0}
    assert min(read_facts(registry.sources, {"settings": 1})[name].seconds for name in registry.sources) > 0


def test_facts_are_read_concurrently():
    registry, together = Registry(), threading.Barrier(2, timeout=5)

    @registry.fact()
    def one() -> int:
        return together.wait() * 0

    @registry.fact()
    def two() -> int:
        return together.wait() * 0

    assert read_facts(registry.sources) == {"one": Value(0), "two": Value(0)}


def test_a_fact_that_misses_its_deadline_does_not_delay_other_facts():
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
MISSING = NotFound("It does not exist.", hint="Check its name.")
BROKEN = DatabaseError("It broke.", hint="Wait.")
REFUSED = DatabaseError("No.", hint="Be postgres.", sqlstate="42501")


@pytest.mark.parametrize(
    ("raised", "fact", "status", "evidence", "hint"),
    [
        (DENIED, Failed(DENIED), Status.UNKNOWN, "AWS denied rds:X on y.", "Allow it."),
        (MISSING, Absent(MISSING), Status.FAIL, "It does not exist.", "Check its name."),
        (BROKEN, Failed(BROKEN), Status.UNKNOWN, "It broke.", "Wait."),
        (REFUSED, Failed(REFUSED), Status.UNKNOWN, "No.", "Be postgres."),
    ],
)
def test_a_fact_without_a_value_never_passes(raised, fact, status, evidence, hint):
    registry = Registry()

    @registry.fact()
    def world() -> int:
        raise raised

    @registry.check("a.direct", **CHECK_DETAILS)
    def direct(world):
        """The risk."""
        return passed("never")

    facts = read_facts(registry.sources)
    assert facts == {"world": fact}
    (finding,) = evaluate_checks(registry.select(), facts)
    assert finding == Finding(registry.checks["a.direct"], Verdict(status, evidence, hint=hint), cause="world")
    assert (finding.status, finding.evidence, finding.hint) == (status, evidence, hint)


def test_an_unexpected_exception_is_unknown_and_its_text_is_not_reported():
    registry = Registry()

    @registry.fact()
    def world() -> int:
        raise RuntimeError("hunter2")

    @registry.fact()
    def fine() -> int:
        return 1

    @registry.check("a.fact", **CHECK_DETAILS)
    def of_fact(world):
        """The risk."""
        return passed("never")

    @registry.check("a.itself", **CHECK_DETAILS)
    def of_itself(fine):
        """The risk."""
        raise KeyError("hunter2")

    @registry.check("a.nothing", **CHECK_DETAILS)
    def of_nothing(fine):
        """The risk."""
        return []

    findings = evaluate_checks(registry.select(), read_facts(registry.sources))
    assert [(finding.status, finding.evidence) for finding in findings] == [
        (Status.UNKNOWN, "Reading world raised RuntimeError."),
        (Status.UNKNOWN, "The check a.itself raised KeyError."),
        (Status.UNKNOWN, "the check returned no verdict"),
    ]
    assert "hunter2" not in repr(findings)


def test_a_check_of_something_that_is_not_set_is_not_applicable():
    registry = Registry()

    @registry.fact()
    def thing() -> str | None:
        return None

    @registry.fact()
    def other() -> None:
        return None

    @registry.check("a.thing", not_set="THING is not set", resource_of=str.upper, **CHECK_DETAILS)
    def of_thing(thing, other):
        """The risk."""
        return [passed("seen"), warned("seen", "its part")]

    checks, values = registry.select(), {"thing": "db", "other": None}
    verdicts = [finding.verdict for finding in evaluate_checks(checks, read_facts(registry.sources))]
    assert verdicts == [not_applicable("THING is not set")]
    facts = {name: Value(value) for name, value in values.items()}
    verdicts = [finding.verdict for finding in evaluate_checks(checks, facts)]
    assert verdicts == [passed("seen", "DB"), warned("seen", "its part")]


def test_a_check_that_depends_on_a_denied_fact_has_its_error():
    registry = Registry()

    @registry.fact()
    def root() -> int:
        raise DENIED

    @registry.fact()
    def between(root: int) -> int:
        return root

    @registry.check("a.leaf", **CHECK_DETAILS)
    def leaf(between):
        """The risk."""
        return passed("never")

    (finding,) = evaluate_checks(registry.select(), read_facts(registry.sources))
    assert (finding.verdict, finding.cause) == (unknown(str(DENIED), hint="Allow it."), "root")


@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (MISSING, [Status.UNKNOWN, Status.FAIL, Status.UNKNOWN, Status.UNKNOWN]),
        (DENIED, [Status.UNKNOWN] * 4),
    ],
)
def test_checks_with_the_same_cause(error, statuses):
    """One check reports what does not exist. Facts with the same error are one cause."""
    registry = Registry()

    @registry.fact()
    def root() -> int:
        raise error

    @registry.fact()
    def between(root: int) -> int:
        return root

    @registry.fact()
    def other() -> int:
        raise error

    def add(id, function):
        registry.check(id, **CHECK_DETAILS)(function)

    def transitive(between):
        """The risk."""

    def direct(root):
        """The risk."""

    def of_other(other):
        """The risk."""

    for id, function in (("a.first", transitive), ("a.second", direct), ("a.third", direct), ("a.fourth", of_other)):
        add(id, function)
    findings = evaluate_checks(registry.select(), read_facts(registry.sources), Stage.PRE_LAUNCH)
    assert [finding.status for finding in findings] == statuses
    assert {(finding.evidence, finding.cause) for finding in findings} == {(str(error), "root")}


def test_a_cause_that_no_check_needs_directly_is_reported():
    """The first stage reports it, then the highest severity, then the first check."""
    registry = Registry()

    @registry.fact()
    def root() -> int:
        raise MISSING

    @registry.fact()
    def between(root: int) -> int:
        return root

    def transitive(between):
        """The risk."""

    low, high = CHECK_DETAILS | {"severity": Severity.LOW}, CHECK_DETAILS | {"severity": Severity.HIGH}
    for id, details in (
        ("a.launch", high | {"stage": Stage.LAUNCH}),
        ("a.low", low | {"stage": Stage.PRE_LAUNCH}),
        ("a.high", high | {"stage": Stage.PRE_LAUNCH}),
    ):
        registry.check(id, **details)(transitive)
    facts, checks = read_facts(registry.sources), registry.select()
    found = evaluate_checks(checks, facts, Stage.PRE_LAUNCH)
    assert [finding.check.id for finding in found if finding.status is Status.FAIL] == ["a.high"]
    (only,) = evaluate_checks(checks[:1], facts, Stage.PRE_LAUNCH)
    assert only.status is Status.WARN


def test_a_check_can_report_the_failure_of_a_fact():
    registry = Registry()

    @registry.fact()
    def attempt() -> str:
        return "refused, after DNS"

    @registry.fact()
    def connection(attempt: str) -> int:
        raise BROKEN

    @registry.check("a.leaf", **CHECK_DETAILS)
    def leaf(connection):
        """The risk."""

    @registry.check("a.connect", reports="connection", **CHECK_DETAILS)
    def connect(attempt):
        """The risk."""
        return [failed(attempt), passed("")]

    findings = evaluate_checks(registry.select(), read_facts(registry.sources))
    assert [(finding.status, finding.cause) for finding in findings] == [
        (Status.UNKNOWN, "connection"),
        (Status.FAIL, "connection"),
        (Status.PASS, ""),
    ]
    lines = to_text(Report(findings, 0.0, "")).splitlines()
    assert lines[lines.index("Problems:") + 1 :][:3] == [
        "✗ refused, after DNS",
        "    → Fix it",
        "    reported by a.connect; 1 check depends on it: a.leaf",
    ]


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
    findings = tuple(make_finding("a.b", "", Severity.LOW, "", v.status, "", "", "") for v in verdicts)
    assert Report(findings, 0.0, "").exit_code == exit_code


@pytest.mark.parametrize(
    ("id", "changes", "problem"),
    [
        ("a.b", {}, "The check a.b is registered twice."),
        ("nodot", {}, "The check id 'nodot' is not of the form area.subject."),
        ("a.c", {"hint": ""}, "The check a.c needs a title and a hint."),
        ("a.c", {"title": ""}, "The check a.c needs a title and a hint."),
        ("a.c", {"severity": None}, "The check a.c needs a severity and a stage."),
        ("a.c", {"stage": "later"}, "The check a.c needs a severity and a stage."),
    ],
)
def test_the_registry_refuses_an_incomplete_check(id, changes, problem):
    registry = Registry()

    @registry.check("a.b", **CHECK_DETAILS)
    def first():
        """The risk."""

    with pytest.raises(ValueError, match=problem):
        registry.check(id, **CHECK_DETAILS | changes)


def test_a_check_needs_a_docstring():
    with pytest.raises(ValueError, match=r"The check a\.b needs a docstring that states the risk\."):
        Registry().check("a.b", **CHECK_DETAILS)(lambda: passed(""))


def test_every_check_needs_registered_facts():
    registry = load_registry()
    assert len(registry.checks) >= 12
    assert registry.sources_for(registry.select()).keys() <= registry.sources.keys()


def test_the_public_names():
    assert verification.__all__ == sorted(verification.__all__)
    assert {name: getattr(verification, name).__module__ for name in verification.__all__} == {
        "Severity": "deploytools.verification.findings",
        "Stage": "deploytools.verification.findings",
        "Verdict": "deploytools.verification.findings",
        "check": "deploytools.verification.registry",
        "fact": "deploytools.verification.registry",
        "failed": "deploytools.verification.findings",
        "not_applicable": "deploytools.verification.findings",
        "passed": "deploytools.verification.findings",
        "unknown": "deploytools.verification.findings",
        "warned": "deploytools.verification.findings",
    }
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        verification.other  # noqa: B018


def test_the_package_is_cheap_to_import():
    code = "import deploytools.verification, sys; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
