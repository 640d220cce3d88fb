"""What `sync_secrets --rollback` would change: a pure function of the stored secret and of one of its versions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from deploytools.secret.contract import FIELDS, Field, Problem, missing, problems
from deploytools.secret.document import Change, Document, diff
from deploytools.secret.sync import SecretState


@dataclass(frozen=True)
class RollbackPlan:
    """Where AWSCURRENT goes. No version is made: one that is there becomes the current one again.

    Attributes:
        state: what it was planned from.
        version: the version that becomes the current one.
        after: what that version holds.
        changes: one for each key that is there before or after.
        problems: the rules that `after` breaks; they are said and do not stop it.
        missing: what the consumer requires and will not be there.
    """

    state: SecretState
    version: str
    after: Document
    changes: tuple[Change, ...]
    problems: tuple[Problem, ...]
    missing: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether that version is the current one already."""
        return self.version == self.state.version


def plan_rollback(
    state: SecretState,
    version: str,
    after: Document,
    *,
    stage: str,
    required: Collection[str] = (),
    fields: Sequence[Field] = FIELDS,
) -> RollbackPlan:
    """Make `version`, which holds `after`, the current one."""
    return RollbackPlan(
        state=state,
        version=version,
        after=after,
        changes=diff(state.document, after, {}),
        problems=problems(after, stage=stage, fields=fields),
        missing=missing(after, required, stage=stage, fields=fields),
    )
