"""What `sync_secrets` says of a secret, as values for one JSON document; never a value of the secret's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deploytools.secret.contract import Problem
from deploytools.secret.document import Change
from deploytools.secret.inspection import Inspection
from deploytools.secret.rollback import RollbackPlan
from deploytools.secret.sync import SecretState, SyncPlan

VERSION = 1


def sync_plan(plan: SyncPlan, *, outcome: str, current: str = "") -> dict[str, Any]:
    """A plan and what came of it.

    Args:
        outcome: ``planned``, ``unchanged``, ``written``, ``created``; ``overtaken``: a version was made, and
            another one with the same values came first.
        current: the version that is current by now; empty: the one it was planned from.
    """
    return {
        **_head(plan.state, outcome, current),
        "changes": _changes(plan.changes, plan.made),
        "warnings": _problems(plan.warnings),
        "remaining": _problems(plan.remaining),
        "missing": list(plan.missing),
        "unknown": list(plan.unknown),
    }


def rollback_plan(plan: RollbackPlan, *, outcome: str, current: str = "") -> dict[str, Any]:
    """A way back and what came of it; as `sync_plan`."""
    return {
        **_head(plan.state, outcome, current),
        "changes": _changes(plan.changes, ()),
        "remaining": _problems(plan.problems),
        "missing": list(plan.missing),
    }


def restoration(name: str, region: str, *, outcome: str) -> dict[str, Any]:
    """What came of `--restore`."""
    return {"version": VERSION, "secret": name, "region": region, "outcome": outcome}


def inspection(found: Inspection) -> dict[str, Any]:
    """Each key's state, and the secret's."""
    state = found.state
    return {
        "version": VERSION,
        "secret": state.name,
        "region": state.region,
        "current": state.version,
        "changed": state.changed or None,
        "labels": {version: list(labels) for version, labels in state.labels.items()},
        "rotation": {"by_aws": state.rotates, "pending": state.pending_version},
        "keys": [
            {
                "key": item.key,
                "state": str(item.state),
                "length": item.length,
                "fingerprint": item.fingerprint or None,
                "known": item.is_known,
            }
            for item in found.keys
        ],
        "problems": _problems(found.problems),
        "missing": list(found.missing),
    }


def verdict(problems: Sequence[Problem], absent: Sequence[str]) -> dict[str, Any]:
    """What `--validate` found."""
    return {"version": VERSION, "problems": _problems(problems), "missing": list(absent)}


def _head(state: SecretState, outcome: str, current: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "secret": state.name,
        "region": state.region,
        "outcome": outcome,
        "base": state.version or None,
        "current": current or state.version or None,
        "rotation": state.pending_version,
    }


def _changes(changes: Iterable[Change], made: Sequence[str]) -> list[dict[str, Any]]:
    return [{"key": item.key, "change": str(item.kind), "made_here": item.key in made} for item in changes]


def _problems(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [
        {"key": item.key, "problem": item.sentence, "good": item.shape, "warning": item.is_warning} for item in problems
    ]
