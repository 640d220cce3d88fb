"""Failures that somebody accepts, for a reason and until a day. Pure: the day is passed in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Finding, Severity, Status

#: Days that a waiver may last at most.
LONGEST = 180

TEXTS = ("check", "resource", "reason", "owner", "ticket")
NEEDED = ("check", "reason", "owner", "expires")
#: What a waiver may hold.
FIELDS = (*TEXTS, "expires", "accept_critical")
EXAMPLE = (
    '{"check": "rds.deletion-protection", "resource": "prod-db", "reason": "moved on 1 May", '
    '"owner": "ops@example.com", "expires": "2027-05-31"}'
)

#: What can be accepted: what was seen to be wrong. What could not be looked at cannot.
WAIVABLE = frozenset({Status.FAIL, Status.WARN})

MEND_ALL = "Mend them, or let the check name a resource of its own for each: a waiver is for one failure"
REMOVE = 'Mend what it accepted, then take it out of DEPLOYTOOLS["WAIVERS"]'


@dataclass(frozen=True)
class Waiver:
    """One failure that is accepted.

    Attributes:
        check: the exact id.
        resource: the exact resource of the finding; empty where the finding has none.
        reason: why.
        owner: whom to ask.
        ticket: where it is kept track of; empty: nowhere.
        expires: the last day on which it counts.
        accept_critical: whether it also accepts the failure of a check of severity critical.
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

    def fits(self, finding: Finding) -> bool:
        """Whether it names this failure."""
        return finding.status in WAIVABLE and (finding.check, finding.resource) == (self.check, self.resource)

    def accepts(self, finding: Finding) -> bool:
        """Whether it says of this failure that it is accepted."""
        is_critical = finding.status is Status.FAIL and finding.severity is Severity.CRITICAL
        return self.fits(finding) and (self.accept_critical or not is_critical)


def parse_waivers(value: Sequence[object], today: date) -> tuple[Waiver, ...]:
    """The waivers that ``DEPLOYTOOLS["WAIVERS"]`` names.

    Raises:
        ConfigurationError: with every violation at once.
    """
    found = violations(value, today)
    if found:
        raise ConfigurationError(
            'DEPLOYTOOLS["WAIVERS"] cannot be used: ' + " ".join(found), hint=f"Write, for example: {EXAMPLE}"
        )
    return tuple(_waiver(entry) for entry in value if isinstance(entry, Mapping))


def _waiver(entry: Mapping[str, object]) -> Waiver:
    texts = {field: str(entry.get(field, "")) for field in TEXTS}
    return Waiver(**texts, expires=_day(entry["expires"]), accept_critical=bool(entry.get("accept_critical")))


def _day(value: object) -> date:
    """A time counts as its day, in its own time zone."""
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def violations(value: Sequence[object], today: date) -> list[str]:
    """Every violation in ``DEPLOYTOOLS["WAIVERS"]``, a sentence each, in the order of the setting."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, Mapping):
            found.append(f"Waiver {number} is no dict.")
            continue
        found += [f"Waiver {number} {sentence}" for sentence in _entry_violations(entry, today)]
        if (key := (str(entry.get("check")), str(entry.get("resource", "")))) in seen:
            found.append(f"Waiver {number} is for the same check and resource as one before it.")
        seen.add(key)
    return found


def _entry_violations(entry: Mapping[str, object], today: date) -> list[str]:
    found = [f'has a key that nobody reads: "{key}".' for key in entry if key not in FIELDS]
    found += [f"has no {field}." for field in NEEDED if not str(entry.get(field, "")).strip()]
    found += [f"has a {field} that is no text." for field in TEXTS if not isinstance(entry.get(field, ""), str)]
    if not isinstance(entry.get("accept_critical", False), bool):
        found.append("has an accept_critical that is neither true nor false.")
    if not str(entry.get("expires", "")).strip():
        return found
    try:
        expires = _day(entry["expires"])
    except ValueError:
        return [*found, f"expires on {entry['expires']!r}, which is no day (YYYY-MM-DD)."]
    if expires > today + timedelta(days=LONGEST):
        latest = (today + timedelta(days=LONGEST)).isoformat()
        found.append(f"expires on {expires.isoformat()}, later than {LONGEST} days from now ({latest}).")
    return found


def apply_waivers(findings: Sequence[Finding], waivers: Iterable[Waiver], today: date) -> tuple[Finding, ...]:
    """`findings`, what is accepted marked as waived; then a finding for each waiver that is not in force or not used.

    A waiver accepts one failure: one that names several is not in force. Of a check that did not run nothing is said.
    """
    all_waivers = tuple(waivers)
    named = Counter((finding.check, finding.resource) for finding in findings if finding.status in WAIVABLE)
    in_force = {
        key: waiver
        for waiver in all_waivers
        if waiver.expires >= today and named[key := (waiver.check, waiver.resource)] == 1
    }
    judged = tuple(_waived(finding, in_force.get((finding.check, finding.resource))) for finding in findings)
    about = [
        _about(waiver, ran, today)
        for waiver in all_waivers
        if (ran := [finding for finding in findings if finding.check == waiver.check])
    ]
    return (*judged, *(finding for finding in about if finding))


def _waived(finding: Finding, waiver: Waiver | None) -> Finding:
    if waiver is None or not waiver.accepts(finding):
        return finding
    return replace(finding, status=Status.WAIVED, waiver=str(waiver))


def _about(waiver: Waiver, findings: Sequence[Finding], today: date) -> Finding | None:
    """What is to be said of a waiver, by all findings of its check."""
    if waiver.expires < today:
        return _finding(
            "waivers.in-force", Status.FAIL, waiver, f"it expired on {waiver.expires.isoformat()}: {waiver}"
        )
    named = [finding for finding in findings if waiver.fits(finding)]
    if len(named) > 1:
        seen = f"{len(named)} failures have its check and its resource, and it accepts none: {waiver}"
        return _finding("waivers.in-force", Status.FAIL, waiver, seen, MEND_ALL)
    if named and not waiver.accepts(named[0]):
        return _finding(
            "waivers.used",
            Status.WARN,
            waiver,
            f"a critical failure is accepted only with accept_critical = true: {waiver}",
            'Mend what fails, or say "accept_critical": True in that waiver',
        )
    if named or any(finding.status is Status.UNKNOWN for finding in findings):  # What it accepts may still be there.
        return None
    return _finding("waivers.used", Status.WARN, waiver, f"nothing fails that it would accept: {waiver}")


def _finding(check: str, status: Status, waiver: Waiver, evidence: str, hint: str = REMOVE) -> Finding:
    return Finding(
        check=check,
        title={"waivers.in-force": "Every waiver is in force", "waivers.used": "Every waiver is used"}[check],
        severity=Severity.MEDIUM,
        guide="Waivers",
        status=status,
        resource=f"{waiver.check} {waiver.resource}".rstrip(),
        evidence=evidence,
        hint=hint,
    )
