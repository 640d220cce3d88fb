"""One row of the zoo: a world that differs from the good one in a few facts, and the checks that must notice."""

from __future__ import annotations

from dataclasses import dataclass, field

from deploytools.verification.findings import Status
from tests.verification.zoo.world import Changes

PASS, WARN, FAIL, UNKNOWN, NA = Status.PASS, Status.WARN, Status.FAIL, Status.UNKNOWN, Status.NOT_APPLICABLE


@dataclass(frozen=True)
class Row:
    """One world.

    Attributes:
        flips: the statuses of the checks that do not pass; none: a good world.
        seen: a part of what the first of them reports.
        good: the checks that must pass although the world differs in what they evaluate.
        missed: the checks that pass although their subject has a fault. The page of the checks counts them.
    """

    changes: Changes
    flips: dict[str, Status] = field(default_factory=dict)
    seen: str = ""
    good: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
