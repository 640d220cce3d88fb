"""All checks, evaluated on a good deployment, on its faults, and on good variations of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deploytools.errors import AccessDenied, NotFound
from deploytools.verification.fact_result import Absent, Failed, NotTried, Value
from deploytools.verification.findings import Stage, Status
from deploytools.verification.network.facts import HostGroups
from deploytools.verification.runner import evaluate_checks
from deploytools.verification.waivers import WAIVABLE
from tests.verification.zoo.row import FAIL, NA, PASS, UNKNOWN, Row
from tests.verification.zoo.table import FAULTY, GOOD, ROWS, trials
from tests.verification.zoo.world import FACTS, OURS, WORLD, findings


def test_every_check_passes_in_the_good_world():
    assert {finding.check.id: finding.status for finding in findings()} == {check.id: PASS for check in OURS}
    assert not [finding for finding in findings() if finding.status is not PASS]
    assert not [finding for finding in findings() if finding.hint]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{next(iter(row.flips), 'none')}-{row.seen[:30]}")
def test_a_world_changes_only_its_checks(row: Row):
    found = findings(**row.changes)
    flipped = [finding for finding in found if finding.status is not PASS]
    assert {finding.check.id: finding.status for finding in flipped} == row.flips
    assert not flipped or row.seen in f"{flipped[0].resource}: {flipped[0].full_evidence}"
    assert {*row.good, *row.missed} <= {finding.check.id for finding in found} - set(row.flips)
    assert all(finding.hint for finding in flipped if finding.status is not NA)
    waivable = [(finding.check.id, finding.resource) for finding in flipped if finding.status in WAIVABLE]
    assert len(waivable) == len(set(waivable)), "a waiver would match several failures"


@pytest.mark.parametrize("check", OURS, ids=lambda check: check.id)
def test_every_check_was_tried_on_enough_worlds(check):
    tried = trials()[check.id]
    assert tried.good >= GOOD, "too few good variations"
    assert tried.caught >= FAULTY, "too few faults"
    if check.not_set:
        assert tried.not_applicable, "no world makes it not applicable"


@pytest.mark.parametrize("check", OURS, ids=lambda check: check.id)
def test_a_check_without_a_fact_never_passes(check):
    """Each fact denied, not read because another was denied, and absent."""
    denied = Failed(AccessDenied("AWS denied x:Y.", hint="Allow x:Y.", action="x:Y"))
    for name in check.needs:
        (finding,) = evaluate_checks([check], {**FACTS, name: denied})
        assert (finding.status, finding.evidence, finding.hint) == (UNKNOWN, "AWS denied x:Y.", "Allow x:Y.")
        (finding,) = evaluate_checks([check], {**FACTS, name: NotTried("other"), "other": denied})
        assert finding.status is UNKNOWN
        (finding,) = evaluate_checks([check], {**FACTS, name: Absent(NotFound("Gone.", hint="Look."))})
        assert (finding.status, finding.evidence, finding.cause) == (FAIL, "Gone.", name)


UNSET = {
    "bastion": None,
    "task_role": None,
    "task_role_permissions": None,
    "task_definition": None,
    "ecs_service": None,
}
ITEMS = {"Bastion host secured", "AWS IAM permissions follow least privilege principle"}


def evaluated(stage: Stage, *absent: str) -> dict[str, Status]:
    """The statuses by item of the checklist if nothing of this is set."""
    settings = replace(WORLD["settings"], bastion_security_groups=(), absent=frozenset(absent))
    values = {**UNSET, "settings": settings, "bastion_groups": HostGroups((), {})}
    facts = {**FACTS, **{name: Value(value) for name, value in values.items()}}
    statuses: dict[str, set[Status]] = {}
    for finding in evaluate_checks(OURS, facts, stage):
        statuses.setdefault(finding.check.item, set()).add(finding.status)
    return {item: max(statuses[item], key=list(Status).index) for item in ITEMS}


def test_an_item_of_the_checklist_that_is_not_set_is_unknown_at_launch():
    assert evaluated(Stage.LAUNCH) == dict.fromkeys(ITEMS, UNKNOWN)
    assert evaluated(Stage.PRE_LAUNCH) == dict.fromkeys(ITEMS, NA)
    assert evaluated(Stage.LAUNCH, "BASTION_INSTANCE", "TASK_ROLE", "ECS_SERVICE") == dict.fromkeys(ITEMS, NA)
