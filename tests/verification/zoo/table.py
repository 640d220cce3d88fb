"""All worlds, and for each check how many of them it was tried on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from deploytools.reports import check_catalog
from deploytools.verification.registry import load_registry
from tests.verification.zoo import (
    alarms,
    application,
    deployment,
    ecs,
    iam,
    invented,
    later,
    network,
    rds,
    reviewed_aws,
    variations,
    web,
)
from tests.verification.zoo.row import NA, Row
from tests.verification.zoo.world import OURS

ROWS: tuple[Row, ...] = (
    *deployment.CONNECTION,
    *deployment.SECRET,
    *deployment.MAIL,
    *deployment.PROJECT,
    *deployment.DATABASES,
    *rds.SWITCHES,
    *rds.STATE,
    *rds.UPKEEP,
    *network.NETWORK,
    *alarms.ALARM,
    *iam.IAM,
    *ecs.ECS,
    *ecs.SURROUNDINGS,
    *ecs.TASK_DEFINITIONS,
    *web.VISIT,
    *variations.VARIATIONS,
    *invented.INVENTED,
    *later.LATER,
    *reviewed_aws.REVIEWED,
    *application.DATABASES,
    *application.SETTINGS,
    *application.SITE,
    *application.SECRET,
    *application.MAIL,
    *application.CONTAINERS,
)

#: The least number of good variations and of faults for each check. Every fact is denied and absent, too.
GOOD, FAULTY = 1, 3


PAGE = Path(__file__).parents[3] / "docs" / "checks.md"


@dataclass(frozen=True)
class Trials:
    """The worlds in which a check was evaluated.

    Attributes:
        good: variations in which it must pass.
        caught: faults that it reports: a failure, a warning, or unknown.
        missed: known faults that it does not report.
    """

    good: int
    caught: int
    missed: int
    not_applicable: int

    @property
    def share(self) -> str:
        return f"{self.caught} of {self.caught + self.missed}"


def trials() -> dict[str, Trials]:
    """Return the worlds of each check, by ID."""
    good, caught, missed, other = (Counter[str]() for _ in range(4))
    for row in ROWS:
        good.update(row.good)
        missed.update(row.missed)
        caught.update(id for id, status in row.flips.items() if status is not NA)
        other.update(id for id, status in row.flips.items() if status is NA)
    return {check.id: Trials(*(number[check.id] for number in (good, caught, missed, other))) for check in OURS}


def matrix() -> str:
    """Return one line for each check; each of its facts is denied and absent, too."""
    lines = [f"{'check':<34}{'good':>6}{'caught':>12}{'denied':>8}{'absent':>8}"]
    for check in OURS:
        tried, facts = trials()[check.id], len(check.needs)
        lines.append(f"{check.id:<34}{tried.good:>6}{tried.share:>12}{facts:>8}{facts:>8}")
    return "\n".join([*lines, f"{len(ROWS)} worlds, {len(OURS)} checks"])


def page() -> str:
    """Return the page of the checks, with the share of faults that each one reports."""
    registry = load_registry()
    actions = {check.id: registry.actions_for([check]) for check in registry.checks.values()}
    lines = [
        "## Tests of the checks",
        "",
        "Each check is tested on deployments that differ from a good one in few facts: good variations, in which it",
        "must pass, and faults, which it must report. It is unknown if a fact that it needs was denied.",
        "",
        "| check | good variations | faults reported |",
        "|---|---|---|",
        *(f"| `{id}` | {tried.good} | {tried.share} |" for id, tried in trials().items()),
    ]
    return "\n".join([check_catalog.to_markdown(registry.select(), actions), *lines, ""])
