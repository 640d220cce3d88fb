"""What `sync_secrets` would change: a pure function of the stored secret and of what was given.

Nothing here can write: no client comes in. What is printed is the very plan that is applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploytools.errors import InvalidSecret, Refused
from deploytools.secret.contract import FIELDS, Field, Problem, by_name, is_placeholder, missing, normalise, problems
from deploytools.secret.document import Change, ChangeKind, Document, diff
from deploytools.secret.value import Secret

CURRENT = "AWSCURRENT"
PREVIOUS = "AWSPREVIOUS"
PENDING = "AWSPENDING"

NOTHING = Document({})


@dataclass(frozen=True)
class SecretState:
    """The secret as it was read.

    Attributes:
        name: its name, as it was asked for.
        region: the AWS Region it was read in.
        version: the ``VersionId`` that carries AWSCURRENT.
        document: what that version holds.
        labels: the staging labels of each version.
        changed: when anything about it changed last, in ISO 8601; empty where that is not known.
        rotates: whether AWS rotates it.
        exists: whether there is a secret of that name, be it without a value (and `version`).
    """

    name: str
    region: str
    version: str
    document: Document
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    changed: str = field(default="", compare=False)
    rotates: bool = field(default=False, compare=False)
    exists: bool = field(default=True, compare=False)

    @property
    def previous_version(self) -> str | None:
        """The version that was current before; None where there was none."""
        return next((version for version, labels in self.labels.items() if PREVIOUS in labels), None)

    @property
    def pending_version(self) -> str | None:
        """The version of a rotation under way: AWSPENDING on any version but the current one (FACTS B1.6)."""
        return next((v for v, labels in self.labels.items() if PENDING in labels and CURRENT not in labels), None)

    @property
    def end_of_rotation(self) -> str:
        """The command that ends a rotation that failed; unlike cancel-rotate-secret it leaves the next ones on."""
        return (
            f"aws secretsmanager update-secret-version-stage --secret-id {self.name} --region {self.region} "
            f"--version-stage {PENDING} --remove-from-version-id {self.pending_version}"
        )


@dataclass(frozen=True)
class SyncPlan:
    """What will be written.

    Attributes:
        state: what it was planned from.
        given: what was asked for and what was made here, in the form in which it is stored.
        after: the whole document as it will be.
        changes: one for each key of `after`, and one for each that goes.
        warnings: what the stage still allows in the keys given.
        remaining: what other keys, which this plan leaves alone, still break.
        unset: the keys that were asked to go.
        filled: the keys of `given` whose values are taken only because there was none.
        made: the keys of `given` whose values were made here.
        missing: what the consumer requires and will not be there.
        unknown: the keys that are kept and that no row of the contract knows.
    """

    state: SecretState
    given: Document
    after: Document
    changes: tuple[Change, ...]
    warnings: tuple[Problem, ...]
    remaining: tuple[Problem, ...]
    unset: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return all(change.kind in {ChangeKind.UNCHANGED, ChangeKind.KEPT} for change in self.changes)

    @property
    def wanted(self) -> Mapping[str, Secret[Any] | None]:
        """What each key that this plan sets or takes out will be; None: not there."""
        return {**self.given, **dict.fromkeys(self.unset)}

    @property
    def token(self) -> str:
        """``ClientRequestToken`` and the new version's id, from base version and content: a retry is the same write.

        It shows in CloudTrail, as the base version does. It is a hash over the whole document: as long as one value of
        it is random, none can be guessed from it. A document without any could be guessed as a whole.
        """
        content = f"{self.state.version}\0{self.after.to_json().reveal()}"
        return hashlib.sha256(content.encode()).hexdigest()


def plan_sync(
    state: SecretState,
    given: Document,
    *,
    stage: str,
    unset: Collection[str] = (),
    fills: Document = NOTHING,
    made: Collection[str] = (),
    required: Collection[str] = (),
    fields: Sequence[Field] = FIELDS,
) -> SyncPlan:
    """Merge `given` over what is stored and judge the whole.

    A key that was given must keep the contract. What the others break is said, and stops nothing.

    Args:
        unset, made: the keys to take out; those of `given` whose values were made here.
        fills: values made here for keys that are missing or hold a placeholder; of the others nothing is taken.
        required, fields: the keys that the consumer cannot start without; the rows of the contract.

    Raises:
        InvalidSecret, Refused: with every rule that a given key breaks; with the required keys that cannot go.
        SecretTooLarge: the merged document exceeds what Secrets Manager takes.
    """
    _refuse_to_unset_required(unset, required, stage, fields)
    filled = _vacant(state.document, fills.without(given), fields)
    given = normalise({**filled, **given}, state.document, fields=fields)
    after = state.document.merge(given).without(unset)
    after.to_json()  # Its size is judged before anything else.
    found = problems(after, stage=stage, fields=fields)
    _refuse_invalid([item for item in found if {item.key, item.with_key} & given.keys() and not item.is_warning])
    changes = diff(state.document, after, given)
    return SyncPlan(
        state=state,
        given=given,
        after=after,
        changes=changes,
        warnings=tuple(problem for problem in found if problem.key in given),
        remaining=tuple(problem for problem in found if problem.key not in given),
        unset=tuple(unset),
        filled=tuple(filled),
        made=(*made, *filled),
        missing=missing(after, required, stage=stage, fields=fields),
        unknown=_unknown(changes, fields),
    )


def _vacant(document: Document, fills: Document, fields: Sequence[Field]) -> Document:
    """Those of `fills` whose keys are missing in `document`, or hold nothing or a placeholder."""
    rows = by_name(fields)

    def is_vacant(key: str) -> bool:
        value = document[key].reveal() if key in document else None
        return value in ("", None) or is_placeholder(value, rows.get(key))

    return fills.without({key for key in fills if not is_vacant(key)})


def _unknown(changes: Sequence[Change], fields: Sequence[Field]) -> tuple[str, ...]:
    rows = by_name(fields)
    return tuple(change.key for change in changes if change.kind is ChangeKind.KEPT and change.key not in rows)


def _refuse_to_unset_required(
    unset: Collection[str], required: Collection[str], stage: str, fields: Sequence[Field]
) -> None:
    needed = {*required, *(field.name for field in fields if field.is_required(stage))}
    if refused := [key for key in unset if key in needed]:
        raise Refused(
            f"Nothing was written: {', '.join(refused)} cannot go, because the production settings need it.",
            hint='Take it out of DEPLOYTOOLS["REQUIRED_KEYS"] or ["SECRET_FIELDS"] first, and deploy that.',
        )


def _refuse_invalid(errors: Sequence[Problem]) -> None:
    if errors:
        raise InvalidSecret(
            "Nothing was written, because of: " + "; ".join(f"{item.key} {item.sentence}" for item in errors) + ".",
            hint="Good shapes: " + "; ".join(f"{item.key}: {item.shape}" for item in errors) + ". "
            "Leave a key out of the file to keep the value that is stored.",
        )
