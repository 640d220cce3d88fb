"""What the options of `verify_deploy` do: waivers, kept facts, differences, selection, policy, mail, address."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.session import Session as BotocoreSession

from deploytools.conf import STAGES
from tests.management.runner import Result, run, statuses


@pytest.fixture
def made(capsys, deployment):
    """The deployment with its databases."""
    assert run(capsys, "create_tenant_dbs", "--noinput").code == 0
    return deployment


@pytest.fixture
def mailing(made, cloud, monkeypatch):
    """The deployment, with the local cloud's mail server in its secret."""
    monkeypatch.setenv("SSL_CERT_FILE", cloud.ca_file)
    smtp = cloud.smtp
    login = {"email_host": "localhost", "email_user": smtp.user, "email_password": smtp.password}
    made.put(email_port=smtp.port, **login)
    return made


def test_a_mail_is_sent_only_where_it_is_asked_for(capsys, mailing, cloud):
    kept, options = Path(cloud.smtp.messages_dir), ("verify_deploy", "--only", "mail.login")
    before = set(kept.glob("*"))
    assert (run(capsys, *options).code, set(kept.glob("*"))) == (0, before)
    result = run(capsys, *options, "--send-test-mail", "ops@example.com")
    assert (result.err, result.code) == (
        "A mail to ops@example.com was taken by the mail server; look whether it arrives.\n",
        0,
    )
    (message,) = set(kept.glob("*")) - before
    assert "To: ops@example.com" in message.read_text()


@pytest.mark.parametrize(("broken", "said"), [("send_test_mail", "may have been"), ("fire", "was")])
def test_who_interrupts_it_after_the_mail_hears_of_the_mail(capsys, mailing, monkeypatch, broken, said):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"deploytools.management.commands.verify_deploy.{broken}", interrupt)
    options = ("--only", "mail.login", "--send-test-mail", "ops@example.com", "--fire-test")
    result = run(capsys, "verify_deploy", *options)
    hint = f"A mail to ops@example.com {said} sent, and nothing else was done; run the same command again."
    assert result.err.endswith(f"Error: Interrupted.\nHint: {hint}\n")
    assert result.code == 130


def test_a_mail_that_cannot_be_sent_comes_after_the_report(capsys, mailing):
    mailing.put(email_host="localhost", email_port=9)
    result = run(capsys, "verify_deploy", "--only", "mail.login", "--send-test-mail", "ops@example.com")
    assert "\n✗ The mail server takes the application's login\n" in result.out
    assert result.err.startswith("Error: No mail was sent: the mail server: TCP failed: Connection refused.\nHint: ")
    assert result.code == 2


def test_an_address_to_visit_may_be_given(capsys, made):
    options = ("verify_deploy", "--only", "outside.health", "--format", "json")
    assert statuses(run(capsys, *options)) == {"outside.health": "not applicable"}
    refused = run(capsys, *options, "--url", "https://127.0.0.1:9")
    assert (statuses(refused), refused.code) == ({"outside.health": "fail"}, 1)
    assert json.loads(refused.out)["findings"][0]["evidence"] == "no answer: Connection refused"


PROTECTION = {
    "check": "rds.deletion-protection",
    "resource": "startupwebapp-multi-tenant-prod",
    "reason": "it moves on Monday",
    "owner": "ops@example.com",
}


def expiring(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


def test_a_waiver_is_shown_and_counted_until_it_expires(capsys, made, settings):
    waiver = PROTECTION | {"expires": expiring(30)}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [waiver]}
    found = run(capsys, "verify_deploy", "--tag", "rds")
    assert found.code == 0
    assert f"waived: it moves on Monday (ops@example.com, until {waiver['expires']})" in " ".join(found.out.split())
    assert re.search(r"\b1 waived\b", found.out.splitlines()[-1])
    strict = run(capsys, "verify_deploy", "--tag", "rds", "--no-waivers")
    assert (strict.code, "waived" in strict.out) == (1, False)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [PROTECTION | {"expires": expiring(-1)}]}
    expired = statuses(run(capsys, "verify_deploy", "--tag", "rds", "--format", "json"))
    assert (expired["rds.deletion-protection"], expired["waivers.in-force"]) == ("fail", "fail")


def test_a_waiver_of_a_check_that_does_not_exist(capsys, made, settings):
    unknown = PROTECTION | {"check": "rds.deletion-protected", "expires": expiring(3)}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [unknown]}
    result = run(capsys, "verify_deploy", "--tag", "rds")
    assert result.err.startswith(
        "Error: There is no check rds.deletion-protected.\nHint: Did you mean rds.deletion-protection"
    )
    assert (result.out, result.code) == ("", 2)


def test_facts_are_kept_and_judged_again_with_no_network(capsys, made, tmp_path, monkeypatch):
    file, tags = tmp_path / "facts.json", ("--tag", "rds", "--tag", "databases", "--tag", "secret")
    before = run(capsys, "verify_deploy", *tags, "--format", "json", "--facts", str(file))
    assert re.fullmatch(rf"Wrote {file}: \d+ facts, secrets masked\.\n", before.err)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    made.put(host="gone.example.net")
    after = run(capsys, "verify_deploy", *tags, "--format", "json", "--replay", str(file))
    changed = {check: status for check, status in statuses(after).items() if status != statuses(before)[check]}
    assert {(check.split(".")[0], status) for check, status in changed.items()} == {("secret", "unknown")}
    assert (after.err, after.code) == ("", 2)
    narrow = run(capsys, "verify_deploy", "--only", "django.check-deploy", "--replay", str(file))
    assert (narrow.code, "The file of facts has no project." in narrow.out) == (2, True)
    other = run(capsys, "verify_deploy", "--replay", str(file), "--stage", "launch")
    assert other == Result(
        "",
        "Error: The facts were read for the stage pre-launch.\nHint: Leave --stage out, or read them again.\n",
        2,
    )


@pytest.mark.parametrize(
    ("options", "looking", "idle"),
    [
        (("--replay", "f", "--url", "https://x", "--facts", "g"), "--replay", "--url and --facts"),
        (("--replay", "f", "--tenant", "one"), "--replay", "--tenant"),
        (("--replay", "f", "--send-test-mail", "a@b.c"), "--replay", "--send-test-mail"),
        (("--list", "--replay", "f"), "--list", "--replay"),
        (("--explain", "rds.encrypted", "--diff", "f"), "--explain", "--diff"),
        (("--iam-policy", "--facts", "f"), "--iam-policy", "--facts"),
        (("--list", "--fire-test"), "--list", "--fire-test"),
        (("--explain", "rds.encrypted", "--fire-test"), "--explain", "--fire-test"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(capsys, options, looking, idle):
    assert run(capsys, "verify_deploy", *options) == (
        "",
        f"Error: {looking} looks at nothing, so that {idle} would do nothing.\nHint: Leave one of them out.\n",
        2,
    )


def test_diff_shows_what_changed(capsys, made, tmp_path, settings):
    old = tmp_path / "old.json"
    options = ("verify_deploy", "--only", "rds.not-public", "rds.deletion-protection")
    assert run(capsys, *options, "--output", str(old)).code == 1
    same = run(capsys, *options, "--diff", str(old))
    assert (same.out.splitlines()[0], same.code) == ("Nothing changed.", 1)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "nobody-knows-it"}
    worse = run(capsys, *options, "--diff", str(old), "--format", "json")
    changes = {change["check"]: change["after"] for change in json.loads(worse.out)["changes"] if change["after"]}
    assert changes == {"rds.not-public": "fail", "rds.deletion-protection": "fail"}
    nothing = run(capsys, *options, "--diff", str(tmp_path / "none.json"))
    assert nothing.err.startswith(f"Error: {tmp_path}/none.json could not be read: No such file or directory.\n")
    assert (nothing.out, nothing.code) == ("", 2)


#: `manage.py`, with clocks that are some minutes fast.
LATER = """
import datetime, sys

class Later(datetime.datetime):
    __slots__ = ()

    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(minutes=int(sys.argv[1]))

datetime.datetime = Later
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[2:]])
"""


#: The local cloud's log is written away once, and then grows old.
STANDS = ("--exclude", "rds.restorable")


def verify_later(made, minutes: int, *options: object) -> tuple[str, str]:
    """`verify_deploy` in a process of its own, some minutes later: its stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", LATER, str(minutes), "verify_deploy", *map(str, options), *STANDS],
        cwd=Path(__file__).parent.parent.parent,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings",
            "PYTHONHASHSEED": str(minutes),
            **made.environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.stderr


@pytest.mark.slow
def test_two_runs_some_minutes_apart_say_the_same_by_the_letter(made, tmp_path):
    """Everything but what was measured, whatever order Python gives to its sets."""
    said = []
    for minutes in (1, 8):
        report = tmp_path / f"{minutes}.json"
        assert verify_later(made, minutes, "--output", report)[1].startswith(f"Wrote {report}. ")
        said.append(report.read_text().partition('\n  "measured": '))
    before, after = said
    assert before[0] == after[0]
    assert {"connection.connect", "secret.not-in-code", "rds.certificate"} <= set(
        re.findall(r'check": "(.+)"', before[0])
    )
    assert before[2] != after[2]
    out, err = verify_later(made, 15, "--diff", tmp_path / "1.json")
    assert (out.splitlines()[0], err) == ("Nothing changed.", "")


def test_the_fail_level_and_the_stage(capsys, made):
    options = ("verify_deploy", "--only", "rds.deletion-protection", "--format", "json")
    assert [run(capsys, *options, "--fail-level", level).code for level in ("high", "critical")] == [1, 0]
    assert [json.loads(run(capsys, *options, "--stage", stage).out)["stage"] for stage in STAGES] == list(STAGES)


def test_one_tenant_alone(capsys, made):
    one, two = made.tenants
    connected = run(capsys, "check_rds", "--tenant", two)
    assert (f"database {two}," in connected.out, connected.code) == (True, 0)
    found = json.loads(run(capsys, "verify_deploy", "--tag", "databases", "--tenant", two, "--format", "json").out)
    resources = {finding["resource"] for finding in found["findings"]}
    assert two in resources and one not in resources
    assert run(capsys, "check_rds", "--tenant", "nobody") == Result(
        "",
        f'Error: There is no tenant nobody in DEPLOYTOOLS["TENANTS"].\nHint: The tenants are: {one}, {two}.\n',
        2,
    )


def test_explain_says_everything_about_a_check(capsys, deployment, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "verify_deploy", "--explain", "rds.deletion-protection")
    lines = result.out.splitlines()
    assert lines[0] == "rds.deletion-protection: The RDS instance is protected against deletion"
    assert [line.split(":")[0] for line in lines[2:] if line[0] != " "] == [
        "Why", "Looks at", "To mend", "Severity", "Guide", "Peers", "Tags",
    ]  # fmt: skip
    assert "rds instance (rds:DescribeDBInstances)" in " ".join(result.out.split())
    assert max(map(len, lines)) <= 80
    nothing = run(capsys, "verify_deploy", "--explain", "rds.deletion")
    assert nothing.err.startswith("Error: There is no check rds.deletion.\nHint: Did you mean rds.deletion-protection")
    assert nothing.code == 2


def test_the_list_as_json_and_not_as_html(capsys, deployment):
    (check,) = json.loads(run(capsys, "verify_deploy", "--list", "--only", "rds.encrypted", "--format", "json").out)
    assert (check["id"], check["stage"], check["facts"]) == ("rds.encrypted", "pre-launch", ["rds_instance"])
    assert "rds:DescribeDBInstances" in check["actions"]
    assert run(capsys, "verify_deploy", "--list", "--format", "html") == Result(
        "",
        "Error: The list of checks does not come as html.\nHint: It comes as text, json, markdown.\n",
        2,
    )


def test_the_list_needs_no_tenants(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"TENANTS": []}
    assert run(capsys, "verify_deploy", "--list").code == 0
    assert run(capsys, "verify_deploy", "--iam-policy").code == 0


def test_the_shop_asks_for_products(capsys, made):
    options = ("verify_deploy", "--tag", "shop", "--stage", "launch", "--format", "json")

    def answer():
        result = run(capsys, *options)
        (finding,) = json.loads(result.out)["findings"]
        return finding["status"], finding["evidence"], result.code

    assert answer() == ("not applicable", "there are no tables yet (see databases.migrated)", 2)
    with made.login().connect(made.tenants[0]) as session:
        session.execute("CREATE TABLE order_product (id int)")
        assert answer() == ("fail", "there is no product", 1)
        session.execute("INSERT INTO order_product VALUES (1), (2)")
    assert answer() == ("pass", "2 products", 0)


@pytest.fixture
def calls(monkeypatch):
    """The IAM actions of all calls to AWS that are made meanwhile."""
    recorded, prefixes = set(), {"monitoring": "cloudwatch", "email": "ses"}

    def record(**context):
        model = context["model"]
        service = model.service_model.signing_name
        recorded.add(f"{prefixes.get(service, service)}:{model.name}")

    class Recording(BotocoreSession):
        def __init__(self):
            super().__init__()
            self.register("before-call", record)

    monkeypatch.setattr("deploytools.aws.BotocoreSession", Recording)
    return recorded


def test_the_policy_is_exactly_what_is_called(capsys, made, settings, calls):
    """What the local account has nothing of (a bastion host, say) is not asked for, and is allowed all the same."""
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "startupwebapp-multi-tenant-prod"}
    document = json.loads(run(capsys, "verify_deploy", "--iam-policy").out)
    assert calls == set()
    statements = [statement for statement in document["Statement"] if statement["Sid"] != "Decryption"]
    allowed = {action for statement in statements for action in statement["Action"]}
    run(capsys, "verify_deploy", "--format", "json")
    assert calls <= allowed
    assert calls >= {
        "sts:GetCallerIdentity",
        "secretsmanager:GetSecretValue",
        "secretsmanager:DescribeSecret",
        "rds:DescribeDBInstances",
    }


def test_the_policy_lets_the_tenants_own_secrets_be_read(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {
        "ISOLATION": "role-per-tenant",
        "TENANT_SECRET_PREFIX": "rds/tenants/",
    }
    document = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--only", "databases.login").out)
    (reading,) = [item for item in document["Statement"] if "secretsmanager:GetSecretValue" in item["Action"]]
    assert reading["Resource"][1] == "arn:aws:secretsmanager:us-east-1:*:secret:rds/tenants/*"


def test_the_policy_of_some_checks_only(capsys, deployment):
    document = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--only", "secret.not-shared").out)
    others, secret, logins, key = document["Statement"]
    assert (others["Action"], others["Resource"]) == (["sts:GetCallerIdentity"], "*")
    assert secret["Action"] == ["secretsmanager:GetResourcePolicy"]
    arn = f"arn:aws:secretsmanager:us-east-1:*:secret:{deployment.name}-??????"
    assert secret["Resource"] == logins["Resource"] == arn
    assert key["Condition"]["StringLike"] == {"kms:EncryptionContext:SecretARN": arn}
    nothing = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--only", "django.check-deploy").out)
    assert nothing["Statement"] == []
