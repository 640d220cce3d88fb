"""Which checks run, how strictly they are judged at which stage, and the verdict on all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import (
    Finding,
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
from deploytools.verification.runner import judge_all
from tests.verification.test_engine import DETAILS


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
        ("not applicable,not applicable", "Nothing was judged: no check applies."),
        ("pass,not applicable", "As it should be: nothing fails."),
        ("pass,warn,waived", "Nothing fails; 1 warns, 1 is waived."),
        ("warn,warn", "Nothing fails; 2 warn."),
        ("waived,waived", "Nothing fails; 2 are waived."),
        ("pass,fail", "Not as it should be: 1 fails."),
        ("fail,fail", "Not as it should be: 2 fail."),
        ("fail,unknown", "Not known: 1 could not be looked at, 1 fail."),
    ],
)
def test_the_verdict_in_a_sentence(statuses, verdict):
    found = [Status(status) for status in statuses.split(",") if status]
    report = Report(tuple(Finding("a.b", "", Severity.LOW, "", status, "", "", "") for status in found), 0.0, "")
    assert report.verdict == verdict
    assert (report.exit_code == 0) == verdict.startswith(("As it should be", "Nothing fails"))
    assert (report.exit_code == 2) == verdict.startswith(("Not known", "Nothing was judged"))


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
