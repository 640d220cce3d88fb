"""`sync_secrets`: what the plan shows, what is refused, and what is written after the answer."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from deploytools.secrets.store import SecretStore
from tests.management.runner import run
from tests.management.terminal import Terminal, answer
from tests.secrets.samples import GOOD

LIVE = "sk_live_51AbCdEfGhIjKlMnOp" + "x" * 85
PUBLISHABLE = "pk_live_51AbCdEfGhIjKlMnOp" + "y" * 85


@pytest.fixture
def give(monkeypatch):
    """Put values on standard input."""
    return lambda **values: monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(values)))


def unchanged(capsys, deployment, *arguments, code=1):
    """Run the command; check that it is refused and that nothing was changed; return its output."""
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", *arguments)
    assert (result.code, deployment.versions(), deployment.document()) == (code, *before), result
    return result


# What the plan shows.


def test_truncated_key_is_a_warning(capsys, deployment, give):
    deployment.put(stripe_secret_key=LIVE)
    give(stripe_secret_key=LIVE[:37])
    result = run(capsys, "sync_secrets", "-", "--plan")
    assert "  changed  " in result.out
    assert "stripe_secret_key  live, 111 chars, " in result.out
    assert " → live, 37 chars, " in result.out
    assert (
        "! stripe_secret_key is less than half as long as before (111 → 37 characters).\n"
        "  Check that the whole key was pasted.\n"
    ) in result.out
    assert LIVE[:20] not in result.out + result.err
    give(stripe_secret_key=LIVE[:37])
    report = json.loads(run(capsys, "sync_secrets", "-", "--plan", "--format", "json").out)
    (changed,) = [item for item in report["changes"] if item["change"] == "changed"]
    assert (changed["before"]["state"], changed["before"]["length"], changed["after"]["length"]) == (
        "live mode",
        111,
        37,
    )
    assert [item["key"] for item in report["notices"]] == ["stripe_secret_key"]


def test_fingerprints_of_the_plan_are_those_of_show(capsys, deployment, give):
    def shown() -> dict[str, str]:
        rows = json.loads(run(capsys, "sync_secrets", "--show", "--format", "json").out)["keys"]
        return {row["key"]: row["fingerprint"] for row in rows}

    before = shown()
    give(email_user="new@mosaicmeshai.com", password="n3wPassw0rdOfTheDatabaseWithFortyCharacters")
    report = json.loads(run(capsys, "sync_secrets", "-", "--noinput", "--format", "json").out)
    after = shown()
    changes = {item["key"]: item for item in report["changes"] if item["change"] == "changed"}
    assert changes.keys() == {"email_user", "password"}
    for key, item in changes.items():
        assert (item["before"]["fingerprint"], item["after"]["fingerprint"]) == (before[key], after[key])


def test_warnings_about_values(capsys, deployment, give):
    give(
        stripe_secret_key=LIVE,
        stripe_publishable_key=PUBLISHABLE.replace("51AbCd", "51ZzCd"),
        master_password=deployment.document()["password"],
        other_tools_key=" padded ",
    )
    out = run(capsys, "sync_secrets", "-", "--plan").out
    warnings = " ".join(out[out.index("\n! ") :].split())
    assert "! master_password has the same value as password." in warnings
    assert "! other_tools_key has leading or trailing whitespace." in warnings
    assert "! stripe_secret_key and the other Stripe key belong to two different accounts." in warnings
    give(stripe_secret_key=LIVE, stripe_publishable_key=PUBLISHABLE)
    assert "\n! " not in run(capsys, "sync_secrets", "-", "--plan").out


def test_color_only_on_a_terminal(capsys, deployment, give, monkeypatch):
    deployment.put(stripe_secret_key=LIVE)
    give(stripe_secret_key=LIVE[:37])
    assert "\x1b" not in run(capsys, "sync_secrets", "-", "--plan", "--force-color").out
    monkeypatch.setattr("django.core.management.base.OutputWrapper.isatty", lambda stream: True)
    give(stripe_secret_key=LIVE[:37])
    out = run(capsys, "sync_secrets", "-", "--plan", "--force-color").out
    assert [line for line in out.splitlines() if "\x1b" in line] == [
        line for line in out.splitlines() if "less than half" in line
    ]


@pytest.mark.parametrize("key", ["\x1b[31m", "a\nError: forged", "\u202etxt", "tab\there"])
def test_control_characters_in_keys_are_escaped(capsys, deployment, give, key):
    """In keys of the stored secret and in given ones."""
    give(**{key: "x"})
    refusal = unchanged(capsys, deployment, "-", "--noinput").err
    deployment.put(**{key: "REPLACE_ME: stored"})
    texts = [refusal]
    for arguments in (
        ["--show"],
        ["--history"],
        ["--set=email_user=a@mosaicmeshai.com", "--plan"],
        ["--unset", key, "--plan"],
    ):
        result = run(capsys, "sync_secrets", *arguments)
        assert result.code == 0
        texts.append(result.out + result.err)
    give(**{key: "new"})
    texts.append(run(capsys, "sync_secrets", "-", "--noinput").out)
    escaped = key.encode("unicode_escape").decode()
    for text in texts:
        assert key not in text
        assert escaped in text
        assert not [line for line in text.splitlines() if line.startswith("Error: forged")]


# Mistyped keys.


@pytest.mark.parametrize("source", ["file", "--ask", "--from-env"])
def test_mistyped_key_is_refused_with_the_nearest_name(capsys, deployment, give, monkeypatch, source):
    monkeypatch.setenv("SK", LIVE)
    arguments = {
        "file": ["-"],
        "--ask": ["--ask", "stripe_secretkey"],
        "--from-env": ["--from-env=stripe_secretkey=SK"],
    }
    give(stripe_secretkey=LIVE)
    if source == "--ask":
        answer(monkeypatch, unseen=[LIVE])
    result = unchanged(capsys, deployment, *arguments[source], "--noinput")
    assert result.err == (
        "Error: Unknown key stripe_secretkey (did you mean stripe_secret_key?): neither the contract nor the secret "
        "has it. Nothing was changed.\n"
        "Hint: Correct the name. If the key is new, add: --new-key stripe_secretkey\n"
    )


@pytest.mark.parametrize(("key", "nearest"), [("Password", "password"), ("password ", "password"), ("", None)])
def test_key_with_another_case_or_blanks(capsys, deployment, give, key, nearest):
    give(**{key: "x" * 40})
    error = unchanged(capsys, deployment, "-", "--noinput").err
    assert ("(did you mean password?)" in error) == (nearest == "password")


def test_new_key_is_written_if_it_is_meant(capsys, deployment, give):
    give(sentry_token="t" * 30)
    assert run(capsys, "sync_secrets", "-", "--new-key", "sentry_token", "--noinput").code == 0
    give(sentry_token="u" * 30)
    assert run(capsys, "sync_secrets", "-", "--noinput").code == 0, "the secret has it by now"
    assert deployment.document()["sentry_token"] == "u" * 30


def test_unset_of_an_absent_key(capsys, deployment):
    result = unchanged(capsys, deployment, "--unset", "stripe_webhook_secret", "--noinput")
    assert result.err.startswith("Error: --unset: the secret does not have stripe_webhook_secret")


# What was confirmed is what is written.


class Answers(Terminal):
    """A terminal that runs an action before each answer."""

    def __init__(self, *steps: tuple[Callable[[], object] | None, str]) -> None:
        super().__init__()
        self.steps = iter(steps)

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        action, text = next(self.steps)
        if action:
            action()
        return text


def test_changed_secret_is_shown_and_asked_again(capsys, deployment, monkeypatch):
    """Another process removes a required key while the question is on the screen."""
    terminal = Answers((lambda: deployment.put(host=None), "y\n"), (None, "n\n"))
    monkeypatch.setattr("sys.stdin", terminal)
    result = run(capsys, "sync_secrets", "--set", "email_port=465")
    assert result.code == 1
    assert result.err.count("Write these changes? [y/N] ") == 2
    assert "The secret has changed since this plan was shown. Nothing was changed yet. The new plan:" in result.out
    assert result.out.endswith("Missing keys that the production settings require:\n  host\n")
    assert deployment.document()["email_port"] == 587
    monkeypatch.setattr("sys.stdin", Answers((None, "y\n")))
    assert run(capsys, "sync_secrets", "--set", "email_port=465").code == 0
    assert deployment.document()["email_port"] == 465


def test_change_that_the_plan_does_not_show_is_merged(capsys, deployment, monkeypatch):
    monkeypatch.setattr("sys.stdin", Answers((lambda: deployment.put(other_tools_key="theirs"), "y\n")))
    result = run(capsys, "sync_secrets", "--set", "email_port=465")
    assert (result.code, result.err.count("[y/N]")) == (0, 1)
    assert (deployment.document()["email_port"], deployment.document()["other_tools_key"]) == (465, "theirs")


def test_change_by_another_writer_without_a_question_is_merged_and_reported(capsys, deployment, monkeypatch):
    require_writable = SecretStore.require_writable

    def write_first(store, state):
        require_writable(store, state)
        if state.document["other_tools_key"].reveal() != "theirs":
            deployment.put(other_tools_key="theirs")

    monkeypatch.setattr(SecretStore, "require_writable", write_first)
    result = run(capsys, "sync_secrets", "--set", "email_port=465", "--noinput")
    assert "Another writer changed the secret in the meantime; its changes are kept." in result.out
    assert (deployment.document()["email_port"], deployment.document()["other_tools_key"]) == (465, "theirs")


def rotate(deployment) -> None:
    deployment.client.put_secret_value(SecretId=deployment.name, SecretString="{}", VersionStages=["AWSPENDING"])


def test_rotation_that_begins_during_the_question_is_a_refusal(capsys, deployment, monkeypatch):
    monkeypatch.setattr("sys.stdin", Answers((lambda: rotate(deployment), "y\n")))
    before = deployment.document()
    result = run(capsys, "sync_secrets", "--set", "email_port=465")
    assert (result.code, deployment.document()) == (1, before)
    assert "A rotation of" in result.err
    assert result.err.splitlines()[-2].endswith("Nothing was changed.")
    assert result.err.count("[y/N]") == 1


def test_rotation_in_progress_is_refused_before_the_question(capsys, deployment, monkeypatch):
    rotate(deployment)
    monkeypatch.setattr("sys.stdin", Answers())
    result = unchanged(capsys, deployment, "--set", "email_port=465")
    assert "[y/N]" not in result.err
    assert "A rotation is in progress" in result.out
    assert run(capsys, "sync_secrets", "--set", "email_port=465", "--plan").code == 0


# Django's key.


def test_regenerated_key_keeps_the_former_one(capsys, deployment):
    former = deployment.document()["django_secret_key"]
    result = run(capsys, "sync_secrets", "--regenerate", "django_secret_key", "--noinput")
    assert "! django_secret_key changes; sessions and links of the former key stay valid" in result.out
    first = deployment.document()
    assert first["django_secret_key_fallbacks"] == [former]
    run(capsys, "sync_secrets", "--regenerate", "django_secret_key", "--noinput")
    second = deployment.document()
    assert second["django_secret_key_fallbacks"] == [first["django_secret_key"], former]
    result = run(capsys, "sync_secrets", "--regenerate", "django_secret_key", "--leaked", "--noinput")
    assert "all users are logged out" in " ".join(result.out.split())
    assert "django_secret_key_fallbacks" not in deployment.document()
    assert former not in result.out


def test_placeholder_is_not_kept(capsys, deployment):
    deployment.put(django_secret_key="AUTO_GENERATED_50_CHARS")
    assert run(capsys, "sync_secrets", "--regenerate", "django_secret_key", "--noinput").code == 0
    assert "django_secret_key_fallbacks" not in deployment.document()


def test_leaked_requires_the_key(capsys, deployment):
    assert unchanged(capsys, deployment, "--regenerate=password", "--leaked", code=2).err.startswith(
        "Error: --leaked requires --regenerate django_secret_key."
    )


# Mail.


@pytest.mark.parametrize(
    ("host", "port", "code"),
    [
        ("email-smtp.us-east-1.amazonaws.com", 2587, 0),
        ("email-smtp.us-east-1.amazonaws.com", 2465, 0),
        ("email-smtp.us-east-1.amazonaws.com", 25, 0),
        ("email-smtp.us-east-1.amazonaws.com", 2525, 1),
        ("smtp.gmail.com", 465, 0),
        ("smtp.gmail.com", 25, 1),
    ],
)
def test_mail_host_and_port_belong_together(capsys, deployment, give, host, port, code):
    values = {"email_user": GOOD["email_user"], "email_password": GOOD["email_password"]}
    if host.startswith("email-smtp"):
        values = {"email_user": "AKIAIOSFODNN7ABCDEFG", "email_password": "BK" + "x9/Q+" * 8 + "zz"}
    give(email_host=host, email_port=port, **values)
    result = run(capsys, "sync_secrets", "-", "--plan")
    assert result.code == code
    assert (f"email_port is not a port of {host}" in result.err) == bool(code)
    assert ("email_port is throttled by Amazon EC2" in result.out) == (port == 25 and not code)


# JSON.


def test_every_error_is_one_document(capsys, deployment, give):
    for arguments, code in (
        (["--set", "email_port=many", "--noinput"], 1),
        (["--rollback", "nope", "--noinput"], 2),
        (["--unset", "no_such", "--noinput"], 1),
        (["--create"], 2),
        (["--set", "email_port=465"], 1),
    ):
        result = run(capsys, "sync_secrets", *arguments, "--format", "json")
        report = json.loads(result.out)
        assert (report["outcome"], report["exit_code"], result.code, report["live"]) == ("failed", code, code, "no")
        assert report["error"] in result.err
        assert report["hint"] in result.err


# The ECS service.


@pytest.fixture
def service(deployment, settings):
    """An ECS service whose task definition references one key of the secret."""
    client = boto3.client("ecs", region_name="us-east-1")
    arn = deployment.client.describe_secret(SecretId=deployment.name)["ARN"]
    client.create_cluster(clusterName=deployment.name)
    container: Any = {
        "name": "web",
        "image": "shop",
        "memory": 64,
        "secrets": [
            {"name": "TOOLS", "valueFrom": f"{arn}:other_tools_key::"},
            {"name": "OTHER", "valueFrom": "arn:aws:secretsmanager:us-east-1:1:secret:another-AbCdEf:email_user::"},
        ],
    }
    definition = client.register_task_definition(family=deployment.name, containerDefinitions=[container])
    client.create_service(
        cluster=deployment.name,
        serviceName="web",
        taskDefinition=definition["taskDefinition"]["taskDefinitionArn"],
        desiredCount=0,
    )
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ECS_CLUSTER": deployment.name, "ECS_SERVICE": "web"}
    yield client
    client.delete_service(cluster=deployment.name, service="web", force=True)
    client.close()


def deployment_id(client, deployment):
    (found,) = client.describe_services(cluster=deployment.name, services=["web"])["services"]
    return found["deployments"][0]["id"]


def test_key_that_a_task_definition_references_is_not_removed(capsys, deployment, service):
    result = unchanged(capsys, deployment, "--unset", "other_tools_key", "--noinput")
    assert result.err.startswith(
        "Error: The task definition of the ECS service web references other_tools_key (container web): new tasks would "
        "not start. Nothing was changed.\n"
    )


def test_write_names_the_command_that_restarts_the_service(capsys, deployment, service):
    result = run(capsys, "sync_secrets", "--set", "email_port=465", "--noinput")
    assert (
        f"  aws ecs update-service --cluster {deployment.name} --service web --region us-east-1 "
        "--force-new-deployment\n"
    ) in result.out


def test_restart_after_a_write_and_alone(capsys, deployment, service):
    before = deployment_id(service, deployment)
    result = run(capsys, "sync_secrets", "--set", "email_port=465", "--restart", "--noinput")
    assert (result.code, deployment.document()["email_port"]) == (0, 465)
    assert "Restarted: all tasks of the service are new" in result.out
    assert "Next: restart" not in result.out
    after = deployment_id(service, deployment)
    assert after != before
    assert run(capsys, "sync_secrets", "--restart", "--plan").code == 0
    assert deployment_id(service, deployment) == after
    result = run(capsys, "sync_secrets", "--restart", "--noinput", "--format", "json")
    assert json.loads(result.out) == {"version": 1, "outcome": "restarted", "service": "web"}
    assert deployment_id(service, deployment) != after


def test_restart_that_fails_says_that_the_values_are_live(capsys, deployment, service, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ECS_SERVICE": "none"}
    result = run(capsys, "sync_secrets", "--set", "email_port=465", "--restart", "--noinput", "--format=json")
    report = json.loads(result.out)
    (version,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    assert (result.code, report["outcome"], report["live"], report["current"]) == (2, "failed", "yes", version)
    assert f"The new values are live as version {version[:8]}." in result.err
    assert deployment.document()["email_port"] == 465


def test_restart_with_another_password_is_refused(capsys, deployment, service):
    error = unchanged(capsys, deployment, "--regenerate", "password", "--restart", "--noinput").err
    assert "new processes could not log in. Nothing was changed." in error


def test_restart_requires_a_service(capsys, deployment):
    assert 'requires DEPLOYTOOLS["ECS_SERVICE"]' in unchanged(capsys, deployment, "--restart", code=2).err
