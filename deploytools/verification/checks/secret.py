"""Checks of the secret's content and state; no value appears in what they say."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools.secret.contract import problems
from deploytools.secret.sync import SecretState
from deploytools.verification.findings import Severity, Stage, Verdict, failed, passed, warned
from deploytools.verification.registry import check
from deploytools.verification.sources.connection import Expectation

CHECKLIST = "Security Checklist: All production secrets stored in AWS Secrets Manager"


@check(
    "secret.complete",
    title="The secret has every key that the production settings need",
    severity=Severity.CRITICAL,
    stage=Stage.PRE_LAUNCH,
    guide=CHECKLIST,
    hint="Write the missing keys into a JSON file and run: python manage.py sync_secrets FILE",
    tags=("startup",),
)
def complete(secret: SecretState, expectation: Expectation) -> Verdict:
    """What is required is the consumer's word."""
    missing = [key for key in expectation.required_keys if not secret.document.get(key)]
    if missing:
        return failed(f"missing: {', '.join(missing)}")
    return passed(f"all {len(expectation.required_keys)} are there")


@check(
    "secret.contract",
    title="Every value of the secret is a real one of the right form",
    severity=Severity.HIGH,
    stage=Stage.PRE_LAUNCH,
    guide="Security Checklist: Stripe, e-mail, passwords, SECRET_KEY",
    hint="Write the right values into a JSON file and run: python manage.py sync_secrets FILE",
)
def contract(secret: SecretState, expectation: Expectation) -> Iterable[Verdict]:
    """One verdict a key that is not as it should be."""
    found = problems(secret.document, stage=expectation.stage)
    if not found:
        return [passed(f"{len(secret.document)} keys judged, stage {expectation.stage}")]
    return [
        (warned if item.is_warning else failed)(f"{item.sentence} (good: {item.shape})", resource=item.key)
        for item in found
    ]


@check(
    "secret.no-rotation-under-way",
    title="No rotation of the secret is half done",
    severity=Severity.MEDIUM,
    stage=Stage.PRE_LAUNCH,
    guide="Step 4",
    hint="Wait for it, or end one that failed: aws secretsmanager cancel-rotate-secret --secret-id SECRET",
)
def no_rotation(secret: SecretState) -> Verdict:
    """AWSPENDING on a version that is not current makes the next rotation fail and undoes the next write."""
    if secret.pending_version:
        hint = (
            "Wait for it, or end one that failed: aws secretsmanager cancel-rotate-secret "
            f"--secret-id {secret.name} --region {secret.region}"
        )
        return failed(f"AWSPENDING is on version {secret.pending_version}", hint=hint)
    return passed("AWSPENDING is on no other version than the current one")
