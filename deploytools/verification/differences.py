"""What changed between two reports. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Change, Finding, Status

#: Version of the JSON report: it grows when a member changes its meaning or goes away.
VERSION = 2

#: A finding by its check and resource, and what it said.
Said = Mapping[tuple[str, str], tuple[Status, str]]


def said_by(findings: Sequence[Finding]) -> Said:
    """What `findings` say."""
    return _worst((finding.check, finding.resource, finding.status, finding.evidence) for finding in findings)


def _worst(items: Iterable[tuple[str, str, Status, str]]) -> Said:
    """Of several about the same, the worst."""
    order, said = list(Status), {}  # type: ignore[var-annotated]
    for check, resource, status, evidence in items:
        before = said.get((check, resource))
        if before is None or order.index(status) > order.index(before[0]):
            said[check, resource] = (status, evidence)
    return said


def said_in(text: str, name: str) -> Said:
    """What a JSON report says.

    Args:
        name: of the file that `text` comes from, for the message.

    Raises:
        ConfigurationError: it is no report, or one of another version.
    """
    try:
        document = json.loads(text)
        version = document["version"]
        if version == VERSION:
            return _worst(
                (item["check"], item["resource"], Status(item["status"]), str(item["evidence"]))
                for item in document["findings"]
            )
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{name} is no JSON report of verify_deploy.", hint="Write one: verify_deploy --output OLD.json"
        ) from None
    raise ConfigurationError(
        f"{name} is a report of version {version}; this release reads {VERSION}.",
        hint="Write it again: verify_deploy --output OLD.json",
    )


def differences(before: Said, after: Said) -> tuple[Change, ...]:
    """Each finding whose status is another one, in the order of `after`, then those that are gone.

    Evidence alone is no change: what is right may be so in another way.
    """
    changed = [
        Change(*key, before[key][0] if key in before else None, status, evidence)
        for key, (status, evidence) in after.items()
        if key not in before or before[key][0] is not status
    ]
    gone = [Change(*key, status, None, evidence) for key, (status, evidence) in before.items() if key not in after]
    return tuple(changed + gone)
