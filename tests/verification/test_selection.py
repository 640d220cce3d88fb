"""Selection of checks, stages, fail level and the verdict of a report."""

from __future__ import annotations

import pytest

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import (
    Report,
    Severity,
    Stage,
    Status,
    Verdict,
    failed,
    passed,
    unknown,
    warned,
)
from deploytools.verification.registry import Registry
from deploytools.verification.runner import evaluate_checks
from tests.findings import CHECK_DETAILS, change, make_finding


@pytest.mark.parametrize(("level", "exit_code"), [("low", 1), ("medium", 1), ("high", 0), ("critical", 0)])
def test_failures_below_the_level_do_not_change_the_exit_code(level, exit_code):
    finding = make_finding("a.b", "", Severity.MEDIUM, "", Status.FAIL, "", "", "")
    assert Report((finding,), 0.0, "", fail_level=Severity(level)).exit_code == exit_code
    unknown_finding = change(finding, status=Status.UNKNOWN, severity=Severity.LOW)
    assert Report((finding, unknown_finding), 0.0, "", fail_level=Severity(level)).exit_code == 2


@pytest.mark.parametrize(
    ("statuses", "verdict", "exit_code"),
    [
        ("", "UNKNOWN: no check was run", 2),
        ("not applicable,not applicable", "UNKNOWN: no check applies", 2),
        ("pass,not applicable", "OK: 1 check passed, 1 not applicable", 0),
        ("pass,pass,not applicable", "OK: all 2 checks passed, 1 not applicable", 0),
        ("pass,warn,waived", "WARNING: 1 warning, 1 waived", 0),
        ("warn,warn", "WARNING: 2 warnings", 0),
        ("waived,waived", "WARNING: 2 waived", 0),
        ("pass,fail", "FAILED: 1 failed", 1),
        ("fail,fail,warn", "FAILED: 2 failed, 1 warning", 1),
        ("fail,unknown", "UNKNOWN: 1 check could not be evaluated, 1 failed", 2),
        ("unknown,unknown", "UNKNOWN: 2 checks could not be evaluated", 2),
    ],
)
def test_the_verdict_has_the_numbers_and_agrees_with_the_exit_code(statuses, verdict, exit_code):
    found = [Status(status) for status in statuses.split(",") if status]
    findings = tuple(make_finding(f"a.check-{number}", status=status) for number, status in enumerate(found))
    report = Report(findings, 0.0, "")
    assert (report.verdict, report.exit_code) == (verdict, exit_code)


def test_the_verdict_counts_checks_and_not_their_findings():
    tenants = [make_finding("a.b", resource=name) for name in ("one", "two")]
    assert Report((*tenants, make_finding("a.c")), 0.0, "").verdict == "OK: all 2 checks passed"
    caused = tuple(make_finding(f"a.c{number}", status=Status.UNKNOWN, cause="secret") for number in range(3))
    assert Report(caused, 0.0, "").verdict == "UNKNOWN: 3 checks could not be evaluated (1 cause)"
    other = make_finding("a.d", status=Status.UNKNOWN)
    assert Report((*caused, other), 0.0, "").verdict == "UNKNOWN: 4 checks could not be evaluated (2 causes)"
    unknown = tuple(change(finding, status=Status.UNKNOWN) for finding in tenants)
    assert Report(unknown, 0.0, "").verdict == "UNKNOWN: 1 check could not be evaluated"


def test_the_verdict_names_failures_below_the_fail_level():
    failed = make_finding("a.b", severity=Severity.MEDIUM, status=Status.FAIL)
    report = Report((failed,), 0.0, "", fail_level=Severity.HIGH)
    assert (report.verdict, report.exit_code) == ("WARNING: 1 failed below severity high", 0)


def staged(stage: Stage, verdict: Verdict) -> Registry:
    registry = Registry()

    @registry.check("a.b", **CHECK_DETAILS | {"stage": stage})
    def check():
        """It matters."""
        return verdict

    return registry


@pytest.mark.parametrize(
    ("binding_from", "current", "status"),
    [
        (Stage.LAUNCH, Stage.PRE_LAUNCH, Status.WARN),
        (Stage.LAUNCH, Stage.LAUNCH, Status.FAIL),
        (Stage.PRE_LAUNCH, Stage.PRE_LAUNCH, Status.FAIL),
    ],
)
def test_a_check_that_is_binding_from_launch_warns_before(binding_from, current, status):
    (finding,) = evaluate_checks(staged(binding_from, failed("open")).select(), {}, current)
    assert (finding.status, finding.hint) == (status, "Fix it")
    assert ("(a failure in stage launch)" in finding.evidence) == (status is Status.WARN)


@pytest.mark.parametrize("verdict", [unknown("unseen"), passed("seen"), warned("odd")])
def test_a_stage_changes_only_failures(verdict):
    (finding,) = evaluate_checks(staged(Stage.LAUNCH, verdict).select(), {}, Stage.PRE_LAUNCH)
    assert (finding.status, finding.evidence) == (verdict.status, verdict.evidence)


@pytest.fixture
def three_checks() -> Registry:
    registry = Registry()
    for id, tags in {"a.one": ("x",), "a.two": (), "b.three": ("x",)}.items():

        def evaluate():
            """It matters."""

        registry.check(id, **CHECK_DETAILS, tags=tags)(evaluate)
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
def test_a_selection_has_the_order_of_the_registry(three_checks, tags, only, exclude, ids):
    assert " ".join(check.id for check in three_checks.select(tags, only=only, exclude=exclude)) == ids


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"tags": ["y"]}, "No check has the tag y.", "Use one of: a, b, x."),
        (
            {"only": ["a.on"]},
            "The check a.on does not exist.",
            "Did you mean a.one or a.two? List all: python manage.py verify_deploy --list",
        ),
        ({"exclude": ["q"]}, "The check q does not exist.", "List all: python manage.py verify_deploy --list"),
        (
            {"only": ["a.one"], "exclude": ["a.one"]},
            "No check is selected.",
            "Remove some of --tag, --only and --exclude.",
        ),
    ],
)
def test_an_invalid_selection_is_refused(three_checks, options, message, hint):
    with pytest.raises(ConfigurationError) as raised:
        three_checks.select(**options)
    assert (str(raised.value), raised.value.hint) == (message, hint)
