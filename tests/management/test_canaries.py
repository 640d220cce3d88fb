"""No secret value appears in any output, log, argument, temporary file, report, traceback or in the server's log.

Every value of the secret is a canary. Every command runs in its own process with DEBUG logs of boto3, psycopg and
Django, ``--traceback`` and ``--verbosity 3``, with and without success.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.deployment import Deployment, canary_values
from tests.fakes.endpoints import closed

ROOT = Path(__file__).parent.parent.parent
LOUD = ["--traceback", "--verbosity", "3"]


def canaries(deployment: Deployment) -> dict[str, str]:
    """Return what must not appear anywhere: each sensitive value, plain and encoded."""
    values = [value for value in deployment.initial().values() if "canary" in str(value)]
    values += [
        deployment.postgres.master.password.reveal(),
        f"canary-nested-{deployment.name}",
        f"newCanary{deployment.name}",
    ]
    found = {}
    for value in map(str, values):
        for kind, encoded in {
            "plain": value,
            "base64": base64.b64encode(value.encode()).decode().rstrip("="),
            "url": urllib.parse.quote(value, safe=""),
            "json": json.dumps(value)[1:-1],
        }.items():
            found[f"{kind} of {value[:12]}"] = encoded
    return found


class Watched:
    """Runs commands and collects everything that others could see of them."""

    def __init__(self, deployment: Deployment, directory: Path, **environment: str) -> None:
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = keep | dict(deployment.environment) | {
            "LOG_LEVEL": "DEBUG",
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "tests.loud_settings",
        } | environment  # fmt: skip
        self.seen: list[str] = []
        #: Variables that the user has set to a credential, for --from-env.
        self.given = {name for name in environment if name.startswith("GIVEN")}
        self.codes: list[int] = []
        self.command_lines = 0

    def run(self, *arguments: str, stdin: str = "") -> int:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        self.command_lines = 0
        watcher = threading.Thread(target=self._watch, args=(process.pid,))
        watcher.start()
        out, _ = process.communicate(stdin, timeout=60)
        watcher.join()
        assert self.command_lines > 0, "the arguments of the process were not seen"
        self.seen.append(out)
        self.seen += [path.read_text(errors="replace") for path in self.temporary.rglob("*") if path.is_file()]
        self.codes.append(process.returncode)
        return process.returncode

    def _watch(self, pid: int) -> None:
        """Collect the arguments of the process, which every user can read, and its environment and open files."""
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            while process.status() != psutil.STATUS_ZOMBIE:
                with suppress(psutil.AccessDenied, psutil.ZombieProcess, OSError):  # The process is changing its state.
                    self._collect(process)
                threading.Event().wait(0.05)

    def _collect(self, process: psutil.Process) -> None:
        if command_line := process.cmdline():
            self.command_lines += 1
            self.seen.append(" ".join(command_line))
        self.seen += [value for name, value in process.environ().items() if name not in self.given]
        self.seen += [
            Path(file.path).read_text(errors="replace") for file in process.open_files() if "tmp" in file.path
        ]


def leaks(deployment: Deployment, watched: Watched, values: dict[str, str]) -> set[str]:
    everything = "\n".join([*watched.seen, deployment.postgres.log()])
    return {name for name, value in values.items() if value in everything}


@pytest.mark.slow
def test_success(deployment, tmp_path):
    watched, values, new = Watched(deployment, tmp_path), canaries(deployment), f"newCanary{deployment.name}"
    given = {
        "email_password": f"{new}-mail",
        "email_host": "smtp.new-canary-host.net",
        "extra": new,
    }
    watched.run("sync_secrets", "-", "--new-key=extra", "--noinput", *LOUD, stdin=json.dumps(given))
    watched.run("create_tenant_dbs", "--noinput", *LOUD)
    watched.run("check_rds", "--settings", "tests.loud_production", *LOUD)
    reports = tmp_path / "reports"
    reports.mkdir()
    names = ("a.txt", "a.json", "a.xml", "a.html", "a.md")
    outputs = [part for name in names for part in ("--output", str(reports / name))]
    watched.run("verify_deploy", "--format", "github", *outputs, *LOUD)
    watched.seen += [path.read_text() for path in reports.iterdir()]
    assert len(list(reports.iterdir())) == len(names)
    assert watched.codes == [0, 0, 0, 1]
    assert leaks(deployment, watched, values) == set()
    assert "botocore" in "".join(watched.seen), "DEBUG logs are disabled"


@pytest.mark.slow
def test_options_that_give_values(deployment, tmp_path):
    new, iam_key = f"newCanary{deployment.name}", "canaryIamSecretKey/AbCdEfGhIjKlMnOpQrStU"
    watched = Watched(deployment, tmp_path, GIVEN_MAIL=f"{new}-mail", GIVEN_IAM_KEY=iam_key)
    values = canaries(deployment) | {"the IAM secret key": iam_key}
    watched.run("sync_secrets", "--from-env=email_password=GIVEN_MAIL", "--unset=other_tools_key", "--noinput", *LOUD)
    watched.run("sync_secrets", "--regenerate=password", "--noinput", *LOUD)
    values["the generated password"] = deployment.document()["password"]
    arguments = ["--set=email_user=AKIAIOSFODNN7ABCDEFG", "--from-env=email_password=GIVEN_IAM_KEY"]
    watched.run("sync_secrets", "--email=ses", *arguments, "--noinput", "--format=json", *LOUD)
    values["the derived SMTP password"] = deployment.document()["email_password"]
    watched.run("sync_secrets", "--show", *LOUD)
    watched.run("sync_secrets", "--show", "--format=json", *LOUD)
    watched.run("sync_secrets", "--rollback", "--noinput", *LOUD)
    watched.run("sync_secrets", "--template=-", *LOUD)
    watched.run("sync_secrets", "--regenerate=django_secret_key", "--noinput", *LOUD)
    values["the new key"] = deployment.document()["django_secret_key"]
    assert deployment.document()["django_secret_key_fallbacks"] == [deployment.initial()["django_secret_key"]]
    watched.run("sync_secrets", "--history", *LOUD)
    watched.run("sync_secrets", "--history", "--format=json", *LOUD)
    watched.run("sync_secrets", "--rollback=0m", "--plan", "--format=json", *LOUD)
    watched.run("sync_secrets", "--rollback", "--key=django_secret_key", "--noinput", *LOUD)
    watched.run("sync_secrets", "--regenerate=django_secret_key", "--leaked", "--noinput", *LOUD)
    values["the last key"] = deployment.document()["django_secret_key"]
    watched.run("sync_secrets", "--rollback", "--noinput", "--format=json", *LOUD)
    assert watched.codes == [0] * 14
    assert len(values["the derived SMTP password"]) == 44
    assert leaks(deployment, watched, values) == set()


@pytest.mark.slow
def test_failures_of_options_that_give_values(deployment, tmp_path):
    new = f"newCanary{deployment.name}"
    watched, values = Watched(deployment, tmp_path, GIVEN=f"{new} wrong "), canaries(deployment)
    bad, another = (json.dumps(deployment.initial() | change) for change in ({"password": f"{new} wrong"}, {"x": new}))
    watched.run("sync_secrets", "-", "--validate", *LOUD, stdin=bad)
    watched.run("sync_secrets", "-", "--create", "--noinput", *LOUD, stdin=another)
    watched.run("sync_secrets", "--from-env=password=GIVEN", "--from-env=port=GIVEN", "--noinput", *LOUD)
    deployment.put_text(json.dumps(deployment.initial())[:-5])
    watched.run("sync_secrets", "--rollback", "--noinput", *LOUD)
    watched.run("sync_secrets", "--show", *LOUD)
    deployment.put(unknown=f"{new}-padded ", copied=f"{new}-padded ")
    watched.run("sync_secrets", "-", "--noinput", "--format=json", *LOUD, stdin=json.dumps({"pasword": new}))
    watched.run("sync_secrets", "-", "--plan", "--format=json", *LOUD, stdin=json.dumps({"unknown": f" {new}"}))
    watched.run("sync_secrets", "--rollback=nope", "--noinput", "--format=json", *LOUD)
    watched.environment["AWS_ENDPOINT_URL"] = closed()
    watched.run("sync_secrets", "-", "--create", "--noinput", *LOUD, stdin=json.dumps(deployment.initial()))
    assert watched.codes == [1, 1, 1, 2, 2, 1, 0, 2, 2]
    assert leaks(deployment, watched, values) == set()


@pytest.mark.slow
@pytest.mark.xdist_group("templates")  # `--prune-templates` of another test would drop its template.
def test_migrations(deployment, tmp_path):
    account = {
        "superuser_username": "boss",
        "superuser_password": f"canary-Zx81{deployment.name}",
    }
    deployment.put(**account)
    apps = "django.contrib.contenttypes,django.contrib.auth"
    watched = Watched(deployment, tmp_path, DJANGO_SETTINGS_MODULE="tests.loud_fleet", FLEET_APPS=apps, FLEET="v1")
    watched.run("create_tenant_dbs", "--migrate", "--superuser", "--noinput", *LOUD)
    watched.environment["FLEET"] = "failing"
    watched.run("migrate_tenants", "--noinput", "--keep-going", *LOUD)
    watched.environment["FLEET"] = "v2"
    watched.run("migrate_tenants", "--noinput", *LOUD)
    assert watched.codes == [0, 2, 0]
    values = canaries(deployment) | {"superuser's password": account["superuser_password"]}
    assert leaks(deployment, watched, values) == set()


@pytest.mark.slow
def test_failures(deployment, tmp_path):
    watched, values, new = Watched(deployment, tmp_path), canaries(deployment), f"newCanary{deployment.name}"
    bad = dict.fromkeys(canary_values(deployment.name), f"{new} wrong value ") | {"port": new}
    watched.run("sync_secrets", "-", "--noinput", *LOUD, stdin=json.dumps(bad))
    watched.run("sync_secrets", "-", "--noinput", *LOUD, stdin=f'{{"password": {new}}}')
    deployment.put(master_password=deployment.initial()["password"])
    watched.run("create_tenant_dbs", "--noinput", *LOUD)
    watched.run("check_rds", *LOUD)
    deployment.put(host=None)
    watched.run("verify_deploy", *LOUD)
    deployment.put_text(json.dumps(deployment.initial())[:-5])
    watched.run("check_rds", *LOUD)
    watched.run("sync_secrets", "-", "--noinput", *LOUD, stdin='{"email_port": 25}')
    assert watched.codes == [1, 2, 2, 1, 2, 2, 2]
    assert leaks(deployment, watched, values) == set()


@pytest.mark.slow
def test_production_settings(deployment, tmp_path):
    watched, values = (
        Watched(deployment, tmp_path, DJANGO_SETTINGS_MODULE="tests.loud_production"),
        canaries(deployment),
    )
    watched.run("check_rds", *LOUD)
    deployment.put(django_secret_key=None)
    watched.run("check_rds", *LOUD)
    assert watched.codes == [1, 2]
    assert leaks(deployment, watched, values) == set()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["out", "log", "file"])
def test_search_finds_values(deployment, tmp_path, where):
    watched, values = Watched(deployment, tmp_path), canaries(deployment)
    secret = deployment.initial()["password"]
    if where == "out":
        watched.run("shell", "--command", f"print({secret!r})")
    elif where == "file":
        (watched.temporary / "left").write_text(secret)
        watched.run("version")
    else:
        with deployment.postgres.admin() as admin:
            admin.execute(f"CREATE ROLE {deployment.name}_leak PASSWORD '{secret}'")
    assert leaks(deployment, watched, values)
