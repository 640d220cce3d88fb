"""What `sync_secrets` says of a secret, as text for people; never a value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from deploytools.reporting.text import wrapped
from deploytools.secret.contract import Problem
from deploytools.secret.document import Change, ChangeKind
from deploytools.secret.inspection import Inspection
from deploytools.secret.rollback import RollbackPlan
from deploytools.secret.sync import SecretState, SyncPlan

WIDTH = max(len(kind) for kind in ChangeKind)
UNTOUCHED = {ChangeKind.KEPT, ChangeKind.UNCHANGED}

NOTHING_TO_CHANGE = "Nothing to change: every value given is there already. No version was created."
OVERTAKEN = (
    "Nothing to change any more: somebody else's write has every value given. The version made here is not current."
)
STILL_BROKEN = "Still to be put right, in keys that were not given:"
NOT_THERE = "What the production settings need and is not there:"


def sync_plan(plan: SyncPlan) -> str:
    """What `plan` does to each key."""
    state = plan.state
    absent = "which has no value yet" if state.exists else "which does not exist yet"
    where = f"version {state.version}" if state.version else absent
    lines = [f"Secret {state.name} in {state.region}, {where}:", *change_lines(plan.changes, plan.unknown, plan.made)]
    lines += problem_lines("Allowed at this stage, to be replaced before launch:", plan.warnings)
    lines += problem_lines(STILL_BROKEN, plan.remaining)
    lines += name_lines(NOT_THERE, plan.missing)
    return "\n".join([*lines, *role_lines(plan.changes), *rotation_lines(state)])


def rollback_plan(plan: RollbackPlan) -> str:
    """What changes when the version of `plan` becomes the current one."""
    state = plan.state
    lines = [
        f"Secret {state.name} in {state.region}:",
        f"  AWSCURRENT goes from version {state.version}",
        f"                    to version {plan.version}",
        *change_lines(plan.changes),
    ]
    lines += problem_lines("What that version breaks:", plan.problems)
    lines += name_lines(NOT_THERE, plan.missing)
    return "\n".join([*lines, *role_lines(plan.changes), *rotation_lines(state)])


def written(current: str, previous: str) -> str:
    """What carries which label, once a plan has been applied and proved."""
    lines = ["Written and read back.", f"  AWSCURRENT   {current}"]
    if previous:
        lines.append(f"  AWSPREVIOUS  {previous} (what was there before)")
    return "\n".join(lines)


def inspection(found: Inspection) -> str:
    """Each key's state, then the secret's."""
    state = found.state
    width = max((len(item.key) for item in found.keys), default=0)
    lines = [f"Secret {state.name} in {state.region}" + (f", last changed {state.changed}" if state.changed else "")]
    lines += [f"  version {version}  {', '.join(labels)}" for version, labels in state.labels.items()]
    lines += [f"  rotation: {'AWS rotates it' if state.rotates else 'not by AWS'}", *rotation_lines(state), ""]
    lines += [f"  {'key':<{width}}  {'state':<11}  length  fingerprint"]
    lines += [
        f"  {item.key:<{width}}  {item.state:<11}  {item.length or '':>6}  {item.fingerprint or '-'}"
        f"{'' if item.is_known else '  (nobody here knows this key)'}"
        for item in found.keys
    ]
    lines += problem_lines("To be put right:", [item for item in found.problems if not item.is_warning])
    lines += problem_lines(
        "Allowed at this stage, to be replaced before launch:", [item for item in found.problems if item.is_warning]
    )
    return "\n".join([*lines, *name_lines(NOT_THERE, found.missing)])


def verdict(problems: Sequence[Problem], keys: Collection[str], absent: Sequence[str]) -> str:
    """What `--validate` found."""
    errors = [item for item in problems if not item.is_warning]
    lines = problem_lines("What breaks the contract:", errors)
    lines += problem_lines("Allowed at this stage:", [item for item in problems if item.is_warning])
    lines += name_lines("Not given, and needed by the production settings (fine where the secret has it):", absent)
    count = "1 value" if len(keys) == 1 else f"{len(keys)} values"
    end = "breaks the contract." if len(keys) == 1 else "break the contract."
    return "\n".join([*lines, f"{count} judged: {len(errors) or 'none'} {end}"])


# Parts.


def change_lines(changes: Iterable[Change], unknown: Collection[str] = (), made: Collection[str] = ()) -> list[str]:
    """A line a key that is touched or was given, and one for all the others."""
    changes = list(changes)
    lines = [
        f"  {change.kind:<{WIDTH}}  {change.key}{' (made here)' if change.key in made else ''}"
        for change in changes
        if change.kind != ChangeKind.KEPT
    ]
    kept = [change.key for change in changes if change.kind == ChangeKind.KEPT and change.key not in unknown]
    label = f"  {ChangeKind.KEPT:<{WIDTH}}  "
    if kept:
        lines += wrapped(f"{len(kept)} other keys: {', '.join(kept)}", indent=label)
    if unknown:
        lines += wrapped(f"though unknown here: {', '.join(unknown)}", indent=label)
    return lines


def problem_lines(heading: str, problems: Sequence[Problem]) -> list[str]:
    """A heading and a line a problem; nothing where there are none."""
    if not problems:
        return []
    texts = (f"{item.key} {item.sentence} (good: {item.shape})" for item in problems)
    return [heading, *(line for text in texts for line in wrapped(text, indent="  ", hanging="  "))]


def name_lines(heading: str, names: Sequence[str]) -> list[str]:
    """A heading and the names; nothing where there are none."""
    return [heading, *wrapped(", ".join(names), indent="  ")] if names else []


def role_lines(changes: Iterable[Change]) -> list[str]:
    """What has to follow a new database password."""
    if not any(change.key == "password" and change.kind == ChangeKind.CHANGED for change in changes):
        return []
    return [
        "The database role has to follow the new password, at once; until then nobody logs in anew:",
        "  python manage.py create_tenant_dbs",
    ]


def rotation_lines(state: SecretState) -> list[str]:
    """A rotation that stands in the way."""
    if not state.pending_version:
        return []
    return [
        f"A rotation is under way (AWSPENDING is on version {state.pending_version});",
        "a write is refused until it ends.",
    ]
