"""Checks of what surrounds the secret: rotation, its policy, and copies of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deploytools.secret.sync import SecretState
from deploytools.verification.findings import Severity, Stage, Verdict, failed, not_applicable, passed, unknown, warned
from deploytools.verification.policies import account_of, argument, binding_keys, name_of, principals
from deploytools.verification.registry import check
from deploytools.verification.sources.secret import ResourcePolicy, SecretDescription
from deploytools.verification.sources.stray_values import StrayValues

#: Files that are named before it says "and … more".
MOST_PATHS = 5

#: What a rotation does to the tasks that run.
AT_ONCE = "it changes the password at once, and tasks that run are refused until they are replaced: ecs.since-rotation"

CHECKLIST = "Security Checklist: All production secrets stored in AWS Secrets Manager (not in code)"


@check(
    "secret.no-rotation-under-way",
    title="No rotation of the secret is half done",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 4",
    hint="Wait for it, or take AWSPENDING off one that failed: aws secretsmanager update-secret-version-stage",
)
def no_rotation(secret: SecretState) -> Verdict:
    """AWSPENDING on a version that is not current undoes the next write; where it stays, it stops rotation."""
    if secret.pending_version:
        hint = (
            f"Wait for it. To end one that failed, run: {secret.end_of_rotation} (rotation stays on; where the login "
            "fails, do first what connection.connect says)"
        )
        return warned(f"AWSPENDING is on version {secret.pending_version}", hint=hint)
    return passed("AWSPENDING is on no other version than the current one")


@check(
    "secret.rotated-in-time",
    title="The secret's rotation happens when it is due",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 4",
    hint="Run: aws secretsmanager rotate-secret --secret-id SECRET",
    peers=("FSBP SecretsManager.1", "FSBP SecretsManager.2", "FSBP SecretsManager.4"),
)
def rotated_in_time(secret_description: SecretDescription, secret: SecretState) -> Verdict:
    """A date in the past means that rotation failed and nobody noticed. That it is off is no fault by itself."""
    due = secret_description.next_rotation
    if not secret_description.rotates:
        return not_applicable("Secrets Manager does not rotate it")
    if due is None:
        return unknown("AWS's answer does not say (NextRotationDate)")
    if due < secret_description.read_at:
        first = ", end the rotation that failed (see secret.no-rotation-under-way)" if secret.pending_version else ""
        hint = (
            f"Look at the function's log{first}, then run: aws secretsmanager rotate-secret --secret-id {secret.name} "
            f"--region {secret.region} ({AT_ONCE})"
        )
        return failed(f"it was due on {due:%Y-%m-%d}", hint=hint)
    return passed(f"next on {due:%Y-%m-%d}")


@check(
    "secret.not-shared",
    title="The secret's policy lets nobody else in",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Run: aws secretsmanager put-resource-policy, with the statements that are meant",
    peers=("Prowler secretsmanager_not_publicly_accessible", "Prowler secretsmanager_has_restrictive_resource_policy"),
)
def not_shared(secret_policy: ResourcePolicy, secret: SecretState) -> Iterable[Verdict]:
    """A resource policy opens the secret past every role's own policy: to everybody, or to another account."""
    allowing = [said for said in secret_policy.statements if said.get("Effect") == "Allow"]
    opened = [said for said in allowing if _is_open(said)]
    found = [failed(_openly(said), name_of(said), _without(opened, secret_policy, secret)) for said in opened]
    where = f"--secret-id {secret.name} --region {secret.region}"
    for statement in (said for said in allowing if said not in opened):
        if doubt := _doubt(statement, secret_policy.account):
            hint = f"Run: aws secretsmanager get-resource-policy {where} (and narrow it with put-resource-policy)"
            found.append(warned(f"{_named(statement)} {doubt}", name_of(statement), hint))
    return found or [passed(f"{len(secret_policy.statements)} statements, for this account only")]


def _named(statement: Mapping[str, Any]) -> str:
    return f"statement {statement.get('Sid', 'without a Sid')} allows"


def _is_open(statement: Mapping[str, Any]) -> bool:
    return "*" in principals(statement) and not binding_keys(statement)


def _openly(statement: Mapping[str, Any]) -> str:
    if "NotPrincipal" in statement:
        return f"{_named(statement)} everybody but those that its NotPrincipal names"
    keys = sorted({key for pairs in (statement.get("Condition") or {}).values() for key in pairs})
    return f"{_named(statement)} *: everybody" + (f", for nobody is kept out by {', '.join(keys)}" if keys else "")


def _doubt(statement: Mapping[str, Any], account: str) -> str:
    """What is to be read, where the statement is not open to everybody."""
    for principal in principals(statement):
        if principal == "*":
            keys = ", ".join(binding_keys(statement))
            return f"* under a condition ({keys}): read it" if keys else ""
        if principal.endswith((".amazonaws.com", ".amazonaws.com.cn")):
            continue
        if account_of(principal) != account:
            return f"{principal}: {'another account’s' if account_of(principal) else 'nobody knows who that is'}"
    return "all actions but those that its NotAction names" if "NotAction" in statement else ""


def _without(opened: list[Mapping[str, Any]], policy: ResourcePolicy, secret: SecretState) -> str:
    """The command that takes the open statements away and leaves the others, of which some may deny."""
    kept = [statement for statement in policy.statements if statement not in opened]
    where = f"--secret-id {secret.name} --region {secret.region}"
    if not kept:
        return f"Run: aws secretsmanager delete-resource-policy {where} (it says nothing else)"
    return (
        f"Run: aws secretsmanager put-resource-policy {where} --block-public-policy "
        f"--resource-policy {argument(kept)} (the other statements stay, those that deny as well)"
    )


@check(
    "secret.not-in-code",
    title="No value of the secret is in the code",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Take it out of the file and of its history, and put a new value into the secret: sync_secrets",
    peers=("Prowler ecr_repository_image_no_secrets",),
)
def not_in_code(stray_values: StrayValues) -> Iterable[Verdict]:
    """Whoever reads the repository, a build's log or an image has it then. It is searched for by its very value."""
    if not stray_values.directory:
        return [not_applicable("the settings have no BASE_DIR: nobody says where the code is")]
    found = [failed(f"in line {line}", f"{key} {path}") for key, path, line in stray_values.found]
    if not stray_values.is_complete:
        found.append(unknown(f"only the first {stray_values.files:,} files of {stray_values.directory} were read"))
    if stray_values.unreadable:
        found.append(unknown(f"could not be read: {_few(stray_values.unreadable)}"))
    large = stray_values.oversized
    left_out = f"; too large to be code, and not looked into: {_few(large)}" if large else ""
    read = f"{stray_values.files - len(large):,} files read"
    return found or [passed(f"none is in a file of the project{left_out}", measured=read)]


def _few(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - MOST_PATHS} more" if len(paths) > MOST_PATHS else ""
    return ", ".join(paths[:MOST_PATHS]) + more
