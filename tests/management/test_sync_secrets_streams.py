"""`sync_secrets` as a process: standard output that fails, terminals, signals, and responses that are not AWS's."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.management.runner import run

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
SET = ["--set", "email_port=465"]


@pytest.fixture
def environment(deployment):
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return keep | dict(deployment.environment) | {"DJANGO_SETTINGS_MODULE": "StartupWebApp.settings"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), "sync_secrets", *arguments]


def shell(environment, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which ``$sync`` is the command; its exit code is that of the command."""
    names = {"sync": " ".join(command())}
    return subprocess.run(
        ["bash", "-c", line],
        env=environment | names,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


# Standard output.


@pytest.mark.parametrize("output", ["> /dev/full", ">&-"])
def test_plan_that_cannot_be_shown_is_not_applied(environment, deployment, output):
    result = shell(environment, f"$sync --set email_port=465 --noinput {output}")
    assert (result.returncode, deployment.document()["email_port"]) == (2, 587)
    assert "Traceback" not in result.stderr
    assert "Nothing was changed." in result.stderr


def test_output_that_is_closed_after_the_plan(environment, deployment, tmp_path):
    """The write is reported on standard error, FILE is deleted, and the exit code is that of a write."""
    file = tmp_path / "values.json"
    file.write_text('{"email_port": 465}')
    file.chmod(0o600)
    line = f"$sync {file} --noinput --delete-file | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}"
    result = shell(environment, line)
    assert (result.returncode, deployment.document()["email_port"], file.exists()) == (0, 465, False)
    assert "Traceback" not in result.stderr
    (current,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    assert f"Standard output cannot be written to: Broken pipe. The new values are live as version {current[:8]}." in (
        result.stderr
    )


def test_ascii_terminal(environment, deployment):
    environment |= {"PYTHONIOENCODING": "ascii"}
    for arguments in ("--set email_port=465 --noinput", "--show", "--stripe --plan"):
        result = shell(environment, f"$sync {arguments}")
        assert "Traceback" not in result.stderr
        assert (result.stdout + result.stderr).isascii()
    assert " chars, " in shell(environment, "$sync --rollback --plan").stdout
    assert " -> " in shell(environment, "$sync --rollback --plan").stdout
    report = shell(environment, "$sync --set no_such=1 --format json")
    assert json.loads(report.stdout)["outcome"] == "failed"


# Terminals.


def typed(environment, keys: bytes, until: bytes, *arguments: str) -> tuple[int, str]:
    """Run the command on a terminal, type `keys` once `until` is shown, and return exit code and screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments), env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        cwd=ROOT, preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while until not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, keys)
        while part := os.read(ours, 1024):
            seen += part
    except OSError:
        pass  # The other end is closed.
    os.close(ours)
    return process.wait(60), seen.decode()


CTRL_C, CTRL_D = b"\x03", b"\x04"


@pytest.mark.parametrize(
    ("keys", "until", "arguments", "code", "message"),
    [
        (
            CTRL_D,
            b"): ",
            ["--ask", "email_password"],
            1,
            "No value was entered for email_password. Nothing was changed.",
        ),
        (CTRL_D, b"): ", ["--ask", "email_user"], 1, "No value was entered for email_user. Nothing was changed."),
        (CTRL_D, b"[y/N] ", SET, 1, "Canceled. Nothing was changed."),
        (CTRL_C, b"): ", ["--ask", "email_password"], 130, "Interrupted. Nothing was changed."),
        (CTRL_C, b"[y/N] ", SET, 130, "Interrupted. Nothing was changed."),
    ],
)
def test_end_of_input_and_ctrl_c_at_a_prompt(environment, deployment, keys, until, arguments, code, message):
    before = deployment.versions()
    returncode, screen = typed(environment, keys, until, *arguments)
    assert (returncode, deployment.versions()) == (code, before)
    assert message in screen
    assert "Traceback" not in screen


def test_ctrl_d_after_the_write_keeps_the_file(environment, deployment, tmp_path):
    file = tmp_path / "values.json"
    file.write_text('{"email_port": 465}')
    file.chmod(0o600)
    code, screen = typed(environment, b"y\n" + CTRL_D, b"[y/N] ", str(file))
    assert (code, deployment.document()["email_port"], file.exists()) == (0, 465, True)
    assert "Traceback" not in screen


# Signals.


class Portal(BaseHTTPRequestHandler):
    """Passes requests on, until one of them: that one it handles itself."""

    upstream, operation, after = "", "", 0
    action = staticmethod(lambda handler: None)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("X-Amz-Target", "").endswith("." + type(self).operation):
            type(self).after -= 1
            if type(self).after < 0:
                type(self).action(self)
                return
        connection = HTTPConnection(type(self).upstream.removeprefix("http://"), timeout=60)
        connection.request("POST", "/", body, dict(self.headers))
        response = connection.getresponse()
        self.respond(response.status, response.read(), "application/x-amz-json-1.1")
        connection.close()

    def respond(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def portal(environment):
    """Start a server between the command and AWS that handles one operation itself, after some calls of it."""
    servers = []

    def start(operation, action, after=0):
        names = {"upstream": environment["AWS_ENDPOINT_URL"], "operation": operation, "after": after}
        handler = type("Handler", (Portal,), names | {"action": staticmethod(action)})
        server = HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("operation", "after", "signum", "is_live"),
    [
        ("PutSecretValue", 0, signal.SIGTERM, False),
        ("GetSecretValue", 2, signal.SIGTERM, True),
        ("GetSecretValue", 2, signal.SIGINT, True),
    ],
)
def test_signal_says_what_is_live(environment, deployment, portal, operation, after, signum, is_live):
    """The signal arrives while AWS does not respond to a call before, or after AWSCURRENT has moved."""
    found: list[subprocess.Popen[str]] = []

    def send_signal(handler: Portal) -> None:
        found[0].send_signal(signum)
        handler.rfile.read(1)  # Until the process ends.

    portal(operation, send_signal, after)
    process = subprocess.Popen(
        command(*SET, "--noinput", "--format", "json"), env=environment, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    found.append(process)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert "Traceback" not in err
    report = json.loads(out)
    (current,) = [version for version, labels in deployment.versions().items() if "AWSCURRENT" in labels]
    assert (deployment.document()["email_port"] == 465) is is_live
    if is_live:
        assert (report["live"], report["current"]) == ("yes", current)
        assert f"The new values are live as version {current[:8]}, but could not be verified." in err
        assert f"--rollback {report['base'][:8]}" in err
    else:
        assert report["live"] == "no"
        assert "Nothing was changed." in err


# Responses.


@pytest.mark.parametrize("body", [b"<html><title>Log in</title></html>", b'{"Name": "half'])
@pytest.mark.parametrize(
    "operation", ["GetSecretValue", "DescribeSecret", "PutSecretValue", "UpdateSecretVersionStage"]
)
def test_page_of_a_portal_with_status_200(environment, deployment, portal, operation, body):
    portal(operation, lambda handler: handler.respond(200, body, "text/html"))
    result = shell(environment, "$sync --set email_port=465 --noinput")
    assert (result.returncode, deployment.document()["email_port"]) == (2, 587)
    assert "Traceback" not in result.stderr
    expected = "It is not known whether" if operation == "UpdateSecretVersionStage" else "Nothing was changed."
    if operation in ("PutSecretValue", "UpdateSecretVersionStage"):
        assert expected in result.stderr


# Files.


@pytest.mark.parametrize("file", ["/dev/zero", "large"])
def test_file_without_an_end(capsys, deployment, tmp_path, file):
    if file == "large":
        path = tmp_path / file
        path.write_text('{"a": "' + "é" * 40_000 + '"}')
        path.chmod(0o600)
        file = str(path)
    result = run(capsys, "sync_secrets", file, "--noinput")
    assert result.code == 2
    assert f"{file} is larger than 65,536 bytes, the maximum in Secrets Manager. Nothing was changed." in result.err


def test_file_with_a_byte_order_mark(capsys, deployment, tmp_path):
    path = tmp_path / "windows.json"
    path.write_text('\ufeff{"email_port": 465}', encoding="utf-8")
    path.chmod(0o600)
    assert run(capsys, "sync_secrets", str(path), "--noinput").code == 0
    assert deployment.document()["email_port"] == 465


@pytest.mark.parametrize("arguments", ["--format json", "--format=json"])
def test_invalid_argument_is_one_document(environment, arguments):
    result = shell(environment, f"$sync {arguments} --no-such-option")
    report = json.loads(result.stdout)
    assert (report["error"], report["exit_code"]) == ("unrecognized arguments: --no-such-option", 2)
    assert result.returncode == 2
    assert result.stderr.endswith("error: unrecognized arguments: --no-such-option\n")


def test_invalid_argument_without_json(environment):
    assert shell(environment, "$sync --no-such-option").stdout == ""


@pytest.mark.parametrize("argument", ["password='canary value'", "--passwort='canary value'", "'canary value'"])
def test_value_in_the_wrong_place_is_not_repeated(environment, argument):
    result = shell(environment, f"$sync --format json file.json {argument}")
    assert result.returncode == 2
    assert "…" in json.loads(result.stdout)["error"]
    assert "canary" not in result.stdout + result.stderr
