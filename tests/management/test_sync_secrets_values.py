"""The ways to give values: each merges only what it names; contradictions and exposed values are refused."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from deploytools.errors import ConfigurationError
from deploytools.management.secret_file import read_document
from deploytools.secret.mail import smtp_password
from deploytools.secret.value import Secret
from tests.fakes.endpoints import closed
from tests.management.runner import run
from tests.management.terminal import Meanwhile, answer
from tests.secret.reach import reachable
from tests.secret.samples import SES_PASSWORD, SES_USER

ROOT = Path(__file__).parent.parent.parent
CANARY = "canary-7d1f"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY"
GMAIL_PASSWORD = "abcdefghijklmnop"
LIVE = {"stripe_secret_key": "sk_live_" + "e5F6" * 6, "stripe_publishable_key": "pk_live_" + "g7H8" * 6}


def changed(deployment, before):
    after = deployment.document()
    assert {key: before[key] for key in before if key not in after} == {}
    return {key: after[key] for key in after if before.get(key) != after[key]}


def refused(capsys, deployment, *arguments, code=2):
    """What is said, once it is shown that nothing was changed."""
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
        "--unset=somebody_elses",
        "--noinput",
    )
    assert (result.err, result.code) == ("", 0)
    assert "  removed    somebody_elses\n" in result.out
    assert CANARY not in result.out
    nested = before.pop("somebody_elses")
    assert nested
    assert changed(deployment, before) == {
        "email_port": 2525,
        "email_host": "mail.mosaicmeshai.com",
        "email_password": CANARY,
    }
    again = run(capsys, "sync_secrets", "--set=email_port=2525", "--unset=somebody_elses", "--check")
    assert again.code == 0


def test_from_another_secret(capsys, deployment, monkeypatch):
    deployment.client.create_secret(Name=f"{deployment.name}-mail", SecretString=json.dumps({"pw": CANARY, "n": 7}))
    before = deployment.document()
    result = run(
        capsys,
        "sync_secrets",
        f"--from-secret=email_password={deployment.name}-mail#pw",
        f"--from-secret=brand_new={deployment.name}-mail#n",
        "--noinput",
    )
    assert (result.err, result.code) == ("", 0)
    assert CANARY not in result.out
    assert changed(deployment, before) == {"email_password": CANARY, "brand_new": 7}
    assert refused(capsys, deployment, f"--from-secret=a={deployment.name}-mail#other")[0] == (
        f"Error: The secret {deployment.name}-mail has no key other."
    )


def test_another_secret_that_is_deleted_is_not_brought_back_as_this_one(capsys, deployment):
    name = f"{deployment.name}-deleted"
    deployment.client.create_secret(Name=name, SecretString="{}")
    deployment.client.delete_secret(SecretId=name)
    assert refused(capsys, deployment, f"--from-secret=a={name}#k") == [
        f"Error: The secret {name} in us-east-1 is scheduled for deletion.",
        f"Hint: Look at it: aws secretsmanager describe-secret --secret-id {name} --region us-east-1",
    ]


def test_ask(capsys, deployment, monkeypatch):
    prompts = answer(monkeypatch, "y", unseen=[CANARY])
    before = deployment.document()
    result = run(capsys, "sync_secrets", "--ask", "email_password")
    assert (result.err, result.code) == ("Write these changes? [y/N] ", 0)
    assert prompts == ["email_password (16 letters for Gmail, 44 characters for SES): "]
    assert changed(deployment, before) == {"email_password": CANARY}


@pytest.mark.slow
def test_ask_does_not_echo(deployment):
    """On a real terminal: what the person sees is the prompt and the plan."""
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
    assert b"Written and read back." in seen
    assert CANARY.encode() not in seen
    assert deployment.document()["email_password"] == CANARY


def test_generate_fills_only_what_is_not_there(capsys, deployment):
    deployment.put(password=None, django_secret_key="AUTO_GENERATED_50_CHARS")
    result = run(capsys, "sync_secrets", "--generate", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert "  changed    django_secret_key (made here)\n" in result.out
    assert "  added      password (made here)\n" in result.out
    made = deployment.document()
    assert (len(made["password"]), len(made["django_secret_key"])) == (40, 64)
    assert made["password"] not in result.out
    before = (deployment.versions(), made)
    again = run(capsys, "sync_secrets", "--generate", "--noinput")
    assert "Nothing to change" in again.out
    assert (deployment.versions(), deployment.document()) == before


def test_regenerate_says_that_the_role_has_to_follow(capsys, deployment):
    before = deployment.document()
    result = run(capsys, "sync_secrets", "--regenerate", "password", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert (
        "The database role has to follow the new password, at once; until then nobody logs in anew:\n"
        "  python manage.py create_tenant_dbs\n"
    ) in result.out
    assert "  changed    password (made here)\n" in result.out
    assert list(changed(deployment, before)) == ["password"]


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
    monkeypatch.setenv("MAIL", "abcd-efgh ijkl-mnop" if "gmail" in arguments else SES_PASSWORD)
    before = deployment.document()
    result = run(capsys, "sync_secrets", *arguments, "--from-env", "email_password=MAIL", "--noinput")
    assert (result.err, result.code) == ("", 0)
    assert changed(deployment, before) == given


def test_ses_password_is_made_of_the_iam_key_which_is_stored_nowhere(capsys, deployment, monkeypatch):
    prompts = answer(monkeypatch, SES_USER, "y", unseen=[SECRET_KEY])
    result = run(capsys, "sync_secrets", "--email", "ses:eu-west-1")
    assert result.code == 0, result
    assert len(prompts) == 1
    stored = deployment.document()
    assert stored["email_host"] == "email-smtp.eu-west-1.amazonaws.com"
    assert stored["email_password"] == smtp_password(Secret(SECRET_KEY), "eu-west-1").reveal()
    assert SECRET_KEY not in json.dumps(stored) + result.out + result.err


def test_leaving_gmail_takes_the_user_along(capsys, deployment):
    lines = refused(capsys, deployment, "--set", "email_host=email-smtp.us-east-1.amazonaws.com", code=1)
    assert lines[0] == (
        "Error: Nothing was written, because of: email_user is not an SMTP user of SES's; "
        "email_password is not an SMTP password of SES's."
    )


def test_stripe_preset_asks_for_the_pair(capsys, deployment, monkeypatch):
    prompts = answer(monkeypatch, "y", unseen=LIVE.values())
    before = deployment.document()
    assert run(capsys, "sync_secrets", "--stripe").code == 0
    assert [prompt.split(" ")[0] for prompt in prompts] == list(LIVE)
    assert changed(deployment, before) == LIVE


def test_stripe_preset_refuses_two_modes(capsys, deployment, monkeypatch):
    monkeypatch.setenv("SK", LIVE["stripe_secret_key"])
    monkeypatch.setenv("PK", LIVE["stripe_publishable_key"].replace("live", "test"))
    arguments = ["--stripe", "--from-env", "stripe_secret_key=SK", "--from-env", "stripe_publishable_key=PK"]
    assert "is of another mode than its pair" in refused(capsys, deployment, *arguments, code=1)[0]


@pytest.mark.parametrize(
    ("arguments", "sentence", "hint"),
    [
        (
            ["--set", f"password={CANARY}", "--set", f"own={CANARY}"],
            "--set takes no value for password, own: the arguments of a process are seen by everybody on the machine "
            "and stay in the shell's history.",
            "Change the value where it comes from if it was a real one, then: --ask password, or --from-env "
            "password=VARIABLE, or a FILE. A key of your own that may be seen is declared in "
            'DEPLOYTOOLS["SECRET_FIELDS"] with "sensitive": False.',
        ),
        (
            ["--unset", "email_host"],
            "Nothing was written: email_host cannot go, because the production settings need it.",
            'Take it out of DEPLOYTOOLS["REQUIRED_KEYS"] or ["SECRET_FIELDS"] first, and deploy that.',
        ),
        (
            ["--from-secret", "a=rds!db-1234#password"],
            "rds!db-1234 belongs to RDS, which changes it every few days; a copy would be wrong soon.",
            "Name that secret where it is needed instead of copying it.",
        ),
    ],
)
def test_what_it_would_not_do(capsys, deployment, arguments, sentence, hint):
    assert refused(capsys, deployment, *arguments, code=1) == [f"Error: {sentence}", f"Hint: {hint}"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "No values were given."),
        (["--set", CANARY], "--set is given without KEY=…"),
        (["--set", "port=1", "--set", "port=2"], "port is given twice by --set."),
        (["--set", "port=1", "--from-env", "port=HOME"], "port is given twice, by --set and by --from-env."),
        (["--set", "email_port=1", "--unset", "email_port"], "email_port is given twice, by --set and by --unset."),
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
            "email_host is given twice, by --set and by --email gmail.",
        ),
        (
            ["--from-env", f"port={CANARY}"],
            "The environment variable that --from-env names for port is not set, or empty.",
        ),
        (["--from-secret", f"port={CANARY}"], "--from-secret port does not say which key of which secret."),
        (["--ask", f"port={CANARY}"], "--ask takes the name of a key and no value."),
        (["--ask", "password"], "password cannot be asked for: this is not a terminal."),
        (["--regenerate", "host"], "host cannot be made here; somebody else gives it out."),
        (["--email", CANARY], "--email knows gmail and ses."),
        (["--email", "ses"], "--email needs email_user and email_password, and nobody can be asked."),
        (
            ["--stripe"],
            "--stripe needs stripe_secret_key and stripe_publishable_key, and nobody can be asked.",
        ),
        (["--from-secret", "a=arn:oops#k"], "arn:oops is no ARN of a secret."),
        (["--show", "--set", "port=1"], "--show takes no values, and --set gives some."),
        (["--from-secret", "a=b#c", "--validate"], "--validate asks AWS nothing, so --from-secret has no value."),
        (["--show", "--delete-file"], "--delete-file and --show do not go together."),
        (["--rollback", "--create"], "--create and --rollback do not go together."),
        (["--set", "port=1", "--tag", "a=b"], "--tag and --kms-key-id are for a secret that is created."),
        (["--set", "port=1", "--delete-file"], "There is no file that --delete-file could delete."),
    ],
)
def test_what_cannot_be_understood(capsys, monkeypatch, arguments, sentence):
    """Before AWS is asked anything: nobody listens where it is said to be."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed())
    result = run(capsys, "sync_secrets", *arguments, "--noinput")
    lines = result.err.splitlines()
    assert (result.out, lines[0], lines[1][:6], result.code) == ("", f"Error: {sentence}", "Hint: ", 2)
    assert CANARY not in result.err


def test_an_empty_answer_stops_it(capsys, deployment, monkeypatch):
    answer(monkeypatch, unseen=[""])
    assert refused(capsys, deployment, "--ask", "email_password", code=1)[0] == (
        "Error: Nothing was changed: email_password was left empty."
    )


# The file, once it has served.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "values.json"
    path.write_text(json.dumps({"email_password": CANARY}))
    path.chmod(0o600)
    return path


def test_delete_file(capsys, deployment, file):
    result = run(capsys, "sync_secrets", str(file), "--noinput", "--delete-file")
    assert (result.out.splitlines()[-1], result.code) == (f"{file} is deleted.", 0)
    assert not file.exists()
    assert deployment.document()["email_password"] == CANARY


@pytest.mark.parametrize(("said", "is_left"), [("y", False), ("n", True)])
def test_it_offers_to_delete_the_file(capsys, deployment, file, monkeypatch, said, is_left):
    answer(monkeypatch, "y", said)
    result = run(capsys, "sync_secrets", str(file))
    assert result.err == f"Write these changes? [y/N] Delete {file}, which still holds credentials? [y/N] "
    assert file.exists() is is_left


def test_a_link_does_not_leave_the_file_behind(capsys, deployment, file, tmp_path):
    link = tmp_path / "link.json"
    link.symlink_to(file)
    assert run(capsys, "sync_secrets", str(link), "--noinput", "--delete-file").code == 0
    assert not file.exists()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("option", "code", "said"),
    [
        ("--plan", 0, "  changed    email_password\n"),
        ("--check", 1, "  changed    email_password\n"),
        ("--validate", 2, "Error: --delete-file and --validate do not go together.\nHint: Leave one out.\n"),
    ],
)
def test_a_look_deletes_nothing(capsys, deployment, file, option, code, said):
    before = (deployment.versions(), deployment.document())
    result = run(capsys, "sync_secrets", str(file), option, "--delete-file")
    assert (said in result.out + result.err, result.code) == (True, code)
    assert file.exists()
    assert (deployment.versions(), deployment.document()) == before


def test_a_name_that_the_shell_would_take_apart(capsys, deployment, file):
    odd = file.rename(file.with_name("my values;x.json"))
    assert run(capsys, "sync_secrets", str(odd), "--noinput").out.splitlines()[-1] == (
        f"The file still holds credentials. Delete it: rm '{odd}'"
    )
    odd.chmod(0o644)
    assert refused(capsys, deployment, str(odd), code=1)[1] == f"Hint: Run: chmod 600 '{odd}'"


@pytest.mark.parametrize("where", ["file", "standard input"])
def test_what_is_not_utf_8_is_not_carried_along(monkeypatch, file, where):
    content = f'{{"email_password": "{CANARY}\xfc"}}'.encode("latin-1")
    file.write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    with pytest.raises(ConfigurationError) as caught:
        read_document(str(file) if where == "file" else "-")
    named = str(file) if where == "file" else "Standard input"
    assert str(caught.value) == f"{named} cannot be read: it is not UTF-8 text."
    assert [text for text in reachable(caught.value) if CANARY in text] == []


def test_bytes_of_an_environment_variable_that_are_no_utf_8(capsys, deployment, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", f"{CANARY}\udcfc")
    lines = refused(capsys, deployment, "--from-env", "email_password=SMTP_PASSWORD")
    assert lines[0] == "Error: email_password cannot be stored as UTF-8 text."
    assert CANARY not in "".join(lines)


def test_a_write_that_fails_deletes_nothing(capsys, deployment, file):
    deployment.client.put_secret_value(
        SecretId=deployment.name, SecretString='{"password": "rotated"}', VersionStages=["AWSPENDING"]
    )
    result = run(capsys, "sync_secrets", str(file), "--noinput", "--delete-file")
    assert (result.code, file.exists()) == (1, True)
    assert "A rotation of" in result.err


def test_a_file_that_changed_meanwhile_is_left(capsys, deployment, file, monkeypatch):
    monkeypatch.setattr("sys.stdin", Meanwhile(lambda: file.write_text('{"email_password": "later"}')))
    result = run(capsys, "sync_secrets", str(file), "--delete-file")
    assert result.code == 2
    assert f"The secret is written, but {file} has changed since it was read, and was not deleted." in result.err
    assert deployment.document()["email_password"] == CANARY
