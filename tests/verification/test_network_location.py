"""The network location of a process, read from fake ECS and EC2 metadata services, and reported with a failure."""

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

from deploytools.conf import read_settings
from deploytools.errors import ConnectionFailed, ConnectionFailure
from deploytools.postgres.connection_probe import ProbeResult
from deploytools.reports.html import command_in
from deploytools.verification.network import network_location as source
from deploytools.verification.network.network_location import INSTANCE, TASK, TIMEOUT, NetworkLocation, locate
from tests.sockets import silent_port
from tests.verification.zoo.deployment import LOST, REFUSED, attempt
from tests.verification.zoo.world import STAGES, WORLD, findings

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
def serving_pages(pages: Mapping[str, str]) -> Iterator[str]:
    """A metadata service on loopback; EC2 pages require the token of a PUT request."""

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
    "No ECS or EC2 metadata is available: this process runs outside the database's VPC, or where there is no metadata "
    "(a Lambda function, a build, a container without access to the instance metadata)."
)
RANGES = ("10.0.0.0/16", "100.64.0.0/16")
HOST = "db.abc.us-east-1.rds.amazonaws.com"


def near(endpoint: str) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint}


@pytest.mark.slow
def test_an_ec2_instance():
    with serving_pages(EC2) as endpoint:
        assert locate(near(endpoint)) == NetworkLocation(INSTANCE, RANGES, "vpc-1")


@pytest.mark.slow
def test_an_ecs_task():
    with serving_pages(ECS) as endpoint:
        location = locate({"ECS_CONTAINER_METADATA_URI_V4": f"{endpoint}/v4/abc", "AWS_EC2_METADATA_DISABLED": "true"})
    assert location == NetworkLocation(TASK, ("10.0.1.0/24",))


@pytest.mark.slow
@pytest.mark.parametrize(
    "pages",
    [{}, {**EC2, f"{INTERFACE}/vpc-id": None}, {"/v4/abc/task": "no JSON"}, {"/v4/abc/task": "[]"}],
    ids=["nothing", "no VPC", "no JSON", "no task"],
)
def test_an_endpoint_that_is_another_service(pages):
    with serving_pages({path: page for path, page in pages.items() if page}) as endpoint:
        assert locate({"ECS_CONTAINER_METADATA_URI_V4": f"{endpoint}/v4/abc", **near(endpoint)}) == NetworkLocation()


def test_no_endpoint():
    assert locate(near("http://127.0.0.1:9")) == NetworkLocation()


@pytest.mark.slow
def test_an_endpoint_that_does_not_respond():
    with silent_port() as port:
        silent = f"http://127.0.0.1:{port}"
        started = time.monotonic()
        assert locate({"ECS_CONTAINER_METADATA_URI_V4": silent, **near(silent)}) == NetworkLocation()
    assert time.monotonic() - started < TIMEOUT + 2
    assert TIMEOUT < 1


@pytest.mark.slow
def test_metadata_can_be_disabled():
    with serving_pages(EC2) as endpoint:
        assert locate({"AWS_EC2_METADATA_DISABLED": "true", **near(endpoint)}) == NetworkLocation(is_known=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "hostaddr", "is_read"),
    [
        (LOST, "", True),
        (ConnectionFailed("No.", hint="", kind=ConnectionFailure.NO_SUCH_NAME), "", True),
        (LOST, "127.0.0.1", False),
        (REFUSED, "", False),
        (None, "", False),
    ],
)
def test_metadata_is_read_only_if_it_can_explain_the_failure(monkeypatch, settings, error, hostaddr, is_read):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"HOSTADDR": hostaddr}
    with serving_pages(EC2) as endpoint:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        location = source.network_location(ProbeResult(error=error), WORLD["secret"], read_settings())
    assert location == (NetworkLocation(INSTANCE, RANGES, "vpc-1", host=HOST, port="5432") if is_read else None)


INSIDE = "This process runs on an EC2 instance in vpc-1 (10.0.0.0/16), inside the database's VPC."
NAMELESS = ConnectionFailed("No such name.", hint="Check host.", kind=ConnectionFailure.NO_SUCH_NAME)
FORWARD = (
    "aws ssm start-session --target i-1 --region us-east-1 "
    "--document-name AWS-StartPortForwardingSessionToRemoteHost "
    "--parameters host=db.abc.us-east-1.rds.amazonaws.com,portNumber=5432,localPortNumber=15432"
)
RULES = "python manage.py verify_deploy --tag network"


@pytest.mark.parametrize(
    ("location", "error", "says", "command"),
    [
        (NetworkLocation(INSTANCE, ("10.0.0.0/16",), "vpc-1"), LOST, INSIDE, RULES),
        (
            NetworkLocation(INSTANCE, ("10.9.0.0/16",), "vpc-9"),
            LOST,
            "runs on an EC2 instance in vpc-9 (10.9.0.0/16); the address of the database is not in that VPC.",
            FORWARD,
        ),
        (
            NetworkLocation(TASK, ("10.0.9.0/24",)),
            LOST,
            "This process runs in an ECS task (10.0.9.0/24); its subnet might be in another VPC than the database.",
            RULES,
        ),
        (
            NetworkLocation(),
            LOST,
            NEITHER,
            FORWARD,
        ),
        (
            NetworkLocation(is_known=False),
            LOST,
            "AWS_EC2_METADATA_DISABLED is set, so the network location of this process is unknown.",
            FORWARD,
        ),
        (
            NetworkLocation(INSTANCE, ("10.0.0.0/16",), "vpc-1"),
            NAMELESS,
            "This process runs on an EC2 instance in vpc-1 (10.0.0.0/16).",
            "",
        ),
        (
            NetworkLocation(),
            NAMELESS,
            NEITHER,
            FORWARD,
        ),
    ],
)
def test_the_location_is_reported_with_the_fix(location, error, says, command):
    stages = STAGES[:1] if error is LOST else ()
    location = replace(location, host=HOST, port="5432")
    found = findings(**attempt(error=error, stages=stages, failed_stage="TCP"), network_location=location)
    (finding,) = [finding for finding in found if finding.check.id == "connection.connect"]
    assert finding.evidence.endswith(says)
    assert command_in(finding.hint) == command
    assert "authorize" not in finding.hint
