"""Differences between two reports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from deploytools.errors import ConfigurationError
from deploytools.verification.findings import Change, Finding, Status

#: Version of the JSON report; incremented when a member changes its meaning or is removed.
VERSION = 1

#: Status and evidence of a finding by check ID and resource.
FindingIndex = Mapping[tuple[str, str], tuple[Status, str]]


def index_findings(findings: Sequence[Finding]) -> FindingIndex:
    """Return `findings` by check ID and resource; of several with the same key, the worst."""
    return _index((finding.check.id, finding.resource, finding.status, finding.evidence) for finding in findings)


def _index(items: Iterable[tuple[str, str, Status, str]]) -> FindingIndex:
    order = list(Status)
    index: dict[tuple[str, str], tuple[Status, str]] = {}
    for check, resource, status, evidence in items:
        before = index.get((check, resource))
        if before is None or order.index(status) > order.index(before[0]):
            index[check, resource] = (status, evidence)
    return index


def parse_report(text: str, name: str) -> FindingIndex:
    """Return the findings of a JSON report.

    Args:
        name: the file that `text` was read from, for the message.

    Raises:
        ConfigurationError: the text is not a report, or has another version.
    """
    try:
        document = json.loads(text)
        version = document["version"]
        if version == VERSION:
            return _index(
                (item["check"], item["resource"], Status(item["status"]), str(item["evidence"]))
                for item in document["findings"]
            )
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{name} is not a JSON report of verify_deploy.", hint="Create one: verify_deploy --output OLD.json"
        ) from None
    raise ConfigurationError(
        f"{name} is a report of version {version}; this release reads version {VERSION}.",
        hint="Create it again: verify_deploy --output OLD.json",
    )


def compare(before: FindingIndex, after: FindingIndex) -> tuple[Change, ...]:
    """Return findings whose status changed or that are new, in the order of `after`, then those that are gone.

    A finding whose evidence changed and whose status did not is unchanged.
    """
    changed = [
        Change(*key, before[key][0] if key in before else None, status, evidence)
        for key, (status, evidence) in after.items()
        if key not in before or before[key][0] is not status
    ]
    gone = [Change(*key, status, None, evidence) for key, (status, evidence) in before.items() if key not in after]
    return tuple(changed + gone)
