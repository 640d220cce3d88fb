"""`sync_secrets` compared with the commands of the guide that it replaces, with an emulator on loopback.

Each case is a process. The network latency of AWS is not included.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

from tests.bench.measure import environment_line, in_turns, table

ROOT = Path(__file__).parent.parent.parent
NAME = "bench/shop"
#: The guide's own secret: moto leaves two versions current where ``update-secret`` follows a moved label.
GUIDES = "bench/guide"
ROUNDS = 11
GUIDE = "the guide's three commands (`get`, `update-secret`, `get`)"
GET = "`aws secretsmanager get-secret-value`"
PLAN = "`sync_secrets FILE --plan`"
WRITE = "`sync_secrets FILE --noinput`, a real change"

DOCUMENT = {
    "host": "db.mosaicmeshai.com",
    "port": 5432,
    "username": "django_app",
    "password": "q7Zt2mXc9LbV4nRk8WsY3pHd6JfGa1Te",
    "django_secret_key": "k3v8w1z5x7c9b2n4m6l0pQwErTyUiOpAsDfGhJkLzQwErTyUiOp",
    "email_host": "smtp.gmail.com",
    "email_port": 587,
}
#: The minimum: the interpreter, Django's setup, one AWS client, one call.
FLOOR = (
    "import django, boto3; django.setup();"
    f"boto3.client('secretsmanager').get_secret_value(SecretId={NAME!r}, VersionStage='AWSCURRENT')"
)


def run() -> str:
    """Return the section for docs/benchmarks.md."""
    with tempfile.TemporaryDirectory() as directory, emulator() as environment:
        client = boto3.client("secretsmanager", endpoint_url=environment["AWS_ENDPOINT_URL"])
        for name in (NAME, GUIDES):
            client.create_secret(Name=name, SecretString=json.dumps(DOCUMENT))
        seconds = in_turns(cases(Path(directory), environment), rounds=ROUNDS)
    unit, versions = seconds[GET], [f"{name} {version(name)}" for name in ("Django", "boto3")]
    rows = [[name, f"{taken:.2f}", f"{taken / unit:.2f}"] for name, taken in seconds.items()]
    return (
        "## Secrets\n\n"
        f"{environment_line(*versions, aws_version())} "
        f"Median of {ROUNDS - 1} runs each, in turns; moto on loopback.\n\n"
        f"{table(['', 'seconds', 'ratio'], rows)}\n\n"
        f"A plan takes {seconds[PLAN] / seconds[FLOOR_NAME]:.2f} of what interpreter, Django and one AWS client take. "
        f"A write, with its verification, takes {seconds[WRITE] / seconds[GUIDE]:.2f} of the guide's three commands."
    )


FLOOR_NAME = "interpreter, `django.setup()`, one client, one call"


@contextmanager
def emulator() -> Iterator[dict[str, str]]:
    """Run Secrets Manager on loopback; yield an environment that uses only that."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    os.environ.update(aws)
    yield (
        os.environ
        | aws
        | {
            "DJANGO_SETTINGS_MODULE": "StartupWebApp.settings",
            "DB_SECRET_NAME": NAME,
            "PYTHONPATH": str(ROOT),
        }
    )
    server.stop()


def cases(directory: Path, environment: dict[str, str]) -> dict[str, Callable[[], object]]:
    """Return the cases. The file is changed before each write, so that there is a difference."""
    file, whole = directory / "values.json", directory / "whole.json"
    changes = iter(range(1_000, 9_999))

    def process(*command: str) -> None:
        subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)

    def change() -> None:
        number = next(changes)
        for path, values in ((file, {"email_port": number}), (whole, DOCUMENT | {"email_port": number})):
            path.write_text(json.dumps(values))
            path.chmod(0o600)

    def aws(*arguments: str) -> None:
        process("aws", "secretsmanager", *arguments, "--secret-id", GUIDES)

    def sync(*arguments: str) -> None:
        change()
        process(sys.executable, "manage.py", "sync_secrets", str(file), *arguments)

    def guide() -> None:
        change()
        aws("get-secret-value")
        aws("update-secret", "--secret-string", f"file://{whole}")
        aws("get-secret-value")

    return {
        FLOOR_NAME: lambda: process(sys.executable, "-c", FLOOR),
        GET: lambda: aws("get-secret-value"),
        PLAN: lambda: sync("--plan"),
        WRITE: lambda: sync("--noinput"),
        GUIDE: guide,
    }


def aws_version() -> str:
    """Return the version of the AWS CLI on the PATH."""
    if shutil.which("aws") is None:
        raise SystemExit("The AWS CLI is not on the PATH; install it: pip install awscli")
    output = subprocess.run(["aws", "--version"], capture_output=True, text=True, check=True).stdout
    return output.split()[0].replace("/", " ")
