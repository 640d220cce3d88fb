"""Waivers: failures that are accepted for a reason and until a date. Pure: the date is passed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Check, Finding, Severity, Stage, Status, failed, warned

#: The longest time of a waiver, in days.
MAX_DAYS = 180

TEXTS = ("check", "resource", "reason", "owner", "ticket")
NEEDED = ("check", "reason", "owner", "expires")
#: The keys of a waiver.
FIELDS = (*TEXTS, "expires", "accept_critical")
EXAMPLE = (
    '{"check": "rds.deletion-protection", "resource": "prod-db", "reason": "moved on 1 May", '
    '"owner": "ops@example.com", "expires": "2027-05-31"}'
)

#: What could not be evaluated cannot be waived.
WAIVABLE = frozenset({Status.FAIL, Status.WARN})

FIX_ALL = "Fix them: a waiver accepts one failure. In your own check, return another resource for each failure"
REMOVE = 'Fix the failure, then remove the waiver from DEPLOYTOOLS["WAIVERS"]'


def _check(id: str, title: str, why: str) -> Check:
    return Check(id, title, why, Severity.MEDIUM, Stage.PRE_LAUNCH, "", REMOVE, evaluate=tuple)


IN_FORCE = _check("waivers.in-force", "Waivers are in force", "An expired waiver accepts no failure.")
USED = _check("waivers.used", "Waivers are used", "An unused waiver hides the next failure of its check.")


@dataclass(frozen=True)
class Waiver:
    """One accepted failure.

    Attributes:
        check: the exact id of the check.
        resource: the exact resource of the finding; empty: the finding has none.
        owner: the person or team who accepted the failure.
        ticket: its ticket in an issue tracker; empty: none.
        expires: the last day on which the waiver is in force.
        accept_critical: whether it also accepts a failure of severity critical.
    """

    check: str
    resource: str
    reason: str
    owner: str
    ticket: str
    expires: date
    accept_critical: bool = False

    def __str__(self) -> str:
        ticket = f"{self.ticket}, " if self.ticket else ""
        return f"{self.reason} ({self.owner}, {ticket}until {self.expires.isoformat()})"

    def matches(self, finding: Finding) -> bool:
        """Return whether the finding is the failure that the waiver names."""
        return finding.status in WAIVABLE and (finding.check.id, finding.resource) == (self.check, self.resource)

    def accepts(self, finding: Finding) -> bool:
        """Return whether the waiver matches the finding and its severity."""
        is_critical = finding.status is Status.FAIL and finding.check.severity is Severity.CRITICAL
        return self.matches(finding) and (self.accept_critical or not is_critical)


def parse_waivers(value: Sequence[object], today: date) -> tuple[Waiver, ...]:
    """Return the waivers of ``DEPLOYTOOLS["WAIVERS"]``.

    Raises:
        ConfigurationError: a waiver is malformed; the message has every violation.
    """
    found = violations(value, today)
    if found:
        raise ConfigurationError(
            'DEPLOYTOOLS["WAIVERS"] is invalid: ' + " ".join(found), hint=f"For example: {EXAMPLE}"
        )
    return tuple(_waiver(entry) for entry in value if isinstance(entry, Mapping))


def _waiver(entry: Mapping[str, object]) -> Waiver:
    texts = {field: str(entry.get(field, "")) for field in TEXTS}
    return Waiver(**texts, expires=_day(entry["expires"]), accept_critical=bool(entry.get("accept_critical")))


def _day(value: object) -> date:
    """Return the date of `value`; of a time, the date in its own time zone."""
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def violations(value: Sequence[object], today: date) -> list[str]:
    """Return a sentence for every violation in ``DEPLOYTOOLS["WAIVERS"]``, in the order of the setting."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, Mapping):
            found.append(f"Waiver {number} is not a dict.")
            continue
        found += [f"Waiver {number} {sentence}" for sentence in _entry_violations(entry, today)]
        if (key := (str(entry.get("check")), str(entry.get("resource", "")))) in seen:
            found.append(f"Waiver {number} has the same check and resource as an earlier one.")
        seen.add(key)
    return found


def _entry_violations(entry: Mapping[str, object], today: date) -> list[str]:
    found = [f'has an unknown key: "{key}".' for key in entry if key not in FIELDS]
    found += [f"has no {field}." for field in NEEDED if not str(entry.get(field, "")).strip()]
    found += [f"has a {field} that is not a string." for field in TEXTS if not isinstance(entry.get(field, ""), str)]
    if not isinstance(entry.get("accept_critical", False), bool):
        found.append("has an accept_critical that is not a boolean.")
    if not str(entry.get("expires", "")).strip():
        return found
    try:
        expires = _day(entry["expires"])
    except ValueError:
        return [*found, f"expires on {entry['expires']!r}, which is not a date (YYYY-MM-DD)."]
    if expires > today + timedelta(days=MAX_DAYS):
        latest = (today + timedelta(days=MAX_DAYS)).isoformat()
        found.append(f"expires on {expires.isoformat()}, more than {MAX_DAYS} days from now ({latest}).")
    return found


def apply_waivers(findings: Sequence[Finding], waivers: Iterable[Waiver], today: date) -> tuple[Finding, ...]:
    """Return `findings`, waived where a waiver accepts them, and a finding for each waiver that is expired or unused.

    A waiver accepts one failure. If several failures match it, it accepts none. Waivers of checks that did not run
    are ignored.
    """
    waivers = tuple(waivers)
    failures = Counter((finding.check.id, finding.resource) for finding in findings if finding.status in WAIVABLE)
    in_force = {
        key: waiver
        for waiver in waivers
        if waiver.expires >= today and failures[key := (waiver.check, waiver.resource)] == 1
    }
    waived = [_waived(finding, in_force.get((finding.check.id, finding.resource))) for finding in findings]
    for waiver in waivers:
        of_check = [finding for finding in findings if finding.check.id == waiver.check]
        if of_check and (problem := _problem(waiver, of_check, today)):
            waived.append(problem)
    return tuple(waived)


def _waived(finding: Finding, waiver: Waiver | None) -> Finding:
    if waiver is None or not waiver.accepts(finding):
        return finding
    return replace(finding.with_status(Status.WAIVED), waiver=str(waiver))


def _problem(waiver: Waiver, findings: Sequence[Finding], today: date) -> Finding | None:
    """Return a finding about the waiver, or None if it is in force and used.

    Args:
        findings: all findings of its check.
    """
    resource = f"{waiver.check} {waiver.resource}".rstrip()
    if waiver.expires < today:
        return Finding(IN_FORCE, failed(f"expired on {waiver.expires.isoformat()}: {waiver}", resource))
    matching = [finding for finding in findings if waiver.matches(finding)]
    if len(matching) > 1:
        evidence = f"{len(matching)} failures match this waiver, so it accepts none of them: {waiver}"
        return Finding(IN_FORCE, failed(evidence, resource, FIX_ALL))
    if matching and not waiver.accepts(matching[0]):
        evidence = f"a critical failure is accepted only with accept_critical = true: {waiver}"
        return Finding(
            USED, warned(evidence, resource, 'Fix the failure, or set "accept_critical": True in the waiver')
        )
    if matching or any(finding.status is Status.UNKNOWN for finding in findings):  # The failure might still exist.
        return None
    return Finding(USED, warned(f"no failure matches this waiver: {waiver}", resource))
