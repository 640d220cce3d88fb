"""What a plan shows of each change, and its warnings: states, lengths and fingerprints, never a value. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploytools.secrets.contract import DJANGO_KEY, FALLBACKS_KEY, STRIPE, Field, by_name
from deploytools.secrets.document import Change, ChangeKind, Document, value_of
from deploytools.secrets.inspection import KeyReport, KeyState, fingerprints, report_key
from deploytools.secrets.plan import SecretPlan, SecretState
from deploytools.secrets.versions import TERRAFORM, short_id

#: Characters from which two equal values are no coincidence.
COMPARED_LENGTH = 8

#: A Stripe key of today's length: after the mode follow ``5`` and the ID of the account.
STRIPE_ACCOUNT = re.compile(r"(?:sk|rk|pk)_(?:live|test)_5(1[A-Za-z0-9]{15})[A-Za-z0-9]{70,}")


@dataclass(frozen=True)
class KeyChange:
    """One change, with the key before and after it; None: the key is missing."""

    change: Change
    before: KeyReport | None
    after: KeyReport | None


@dataclass(frozen=True)
class Notice:
    """A warning.

    Attributes:
        key: the key that it is about; empty: the whole secret.
    """

    message: str
    key: str = ""


@dataclass(frozen=True)
class PlanDetails:
    """What a plan shows in addition to its changes.

    Attributes:
        changes: as `SecretPlan.changes`. The fingerprints are those that ``--show`` shows before and after the change.
        notices: warnings about the new values, and about others that write this secret.
    """

    changes: tuple[KeyChange, ...]
    notices: tuple[Notice, ...]


def plan_details(plan: SecretPlan, fields: Sequence[Field]) -> PlanDetails:
    """Return what `plan` shows."""
    before, after, known = plan.state.document, plan.after, by_name(fields)
    prints = [fingerprints(plan.state.name, document, fields) for document in (before, after)]

    def report(key: str, document: Document, number: int) -> KeyReport | None:
        return report_key(key, known.get(key), document, prints[number]) if key in document else None

    changes = tuple(KeyChange(item, report(item.key, before, 0), report(item.key, after, 1)) for item in plan.changes)
    written = [item for item in changes if item.change.kind in (ChangeKind.ADDED, ChangeKind.CHANGED)]
    notices = [notice for item in written for notice in _value_notices(item, after, known)]
    changed = {item.key for item in plan.changes if item.kind is not ChangeKind.UNCHANGED}
    notices += [*_stripe_notices(after, changed), *_session_notices(before, after)]
    return PlanDetails(changes, (*notices, *owner_notices(plan.state, after, changed)))


def _value_notices(item: KeyChange, after: Document, known: Mapping[str, Field]) -> Iterator[Notice]:
    key, reports = item.change.key, [found for found in (item.before, item.after) if found]
    is_live = any(found.state is KeyState.LIVE_MODE for found in reports)
    if is_live and len(reports) == 2 and reports[1].length * 2 < reports[0].length:
        lengths = f"{reports[0].length} → {reports[1].length} characters"
        yield Notice(f"is less than half as long as before ({lengths}). Check that the whole key was pasted", key)
    value = after[key].reveal()
    if isinstance(value, str) and value != value.strip():
        yield Notice("has leading or trailing whitespace", key)
    if same := [other for other in after if other != key and _is_same_credential(key, other, after, known)]:
        yield Notice(f"has the same value as {same[0]}", key)


def _is_same_credential(key: str, other: str, document: Document, known: Mapping[str, Field]) -> bool:
    is_sensitive = all(name not in known or known[name].is_sensitive for name in (key, other))
    value = document[key].reveal()
    is_long = isinstance(value, str) and len(value) >= COMPARED_LENGTH
    return is_sensitive and is_long and document[key] == document[other]


def _stripe_notices(after: Document, changed: set[str]) -> Iterator[Notice]:
    names = [field.name for field in STRIPE[:2]]
    accounts = [STRIPE_ACCOUNT.fullmatch(str(value_of(after, name))) for name in names]
    if changed & {*names} and all(accounts) and len({found[1] for found in accounts if found}) == 2:
        yield Notice("and the other Stripe key belong to two different accounts", names[0])


def _session_notices(before: Document, after: Document) -> Iterator[Notice]:
    former = value_of(before, DJANGO_KEY)
    if not former or former == value_of(after, DJANGO_KEY):
        return
    fallbacks = value_of(after, FALLBACKS_KEY)
    if isinstance(fallbacks, list) and former in fallbacks:
        message = f"changes; sessions and links of the former key stay valid ({FALLBACKS_KEY})"
    else:
        message = "changes, and the former key is not kept: all users are logged out, password reset links stop working"
    yield Notice(message, DJANGO_KEY)


def owner_notices(state: SecretState, after: Document, changed: set[str]) -> Iterator[Notice]:
    """Yield a warning for each other writer of the secret, as far as the secret shows it.

    Args:
        changed: the keys that a plan changes; empty: there is no plan.
    """
    consequence = "the next {} can overwrite this change" if changed else "the next {} can overwrite other changes"
    if state.version.startswith(TERRAFORM):
        yield Notice(f"Terraform wrote the current version: {consequence.format('terraform apply')}")
    if stack := state.tags.get("aws:cloudformation:stack-name"):
        yield Notice(f"The CloudFormation stack {stack} has this secret: {consequence.format('update of the stack')}")
    if state.owning_service:
        yield Notice(f"The AWS service {state.owning_service} manages this secret: {consequence.format('rotation')}")
    if state.is_rotated and "password" in changed:
        yield Notice("Rotation is enabled: the next rotation replaces it", "password")
    if state.is_rotated and value_of(after, "engine") == "postgresql":
        yield Notice("Rotation functions of AWS require postgres. Run: sync_secrets --set engine=postgres", "engine")
    if (stale := state.stale_pending_version) and stale == state.previous_version:
        where = short_id(stale, state.labels)
        yield Notice(
            f"AWSPENDING of a finished rotation is still attached to version {where}; no rotation is in progress. "
            f"A write detaches it, or run: {state.end_rotation}"
        )
