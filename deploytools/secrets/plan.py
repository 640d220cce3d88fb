"""The state of a secret, and the plans of `sync_secrets`: a write and a rollback. Pure.

A plan is computed from a state, without a client. The plan that is printed is the one that is applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploytools.errors import InvalidSecret, Refused
from deploytools.secrets.contract import (
    DJANGO_KEY,
    FALLBACKS_KEY,
    FIELDS,
    ROTATED_AT,
    Field,
    Problem,
    by_name,
    find_missing,
    find_problems,
    is_placeholder,
    normalize,
    required_keys,
)
from deploytools.secrets.document import EMPTY, Change, ChangeKind, Document, Secret, diff, value_of
from deploytools.secrets.versions import CURRENT, PENDING, PREVIOUS, ROTATIONS, short_id
from deploytools.wording import printable


@dataclass(frozen=True)
class SecretState:
    """A secret as it was read.

    Attributes:
        name: name or ARN of the secret, as in the settings.
        version: version ID that AWSCURRENT is attached to. Empty: the secret has no value, or does not exist.
        labels: staging labels of each version.
        last_changed: time of the last change of any kind, in ISO 8601. Empty: not known.
        exists: whether the secret exists, with or without a value.
        created: time at which the current version was created, in ISO 8601. Empty: not known.
        owning_service: AWS service that manages the secret, for example ``rds``. Empty: none.
        primary_region: Region of the primary secret, if the secret is replicated. Empty: it is not.
        replicas: status and message of each replica, by Region.
    """

    name: str
    region: str
    version: str
    document: Document
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    last_changed: str = field(default="", compare=False)
    is_rotated: bool = field(default=False, compare=False)
    exists: bool = field(default=True, compare=False)
    created: str = field(default="", compare=False)
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    owning_service: str = field(default="", compare=False)
    primary_region: str = field(default="", compare=False)
    replicas: Mapping[str, tuple[str, str]] = field(default_factory=dict, compare=False)

    @property
    def previous_version(self) -> str | None:
        """The version that AWSPREVIOUS is attached to, or None."""
        return self._version_with(PREVIOUS)

    @property
    def pending_version(self) -> str | None:
        """The version of a rotation in progress, or None: AWSPENDING is on a version that has not been current yet."""
        pending = self._version_with(PENDING)
        return None if pending in (self._version_with(CURRENT), self.previous_version) else pending

    @property
    def stale_pending_version(self) -> str | None:
        """The version with the AWSPENDING of a finished rotation, or None: it is current, or was the previous one."""
        pending = self._version_with(PENDING)
        return pending if pending in (self._version_with(CURRENT), self.previous_version) else None

    @property
    def rotated_credential(self) -> str:
        """What an unfinished `rotate_credentials` rotates; empty: there is none, or another rotation has AWSPENDING."""
        labels = self.labels.get(self.pending_version or "", ())
        return next((credential for label, credential in ROTATIONS.items() if label in labels), "")

    @property
    def end_rotation(self) -> str:
        """The command that ends a failed rotation. Unlike cancel-rotate-secret, it does not disable rotation."""
        if self.rotated_credential:
            return f"python manage.py rotate_credentials {self.rotated_credential}"
        return (
            f"aws secretsmanager update-secret-version-stage --secret-id {self.name} --region {self.region} "
            f"--version-stage {PENDING} --remove-from-version-id {self._version_with(PENDING)}"
        )

    def how_to_end(self, tenant: str = "") -> str:
        """Return how to end an unfinished rotation, for a hint.

        Args:
            tenant: the tenant whose own secret it is; empty: the shared secret.
        """
        if self.rotated_credential:
            option = f" --tenant {tenant}" if tenant else ""
            return f"To complete it, or to cancel it with --abort, run: {self.end_rotation}{option}"
        return f"To end a rotation that failed, run: {self.end_rotation}"

    def _version_with(self, label: str) -> str | None:
        return next((version for version, labels in self.labels.items() if label in labels), None)


@dataclass(frozen=True, kw_only=True)
class SecretPlan:
    """A planned change.

    Attributes:
        after: the whole document after the change.
        changes: one for each key of `after`, and one for each removed key.
        missing: keys that are required and that will be missing.
    """

    state: SecretState
    after: Document
    changes: tuple[Change, ...]
    missing: tuple[str, ...]

    @property
    def changes_password(self) -> bool:
        """Whether the role in PostgreSQL needs another password."""
        return any(item.key == "password" and item.kind is ChangeKind.CHANGED for item in self.changes)


@dataclass(frozen=True, kw_only=True)
class SyncPlan(SecretPlan):
    """A planned write.

    Attributes:
        given: requested and generated values, normalized.
        warnings: violations in `given` that this stage allows.
        remaining: violations in other keys. They do not prevent the write.
        filled: keys of `given` that had no value or a placeholder and get a default.
        generated: keys of `given` whose values were generated.
        unrecognized: unchanged keys that are not in the contract.
    """

    given: Document
    warnings: tuple[Problem, ...]
    remaining: tuple[Problem, ...]
    unset: tuple[str, ...]
    filled: tuple[str, ...]
    generated: tuple[str, ...]
    unrecognized: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return all(change.kind is ChangeKind.UNCHANGED for change in self.changes)

    @property
    def desired(self) -> Mapping[str, Secret[Any] | None]:
        """The desired value of each key that the plan sets or removes; None: removed."""
        return {**self.given, **dict.fromkeys(self.unset)}

    @property
    def token(self) -> str:
        """``ClientRequestToken``, which becomes the version ID: a hash of base version and content.

        Equal plans have equal tokens, so that a retry is the same write. CloudTrail shows the token and the base
        version. The hash covers the whole document, so values cannot be guessed from it if one of them is random.
        """
        content = f"{self.state.version}\0{self.after.to_json().reveal()}"
        return hashlib.sha256(content.encode()).hexdigest()


def plan_sync(
    state: SecretState,
    given: Document,
    *,
    stage: str,
    unset: Collection[str] = (),
    is_leaked: bool = False,
    defaults: Document = EMPTY,
    generated: Collection[str] = (),
    fields: Sequence[Field] = FIELDS,
    now: str = "",
) -> SyncPlan:
    """Plan to merge `given` into the stored document.

    The given values must satisfy the contract. Violations in other keys are reported and do not prevent the write.

    Args:
        unset, generated: keys to remove; keys of `given` whose values were generated.
        is_leaked: whether a former django_secret_key must not stay valid. By default, one that is regenerated does.
        defaults: values for keys that are missing or a placeholder.
        now: the date of credentials that are replaced, in ISO 8601. Empty: no date is written.

    Raises:
        InvalidSecret: a given value violates the contract; the message lists all violations.
        Refused: a required key would be removed.
        SecretTooLarge: the document would be too large.
    """
    if DJANGO_KEY in generated and is_leaked:
        unset = [*unset, *({FALLBACKS_KEY} & state.document.keys())]
    elif DJANGO_KEY in generated:
        given = EMPTY.merge({**_former_keys(state.document, fields), **given})
    filled = _applicable(defaults.without(given), state.document, fields)
    given = normalize({**filled, **given}, state.document, fields=fields)
    after = state.document.merge(given).without(unset)
    after = _with_dates_of_replaced(after, state.document, fields, now) if now else after
    _refuse_to_remove_required(unset, required_keys(after, stage=stage, fields=fields))
    after.to_json()  # Check its size before anything else.
    found = find_problems(after, stage=stage, fields=fields)
    _refuse_invalid([item for item in found if {item.key, item.other_key} & given.keys() and not item.is_warning])
    return SyncPlan(
        state=state,
        given=given,
        after=after,
        changes=diff(state.document, after),
        warnings=tuple(problem for problem in found if problem.key in given),
        remaining=tuple(problem for problem in found if problem.key not in given),
        unset=tuple(unset),
        filled=tuple(filled),
        generated=(*generated, *filled),
        missing=find_missing(after, stage=stage, fields=fields),
        unrecognized=tuple(after.without({*given, *by_name(fields)})),
    )


def _with_dates_of_replaced(after: Document, before: Document, fields: Sequence[Field], now: str) -> Document:
    known = by_name(fields)
    replaced = [
        key
        for key in CREDENTIALS
        if key in after
        and before.get(key) != after[key]
        and (former := value_of(before, key))
        and not is_placeholder(former, known.get(key))
    ]
    if not replaced:
        return after
    ended = {f"{key}_announced" for key in replaced}  # A key that was announced will not be the next one.
    dates = {key: date for key, date in rotation_dates(after).items() if key not in ended}
    return after.merge({ROTATED_AT: Secret({**dates, **dict.fromkeys(replaced, now)})})


def _former_keys(document: Document, fields: Sequence[Field]) -> dict[str, Secret[Any]]:
    """Return the fallbacks with the current django_secret_key as the first one."""
    former = value_of(document, DJANGO_KEY)
    if not isinstance(former, str) or not former or is_placeholder(former, by_name(fields).get(DJANGO_KEY)):
        return {}
    stored = value_of(document, FALLBACKS_KEY)
    others = [key for key in stored if key != former] if isinstance(stored, list) else []
    return {FALLBACKS_KEY: Secret([former, *others])}


def _applicable(defaults: Document, document: Document, fields: Sequence[Field]) -> Document:
    """Return the defaults of the keys that are missing, empty or a placeholder in `document`."""
    known = by_name(fields)

    def has_value(key: str) -> bool:
        value = value_of(document, key)
        return value not in ("", None) and not is_placeholder(value, known.get(key))

    return defaults.without({key for key in defaults if has_value(key)})


def _refuse_to_remove_required(unset: Collection[str], required: Collection[str]) -> None:
    if refused := [key for key in unset if key in required]:
        them = "they" if refused[1:] else "it"
        raise Refused(
            f"The production settings require {', '.join(refused)}: {them} cannot be removed. Nothing was changed.",
            hint='Remove its preset (stripe or email) from DEPLOYTOOLS["PRESETS"], or the key from '
            'DEPLOYTOOLS["SECRET_FIELDS"], and deploy that first.',
        )


def _refuse_invalid(errors: Sequence[Problem]) -> None:
    if errors:
        raise InvalidSecret(
            "; ".join(f"{printable(item.key)} {item.message}" for item in errors) + ". Nothing was changed.",
            hint="Expected: " + "; ".join(f"{printable(item.key)}: {item.expected}" for item in errors) + ". "
            "To keep the stored value of a key, leave the key out.",
        )


@dataclass(frozen=True, kw_only=True)
class RollbackPlan(SecretPlan):
    """A planned rollback: AWSCURRENT moves to an existing version. No version is created.

    Attributes:
        version: the version that becomes current.
        created: time of its creation, in ISO 8601. Empty: not known.
        problems: violations of the contract in `after`. They do not prevent the rollback.
    """

    version: str
    problems: tuple[Problem, ...]
    created: str

    @property
    def is_empty(self) -> bool:
        """Whether the version is current already."""
        return self.version == self.state.version

    @property
    def is_forward(self) -> bool:
        """Whether the version is newer than the current one."""
        return bool(self.created and self.state.created) and self.created > self.state.created


def plan_rollback(
    state: SecretState,
    version: str,
    after: Document,
    *,
    stage: str,
    created: str = "",
    fields: Sequence[Field] = FIELDS,
) -> RollbackPlan:
    """Plan to make `version`, whose content is `after`, current."""
    return RollbackPlan(
        state=state,
        version=version,
        after=after,
        changes=diff(state.document, after),
        problems=find_problems(after, stage=stage, fields=fields),
        missing=find_missing(after, stage=stage, fields=fields),
        created=created,
    )


#: The keys that `rotate_credentials` rotates.
CREDENTIALS = ("password", DJANGO_KEY, "master_password")

#: The keys of each date in `ROTATED_AT`; a rotation changes that one, too.
ROTATED_KEYS = {
    "password": {"username", "password", "owner"},
    DJANGO_KEY: {DJANGO_KEY, FALLBACKS_KEY},
    f"{DJANGO_KEY}_announced": {FALLBACKS_KEY},
    "master_password": {"master_password"},
}


#: The keys of the application's login.
LOGIN_KEYS = ("username", "password", "owner")


def kept_keys(document: Document, then: Document, *, with_login: bool) -> tuple[str, ...]:
    """Return the keys that differ in an earlier version and that a rollback keeps: the login, and rotated keys.

    Args:
        with_login: whether the login is rolled back.
    """
    kept = {FALLBACKS_KEY, *(() if with_login else LOGIN_KEYS)}
    kept = kept.union(*(ROTATED_KEYS.get(name, ()) for name in _rotated(document, then) if name != "password"))
    return tuple(key for key in {**document, **then} if key in kept and document.get(key) != then.get(key))


def with_dates(document: Document, then: Document, kept: Collection[str]) -> Document:
    """Return `then` with the rotation dates that belong to its values, and those of `document` for the other keys."""
    restored = {key for key in {**document, **then} if key not in kept and document.get(key) != then.get(key)}
    now, before = rotation_dates(document), rotation_dates(then)
    dates = {
        name: date
        for name in {**before, **now}
        if (date := (before if ROTATED_KEYS.get(name, {name}) & restored else now).get(name))
    }
    return then.merge({ROTATED_AT: Secret(dates)}) if dates else then.without([ROTATED_AT])


def refuse_rotated(state: SecretState, version: str, then: Document, restored: Collection[str]) -> None:
    """Raise Refused if the login or its date is restored, and the password has another date since `version`."""
    if "password" in _rotated(state.document, then) and {ROTATED_AT, *LOGIN_KEYS}.intersection(restored):
        short = short_id(version)
        raise Refused(
            f"password was rotated since version {short}, whose value might not work any more. Nothing was changed.",
            hint=f"To restore the login, if it works, run: python manage.py sync_secrets --rollback {short} "
            "--with-login. To return to the former login of a rotation, run: python manage.py rotate_credentials "
            "password --back",
        )


def _rotated(document: Document, then: Document) -> list[str]:
    before, dates = rotation_dates(then), rotation_dates(document)
    return [name for name, date in dates.items() if before.get(name) != date]


def rotation_dates(document: Document) -> dict[str, Any]:
    """Return `ROTATED_AT`; empty: it is not set, or not an object."""
    dates = value_of(document, ROTATED_AT)
    return dates if isinstance(dates, dict) else {}
