"""What `sync_secrets` prints, as text. It contains no values, and control characters in keys are escaped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from deploytools.secrets.contract import Problem
from deploytools.secrets.document import Change, ChangeKind
from deploytools.secrets.inspection import Inspection, KeyReport
from deploytools.secrets.plan import RollbackPlan, SecretState, SyncPlan
from deploytools.secrets.plan_details import KeyChange, Notice, PlanDetails
from deploytools.secrets.versions import short_id
from deploytools.wording import count, one_line, printable, wrapped

if TYPE_CHECKING:  # It imports boto3, which takes long.
    from deploytools.secrets.history import History, HistoryRow

WIDTH = max(len(kind) for kind in ChangeKind)

#: The beginning of a warning's line.
WARNING = "! "

NO_CHANGES = "No changes: the secret already has all given values. No version was created."
SUPERSEDED = "No changes: another writer wrote the same values first. The version that this run created is not current."
MERGED = "Another writer changed the secret in the meantime; its changes are kept."
CHANGED_MEANWHILE = "The secret has changed since this plan was shown. Nothing was changed yet. The new plan:"
RESTARTED = "Restarted: all tasks of the service are new and read the secret again."
ALLOWED = "Allowed at this stage; fix before launch:"
REMAINING = "Existing problems in other keys:"
IN_VERSION = "Problems in that version:"
MISSING = "Missing keys that the production settings require:"


def plan(plan: SyncPlan | RollbackPlan, details: PlanDetails) -> str:
    """Render the changes of a planned write or rollback."""
    state = plan.state
    if isinstance(plan, RollbackPlan):
        newer = ", which is newer: this goes forward" if plan.is_forward else ""
        lines = [
            f"Secret {state.name} in {state.region}:",
            f"  AWSCURRENT moves from version {short_id(state.version, state.labels)}",
            f"                     to version {short_id(plan.version, state.labels)}{newer}",
            *_change_lines(details.changes),
            *_problem_lines(IN_VERSION, plan.problems),
        ]
    else:
        absent = "no value yet" if state.exists else "does not exist yet"
        version = f"version {short_id(state.version, state.labels)}" if state.version else absent
        lines = [
            f"Secret {state.name} in {state.region}, {version}:",
            *_change_lines(details.changes, plan.given, plan.unrecognized),
            *_problem_lines(ALLOWED, plan.warnings),
            *_problem_lines(REMAINING, plan.remaining),
        ]
    lines += [*_name_lines(MISSING, plan.missing), *_notice_lines(details.notices)]
    return "\n".join([*lines, *_password_lines(plan.changes), *_rotation_lines(state)])


def written(current: str, previous: str = "", note: str = "") -> str:
    """Render the result of a change.

    Args:
        previous: the version that was current before. Empty: the secret is new.
    """
    lines = ["Written and verified.", f"  AWSCURRENT   {short_id(current, [previous])}"]
    if previous:
        lines.append(f"  AWSPREVIOUS  {short_id(previous, [current])}")
    return "\n".join([*lines, *([note] if note else [])])


def next_steps(base: str, restart_command: str, *, needs_role: bool, is_restarted: bool, restore: str = "") -> str:
    """Render what has to be done after a change.

    Args:
        base: the version to go back to. Empty: there is none.
        restart_command: command that restarts the processes. Empty: there is none.
        needs_role: whether the database role needs the new password.
        is_restarted: whether this run restarted the processes.
        restore: options of ``--rollback`` without which it would keep what was changed.
    """
    lines = []
    if needs_role:
        lines += ["Next: set the new password for the database role:", "  python manage.py create_tenant_dbs"]
    if not is_restarted:
        lines.append("Next: restart all processes that read the secret. Until then, they use the old values:")
        if restart_command:
            lines += [
                f"  {restart_command}",
                "  (python manage.py sync_secrets --restart also waits for the new tasks)",
            ]
        else:
            lines.append("  web servers, workers and scheduled jobs")
    if base:
        lines += ["Go back:", f"  python manage.py sync_secrets --rollback {short_id(base)}{restore}"]
    return "\n".join(lines)


def restarting(service: str) -> str:
    """Render the beginning of a restart."""
    return f"Restart of the ECS service {service}: a new deployment replaces all tasks. This takes minutes."


def history(found: History) -> str:
    """Render all versions, the newest first."""
    state = found.state
    labels = [row.version.id for row in found.rows]
    lines = [f"Secret {state.name} in {state.region}: {count(len(labels), 'version')}, the newest first"]
    for row in found.rows:
        lines += _history_lines(row, labels)
    if found.unknown_writers:
        lines.append(f"Who wrote each version is not known: {one_line(found.unknown_writers)}")
    return "\n".join([*lines, "Go back: python manage.py sync_secrets --rollback VERSION"])


def _history_lines(row: HistoryRow, others: Sequence[str]) -> list[str]:
    version = row.version
    created = version.created.isoformat(sep=" ", timespec="minutes") if version.created else "time not known"
    parts = [created, ", ".join(version.labels) or "no label", row.origin, f"by {row.writer}" if row.writer else ""]
    lines = [f"  {short_id(version.id, others)}  {'  '.join(one_line(part) for part in parts if part)}"]
    if row.problem:
        text = row.problem
    elif row.changes is None:
        text = "changes not known: the version before it cannot be read"
    else:
        kinds = {kind: [item.key for item in row.changes if item.kind is kind] for kind in ChangeKind}
        text = "; ".join(f"{kind} {printable(*keys)}" for kind, keys in kinds.items() if keys) or "no changes"
    return [*lines, *wrapped(text, indent="    ")]


def inspection(found: Inspection, notices: Sequence[Notice] = ()) -> str:
    """Render the state of the secret and of each key."""
    state = found.state
    width = max((len(printable(item.key)) for item in found.keys), default=0)
    changed = f", last changed {state.last_changed}" if state.last_changed else ""
    lines = [f"Secret {state.name} in {state.region}{changed}"]
    lines += [
        f"  version {short_id(version, state.labels)}  {', '.join(labels)}" for version, labels in state.labels.items()
    ]
    lines += [f"  rotation: {'enabled' if state.is_rotated else 'disabled'}", *_rotation_lines(state)]
    lines += [*_notice_lines(notices), ""]
    lines += [f"  {'key':<{width}}  {'state':<11}  length  fingerprint"]
    lines += [
        f"  {printable(item.key):<{width}}  {item.state:<11}  {item.length or '':>6}  {item.fingerprint or '-'}"
        f"{'' if item.is_recognized else '  (unrecognized key)'}"
        for item in found.keys
    ]
    lines += _all_problem_lines(found.problems)
    return "\n".join([*lines, *_name_lines(MISSING, found.missing)])


def validation(
    problems: Sequence[Problem], keys: Collection[str], missing: Sequence[str], unrecognized: Sequence[str] = ()
) -> str:
    """Render the result of ``--validate``."""
    errors = sum(not item.is_warning for item in problems)
    lines = _all_problem_lines(problems)
    lines += _name_lines(
        "Required by the production settings but not given (ignore this if the secret has them):", missing
    )
    lines += _name_lines(
        "Keys that are not in the contract (a write refuses new ones without --new-key):", unrecognized
    )
    values = count(len(keys), "value")
    verdict = f"FAILED: {count(errors, 'problem')} in {values}" if errors else f"OK: no problems in {values}"
    return "\n".join([*lines, verdict])


def template_written(file: str, keys: int) -> str:
    """Render the result of ``--template``."""
    return (
        f"{file}: {count(keys, 'key')} to fill in. Remove the lines of values that you do not have yet. "
        "Only you can read the file (mode 0600)."
    )


def _change_lines(
    changes: Sequence[KeyChange], given: Collection[str] = (), unrecognized: Collection[str] = ()
) -> list[str]:
    """Return a line for each key that changes or was given, and one for all the others."""
    others = [
        item.change.key for item in changes if item.change.kind is ChangeKind.UNCHANGED and item.change.key not in given
    ]
    listed = [item for item in changes if item.change.key not in others]
    width = max((len(printable(item.change.key)) for item in listed), default=0)
    lines = [
        f"  {item.change.kind:<{WIDTH}}  {printable(item.change.key):<{width}}  {_before_and_after(item)}".rstrip()
        for item in listed
    ]
    label = f"  {ChangeKind.UNCHANGED:<{WIDTH}}  "
    if recognized := [key for key in others if key not in unrecognized]:
        lines += wrapped(f"{count(len(recognized), 'other key')}: {printable(*recognized)}", indent=label)
    if unrecognized:
        lines += wrapped(f"{count(len(unrecognized), 'unrecognized key')}: {printable(*unrecognized)}", indent=label)
    return lines


def _before_and_after(item: KeyChange) -> str:
    if item.change.kind is ChangeKind.UNCHANGED:
        return ""
    return " → ".join(_value(found) for found in (item.before, item.after) if found)


def _value(found: KeyReport) -> str:
    """Return state, length and fingerprint of a value: ``live, 107 chars, 3c6cf83f``."""
    parts = [found.state.removesuffix(" mode")]
    if found.length:
        parts.append(count(found.length, "char"))
    return ", ".join([*parts, found.fingerprint or "no fingerprint"])


def _notice_lines(notices: Sequence[Notice]) -> list[str]:
    texts = (f"{printable(item.key)} {item.message}.".lstrip().replace("..", ".") for item in notices)
    return [line for text in texts for line in wrapped(text, indent=WARNING)]


def _all_problem_lines(problems: Sequence[Problem]) -> list[str]:
    errors, warnings = ([item for item in problems if item.is_warning is is_warning] for is_warning in (False, True))
    return [*_problem_lines("Problems:", errors), *_problem_lines(ALLOWED, warnings)]


def _problem_lines(heading: str, problems: Sequence[Problem]) -> list[str]:
    if not problems:
        return []
    texts = (f"{printable(item.key)} {item.message} (expected: {item.expected})" for item in problems)
    return [heading, *(line for text in texts for line in wrapped(text, indent="  ", hanging="  "))]


def _name_lines(heading: str, names: Sequence[str]) -> list[str]:
    return [heading, *wrapped(printable(*names), indent="  ")] if names else []


def _password_lines(changes: Sequence[Change]) -> list[str]:
    changed = {change.key for change in changes if change.kind is ChangeKind.CHANGED}
    master = [
        "The password of the master user in PostgreSQL does not change. To change both, run instead:",
        "  python manage.py rotate_credentials master_password",
    ]
    if "password" not in changed:
        return master if "master_password" in changed else []
    return [
        "New database logins fail until you run:",
        "  python manage.py create_tenant_dbs",
        "To change the password without a failed request, run instead:",
        "  python manage.py rotate_credentials password",
        *(master if "master_password" in changed else ()),
    ]


def _rotation_lines(state: SecretState) -> list[str]:
    if not state.pending_version:
        return []
    return [
        f"A rotation is in progress (AWSPENDING is attached to version "
        f"{short_id(state.pending_version, state.labels)}).",
        "Writes are refused until it ends.",
    ]
