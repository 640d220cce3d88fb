"""Whether each part of a cloud really answers: by a real session, not by a process that exists."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import psycopg

from localcloud.state import CloudState, PostgresState, SmtpState

SECONDS = 5


@dataclass(frozen=True)
class Part:
    """What one part said. `problem` is empty when it answers."""

    name: str
    address: str
    problem: str

    def __str__(self) -> str:
        return f"{self.name:<22} {self.address:<24} {self.problem or 'answers'}"


def parts(state: CloudState) -> list[Part]:
    """Ask every part."""
    found = [
        Part(
            f"PostgreSQL {server.version}",
            f"{server.hostaddr}:{server.port}",
            _problem(_ask_postgres, state, server),
        )
        for server in state.postgres
    ]
    aws = Part(f"AWS (moto {version('moto')})", state.aws_endpoint_url, _problem(_ask_aws, state.aws_endpoint_url))
    address = f"{state.smtp.host}:{state.smtp.port}"
    smtp = Part(f"SMTP (aiosmtpd {version('aiosmtpd')})", address, _problem(_ask_smtp, state.smtp, state.ca_file))
    return [*found, aws, smtp]


def _problem(ask: Callable[..., None], *arguments: Any) -> str:
    try:
        ask(*arguments)
    except (psycopg.Error, OSError, URLError, smtplib.SMTPException) as exc:
        return f"does not answer: {str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__}"
    return ""


def _ask_postgres(state: CloudState, server: PostgresState) -> None:
    parameters: dict[str, Any] = {**state.as_master(server), "connect_timeout": SECONDS}
    with psycopg.connect(**parameters) as connection:
        connection.execute("SELECT 1")


def _ask_aws(endpoint_url: str) -> None:
    # By hand, for boto3 takes longer to import than all the rest takes to run.
    address = f"{endpoint_url}/moto-api/"
    assert urlsplit(address).scheme == "http"  # noqa: S101
    with build_opener(ProxyHandler({})).open(address, timeout=SECONDS) as answer:
        answer.read()


def _ask_smtp(smtp: SmtpState, ca_file: str) -> None:
    with smtplib.SMTP(smtp.host, smtp.port, timeout=SECONDS) as client:
        client.starttls(context=ssl.create_default_context(cafile=Path(ca_file)))
        client.login(smtp.user, smtp.password)
        client.noop()
