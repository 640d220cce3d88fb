"""What `sync_secrets` reports, as values for one JSON document. It contains no values of the secret."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from deploytools.conf import Settings
from deploytools.secrets.contract import Problem
from deploytools.secrets.inspection import Inspection, KeyReport
from deploytools.secrets.plan import RollbackPlan, SecretState, SyncPlan
from deploytools.secrets.plan_details import KeyChange, Notice, PlanDetails
from deploytools.secrets.progress import ChangeProgress

if TYPE_CHECKING:  # It imports boto3, which takes long.
    from deploytools.secrets.history import History

VERSION = 1


def plan(plan: SyncPlan | RollbackPlan, details: PlanDetails, *, outcome: str, current: str = "") -> dict[str, Any]:
    """Return a planned write or rollback and its outcome.

    Args:
        outcome: ``planned``, ``unchanged``, ``written``, ``created``, ``rolled back``, or ``superseded``: another
            writer wrote the same values first, and the version that this run created is not current.
        current: the version that is current now. Empty: the one that the plan is based on.
    """
    head = _head(plan.state, outcome, current)
    missing, notices = {"missing": list(plan.missing)}, {"notices": _notices(details.notices)}
    if isinstance(plan, RollbackPlan):
        remaining = {"target": plan.version, "forward": plan.is_forward, "remaining": _problems(plan.problems)}
        return {**head, "changes": _changes(details.changes, ()), **remaining, **missing, **notices}
    return {
        **head,
        "changes": _changes(details.changes, plan.generated),
        "warnings": _problems(plan.warnings),
        "remaining": _problems(plan.remaining),
        **missing,
        "unrecognized": list(plan.unrecognized),
        **notices,
    }


def next_steps(base: str, restart_command: str, *, needs_role: bool, is_restarted: bool) -> dict[str, Any]:
    """Return what has to be done after a change; the arguments are those of `secret_text.next_steps`."""
    return {
        "restart": restart_command or None,
        "restarted": is_restarted,
        "create_tenant_dbs": needs_role,
        "rollback": base or None,
    }


def restart(settings: Settings, outcome: str) -> dict[str, Any]:
    """Return the result of ``--restart`` without a write: ``planned`` or ``restarted``."""
    return {"version": VERSION, "outcome": outcome, "service": settings.ecs_service}


def failure(progress: ChangeProgress, message: str, hint: str, code: int) -> dict[str, Any]:
    """Return the outcome of a run that failed or was interrupted.

    ``live`` is whether its values are live: ``no``, ``yes``, ``unknown``, or ``replaced`` by another writer.
    """
    return {
        "version": VERSION,
        "secret": progress.name or None,
        "region": progress.region or None,
        "outcome": "failed",
        "error": message,
        "hint": hint or None,
        "exit_code": code,
        "live": progress.live.value,
        "written": progress.version or None,
        "base": progress.base or None,
        "current": progress.current or None,
    }


def history(found: History) -> dict[str, Any]:
    """Return all versions, the newest first."""
    return {
        "version": VERSION,
        "secret": found.state.name,
        "region": found.state.region,
        "current": found.state.version,
        "versions": [
            {
                "id": row.version.id,
                "created": row.version.created.isoformat() if row.version.created else None,
                "labels": list(row.version.labels),
                "changes": None
                if row.changes is None
                else [{"key": item.key, "change": str(item.kind)} for item in row.changes],
                "origin": row.origin or None,
                "writer": row.writer or None,
                "problem": row.problem or None,
            }
            for row in found.rows
        ],
        "unknown_writers": found.unknown_writers or None,
    }


def inspection(found: Inspection, notices: Sequence[Notice] = ()) -> dict[str, Any]:
    """Return the state of the secret and of each key."""
    state = found.state
    return {
        "version": VERSION,
        "secret": state.name,
        "region": state.region,
        "current": state.version,
        "last_changed": state.last_changed or None,
        "labels": {version: list(labels) for version, labels in state.labels.items()},
        "rotation": {"enabled": state.is_rotated, "pending": state.pending_version},
        "keys": [{"key": item.key, **_key(item), "recognized": item.is_recognized} for item in found.keys],
        "problems": _problems(found.problems),
        "missing": list(found.missing),
        "notices": _notices(notices),
    }


def validation(problems: Sequence[Problem], missing: Sequence[str], unrecognized: Sequence[str] = ()) -> dict[str, Any]:
    """Return the result of ``--validate``."""
    return {
        "version": VERSION,
        "problems": _problems(problems),
        "missing": list(missing),
        "unrecognized": list(unrecognized),
    }


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


def _changes(changes: Iterable[KeyChange], generated: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "key": item.change.key,
            "change": str(item.change.kind),
            "generated": item.change.key in generated,
            "before": _key(item.before) if item.before else None,
            "after": _key(item.after) if item.after else None,
        }
        for item in changes
    ]


def _key(found: KeyReport) -> dict[str, Any]:
    return {"state": str(found.state), "length": found.length, "fingerprint": found.fingerprint or None}


def _notices(notices: Iterable[Notice]) -> list[dict[str, Any]]:
    return [{"key": item.key or None, "message": item.message} for item in notices]


def _problems(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [
        {"key": item.key, "problem": item.message, "expected": item.expected, "warning": item.is_warning}
        for item in problems
    ]
