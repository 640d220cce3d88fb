"""The hints of ``check_rds`` for failures that have another cause than their message suggests, on real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from deploytools.local import ports
from deploytools.local.certificates import server_context
from deploytools.local.tls_proxy import TlsProxy
from deploytools.postgres.connection_probe import probe
from deploytools.postgres.connections import Login
from deploytools.wording import wrapped
from tests.conftest import installed
from tests.management.runner import run
from tests.management.test_verification_commands import environment
from tests.servers import OwnServer, own_server
from tests.sockets import silent_port

ROOT = Path(__file__).parents[2]
DAY = timedelta(days=1)


def connect_finding(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the finding of ``connection.connect``."""
    findings = json.loads(run(capsys, "check_rds", "--format", "json").out)["findings"]
    (found,) = [finding for finding in findings if finding["check"] == "connection.connect"]
    assert found["status"] == "fail"
    return dict(found)


@contextmanager
def presenting(login: Login, path: Path, *, start: datetime, end: datetime) -> Iterator[Login]:
    """The server behind a certificate that is valid from `start` to `end`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(path)
    certificate = authority.issue_cert(login.address.host, not_before=start, not_after=end)
    with ports.reserve() as listener:
        listener.listen()
        with TlsProxy(listener, login.address.port, server_context(certificate)):
            yield replace(login, address=replace(login.address, port=ports.number(listener), sslrootcert=str(path)))


@pytest.mark.parametrize(
    ("start", "end", "evidence", "hint"),
    [
        (-9, -1, "certificate has expired", "--ca-certificate-identifier rds-ca-rsa2048-g1"),
        (1, 9, "certificate is not yet valid", "Check the clock of this machine"),
    ],
)
def test_certificate_outside_its_validity(one_postgres, tmp_path, start, end, evidence, hint):
    now = datetime.now(UTC)
    validity = {"start": now + start * DAY, "end": now + end * DAY}
    with presenting(one_postgres.master, tmp_path / "ca.pem", **validity) as login:
        found = probe(login, "postgres")
    assert (found.failed_stage, evidence in str(found.error)) == ("TLS", True)
    assert found.error is not None and hint in found.error.hint


@pytest.mark.slow
def test_far_end_of_a_tunnel_is_silent(capsys, made):
    with silent_port() as port:
        made.put(port=port)
        found = connect_finding(capsys)
    assert found["hint"].startswith("The local end of the tunnel is open, but its far end does not respond.")


@pytest.mark.slow
def test_user_name_was_changed(capsys, made):
    made.put(username="no_such_role")
    found = connect_finding(capsys)
    assert (
        f"The login {made.role} of AWSPREVIOUS works; the current version has another user name." in found["evidence"]
    )
    assert found["hint"].endswith(f"sync_secrets --set username={made.role}")


@pytest.fixture(scope="module")
def own() -> Iterator[OwnServer]:
    with own_server(installed(15)) as server:
        yield server


@pytest.mark.slow
@pytest.mark.xdist_group("own-hba")
@pytest.mark.parametrize(
    ("rule", "evidence", "hint"),
    [
        (
            "hostssl all postgres 127.0.0.1/32 pam",
            "PAM authentication failed",
            "As the master user, run REVOKE rds_iam",
        ),
        ("host all postgres 127.0.0.1/32 reject", "pg_hba.conf rejects connection", "pg_hba.conf has no rule for them"),
        ("", "no pg_hba.conf entry", "pg_hba.conf has no rule for them"),
        ("hostnossl all all 127.0.0.1/32 scram-sha-256", "no pg_hba.conf entry", "pg_hba.conf has no rule for them"),
    ],
)
def test_rules_of_the_server(own, rule, evidence, hint):
    path = own.data / "pg_hba.conf"
    usual = path.read_text()
    with own.postgres.admin() as admin:
        path.write_text(
            f"{rule}\n{usual.replace(' all all ', ' all superuser ')}".replace("superuser", own.postgres.superuser.user)
        )
        admin.execute("SELECT pg_reload_conf()")
        try:
            found = probe(own.postgres.master, "postgres")
        finally:
            path.write_text(usual)
            admin.execute("SELECT pg_reload_conf()")
    assert (found.report, evidence in str(found.error)) == (None, True)
    assert found.error is not None and hint in found.error.hint


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check_rds", "verify_deploy --list"])
def test_standard_output_that_cannot_be_written_to(made, command):
    for redirection, reason in (("> /dev/full", "No space left on device"), ("| true", "Broken pipe")):
        result = subprocess.run(
            ["bash", "-c", f"{sys.executable} manage.py {command} {redirection}; exit ${{PIPESTATUS[0]}}"],
            cwd=ROOT, env=environment(made), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        expected = f"Error: The report could not be written to standard output: {reason}."
        assert (result.returncode, result.stderr.splitlines()[0]) == (2, expected)
        assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-"])
def test_standard_error_that_cannot_be_written_to_does_not_change_the_exit_code(tmp_path, redirection):
    report = tmp_path / "report.json"
    for options, code in (("--only nonsense", 2), (f"--only django.allowed-hosts --output {report}", 0)):
        result = subprocess.run(
            ["bash", "-c", f"{sys.executable} manage.py verify_deploy {options} {redirection}"],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert result.returncode == code
    assert report.exists() and "OK: 1 check passed" in result.stdout


@pytest.mark.parametrize(("width", "expected"), [("60", 60), ("100", 100), ("", 80), ("20", 40), ("999", 120)])
def test_text_is_as_wide_as_the_terminal(monkeypatch, width, expected):
    monkeypatch.setenv("COLUMNS", width)
    widest = max(map(len, wrapped("a b c d " * 100, indent="  ")))
    assert expected - 1 <= widest <= expected
