"""`verify_deploy` and `check_rds` with 3 and 300 tenants, compared with a bare script, and where the time goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploytools.local.cloud_environment import merged
from tests.bench.measure import environment_line, in_turns, table
from tests.local_cloud import separate_cloud, shop_variables

ROOT = Path(__file__).parent.parent.parent
FEW, MANY = 3, 300
ROUNDS = 6

#: Facts that are read from PostgreSQL. Other facts that declare IAM actions are read from AWS.
POSTGRES = frozenset(
    {
        "connection_attempt",
        "accepted_password",
        "connection",
        "server_catalog",
        "product_count",
        "connection_slots",
        "tenant_logins",
    }
)  # fmt: skip

#: The same by hand: the secret, a login, one query, with Django set up as in the application.
BARE = """
import json, os, django
django.setup()
import boto3, psycopg
client = boto3.client("secretsmanager", region_name=os.environ["AWS_REGION"])
secret = json.loads(client.get_secret_value(SecretId=os.environ["DB_SECRET_NAME"])["SecretString"])
with psycopg.connect(
    host=secret["host"], hostaddr=os.environ["DB_HOSTADDR"], port=secret["port"], user=secret["username"],
    password=secret["password"], dbname=os.environ["DATABASE_NAME"], sslmode="verify-full",
    sslrootcert=os.environ["DB_SSLROOTCERT"],
) as connection:
    assert connection.execute("SELECT 1").fetchone() == (1,)
"""

Environment = Mapping[str, str]


def run() -> str:
    """Create 300 tenants on a separate local cloud, and measure."""
    with separate_cloud() as cloud:
        environment = merged(shop_variables(cloud), os.environ) | {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings"}
        few, many = _with_tenants(environment, FEW), _with_tenants(environment, MANY)
        _manage(many, "create_tenant_dbs", "--noinput")
        seconds = in_turns(_cases(few, many), rounds=ROUNDS)
        return _section(seconds, _parts(few), _parts(many), f"PostgreSQL {cloud.main.major}")


def _cases(few: Environment, many: Environment) -> dict[str, Callable[[], object]]:
    return {
        "start": lambda: _manage(few, "verify_deploy", "--list"),
        "few": lambda: _manage(few, "verify_deploy"),
        "many": lambda: _manage(many, "verify_deploy"),
        "check_rds": lambda: _manage(few, "check_rds"),
        "bare": lambda: _run(few, "-c", BARE),
    }


def _with_tenants(environment: Environment, number: int) -> Environment:
    names = [f"bench_{index:03}" for index in range(number)]
    return {**environment, "TENANTS": ",".join(names), "DATABASE_NAME": names[0]}


def _manage(environment: Environment, *arguments: str) -> str:
    return _run(environment, "manage.py", *arguments)


def _run(environment: Environment, *arguments: str) -> str:
    """Run a process. Findings are expected, so exit codes 1 and 2 are accepted; a traceback is not."""
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode not in {0, 1, 2} or "Traceback" in done.stderr or done.stderr.startswith("Error"):
        raise RuntimeError(done.stderr)
    return done.stdout


def _parts(environment: Environment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_run(environment, "-c", "from tests.bench import verify; verify.print_parts()"))
    return found


def print_parts() -> None:
    """Print the seconds of each fact, and of reading and evaluating all of them; run in a separate process."""
    import django

    django.setup()
    from deploytools.conf import read_settings
    from deploytools.verification.registry import load_registry
    from deploytools.verification.runner import evaluate_checks, read_facts

    registry = load_registry()
    sources = registry.sources_for(registry.select())
    started = time.perf_counter()
    facts = read_facts(sources, {"settings": read_settings()})
    read = time.perf_counter() - started
    evaluate_checks(registry.select(), facts)
    spent = {name: facts[name].seconds for name in sources}
    aws = sum(spent[name] for name, source in sources.items() if source.actions and name not in POSTGRES)
    evaluated = time.perf_counter() - started - read
    print(json.dumps({"facts": spent, "aws": aws, "read": read, "evaluated": evaluated}))


def _section(seconds: Mapping[str, float], few: dict[str, Any], many: dict[str, Any], version: str) -> str:
    slope = (seconds["many"] - seconds["few"]) / (MANY - FEW)
    rows = [
        [f"`verify_deploy`, {FEW} tenants", _s(seconds["few"]), _share(seconds["start"], seconds["few"])],
        [f"`verify_deploy`, {MANY} tenants", _s(seconds["many"]), _share(seconds["start"], seconds["many"])],
        ["`check_rds`", _s(seconds["check_rds"]), _share(seconds["start"], seconds["check_rds"])],
        ["a bare script: Django, boto3, psycopg, one query", _s(seconds["bare"]), ""],
    ]
    return "\n\n".join(
        [
            "## verify",
            table(["whole process", "seconds", "of which start of Python, Django and the registry"], rows),
            f"`check_rds` takes {seconds['check_rds'] / seconds['bare']:.2f} times as long as the bare script. Each "
            f"additional tenant takes {slope * 1000:.1f} ms.",
            table(
                ["after start-up", *(f"{number} tenants" for number in (FEW, MANY))],
                [
                    ["read all facts, concurrently", _s(few["read"]), _s(many["read"])],
                    ["the slowest single fact", _slowest(few), _slowest(many)],
                    ["ratio", *(f"{_ratio(parts):.2f}" for parts in (few, many))],
                    ["facts read from AWS, in total", _s(few["aws"]), _s(many["aws"])],
                    ["facts read from PostgreSQL, in total", *(_s(_postgres(parts)) for parts in (few, many))],
                    ["evaluate the checks", _s(few["evaluated"]), _s(many["evaluated"])],
                ],
            ),
            environment_line(version),
        ]
    )


def _postgres(parts: dict[str, Any]) -> float:
    return float(sum(spent for name, spent in parts["facts"].items() if name in POSTGRES))


def _slowest(parts: dict[str, Any]) -> str:
    name, spent = max(parts["facts"].items(), key=lambda item: item[1])
    return f"{_s(spent)} (`{name}`)"


def _ratio(parts: dict[str, Any]) -> float:
    spent: dict[str, float] = parts["facts"]
    read: float = parts["read"]
    return read / max(spent.values())


def _s(seconds: float) -> str:
    return f"{seconds:.2f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}"
