"""Where a process stands in AWS: asked of stand-ins for ECS's and EC2's services, and told with a lost connection."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.reporting.html import command_in
from deploytools.verification.sources import vantage as source
from deploytools.verification.sources.connection import ConnectionAttempt
from deploytools.verification.sources.vantage import INSTANCE, TASK, WITHIN, Vantage, standing
from tests.sockets import silent_port
from tests.verification.faults import LOST, REFUSED, attempt
from tests.verification.world import LINKS, WORLD, findings

TOKEN, MAC = "token-of-a-minute", "0e:1a:2b:3c:4d:5e"
INTERFACE = f"/latest/meta-data/network/interfaces/macs/{MAC}"
EC2 = {
    "/latest/meta-data/mac": f"{MAC}/",
    f"{INTERFACE}/vpc-id": "vpc-1",
    f"{INTERFACE}/vpc-ipv4-cidr-blocks": "10.0.0.0/16\n100.64.0.0/16",
}
NETWORK = {"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.1.9"], "IPv4SubnetCIDRBlock": "10.0.1.0/24"}
ECS = {"/v4/abc/task": json.dumps({"Containers": [{"Networks": [NETWORK]}, {"Networks": [NETWORK]}, {}]})}


@contextmanager
def answering(pages: Mapping[str, str]) -> Iterator[str]:
    """A service with these pages on loopback; pages of an instance need the token that a PUT has given."""

    class Service(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_ours = "latest" not in self.path or self.headers["X-aws-ec2-metadata-token"] == TOKEN
            self.answer(pages.get(self.path) if is_ours else None)

        def do_PUT(self) -> None:
            lasts = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.answer(TOKEN if self.path == "/latest/api/token" and lasts == "60" else None)

        def answer(self, body: str | None) -> None:
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


NEITHER = (
    "Neither ECS nor EC2 says that this process runs there: outside the database's VPC, or where that cannot be told "
    "(a Lambda function, a build, a container that the instance's metadata do not reach)."
)
RANGES = ("10.0.0.0/16", "100.64.0.0/16")
HOST = "db.abc.us-east-1.rds.amazonaws.com"


def near(endpoint: str) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint}


def test_an_instance_says_its_vpc():
    with answering(EC2) as endpoint:
        assert standing(near(endpoint)) == Vantage(INSTANCE, RANGES, "vpc-1")


def test_a_task_says_its_subnet():
    with answering(ECS) as endpoint:
        told = standing({"ECS_CONTAINER_METADATA_URI_V4": f"{endpoint}/v4/abc", "AWS_EC2_METADATA_DISABLED": "true"})
    assert told == Vantage(TASK, ("10.0.1.0/24",))


@pytest.mark.parametrize(
    "pages",
    [{}, {**EC2, f"{INTERFACE}/vpc-id": None}, {"/v4/abc/task": "no JSON"}, {"/v4/abc/task": "[]"}],
    ids=["nothing", "no VPC", "no JSON", "no task"],
)
def test_what_says_something_else_is_neither(pages):
    with answering({path: page for path, page in pages.items() if page}) as endpoint:
        assert standing({"ECS_CONTAINER_METADATA_URI_V4": f"{endpoint}/v4/abc", **near(endpoint)}) == Vantage()


def test_nobody_there():
    assert standing(near("http://127.0.0.1:9")) == Vantage()


def test_who_says_nothing_is_not_waited_for():
    with silent_port() as port:
        silent = f"http://127.0.0.1:{port}"
        started = time.monotonic()
        assert standing({"ECS_CONTAINER_METADATA_URI_V4": silent, **near(silent)}) == Vantage()
    assert time.monotonic() - started < WITHIN + 2
    assert WITHIN < 1


def test_it_can_be_switched_off_as_for_every_tool_of_aws():
    with answering(EC2) as endpoint:
        assert standing({"AWS_EC2_METADATA_DISABLED": "true", **near(endpoint)}) == Vantage(is_told=False)


@pytest.mark.parametrize(
    ("error", "hostaddr", "is_asked"),
    [
        (LOST, "", True),
        (ConnectionFailed("No.", hint="", kind=ConnectionFailure.NO_SUCH_NAME), "", True),
        (LOST, "127.0.0.1", False),
        (REFUSED, "", False),
        (None, "", False),
    ],
)
def test_it_is_asked_only_where_it_explains_something(monkeypatch, settings, error, hostaddr, is_asked):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"HOSTADDR": hostaddr}
    with answering(EC2) as endpoint:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        told = source.vantage(ConnectionAttempt(error=error), WORLD["secret"])
    assert told == (Vantage(INSTANCE, RANGES, "vpc-1", host=HOST, port="5432") if is_asked else None)


INSIDE = "This process runs on an EC2 instance in vpc-1 (10.0.0.0/16), inside the database's VPC."
NAMELESS = ConnectionFailed("No such name.", hint="Check host.", kind=ConnectionFailure.NO_SUCH_NAME)
FORWARD = (
    "aws ssm start-session --target i-1 --region us-east-1 "
    "--document-name AWS-StartPortForwardingSessionToRemoteHost "
    "--parameters host=db.abc.us-east-1.rds.amazonaws.com,portNumber=5432,localPortNumber=15432"
)
RULES = "python manage.py verify_deploy --tag network"


@pytest.mark.parametrize(
    ("told", "error", "says", "command"),
    [
        (Vantage(INSTANCE, ("10.0.0.0/16",), "vpc-1"), LOST, INSIDE, RULES),
        (
            Vantage(INSTANCE, ("10.9.0.0/16",), "vpc-9"),
            LOST,
            "This process runs on an EC2 instance in vpc-9 (10.9.0.0/16); the database's address is not of that VPC.",
            FORWARD,
        ),
        (
            Vantage(TASK, ("10.0.9.0/24",)),
            LOST,
            "This process runs in an ECS task (10.0.9.0/24); whether in the database's VPC, its subnet does not say.",
            RULES,
        ),
        (
            Vantage(),
            LOST,
            NEITHER,
            FORWARD,
        ),
        (
            Vantage(is_told=False),
            LOST,
            "Whether this process runs inside the database's VPC, nobody was asked (AWS_EC2_METADATA_DISABLED).",
            FORWARD,
        ),
        (
            Vantage(INSTANCE, ("10.0.0.0/16",), "vpc-1"),
            NAMELESS,
            "This process runs on an EC2 instance in vpc-1 (10.0.0.0/16).",
            "",
        ),
        (
            Vantage(),
            NAMELESS,
            NEITHER,
            FORWARD,
        ),
    ],
)
def test_where_it_stands_says_which_way_leads_to_the_database(told, error, says, command):
    links = LINKS[:1] if error is LOST else ()
    told = replace(told, host=HOST, port="5432")
    found = findings(**attempt(error=error, links=links, broken="TCP"), vantage=told)
    (finding,) = [finding for finding in found if finding.check == "connection.connect"]
    assert finding.evidence.endswith(says)
    assert command_in(finding.hint) == command
    assert finding.hint.endswith('(guide, Troubleshooting: "Cannot connect to RDS from local machine")')
    assert "authorize" not in finding.hint
