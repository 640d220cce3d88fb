"""`sync_secrets` where a secret begins, goes back and returns; and what it needs to be allowed."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploytools import aws
from deploytools.secret.store import SecretStore
from tests.management.runner import run
from tests.management.terminal import Meanwhile, answer
from tests.secret.samples import GOOD


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(json.dumps(GOOD))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def absent(deployment, settings):
    """The name of a secret that is not there."""
    name = f"{deployment.name}/new"
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"SECRET_NAME": name}
    return name


def stored(deployment, name):
    answer = deployment.client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
    return json.loads(answer["SecretString"])


def state(deployment, name):
    return deployment.versions(), stored(deployment, name)


# --create.


def test_create(capsys, deployment, absent, file):
    arguments = [file, "--create", "--tag", "tenant=one", "--kms-key-id", "alias/shop", "--noinput"]
    result = run(capsys, "sync_secrets", *arguments)
    description = deployment.client.describe_secret(SecretId=absent)
    (version,) = description["VersionIdsToStages"]
    assert (result.err, result.code) == ("", 0)
    lines = result.out.splitlines()
    assert lines[:2] == [f"Secret {absent} in us-east-1, which does not exist yet:", "  added      engine"]
    assert lines[-3:-1] == ["Written and read back.", f"  AWSCURRENT   {version}"]
    assert stored(deployment, absent) == GOOD
    assert (description["Tags"], description["KmsKeyId"]) == ([{"Key": "tenant", "Value": "one"}], "alias/shop")
    again = run(capsys, "sync_secrets", *arguments)
    assert (again.err, again.code) == ("", 0)
    assert "Nothing to change" in again.out
    assert deployment.client.describe_secret(SecretId=absent)["VersionIdsToStages"] == {version: ["AWSCURRENT"]}


def test_create_with_values_made_here(capsys, deployment, absent):
    deployment.client.create_secret(Name=absent)
    result = run(capsys, "sync_secrets", "--create", "--generate", "--set", "host=db.mosaicmeshai.com", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert "What the production settings need and is not there:\n" in result.out
    assert set(stored(deployment, absent)) == {"host", "password", "django_secret_key"}


@pytest.mark.parametrize("arguments", [["--tag", "tenant=one"], ["--kms-key-id", "alias/shop"]])
def test_a_secret_without_a_value_is_not_created_otherwise(capsys, deployment, absent, file, arguments):
    deployment.client.create_secret(Name=absent)
    plan = run(capsys, "sync_secrets", file, "--create", "--plan")
    assert plan.out.splitlines()[0] == f"Secret {absent} in us-east-1, which has no value yet:"
    result = run(capsys, "sync_secrets", file, "--create", *arguments, "--noinput")
    assert (result.out, result.err.splitlines()[0], result.code) == (
        "",
        f"Error: The secret {absent} exists already in us-east-1, without a value: --tag and --kms-key-id are for one "
        "that is created; nothing was written.",
        1,
    )
    description = deployment.client.describe_secret(SecretId=absent)
    assert [description.get(key) or None for key in ("VersionIdsToStages", "Tags", "KmsKeyId")] == [None, None, None]


@pytest.mark.parametrize(("option", "code"), [("--plan", 0), ("--check", 1)])
def test_a_look_at_a_creation_creates_nothing(capsys, deployment, absent, file, option, code):
    result = run(capsys, "sync_secrets", file, "--create", option)
    assert (result.err, result.code) == ("", code)
    with pytest.raises(deployment.client.exceptions.ResourceNotFoundException):
        deployment.client.describe_secret(SecretId=absent)


def test_create_never_merges(capsys, deployment, file):
    before = state(deployment, deployment.name)
    result = run(capsys, "sync_secrets", file, "--create", "--noinput")
    assert (result.out, result.err.splitlines()[0], result.code) == (
        "",
        f"Error: The secret {deployment.name} exists already in us-east-1 and holds something else; "
        "nothing was written.",
        1,
    )
    assert state(deployment, deployment.name) == before


def test_without_create_nothing_is_created(capsys, deployment, absent, file):
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert (result.err.splitlines()[0], result.code) == (f"Error: There is no secret {absent} in us-east-1.", 2)


# --rollback.


def test_rollback(capsys, deployment):
    before = deployment.document()
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--unset", "somebody_elses", "--noinput")
    first, second = (
        next(version for version, labels in deployment.versions().items() if label in labels)
        for label in ("AWSPREVIOUS", "AWSCURRENT")
    )
    plan = run(capsys, "sync_secrets", "--rollback", "--plan")
    assert (plan.err, plan.code) == ("", 0)
    assert plan.out.splitlines()[:5] == [
        f"Secret {deployment.name} in us-east-1:",
        f"  AWSCURRENT goes from version {second}",
        f"                    to version {first}",
        "  changed    email_port",
        "  added      somebody_elses",
    ]
    assert deployment.document() != before
    result = run(capsys, "sync_secrets", "--rollback", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert result.out.endswith(
        f"Written and read back.\n  AWSCURRENT   {first}\n  AWSPREVIOUS  {second} (what was there before)\n"
    )
    assert deployment.document() == before
    assert deployment.versions() == {first: ["AWSCURRENT"], second: ["AWSPREVIOUS"]}
    again = run(capsys, "sync_secrets", "--rollback", first, "--noinput")
    assert (again.out.splitlines()[-1], again.code) == (f"Nothing to change: {first} is current.", 0)


def test_rollback_interrupted_names_the_version(capsys, deployment, monkeypatch):
    before = deployment.document()
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput")
    (first,) = [version for version, labels in deployment.versions().items() if "AWSPREVIOUS" in labels]
    with monkeypatch.context() as patch:
        patch.setattr(SecretStore, "_look_until_moved", interrupt)
        result = run(capsys, "sync_secrets", "--rollback", "--noinput")
    assert (result.err.splitlines()[1:], result.code) == (
        [
            "Error: Interrupted.",
            f"Hint: What was done stays and the rest is left; run: python manage.py sync_secrets --rollback {first}",
        ],
        130,
    )
    again = run(capsys, "sync_secrets", "--rollback", first, "--noinput")
    assert (deployment.document(), again.code) == (before, 0)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_version_that_another_overtook_is_not_called_unchanged(capsys, deployment, monkeypatch):
    """They write the same value first: ours is made, and is not current."""
    promote = SecretStore._promote

    def overtaken(store: SecretStore, version: str, base: str) -> bool:
        theirs = deployment.document() | {"email_port": 2525, "theirs": 1}
        deployment.client.put_secret_value(SecretId=deployment.name, SecretString=json.dumps(theirs))
        monkeypatch.setattr(SecretStore, "_promote", promote)
        return promote(store, version, base)

    monkeypatch.setattr(SecretStore, "_promote", overtaken)
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput", "--format", "json")
    assert (json.loads(result.out)["outcome"], result.code) == ("overtaken", 0)
    assert deployment.document()["theirs"] == 1


def test_rollback_asks(capsys, deployment, monkeypatch):
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput")
    before = state(deployment, deployment.name)
    answer(monkeypatch, "n")
    assert run(capsys, "sync_secrets", "--rollback").code == 1
    assert state(deployment, deployment.name) == before


def test_rollback_of_a_secret_that_was_written_once(capsys, deployment, absent, file):
    run(capsys, "sync_secrets", file, "--create", "--noinput")
    result = run(capsys, "sync_secrets", "--rollback", "--noinput")
    assert (result.err.splitlines()[0], result.code) == (
        f"Error: {absent} has no previous version: it was written once.",
        2,
    )


def test_rollback_as_json(capsys, deployment):
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput")
    result = run(capsys, "sync_secrets", "--rollback", "--noinput", "--format", "json")
    report = json.loads(result.out)
    assert (report["outcome"], result.code) == ("rolled back", 0)
    assert {"key": "email_port", "change": "changed", "made_here": False} in report["changes"]
    assert report["current"] in deployment.versions()
    assert "AWSCURRENT goes from version" in result.err


# --restore.


def test_restore(capsys, deployment, absent, file):
    run(capsys, "sync_secrets", file, "--create", "--noinput")
    deployment.client.delete_secret(SecretId=absent)
    refusal = run(capsys, "sync_secrets", file, "--noinput")
    assert refusal.err == (
        f"Error: The secret {absent} in us-east-1 is scheduled for deletion.\n"
        "Hint: Bring it back: python manage.py sync_secrets --restore\n"
    )
    scheduled = f"Secret {absent} in us-east-1 is scheduled for deletion.\n"
    assert run(capsys, "sync_secrets", "--restore", "--check") == (scheduled, "", 1)
    assert run(capsys, "sync_secrets", "--restore", "--noinput") == (scheduled + "It is restored.\n", "", 0)
    assert stored(deployment, absent) == GOOD
    again = f"Secret {absent} in us-east-1 is not scheduled for deletion.\nNothing to change.\n"
    assert run(capsys, "sync_secrets", "--restore") == (again, "", 0)


# Reports.


def test_json_of_a_write(capsys, deployment, tmp_path):
    output = tmp_path / "report.json"
    arguments = ["--set", "email_port=2525", "--format", "json", "--output", str(output)]
    planned = run(capsys, "sync_secrets", *arguments, "--plan")
    assert (planned.out, planned.code) == ("", 0)
    assert json.loads(output.read_text())["outcome"] == "planned"
    result = run(capsys, "sync_secrets", *arguments, "--noinput")
    assert (result.out, result.code) == ("", 0)
    report = json.loads(output.read_text())
    assert (report["version"], report["secret"], report["outcome"]) == (1, deployment.name, "written")
    assert deployment.versions()[report["current"]] == ["AWSCURRENT"]
    assert deployment.versions()[report["base"]] == ["AWSPREVIOUS"]
    run(capsys, "sync_secrets", *arguments, "--noinput")
    assert json.loads(output.read_text())["outcome"] == "unchanged"


def test_text_into_a_file(capsys, deployment, tmp_path):
    output = tmp_path / "report.txt"
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--output", str(output), "--noinput")
    assert (result.out, result.code) == ("", 0)
    assert output.read_text().startswith(f"Secret {deployment.name} in us-east-1, version ")
    assert "\nWritten and read back.\n" in output.read_text()


def test_a_report_does_not_go_over_the_file(capsys, deployment, file, tmp_path):
    """Nor by another name of it."""
    before, text = state(deployment, deployment.name), Path(file).read_text()
    link = tmp_path / "link"
    link.symlink_to(file)
    hard = tmp_path / "hard link"
    hard.hardlink_to(file)
    for output in (file, str(link), str(hard), str(tmp_path / "." / "values.json")):
        result = run(capsys, "sync_secrets", file, "--output", output, "--noinput")
        assert (result.out, result.err, result.code) == (
            "",
            f"Error: Nothing was done: --output would write over {file}.\nHint: Name another --output.\n",
            1,
        )
    assert (state(deployment, deployment.name), Path(file).read_text()) == (before, text)


@pytest.mark.parametrize(
    ("output", "why", "hint"),
    [
        ("no such/report", "there is no directory {0}/no such", "Run: mkdir -p '{0}/no such'"),
        (".", "it is a directory", "Name a file."),
        ("denied", "this user may not", "Name another --output."),
    ],
)
def test_a_report_that_cannot_be_written_stops_it_before_anything(
    capsys, deployment, tmp_path, monkeypatch, output, why, hint
):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # As root all may be written.
    before, path = state(deployment, deployment.name), tmp_path / output
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--output", str(path), "--noinput")
    assert (result.out, result.err.splitlines(), result.code) == (
        "",
        [
            f"Error: The report cannot be written to {path}: {why.format(tmp_path)}.",
            f"Hint: {hint.format(tmp_path)}",
        ],
        2,
    )
    assert state(deployment, deployment.name) == before


def test_a_report_that_cannot_be_written_in_the_end_says_what_was_done(capsys, deployment, tmp_path, monkeypatch):
    output = tmp_path / "reports" / "report.json"
    output.parent.mkdir()
    monkeypatch.setattr("sys.stdin", Meanwhile(output.parent.rmdir))
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--output", str(output))
    assert result.code == 2
    assert (
        f"Error: The secret is written. The report could not be written to {output}: No such file or directory.\n"
    ) in result.err
    assert deployment.document()["email_port"] == 2525


# --iam-policy.


@pytest.fixture
def actions(monkeypatch):
    """Every IAM action that is asked for."""
    seen: set[str] = set()
    calling = aws.calling

    @contextmanager
    def recorded(action: str, resource: str) -> Any:
        seen.add(action)
        with calling(action, resource):
            yield

    monkeypatch.setattr(aws, "calling", recorded)
    return seen


def allowed(capsys, *arguments):
    document = json.loads(run(capsys, "sync_secrets", "--iam-policy", *arguments).out)
    return [set(statement["Action"]) for statement in document["Statement"]]


def test_the_policy_is_what_is_asked_for_and_no_more(capsys, deployment, absent, file, actions):
    """Tags are a part of CreateSecret's request, and an action of their own in IAM."""
    base, life = allowed(capsys, "--create")
    run(capsys, "sync_secrets", file, "--create", "--tag", "a=b", "--noinput")
    deployment.client.delete_secret(SecretId=absent)
    run(capsys, "sync_secrets", "--restore", "--noinput")
    assert actions - base == life - {"secretsmanager:TagResource"}
    actions.clear()
    for arguments in (["--set", "email_port=2525"], ["--rollback"], ["--show"], ["--set", "email_port=2526"]):
        assert run(capsys, "sync_secrets", *arguments, *(["--noinput"] if arguments != ["--show"] else [])).code == 0
    assert allowed(capsys) == [base] == [actions]


def test_the_policy_names_this_secret_and_its_key(capsys, deployment):
    document = json.loads(run(capsys, "sync_secrets", "--iam-policy", "--kms-key-id", "arn:aws:kms:::key/1").out)
    assert [statement["Resource"] for statement in document["Statement"]] == [
        f"arn:aws:secretsmanager:us-east-1:*:secret:{deployment.name}-??????",
        "arn:aws:kms:::key/1",
    ]
