"""`sync_secrets --history` and `--rollback` with a short ID, an age and one key; other owners of the secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploytools.errors import ConfigurationError, SecretError
from deploytools.secrets.document import Document
from deploytools.secrets.history import read_history
from deploytools.secrets.plan import SecretState
from deploytools.secrets.plan_details import owner_notices
from deploytools.secrets.versions import Version, find_version, origin, parse_age, short_id, version_at
from tests.fakes.errors import DENIED
from tests.fakes.secretsmanager import CURRENT
from tests.management.runner import run
from tests.secrets.fake_secret import FIRST, fake, overwrite, store, sync

HEX = "3c6cf83f" + "0" * 56


# Version IDs.


@pytest.mark.parametrize(
    ("version", "others", "expected"),
    [
        (HEX, [], "3c6cf83f"),
        (HEX, [HEX], "3c6cf83f"),
        (HEX, ["3c6cf83f" + "1" * 56], HEX),
        ("terraform-20250101000000000000000001", [], "terraform-20250101000000000000000001"),
        ("9f1b2c3d-0000-4000-8000-000000000000", [], "9f1b2c3d"),
    ],
)
def test_short_id(version, others, expected):
    assert short_id(version, others) == expected


def test_find_version():
    versions = [HEX, "3c6cf83f" + "1" * 56, "9" * 64]
    assert find_version("99999999", versions, name="s") == "9" * 64
    assert find_version(HEX, versions, name="s") == HEX
    for prefix, error in (("3c6cf83f", ConfigurationError), ("9999", ConfigurationError), ("8" * 8, SecretError)):
        with pytest.raises(error, match=prefix):
            find_version(prefix, versions, name="s")


def test_ages():
    assert [parse_age(text) for text in ("2h", "30m", "7d")] == [
        timedelta(hours=2),
        timedelta(minutes=30),
        timedelta(days=7),
    ]
    assert [parse_age(text) for text in ("", "2", "h", "1234567d", "2w")] == [None] * 5


def test_version_at_a_moment():
    start = datetime(2030, 1, 1, tzinfo=UTC)
    versions = [
        Version("pending", start + timedelta(hours=3), ("AWSPENDING",)),
        Version("new", start + timedelta(hours=2), ("AWSCURRENT",)),
        Version("old", start),
        Version("undated"),
    ]
    assert version_at(start + timedelta(hours=4), versions, name="s") == "new"
    assert version_at(start + timedelta(hours=1), versions, name="s") == "old"
    with pytest.raises(SecretError, match="no version that is that old"):
        version_at(start - timedelta(hours=1), versions, name="s")


def test_origins():
    stack = {"aws:cloudformation:stack-name": "shop"}
    assert [
        origin(Version("terraform-2025"), stack),
        origin(Version("a" * 64), stack),
        origin(Version("9f1b", labels=("AWSPENDING",)), stack),
        origin(Version("9f1b"), stack),
        origin(Version("9f1b"), {}),
    ] == ["Terraform", "sync_secrets", "rotation", "CloudFormation stack shop, or another writer", ""]


# History.


def test_history_of_all_pages_and_of_a_version_that_cannot_be_read(monkeypatch):
    secret = fake()
    plan = sync(secret, a="a1", new=7)
    overwrite(secret, "terraform-" + "2" * 30, b="b2")
    secret.stored.versions["8" * 32] = {"SecretBinary": b"x"}
    monkeypatch.setattr("deploytools.secrets.history._writers", lambda reader: ({plan.token: "ann"}, "denied"))
    found = read_history(store(secret))
    assert secret.calls.count("List") >= 2
    rows = {row.version.id: row for row in found.rows}
    assert [(change.key, str(change.kind)) for change in rows[plan.token].changes or ()] == [
        ("a", "changed"),
        ("new", "added"),
    ]
    assert (rows[plan.token].origin, rows[plan.token].writer) == ("sync_secrets", "ann")
    terraform = rows["terraform-" + "2" * 30]
    assert (terraform.origin, [change.key for change in terraform.changes or ()]) == ("Terraform", ["b"])
    assert (rows["8" * 32].changes, "binary" in rows["8" * 32].problem) == (None, True)
    assert found.unknown_writers == "denied"


def event(version: str, name: str = "PutSecretValue") -> dict[str, Any]:
    details = {"requestParameters": {"clientRequestToken": version}, "responseElements": None}
    return {"EventName": name, "Username": "ann", "CloudTrailEvent": json.dumps(details)}


class Trail:
    """CloudTrail with two pages."""

    def lookup_events(self, **request: Any) -> dict[str, Any]:
        if "NextToken" not in request:
            return {"Events": [event("9" * 32, "GetSecretValue"), {"EventName": "PutSecretValue"}], "NextToken": "2"}
        return {"Events": [event(FIRST)]}


class Denied:
    def lookup_events(self, **request: Any) -> dict[str, Any]:
        raise DENIED


@pytest.mark.parametrize(
    ("trail", "writer", "reason"), [(Trail(), "ann", ""), (Denied(), "", "AWS denied cloudtrail:LookupEvents")]
)
def test_writers_from_cloudtrail(monkeypatch, trail, writer, reason):
    monkeypatch.setattr("deploytools.aws.client", lambda service, region: trail)
    found = read_history(store(fake()))
    assert found.rows[0].writer == writer
    assert found.unknown_writers.startswith(reason)
    assert bool(reason) == bool(found.unknown_writers)


def test_history(capsys, deployment):
    for port in (465, 2525):
        assert run(capsys, "sync_secrets", "--set", f"email_port={port}", "--noinput").code == 0
    result = run(capsys, "sync_secrets", "--history")
    assert (result.err, result.code) == ("", 0)
    lines = result.out.splitlines()
    assert lines[0] == f"Secret {deployment.name} in us-east-1: 3 versions, the newest first"
    (current,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    assert any(line.startswith(f"  {current[:8]}  ") and "AWSCURRENT  sync_secrets" in line for line in lines)
    report = json.loads(run(capsys, "sync_secrets", "--history", "--format", "json").out)
    assert [row["changes"] for row in report["versions"]][:1] == [[{"key": "email_port", "change": "changed"}]]
    assert [value for value in deployment.document().values() if len(str(value)) > 5 and str(value) in result.out] == []


# Going back.


def versions(deployment) -> list[str]:
    found = deployment.client.list_secret_version_ids(SecretId=deployment.name, IncludeDeprecated=True)["Versions"]
    return [version["VersionId"] for version in found]


def test_rollback_to_a_version_without_a_label_by_its_short_id(capsys, deployment):
    before = deployment.document()
    (first,) = versions(deployment)
    for port in (465, 2525):
        run(capsys, "sync_secrets", "--set", f"email_port={port}", "--noinput")
    assert first not in deployment.versions() or not deployment.versions()[first]
    assert run(capsys, "sync_secrets", "--rollback", first[:8], "--noinput").code == 0
    assert deployment.document() == before
    refused = run(capsys, "sync_secrets", "--rollback", first[:7], "--noinput")
    assert (refused.code, "has fewer than 8 characters" in refused.err) == (2, True)


def test_rollback_of_one_key_keeps_the_others(capsys, deployment):
    (first,) = versions(deployment)
    run(capsys, "sync_secrets", "--set", "email_port=465", "--set", "email_host=mail.mosaicmeshai.com", "--noinput")
    result = run(capsys, "sync_secrets", "--rollback", first[:8], "--key", "email_port", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert (deployment.document()["email_port"], deployment.document()["email_host"]) == (587, "mail.mosaicmeshai.com")
    assert run(capsys, "sync_secrets", "--rollback", first[:8], "--key", "no_such", "--noinput").code == 1
    assert run(capsys, "sync_secrets", "--set", "email_port=1", "--key", "email_port").code == 2


def test_second_rollback_goes_forward(capsys, deployment, monkeypatch):
    run(capsys, "sync_secrets", "--set", "email_port=465", "--noinput")
    times = iter(range(1, 99))
    first = next(version for version, labels in deployment.versions().items() if "AWSPREVIOUS" in labels)

    def created(moment: object, timespec: str = "") -> str:
        return f"{next(times):02}"

    assert "goes forward" not in run(capsys, "sync_secrets", "--rollback", first, "--plan").out
    run(capsys, "sync_secrets", "--rollback", "--noinput")
    monkeypatch.setattr("deploytools.secrets.reader._iso", created)
    assert ", which is newer: this goes forward\n" in run(capsys, "sync_secrets", "--rollback", "--plan").out


@pytest.mark.parametrize(("age", "code"), [("0m", 0), ("9000h", 2)])
def test_rollback_to_an_age(capsys, deployment, age, code):
    result = run(capsys, "sync_secrets", "--rollback", age, "--plan")
    assert result.code == code
    assert ("no version that is that old" in result.err) == bool(code)


# Other owners.


def notices(**state: Any) -> str:
    made = SecretState("s", "us-east-1", state.pop("version", HEX), Document({"engine": "postgresql"}), **state)
    return "\n".join(notice.message for notice in owner_notices(made, made.document, {"password"}))


def test_other_owners_are_named():
    assert notices() == ""
    assert "the next terraform apply can overwrite this change" in notices(version="terraform-20250101")
    assert "CloudFormation stack shop" in notices(tags={"aws:cloudformation:stack-name": "shop"})
    assert "AWS service rds manages this secret" in notices(owning_service="rds")
    rotated = notices(is_rotated=True)
    assert "the next rotation replaces it" in rotated
    assert "sync_secrets --set engine=postgres" in rotated


def test_awspending_of_a_finished_rotation_is_not_a_rotation_and_can_be_detached():
    secret = fake()
    overwrite(secret, "2" * 32, b="b1")
    secret.stored.labels["AWSPENDING"] = FIRST
    state = store(secret).read()
    (notice,) = owner_notices(state, state.document, set())
    assert (
        "AWSPENDING of a finished rotation is still attached to version 11111111; no rotation is in" in notice.message
    )
    assert f"--version-stage AWSPENDING --remove-from-version-id {FIRST}" in notice.message
    assert secret.stored.labels[CURRENT] == "2" * 32
    secret.stored.labels["AWSPENDING"] = "2" * 32
    state = store(secret).read()
    assert list(owner_notices(state, state.document, set())) == [], "on the current version it is harmless"
