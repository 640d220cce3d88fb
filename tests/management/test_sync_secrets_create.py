"""`sync_secrets --create`, `--rollback` and `--iam-policy`, and reports in files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploytools.secrets.store import SecretStore
from tests.management.runner import run
from tests.management.terminal import Meanwhile, answer
from tests.secrets.samples import GOOD


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(json.dumps(GOOD))
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def absent(deployment, settings):
    """The name of a secret that does not exist; the settings have it."""
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
    arguments = [file, "--create", "--secret-tag", "tenant=one", "--kms-key-id", "alias/shop", "--noinput"]
    result = run(capsys, "sync_secrets", *arguments)
    description = deployment.client.describe_secret(SecretId=absent)
    (version,) = description["VersionIdsToStages"]
    assert (result.err, result.code) == ("", 0)
    lines = result.out.splitlines()
    assert lines[0] == f"Secret {absent} in us-east-1, does not exist yet:"
    assert lines[1].startswith("  added      engine                  set, 10 chars, ")
    assert lines[-5:-3] == ["Written and verified.", f"  AWSCURRENT   {version[:8]}"]
    assert stored(deployment, absent) == GOOD
    assert (description["Tags"], description["KmsKeyId"]) == ([{"Key": "tenant", "Value": "one"}], "alias/shop")
    again = run(capsys, "sync_secrets", *arguments)
    assert (again.err, again.code) == ("", 0)
    assert "No changes: " in again.out
    assert deployment.client.describe_secret(SecretId=absent)["VersionIdsToStages"] == {version: ["AWSCURRENT"]}


def test_create_with_generated_values(capsys, deployment, absent):
    deployment.client.create_secret(Name=absent)
    result = run(capsys, "sync_secrets", "--create", "--generate", "--set", "host=db.mosaicmeshai.com", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert "Missing keys that the production settings require:\n" in result.out
    assert set(stored(deployment, absent)) == {"host", "password", "django_secret_key"}


@pytest.mark.parametrize("arguments", [["--secret-tag", "tenant=one"], ["--kms-key-id", "alias/shop"]])
def test_tags_and_key_are_refused_for_a_secret_without_a_value(capsys, deployment, absent, file, arguments):
    deployment.client.create_secret(Name=absent)
    plan = run(capsys, "sync_secrets", file, "--create", "--plan")
    assert plan.out.splitlines()[0] == f"Secret {absent} in us-east-1, no value yet:"
    result = run(capsys, "sync_secrets", file, "--create", *arguments, "--noinput")
    assert (result.out, result.err.splitlines()[0], result.code) == (
        "",
        f"Error: The secret {absent} already exists in us-east-1 without a value. --secret-tag and --kms-key-id apply "
        "only to a new secret. Nothing was changed.",
        1,
    )
    description = deployment.client.describe_secret(SecretId=absent)
    assert [description.get(key) or None for key in ("VersionIdsToStages", "Tags", "KmsKeyId")] == [None, None, None]


@pytest.mark.parametrize(("option", "code"), [("--plan", 0), ("--check", 1)])
def test_plan_and_check_create_nothing(capsys, deployment, absent, file, option, code):
    result = run(capsys, "sync_secrets", file, "--create", option)
    assert (result.err, result.code) == ("", code)
    with pytest.raises(deployment.client.exceptions.ResourceNotFoundException):
        deployment.client.describe_secret(SecretId=absent)


def test_create_never_merges(capsys, deployment, file):
    before = state(deployment, deployment.name)
    result = run(capsys, "sync_secrets", file, "--create", "--noinput")
    assert (result.out, result.err.splitlines()[0], result.code) == (
        "",
        f"Error: The secret {deployment.name} already exists in us-east-1 with other content. Nothing was changed.",
        1,
    )
    assert state(deployment, deployment.name) == before


def test_nothing_is_created_without_create(capsys, deployment, absent, file):
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert (result.err.splitlines()[0], result.code) == (f"Error: There is no secret {absent} in us-east-1.", 2)


# --rollback.


def test_rollback(capsys, deployment):
    before = deployment.document()
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--unset", "other_tools_key", "--noinput")
    first, second = (
        next(version for version, labels in deployment.versions().items() if label in labels)
        for label in ("AWSPREVIOUS", "AWSCURRENT")
    )
    plan = run(capsys, "sync_secrets", "--rollback", "--plan")
    assert (plan.err, plan.code) == ("", 0)
    assert [line.partition("  set")[0].rstrip() for line in plan.out.splitlines()[:5]] == [
        f"Secret {deployment.name} in us-east-1:",
        f"  AWSCURRENT moves from version {second[:8]}",
        f"                     to version {first[:8]}",
        "  changed    email_port",
        "  added      other_tools_key",
    ]
    assert deployment.document() != before
    result = run(capsys, "sync_secrets", "--rollback", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert f"Written and verified.\n  AWSCURRENT   {first[:8]}\n  AWSPREVIOUS  {second[:8]}\n" in result.out
    assert result.out.endswith(f"Go back:\n  python manage.py sync_secrets --rollback {second[:8]}\n")
    assert deployment.document() == before
    assert deployment.versions() == {first: ["AWSCURRENT"], second: ["AWSPREVIOUS"]}
    again = run(capsys, "sync_secrets", "--rollback", first, "--noinput")
    assert (again.out.splitlines()[-1], again.code) == (f"No changes: {first[:8]} is current.", 0)


def test_interrupted_rollback_says_what_is_live_and_how_to_go_back(capsys, deployment, monkeypatch):
    before = deployment.document()
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput")
    (first,) = [version for version, labels in deployment.versions().items() if "AWSPREVIOUS" in labels]
    (second,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    with monkeypatch.context() as patch:
        patch.setattr(SecretStore, "_read_until_moved", interrupt)
        result = run(capsys, "sync_secrets", "--rollback", "--noinput")
    assert (result.err.splitlines()[1:], result.code) == (
        [
            f"Error: Interrupted. The requested values are live as version {first[:8]}, but could not be verified.",
            "Hint: Check: python manage.py sync_secrets --show. Go back: python manage.py sync_secrets --rollback "
            f"{second[:8]}",
        ],
        130,
    )
    again = run(capsys, "sync_secrets", "--rollback", first, "--noinput")
    assert (deployment.document(), again.code) == (before, 0)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_superseded_write_is_not_reported_as_unchanged(capsys, deployment, monkeypatch):
    """Another writer writes the same value first: our version exists and is not current."""
    promote = SecretStore._promote

    def superseded(store: SecretStore, version: str, base: str) -> bool:
        theirs = deployment.document() | {"email_port": 2525, "theirs": 1}
        deployment.client.put_secret_value(SecretId=deployment.name, SecretString=json.dumps(theirs))
        monkeypatch.setattr(SecretStore, "_promote", promote)
        return promote(store, version, base)

    monkeypatch.setattr(SecretStore, "_promote", superseded)
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput", "--format", "json")
    assert (json.loads(result.out)["outcome"], result.code) == ("superseded", 0)
    assert deployment.document()["theirs"] == 1


def test_rollback_asks(capsys, deployment, monkeypatch):
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput")
    before = state(deployment, deployment.name)
    answer(monkeypatch, "n")
    assert run(capsys, "sync_secrets", "--rollback").code == 1
    assert state(deployment, deployment.name) == before


def test_rollback_without_a_previous_version(capsys, deployment, absent, file):
    run(capsys, "sync_secrets", file, "--create", "--noinput")
    result = run(capsys, "sync_secrets", "--rollback", "--noinput")
    assert (result.err.splitlines()[0], result.code) == (
        f"Error: {absent} has no previous version to roll back to.",
        2,
    )


def test_rollback_as_json(capsys, deployment):
    run(capsys, "sync_secrets", "--set", "email_port=2525", "--noinput")
    result = run(capsys, "sync_secrets", "--rollback", "--noinput", "--format", "json")
    report = json.loads(result.out)
    assert (report["outcome"], result.code) == ("rolled back", 0)
    (changed,) = [item for item in report["changes"] if item["change"] != "unchanged"]
    assert (changed["key"], changed["before"]["length"], changed["after"]["length"]) == ("email_port", 4, 3)
    assert (report["next"]["create_tenant_dbs"], report["next"]["rollback"]) == (False, report["base"])
    assert report["current"] in deployment.versions()
    assert "AWSCURRENT moves from version" in result.err


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


def test_text_report_in_a_file(capsys, deployment, tmp_path):
    output = tmp_path / "report.txt"
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--output", str(output), "--noinput")
    assert (result.out, result.code) == ("", 0)
    assert output.read_text().startswith(f"Secret {deployment.name} in us-east-1, version ")
    assert "\nWritten and verified.\n" in output.read_text()


def test_report_does_not_overwrite_the_file(capsys, deployment, file, tmp_path):
    """Neither under its own name nor through a link."""
    before, text = state(deployment, deployment.name), Path(file).read_text()
    link = tmp_path / "link"
    link.symlink_to(file)
    hard = tmp_path / "hard link"
    hard.hardlink_to(file)
    for output in (file, str(link), str(hard), str(tmp_path / "." / "values.json")):
        result = run(capsys, "sync_secrets", file, "--output", output, "--noinput")
        assert (result.out, result.err, result.code) == (
            "",
            f"Error: --output would overwrite {file}. Nothing was changed.\nHint: Specify another --output.\n",
            1,
        )
    assert (state(deployment, deployment.name), Path(file).read_text()) == (before, text)


@pytest.mark.parametrize(
    ("output", "why", "hint"),
    [
        ("no such/report", "{0}/no such is not a directory", "Run: mkdir -p '{0}/no such'"),
        (".", "it is a directory", "Specify a file."),
        ("denied", "permission denied", "Specify another --output."),
    ],
)
def test_unwritable_report_prevents_the_write(capsys, deployment, tmp_path, monkeypatch, output, why, hint):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root is allowed to write everything.
    before, path = state(deployment, deployment.name), tmp_path / output
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--output", str(path), "--noinput")
    assert (result.out, result.err.splitlines(), result.code) == (
        "",
        [
            f"Error: Cannot write the report to {path}: {why.format(tmp_path)}. Nothing was changed.",
            f"Hint: {hint.format(tmp_path)}",
        ],
        2,
    )
    assert state(deployment, deployment.name) == before


def test_error_of_an_unwritable_report_says_that_the_secret_was_written(capsys, deployment, tmp_path, monkeypatch):
    output = tmp_path / "reports" / "report.json"
    output.parent.mkdir()
    monkeypatch.setattr("sys.stdin", Meanwhile(output.parent.rmdir))
    result = run(capsys, "sync_secrets", "--set", "email_port=2525", "--output", str(output))
    assert result.code == 2
    assert (
        f"Error: The report could not be written to {output}: No such file or directory. The new values are live as "
        "version "
    ) in result.err
    assert deployment.document()["email_port"] == 2525


# --iam-policy.


def allowed(capsys, *arguments):
    document = json.loads(run(capsys, "sync_secrets", "--iam-policy", *arguments).out)
    return [set(statement["Action"]) for statement in document["Statement"]]


@pytest.mark.slow
def test_policy_allows_exactly_the_actions_that_are_called(capsys, deployment, absent, file, actions):
    """Tags are part of the request CreateSecret, but a separate action in IAM."""
    base, creation, history = allowed(capsys, "--create")
    run(capsys, "sync_secrets", file, "--create", "--secret-tag", "a=b", "--noinput")
    assert actions - base == creation - {"secretsmanager:TagResource"}
    actions.clear()
    for arguments in (["--set", "email_port=465"], ["--rollback"], ["--show"], ["--set", "email_port=465"]):
        assert run(capsys, "sync_secrets", *arguments, *(["--noinput"] if arguments != ["--show"] else [])).code == 0
    assert run(capsys, "sync_secrets", "--history").code == 0
    assert allowed(capsys) == [base, history]
    assert base | history == actions


def test_policy_has_this_secret_and_its_key(capsys, deployment):
    document = json.loads(run(capsys, "sync_secrets", "--iam-policy", "--kms-key-id", "arn:aws:kms:::key/1").out)
    assert [statement["Resource"] for statement in document["Statement"]] == [
        f"arn:aws:secretsmanager:us-east-1:*:secret:{deployment.name}-??????",
        "arn:aws:kms:::key/1",
        "*",
    ]
