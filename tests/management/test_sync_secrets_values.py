"""The options that give values to `sync_secrets`, and the deletion of FILE."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploytools.errors import ConfigurationError
from deploytools.management.private_files import read_document
from deploytools.secrets.document import Secret
from deploytools.secrets.inputs import smtp_password
from tests.fakes.endpoints import closed
from tests.management.runner import run
from tests.management.terminal import Meanwhile, answer
from tests.secrets.reach import reachable
from tests.secrets.samples import SES_PASSWORD, SES_USER

ROOT = Path(__file__).parent.parent.parent
CANARY = "canary-7d1f"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY"
GMAIL_PASSWORD = "qwvzhtpmxkdrbnfs"
LIVE = {"stripe_secret_key": "sk_live_" + "e5F6" * 6, "stripe_publishable_key": "pk_live_" + "g7H8" * 6}


def changed(deployment, before):
    after = deployment.document()
    assert {key: before[key] for key in before if key not in after} == {}
    return {key: after[key] for key in after if before.get(key) != after[key]}


def refused(capsys, deployment, *arguments, code=2):
    """Run the command, check that nothing was changed, and return the lines of the error."""
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", *arguments, "--noinput")
    assert (result.out, result.code) == ("", code)
    assert (deployment.versions(), deployment.document()) == before
    return result.err.splitlines()


def test_set_and_from_env_and_unset_at_once(capsys, deployment, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", CANARY)
    before = deployment.document()
    result = run(
        capsys,
        "sync_secrets",
        "--set=email_port=2525",
        "--set=email_host=mail.mosaicmeshai.com",
        "--from-env=email_password=SMTP_PASSWORD",
        "--unset=other_tools_key",
        "--noinput",
    )
    assert (result.err, result.code) == ("", 0)
    assert "  removed    other_tools_key  set, " in result.out
    assert CANARY not in result.out
    nested = before.pop("other_tools_key")
    assert nested
    assert changed(deployment, before) == {
        "email_port": 2525,
        "email_host": "mail.mosaicmeshai.com",
        "email_password": CANARY,
    }
    assert run(capsys, "sync_secrets", "--set=email_port=2525", "--check").code == 0
    lines = refused(capsys, deployment, "--set=email_port=2525", "--unset=other_tools_kye", code=1)
    assert lines[0] == "Error: --unset: the secret does not have other_tools_kye. Nothing was changed."


def test_ask(capsys, deployment, monkeypatch):
    prompts = answer(monkeypatch, "y", unseen=[CANARY])
    before = deployment.document()
    result = run(capsys, "sync_secrets", "--ask", "email_password")
    assert (result.err, result.code) == ("Write these changes? [y/N] ", 0)
    assert prompts == ["email_password (16 letters for Gmail, 44 characters for SES): "]
    assert changed(deployment, before) == {"email_password": CANARY}


@pytest.mark.slow
def test_ask_does_not_echo(deployment):
    """On a real terminal, the user sees only the prompt and the plan."""
    ours, theirs = pty.openpty()
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "sync_secrets", "--ask", "email_password", "--noinput"],
        env=keep | dict(deployment.environment) | {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings"},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"for SES): " not in seen:
        seen += os.read(ours, 1024)
    os.write(ours, f"{CANARY}\n".encode())
    try:
        while part := os.read(ours, 1024):
            seen += part
    except OSError:
        pass  # The other end is closed.
    os.close(ours)
    assert process.wait(30) == 0, seen
    assert b"Written and verified." in seen
    assert CANARY.encode() not in seen
    assert deployment.document()["email_password"] == CANARY


def test_generate_sets_only_missing_values(capsys, deployment):
    deployment.put(password=None, django_secret_key="AUTO_GENERATED_50_CHARS")
    result = run(capsys, "sync_secrets", "--generate", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert "  changed    django_secret_key  placeholder, 23 chars, no fingerprint → generated, 64 chars, " in result.out
    assert "  added      password           generated, 40 chars, " in result.out
    after = deployment.document()
    assert (len(after["password"]), len(after["django_secret_key"])) == (40, 64)
    assert after["password"] not in result.out
    before = (deployment.versions(), after)
    again = run(capsys, "sync_secrets", "--generate", "--noinput")
    assert "No changes: " in again.out
    assert (deployment.versions(), deployment.document()) == before


def test_regenerate_reports_that_logins_fail_until_create_tenant_dbs(capsys, deployment):
    before = deployment.document()
    result = run(capsys, "sync_secrets", "--regenerate", "password", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert ("New database logins fail until you run:\n  python manage.py create_tenant_dbs\n") in result.out
    assert "  changed    password    set, 38 chars, " in result.out
    (date,) = deployment.document()["rotated_at"].values()
    assert datetime.now(UTC) - datetime.fromisoformat(date) < timedelta(minutes=10)
    assert "Next: set the new password for the database role:\n  python manage.py create_tenant_dbs\n" in result.out
    assert list(changed(deployment, before)) == ["password", "rotated_at"]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (
            ["--email", "gmail", "--set", "email_user=shop@mosaicmeshai.com"],
            {"email_host": "smtp.gmail.com", "email_user": "shop@mosaicmeshai.com", "email_password": GMAIL_PASSWORD},
        ),
        (
            ["--email", "ses", "--set", f"email_user={SES_USER}"],
            {
                "email_host": "email-smtp.us-east-1.amazonaws.com",
                "email_user": SES_USER,
                "email_password": SES_PASSWORD,
            },
        ),
    ],
)
def test_email_presets(capsys, deployment, monkeypatch, arguments, given):
    monkeypatch.setenv("MAIL", "qwvz-htpm xkdr-bnfs" if "gmail" in arguments else SES_PASSWORD)
    before = deployment.document()
    result = run(capsys, "sync_secrets", *arguments, "--from-env", "email_password=MAIL", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert changed(deployment, before) == given


def test_ses_password_is_derived_from_the_iam_key(capsys, deployment, monkeypatch):
    prompts = answer(monkeypatch, SES_USER, "y", unseen=[SECRET_KEY])
    result = run(capsys, "sync_secrets", "--email", "ses:eu-west-1")
    assert result.code == 0, result
    assert len(prompts) == 1
    stored = deployment.document()
    assert stored["email_host"] == "email-smtp.eu-west-1.amazonaws.com"
    assert stored["email_password"] == smtp_password(Secret(SECRET_KEY), "eu-west-1").reveal()
    assert SECRET_KEY not in json.dumps(stored) + result.out + result.err


def test_other_mail_host_requires_its_user_and_password(capsys, deployment):
    lines = refused(capsys, deployment, "--set", "email_host=email-smtp.us-east-1.amazonaws.com", code=1)
    assert lines[0] == (
        "Error: email_user is not an Amazon SES SMTP user name; "
        "email_password is not an Amazon SES SMTP password. Nothing was changed."
    )


def test_stripe_preset_prompts_for_both_keys(capsys, deployment, monkeypatch):
    prompts = answer(monkeypatch, "y", unseen=LIVE.values())
    before = deployment.document()
    assert run(capsys, "sync_secrets", "--stripe").code == 0
    assert [prompt.split(" ")[0] for prompt in prompts] == list(LIVE)
    assert changed(deployment, before) == LIVE


def test_stripe_preset_refuses_two_modes(capsys, deployment, monkeypatch):
    monkeypatch.setenv("SK", LIVE["stripe_secret_key"])
    monkeypatch.setenv("PK", LIVE["stripe_publishable_key"].replace("live", "test"))
    arguments = ["--stripe", "--from-env", "stripe_secret_key=SK", "--from-env", "stripe_publishable_key=PK"]
    assert "does not have the mode of the other Stripe key" in refused(capsys, deployment, *arguments, code=1)[0]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (
            ["--set", f"password={CANARY}", "--set", f"own={CANARY}"],
            "--set is not allowed for password, own: every user of this machine can read process arguments, and the "
            "shell stores them in its history.",
            "Change the value at its source if it was a real one, then use --ask password, --from-env "
            "password=VARIABLE or a FILE. To allow --set for a custom key, add it to "
            'DEPLOYTOOLS["SECRET_FIELDS"] with "sensitive": False.',
        ),
        (
            ["--unset", "email_host"],
            "The production settings require email_host: it cannot be removed. Nothing was changed.",
            'Remove its preset (stripe or email) from DEPLOYTOOLS["PRESETS"], or the key from '
            'DEPLOYTOOLS["SECRET_FIELDS"], and deploy that first.',
        ),
    ],
)
def test_refused_options(capsys, deployment, arguments, message, hint):
    assert refused(capsys, deployment, *arguments, code=1) == [f"Error: {message}", f"Hint: {hint}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No values were given."),
        (["--set", CANARY], "--set must have the form KEY=VALUE."),
        (["--set", "port=1", "--set", "port=2"], "port is set twice by --set."),
        (["--set", "port=1", "--from-env", "port=HOME"], "port is set twice: by --set and by --from-env."),
        (["--set", "email_port=1", "--unset", "email_port"], "email_port is set twice: by --set and by --unset."),
        (
            [
                "--email",
                "gmail",
                "--set",
                "email_host=x",
                "--set",
                "email_user=a@b",
                "--from-env",
                "email_password=HOME",
            ],
            "email_host is set twice: by --set and by --email gmail.",
        ),
        (
            ["--from-env", f"port={CANARY}"],
            "The environment variable of --from-env port=… is not set, or empty.",
        ),
        (["--ask", f"port={CANARY}"], "--ask takes the name of a key, without a value."),
        (["--ask", "password"], "Cannot prompt for password: stdin is not a terminal."),
        (["--regenerate", "host"], "host cannot be generated; a third party issues it."),
        (["--email", CANARY], "--email must be gmail or ses[:REGION]."),
        (["--email", "ses"], "--email requires email_user and email_password, but a prompt is not possible."),
        (
            ["--stripe"],
            "--stripe requires stripe_secret_key and stripe_publishable_key, but a prompt is not possible.",
        ),
        (["--show", "--set", "port=1"], "--show cannot be combined with --set."),
        (["--show", "--delete-file"], "--show cannot be combined with --delete-file."),
        (["--rollback", "--create"], "--rollback cannot be combined with --create."),
        (["--rollback", "--key", "port", "--with-login"], "--key cannot be combined with --with-login."),
        (["--set", "port=1", "--secret-tag", "a=b"], "--secret-tag requires --create."),
        (["--set", "port=1", "--delete-file"], "--delete-file requires a FILE."),
    ],
)
def test_invalid_options(capsys, monkeypatch, arguments, message):
    """The error comes before AWS is queried: there is no server at the endpoint."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed())
    result = run(capsys, "sync_secrets", *arguments, "--noinput")
    lines = result.err.splitlines()
    assert (result.out, lines[0], lines[1][:6], result.code) == ("", f"Error: {message}", "Hint: ", 2)
    assert CANARY not in result.err


def test_empty_answer(capsys, deployment, monkeypatch):
    answer(monkeypatch, unseen=[""])
    assert refused(capsys, deployment, "--ask", "email_password", code=1)[0] == (
        "Error: No value was entered for email_password. Nothing was changed."
    )


# Deletion of FILE.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(json.dumps({"email_password": CANARY}))
    path.chmod(0o600)
    return path


def test_delete_file(capsys, deployment, file):
    result = run(capsys, "sync_secrets", str(file), "--noinput", "--delete-file")
    assert (result.out.splitlines()[-1], result.code) == (f"{file} was deleted.", 0)
    assert not file.exists()
    assert deployment.document()["email_password"] == CANARY


@pytest.mark.parametrize(("typed", "is_left"), [("y", False), ("n", True)])
def test_prompt_to_delete_the_file(capsys, deployment, file, monkeypatch, typed, is_left):
    answer(monkeypatch, "y", typed)
    result = run(capsys, "sync_secrets", str(file))
    assert result.err == f"Write these changes? [y/N] Delete {file}, which contains credentials? [y/N] "
    assert file.exists() is is_left


def test_link_and_its_target_are_deleted(capsys, deployment, file, tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(file)
    assert run(capsys, "sync_secrets", str(link), "--noinput", "--delete-file").code == 0
    assert not file.exists()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("option", "code", "expected"),
    [
        ("--plan", 0, "  changed    email_password"),
        ("--check", 1, "  changed    email_password"),
        ("--validate", 2, "Error: --validate cannot be combined with --delete-file.\nHint: Remove one of them.\n"),
    ],
)
def test_plan_and_check_delete_nothing(capsys, deployment, file, option, code, expected):
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", str(file), option, "--delete-file")
    assert (expected in result.out + result.err, result.code) == (True, code)
    assert file.exists()
    assert (deployment.versions(), deployment.document()) == before


@pytest.mark.slow
def test_commands_in_messages_are_quoted(capsys, deployment, file):
    odd = file.rename(file.with_name("my values;x.json"))
    assert run(capsys, "sync_secrets", str(odd), "--noinput").out.splitlines()[-1] == (
        f"{odd} contains credentials. Delete it: rm '{odd}'"
    )
    odd.chmod(0o644)
    assert refused(capsys, deployment, str(odd), code=1)[1] == f"Hint: Run: chmod 600 '{odd}'"


@pytest.mark.parametrize("where", ["file", "standard input"])
def test_error_does_not_contain_text_that_is_not_utf_8(monkeypatch, file, where):
    content = f'{{"email_password": "{CANARY}\xfc"}}'.encode("latin-1")
    file.write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    with pytest.raises(ConfigurationError) as caught:
        read_document(str(file) if where == "file" else "-")
    source = str(file) if where == "file" else "standard input"
    assert str(caught.value) == f"Cannot read {source}: it is not UTF-8 text."
    assert [text for text in reachable(caught.value) if CANARY in text] == []


@pytest.mark.slow
def test_environment_variable_that_is_not_utf_8(capsys, deployment, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", f"{CANARY}\udcfc")
    lines = refused(capsys, deployment, "--from-env", "email_password=SMTP_PASSWORD")
    assert lines[0] == "Error: email_password cannot be encoded as UTF-8."
    assert CANARY not in "".join(lines)


def test_failed_write_deletes_nothing(capsys, deployment, file):
    deployment.client.put_secret_value(
        SecretId=deployment.name, SecretString='{"password": "rotated"}', VersionStages=["AWSPENDING"]
    )
    result = run(capsys, "sync_secrets", str(file), "--noinput", "--delete-file")
    assert (result.code, file.exists()) == (1, True)
    assert "A rotation of" in result.err


def test_changed_file_is_not_deleted(capsys, deployment, file, monkeypatch):
    monkeypatch.setattr("sys.stdin", Meanwhile(lambda: file.write_text('{"email_password": "later"}')))
    result = run(capsys, "sync_secrets", str(file), "--delete-file")
    assert result.code == 2
    assert f"The secret was written, but {file} was not deleted: it has changed since it was read." in result.err
    assert deployment.document()["email_password"] == CANARY
