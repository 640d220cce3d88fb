"""The history of a secret: its versions, the keys that changed in each, and who wrote it as far as AWS shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploytools import aws
from deploytools.errors import AwsError, DeployError, SecretError
from deploytools.secrets.document import EMPTY, Change, ChangeKind, Document, diff
from deploytools.secrets.plan import SecretState
from deploytools.secrets.reader import SecretReader
from deploytools.secrets.versions import Version, origin

#: Events of CloudTrail that create a version, pages that are read of them, and events of a page.
EVENTS, PAGES, PAGE_SIZE = {"PutSecretValue", "CreateSecret", "UpdateSecret"}, 4, 50


@dataclass(frozen=True)
class HistoryRow:
    """One version.

    Attributes:
        changes: keys that differ from the version before it; None: one of the two cannot be read.
        origin: what wrote it, as far as its ID and labels show; empty: not known.
        writer: who wrote it, from CloudTrail; empty: not known.
        problem: why its content cannot be read; empty: it can.
    """

    version: Version
    changes: tuple[Change, ...] | None
    origin: str = ""
    writer: str = ""
    problem: str = ""


@dataclass(frozen=True)
class History:
    """All versions of a secret, the newest first.

    Attributes:
        unknown_writers: why CloudTrail was not read; empty: it was.
    """

    state: SecretState
    rows: tuple[HistoryRow, ...]
    unknown_writers: str = ""


def read_history(reader: SecretReader) -> History:
    """Read all versions that AWS still has."""
    state, versions = reader.read(), reader.list_versions()
    documents, problems = dict[str, Document](), dict[str, str]()
    for version in versions:
        try:
            documents[version.id] = reader.read_version(version.id).document
        except SecretError as error:
            problems[version.id] = str(error)
    writers, reason = _writers(reader)
    rows = [
        HistoryRow(
            version,
            _changes(version.id, versions[number + 1 :], documents),
            origin(version, state.tags),
            writers.get(version.id, ""),
            problems.get(version.id, ""),
        )
        for number, version in enumerate(versions)
    ]
    return History(state, tuple(rows), reason)


def _changes(version: str, older: Sequence[Version], documents: Mapping[str, Document]) -> tuple[Change, ...] | None:
    before = documents.get(older[0].id) if older else EMPTY
    if version not in documents or before is None:
        return None
    return tuple(change for change in diff(before, documents[version]) if change.kind is not ChangeKind.UNCHANGED)


def _writers(reader: SecretReader) -> tuple[dict[str, str], str]:
    """Return the user name of each version's writer in the last 90 days, or why it is not known."""
    found, request = dict[str, str](), dict[str, str]()
    attributes: Any = [{"AttributeKey": "EventSource", "AttributeValue": "secretsmanager.amazonaws.com"}]
    try:
        client: Any = aws.client("cloudtrail", reader.region)
        for _ in range(PAGES):
            with aws.translate_aws_errors("cloudtrail:LookupEvents", "the events of Secrets Manager"):
                page = client.lookup_events(LookupAttributes=attributes, MaxResults=PAGE_SIZE, **request)
            for event in page.get("Events") or ():
                if event.get("EventName") in EVENTS and (version := _version_of(event)):
                    found[version] = event.get("Username") or ""
            if not page.get("NextToken"):
                break
            request = {"NextToken": page["NextToken"]}
    except DeployError as error:
        return found, str(error) if isinstance(error, AwsError) else "CloudTrail cannot be read."
    return found, ""


def _version_of(event: Mapping[str, Any]) -> str:
    """Return the version that an event created; empty: the event does not have it."""
    try:
        details = json.loads(event.get("CloudTrailEvent") or "{}")
    except ValueError:
        return ""
    request, response = (details.get(name) or {} for name in ("requestParameters", "responseElements"))
    return str(response.get("versionId") or request.get("clientRequestToken") or "")
