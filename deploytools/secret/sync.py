"""What `sync_secrets` would change: a pure function of the stored secret and of what was given.

Nothing here can write: no client comes in. What is printed is the very plan that is applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploytools.errors import InvalidSecret
from deploytools.secret.contract import Problem, normalise, problems
from deploytools.secret.document import Change, ChangeKind, Document, diff

CURRENT = "AWSCURRENT"
PENDING = "AWSPENDING"
PREVIOUS = "AWSPREVIOUS"


@dataclass(frozen=True)
class SecretState:
    """The secret as it was read.

    Attributes:
        name: its name, as it was asked for.
        region: the AWS Region it was read in.
        version: the ``VersionId`` that carries AWSCURRENT.
        document: what that version holds.
        labels: the staging labels of each version.
    """

    name: str
    region: str
    version: str
    document: Document
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def pending_version(self) -> str | None:
        """The version of a rotation under way: AWSPENDING on any version but the current one (FACTS B1.6)."""
        return next((v for v, labels in self.labels.items() if PENDING in labels and CURRENT not in labels), None)


@dataclass(frozen=True)
class SyncPlan:
    """What will be written.

    Attributes:
        state: what it was planned from.
        given: what was asked for, in the form in which it is stored.
        after: the whole document as it will be.
        changes: one for each key of `after`.
        warnings: what the stage still allows in the keys given.
        remaining: what other keys, which this plan leaves alone, still break.
    """

    state: SecretState
    given: Document
    after: Document
    changes: tuple[Change, ...]
    warnings: tuple[Problem, ...]
    remaining: tuple[Problem, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return all(change.kind in {ChangeKind.UNCHANGED, ChangeKind.KEPT} for change in self.changes)

    @property
    def token(self) -> str:
        """``ClientRequestToken`` and the new version's id, from base version and content: a retry is the same write.

        It shows in CloudTrail. It is a hash over the whole document, which holds high-entropy credentials, so that
        no single value can be guessed from it.
        """
        content = f"{self.state.version}\0{self.after.to_json().reveal()}"
        return hashlib.sha256(content.encode()).hexdigest()


def plan_sync(state: SecretState, given: Document, *, stage: str) -> SyncPlan:
    """Merge `given` over what is stored and judge the whole.

    A key that was given must keep the contract. A key that was not may break it already: that is said, and does not
    stop the rest from being mended one by one.

    Raises:
        InvalidSecret: with every rule that a given key breaks.
        SecretTooLarge: the merged document exceeds what Secrets Manager takes.
    """
    given = normalise(given, state.document)
    after = state.document.merge(given)
    after.to_json()
    found = problems(after, stage=stage)
    errors = [problem for problem in found if problem.key in given and not problem.is_warning]
    if errors:
        raise InvalidSecret(
            "Nothing was written, because of: " + "; ".join(f"{item.key} {item.sentence}" for item in errors) + ".",
            hint="Good shapes: " + "; ".join(f"{item.key}: {item.shape}" for item in errors) + ". "
            "Leave a key out of the file to keep the value that is stored.",
        )
    return SyncPlan(
        state=state,
        given=given,
        after=after,
        changes=diff(state.document, after, given),
        warnings=tuple(problem for problem in found if problem.key in given),
        remaining=tuple(problem for problem in found if problem.key not in given),
    )
