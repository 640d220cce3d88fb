"""Checks of the rotation of the secret: its state, the age of credentials, and the login that was replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from deploytools.conf import Settings
from deploytools.rotation.rotation_state import COMMAND, PASSWORD, command_for
from deploytools.secrets.plan import CREDENTIALS, SecretState
from deploytools.verification.findings import Severity, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.registry import check
from deploytools.verification.secret.facts import SecretDescription
from deploytools.verification.secret.rotation_facts import MAX_GRACE, FormerLogin, RotationDates
from deploytools.wording import count

GUIDE = "Step 4"

#: The consequence of a rotation for running tasks.
ROTATION_EFFECT = (
    "the password changes immediately; without deploytools.backend, running tasks cannot open new connections until "
    "they are replaced"
)

ROTATE = "aws secretsmanager rotate-secret --secret-id"

#: Days after a rotation in which the former login may be open without an expiry date.
GRACE = 7


@check(
    "secret.no-pending-rotation",
    title="No rotation of the secret is pending",
    severity=Severity.MEDIUM,
    guide=GUIDE,
    hint="Wait until it ends. If it failed, remove AWSPENDING: aws secretsmanager update-secret-version-stage "
    "--secret-id SECRET --version-stage AWSPENDING --remove-from-version-id VERSION",
)
def no_pending_rotation(secret: SecretState) -> Verdict:
    """A rotation in progress overwrites the next change of the secret; a failed one blocks all later rotations."""
    pending = secret.pending_version
    if secret.rotated_credential:
        command = secret.end_rotation
        hint = f"Continue it: {command} --noinput (or cancel it, before its switch: {command} --abort)"
        if secret.rotated_credential == PASSWORD.name:
            hint += f". {command} --status shows whether --one-login is required"
        return warned(f"an unfinished rotation has AWSPENDING on version {pending}", hint=hint)
    if pending:
        hint = (
            f"Wait for it. If it failed, run: {secret.end_rotation} (rotation stays enabled; if the login fails, "
            "first follow the hint of connection.connect)"
        )
        return warned(f"AWSPENDING is on version {pending}", hint=hint)
    if secret.stale_pending_version and secret.stale_pending_version == secret.previous_version:
        evidence = f"AWSPENDING of a finished rotation is on version {secret.stale_pending_version}"
        return warned(evidence, hint=f"Run: {secret.end_rotation} (the next rotation fails until then)")
    return passed("AWSPENDING is on the current version or not set")


@check(
    "secret.rotation-on-schedule",
    title="Secret is rotated on schedule and replicated",
    severity=Severity.MEDIUM,
    guide=GUIDE,
    hint=f"Run: {ROTATE} SECRET",
    references=("FSBP SecretsManager.1", "FSBP SecretsManager.2", "FSBP SecretsManager.4"),
)
def rotation_on_schedule(
    secret_description: SecretDescription, secret: SecretState, rotation_function: str, settings: Settings
) -> Verdict:
    """A rotation date in the past means that the rotation failed. Rotation can also be disabled on purpose."""
    due, command = secret_description.next_rotation, f"{ROTATE} {secret.name} --region {secret.region}"
    if secret_description.failed_replicas:
        describe = f"aws secretsmanager describe-secret --secret-id {secret.name} --region {secret.region}"
        evidence = f"its replication failed: {', '.join(secret_description.failed_replicas)}"
        return failed(evidence, hint=f"Read StatusMessage of the replica and fix the cause. Run: {describe}")
    if not secret_description.rotates:
        return not_applicable("rotation is disabled")
    if due is None:
        return unknown("the AWS response has no NextRotationDate")
    if due < secret_description.read_at:
        first = ", end the failed rotation (see secret.no-pending-rotation)" if secret.pending_version else ""
        hint = f"Check the log of the rotation function{first}, then run: {command} ({ROTATION_EFFECT})"
        return failed(f"it was due on {due:%Y-%m-%d}", hint=hint)
    if rotation_function not in {"", "allowed"}:
        verdict = unknown if rotation_function == "conditional" else failed
        evidence = "the rotation function does not exist, or does not allow secretsmanager.amazonaws.com to invoke it"
        return verdict(evidence, hint=f"Check the function {secret_description.function} and its resource-based policy")
    days, rotated = secret_description.rotation_days, secret_description.rotated_at
    interval = days or ((due - rotated).days - 1 if rotated else 0)
    if settings.max_age_days and interval > settings.max_age_days:
        evidence = f"it is rotated every {count(interval, 'day')}, MAX_AGE_DAYS is {settings.max_age_days}"
        rules = f"--rotation-rules AutomaticallyAfterDays={settings.max_age_days} --no-rotate-immediately"
        return warned(evidence, hint=f"Run: {command} {rules}")
    if not days or not rotated or (secret_description.read_at - rotated).days <= days + 1:
        return passed(f"next rotation on {due:%Y-%m-%d}")
    evidence = f"it was last rotated on {rotated:%Y-%m-%d}, although it is due every {count(days, 'day')}"
    changed = secret_description.changed_at
    if changed and changed > rotated and (due - changed).days <= days + 1:
        evidence += f"; the secret or its schedule was changed on {changed:%Y-%m-%d}"
        return warned(
            evidence, hint=f"If the schedule was not shortened on that day, run: {command} ({ROTATION_EFFECT})"
        )
    return failed(evidence, hint="Check the log of the rotation function: a rotation was skipped or failed")


@check(
    "secret.credential-age",
    title="Credentials are not older than MAX_AGE_DAYS",
    severity=Severity.MEDIUM,
    guide=GUIDE,
    hint="Run: python manage.py rotate_credentials KEY",
    references=("FSBP SecretsManager.4",),
)
def credential_age(
    rotation_dates: RotationDates,
    secret_description: SecretDescription,
    secret: SecretState,
    settings: Settings,
) -> Iterable[Verdict]:
    """Backups, logs and former employees can have a credential that is never changed."""
    if not settings.max_age_days:
        return [not_applicable('DEPLOYTOOLS["MAX_AGE_DAYS"] is not set')]
    ages = {key: (secret_description.read_at - date).days for key, date in rotation_dates.items()}
    found = [key for key in CREDENTIALS if key in secret.document]
    return [_evaluate_age(key, ages.get(key), settings.max_age_days) for key in found] or [
        not_applicable("the secret has no credential that rotate_credentials rotates")
    ]


def _evaluate_age(key: str, age: int | None, maximum: int) -> Verdict:
    hint = f"Run: python manage.py rotate_credentials {key}"
    if age is None:
        return warned("rotated_at in the secret has no date for it", key, hint)
    if age < 0:
        return warned("the date of its rotation is in the future", key, hint)
    if age > maximum:
        return failed(f"rotated more than {count(maximum, 'day')} ago", key, hint, measured=f"{count(age, 'day')} ago")
    return passed(f"rotated in the last {count(maximum, 'day')}", key, measured=f"{count(age, 'day')} ago")


@check(
    "secret.former-login",
    title="Former login of the application is closed",
    severity=Severity.HIGH,
    guide=GUIDE,
    hint=f"Run: {COMMAND} --finish",
    per_tenant=True,
)
def closed_former_login(
    former_login: FormerLogin | None,
    secret_description: SecretDescription,
    open_logins: tuple[str, ...],
    settings: Settings,
) -> Iterable[Verdict]:
    """Rotation ends the risk of a leaked password only when PostgreSQL refuses that password."""
    verdict = _evaluate_former(former_login, secret_description)
    yield verdict if settings.is_shared else replace(verdict, resource=settings.database)
    for tenant in open_logins:
        command = command_for(tenant)
        hint = f"When no process uses the former one, run: {command} --finish. {command} --status shows both."
        yield warned("both logins are open", tenant, hint)


def _evaluate_former(former: FormerLogin | None, secret_description: SecretDescription) -> Verdict:
    if former is None:
        return not_applicable("the password was never rotated")
    now = secret_description.read_at
    if not former.is_open:
        return passed(f"PostgreSQL refuses {former.user}")
    if former.is_current:
        hint = "Check pg_hba.conf: the method trust accepts any password. Behind PgBouncer, check its auth_file."
        return failed(f"PostgreSQL accepts the former password of {former.user}", hint=hint)
    if former.valid_until and (former.valid_until - former.rotated_at).days <= MAX_GRACE:
        return passed(f"{former.user} is open until {former.valid_until:%Y-%m-%d %H:%M%z}")
    hint = f"When no process uses it, run: {former.command} --finish. {former.command} --status shows who uses it."
    if (now - former.rotated_at).days <= GRACE:
        return warned(f"{former.user} is open since the rotation on {former.rotated_at:%Y-%m-%d}", hint=hint)
    return failed(f"{former.user} is open, more than {GRACE} days after the rotation", hint=hint)
