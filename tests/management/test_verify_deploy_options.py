"""Options of `verify_deploy`: waivers, differences, selection, IAM policy, address."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest

from deploytools.conf import GROUPINGS, STAGES
from tests.management.runner import Result, run, statuses


@pytest.mark.slow
def test_the_url_can_be_overridden(capsys, made):
    options = ("verify_deploy", "--only", "web.health", "--format", "json")
    assert statuses(run(capsys, *options)) == {"web.health": "not applicable"}
    refused = run(capsys, *options, "--url", "https://127.0.0.1:9")
    assert (statuses(refused), refused.code) == ({"web.health": "fail"}, 1)
    assert json.loads(refused.out)["findings"][0]["evidence"] == "no response: Connection refused"


@pytest.mark.parametrize("group_by", GROUPINGS)
def test_presets_that_are_not_chosen_have_no_checks(capsys, made, settings, tmp_path, group_by):
    """The secret has keys of Stripe and mail, which are unrecognized then."""
    others = {key: value for key, value in settings.DEPLOYTOOLS.items() if key != "PRESETS"}
    settings.DEPLOYTOOLS = others | {"GROUP_BY": group_by}
    checks = {check["id"] for check in json.loads(run(capsys, "verify_deploy", "--list", "--format", "json").out)}
    assert {id for id in checks if re.match(r"mail\.|secret\.(mail|stripe)", id)} == set()
    assert {"secret.complete", "secret.django-key"} <= checks
    assert "ses:GetAccount" not in run(capsys, "verify_deploy", "--iam-policy").out
    paths = [tmp_path / f"report.{suffix}" for suffix in ("txt", "json", "xml", "html", "md")]
    run(capsys, "verify_deploy", "--tag=secret", "--tag=django", *(f"--output={path}" for path in paths))
    for path in paths:
        assert re.findall(r"(?i)stripe|smtp|email_\w+", path.read_text(encoding="utf-8")) == [], path.suffix
    assert run(capsys, "verify_deploy", "--only", "mail.login").err.startswith(
        "Error: The check mail.login does not exist.\n"
    )


PROTECTION = {
    "check": "rds.deletion-protection",
    "resource": "startupwebapp-multi-tenant-prod",
    "reason": "moves on Monday",
    "owner": "ops@example.com",
}


def expiring(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


@pytest.mark.slow
def test_a_waiver_is_shown_and_counted_until_it_expires(capsys, made, settings):
    waiver = PROTECTION | {"expires": expiring(30)}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [waiver]}
    found = run(capsys, "verify_deploy", "--tag", "rds")
    assert found.code == 0
    assert f"waived: moves on Monday (ops@example.com, until {waiver['expires']})" in " ".join(found.out.split())
    assert re.search(r"\b1 waived\b", found.out.splitlines()[-1])
    strict = run(capsys, "verify_deploy", "--tag", "rds", "--no-waivers")
    assert (strict.code, "waived" in strict.out) == (1, False)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [PROTECTION | {"expires": expiring(-1)}]}
    expired = statuses(run(capsys, "verify_deploy", "--tag", "rds", "--format", "json"))
    assert (expired["rds.deletion-protection"], expired["waivers.in-force"]) == ("fail", "fail")


@pytest.mark.slow
def test_a_waiver_of_an_unknown_check(capsys, made, settings):
    unknown = PROTECTION | {"check": "rds.deletion-protected", "expires": expiring(3)}
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"WAIVERS": [unknown]}
    result = run(capsys, "verify_deploy", "--tag", "rds")
    assert result.err.startswith(
        "Error: The check rds.deletion-protected does not exist.\nHint: Did you mean rds.deletion-protection"
    )
    assert (result.out, result.code) == ("", 2)


@pytest.mark.slow
def test_diff_shows_what_changed(capsys, made, tmp_path, settings):
    old = tmp_path / "old.json"
    options = ("verify_deploy", "--only", "rds.not-public", "rds.deletion-protection")
    assert run(capsys, *options, "--output", str(old)).code == 1
    same = run(capsys, *options, "--diff", str(old))
    assert (same.out.splitlines()[0], same.code) == ("No changes.", 1)
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"RDS_INSTANCE": "no-such-instance"}
    worse = run(capsys, *options, "--diff", str(old), "--format", "json")
    changes = {change["check"]: change["after"] for change in json.loads(worse.out)["changes"] if change["after"]}
    assert changes == {"rds.deletion-protection": "unknown", "rds.not-public": "fail"}
    nothing = run(capsys, *options, "--diff", str(tmp_path / "none.json"))
    assert nothing.err.startswith(f"Error: {tmp_path}/none.json could not be read: No such file or directory.\n")
    assert (nothing.out, nothing.code) == ("", 2)


#: `manage.py` with a clock that is some minutes fast.
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


#: The log of the local cloud is archived once, so that its age grows.
STANDS = ("--exclude", "rds.restorable")


def verify_later(made, minutes: int, *options: object) -> tuple[str, str]:
    """Run `verify_deploy` in a separate process, some minutes later; return its stdout and stderr."""
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
def test_two_runs_are_identical_except_for_measured_values(made, tmp_path):
    """In any order of Python's sets."""
    outputs = []
    for minutes in (1, 8):
        report = tmp_path / f"{minutes}.json"
        assert verify_later(made, minutes, "--output", report)[1].startswith(f"Wrote {report}. ")
        outputs.append(report.read_text().partition('\n  "measured": '))
    before, after = outputs
    assert before[0] == after[0]
    assert {"connection.connect", "secret.not-in-code", "rds.certificate"} <= set(
        re.findall(r'check": "(.+)"', before[0])
    )
    assert before[2] != after[2]
    out, err = verify_later(made, 15, "--diff", tmp_path / "1.json")
    assert (out.splitlines()[0], err) == ("No changes.", "")


@pytest.mark.slow
def test_the_fail_level_and_the_stage(capsys, made):
    options = ("verify_deploy", "--only", "rds.deletion-protection", "--format", "json")
    assert [run(capsys, *options, "--fail-level", level).code for level in ("high", "critical")] == [1, 0]
    assert [json.loads(run(capsys, *options, "--stage", stage).out)["stage"] for stage in STAGES] == list(STAGES)


@pytest.mark.slow
def test_one_tenant_alone(capsys, made):
    one, two = made.tenants
    connected = run(capsys, "check_rds", "--tenant", two)
    assert (f"database {two}," in connected.out, connected.code) == (True, 0)
    found = json.loads(run(capsys, "verify_deploy", "--tag", "databases", "--tenant", two, "--format", "json").out)
    resources = {finding["resource"] for finding in found["findings"]}
    assert two in resources and one not in resources
    assert run(capsys, "check_rds", "--tenant", "unknown") == Result(
        "",
        f'Error: DEPLOYTOOLS["TENANTS"] has no tenant unknown.\nHint: Use one of: {one}, {two}.\n',
        2,
    )


def test_explain(capsys, deployment, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = run(capsys, "verify_deploy", "--explain", "rds.deletion-protection")
    lines = result.out.splitlines()
    assert lines[0] == "rds.deletion-protection: Deletion protection is enabled"
    assert [line.split(":")[0] for line in lines[2:] if line[0] != " "] == [
        "Why", "Reads", "Fix", "Severity", "Guide", "References", "Tags",
    ]  # fmt: skip
    assert "rds instance (rds:DescribeDBInstances, rds:DescribeDBClusters)" in " ".join(result.out.split())
    assert [line.split()[:2] for line in lines if len(line) > 80] == [["aws", "rds"]]
    nothing = run(capsys, "verify_deploy", "--explain", "rds.deletion")
    assert nothing.err.startswith(
        "Error: The check rds.deletion does not exist.\nHint: Did you mean rds.deletion-protection"
    )
    assert nothing.code == 2


def test_formats_of_the_list(capsys, deployment):
    (check,) = json.loads(
        run(capsys, "verify_deploy", "--list", "--only", "rds.storage-encrypted", "--format", "json").out
    )
    assert (check["id"], check["stage"]) == ("rds.storage-encrypted", "pre-launch")
    assert check["facts"] == ["rds_instance", "storage_key_state"]
    assert "rds:DescribeDBInstances" in check["actions"]
    assert run(capsys, "verify_deploy", "--list", "--format", "html") == Result(
        "",
        "Error: The list of checks is not available as html.\nHint: Use --format text, json or markdown.\n",
        2,
    )


def test_information_needs_no_tenants(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"TENANTS": []}
    assert run(capsys, "verify_deploy", "--list").code == 0
    assert run(capsys, "verify_deploy", "--iam-policy").code == 0


@pytest.mark.slow
def test_the_check_of_the_shop(capsys, made):
    options = ("verify_deploy", "--tag", "shop", "--stage", "launch", "--format", "json")

    def answer():
        result = run(capsys, *options)
        (finding,) = json.loads(result.out)["findings"]
        return finding["status"], finding["evidence"], result.code

    assert answer() == ("not applicable", "the tables do not exist yet (see databases.migrated)", 2)
    with made.login().connect(made.tenants[0]) as session:
        session.execute("CREATE TABLE order_product (id int)")
        assert answer() == ("fail", "there is no product", 1)
        session.execute("INSERT INTO order_product VALUES (1), (2)")
    assert answer() == ("pass", "products: 2", 0)


@pytest.fixture
def calls(monkeypatch):
    """Record the IAM actions of all calls to AWS."""
    recorded, prefixes = set(), {"monitoring": "cloudwatch", "email": "ses"}

    def record(**context):
        model = context["model"]
        service = model.service_model.signing_name
        recorded.add(f"{prefixes.get(service, service)}:{model.name}")

    class Recording(boto3.Session):
        def __init__(self, **options):
            super().__init__(**options)
            self.events.register("before-call", record)

    monkeypatch.setattr("deploytools.aws.boto3.Session", Recording)
    return recorded


@pytest.mark.slow
def test_the_policy_allows_all_calls(capsys, made, settings, calls):
    """Actions for resources that the local account does not have, such as a bastion host, are allowed, too."""
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


def test_the_policy_allows_the_tenants_own_secrets(capsys, deployment, settings):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {
        "ISOLATION": "role-per-tenant",
        "TENANT_SECRET_PREFIX": "rds/tenants/",
    }
    document = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--only", "databases.login").out)
    (reading,) = [item for item in document["Statement"] if "secretsmanager:GetSecretValue" in item["Action"]]
    assert reading["Resource"][1] == "arn:aws:secretsmanager:us-east-1:*:secret:rds/tenants/*"


def test_the_policy_of_selected_checks(capsys, deployment):
    document = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--only", "secret.not-shared").out)
    others, secret, logins, key = document["Statement"]
    assert (others["Action"], others["Resource"]) == (["sts:GetCallerIdentity"], "*")
    assert secret["Action"] == ["secretsmanager:GetResourcePolicy"]
    arn = f"arn:aws:secretsmanager:us-east-1:*:secret:{deployment.name}-??????"
    assert secret["Resource"] == logins["Resource"] == arn
    assert key["Condition"]["StringLike"] == {"kms:EncryptionContext:SecretARN": arn}
    nothing = json.loads(run(capsys, "verify_deploy", "--iam-policy", "--only", "django.check-deploy").out)
    assert nothing["Statement"] == []
