"""The Dockerfile, built without a container engine, and the contents of the image."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.container.dockerfile import expand, is_ignored, parse, patterns
from tests.container.http_client import get, wait_for
from tests.sockets import free_port

ROOT = Path(__file__).parent.parent.parent
STAGES = parse((ROOT / "Dockerfile").read_text())
IGNORED = patterns((ROOT / ".dockerignore").read_text())


def can_mount() -> bool:
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
               "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"]  # fmt: skip
    return bool(shutil.which("unshare")) and not subprocess.run(command, capture_output=True, check=False).returncode


needs_mounts = pytest.mark.skipif(not can_mount(), reason="this user is not allowed to mount an overlay")


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        (".git/config", True), (".env", True), ("StartupWebApp/.env", True), ("tests/conftest.py", True),
        ("deploytools/loader.py", False), ("deploytools/__pycache__/loader.cpython-313.pyc", True),
        ("requirements/production.txt", False), ("requirements/production.in", True), ("manage.py", False),
        ("deploy/ca/global-bundle.pem", False), ("server.key", True), ("user/server.key", True),
        ("docs/guide.md", True),
    ],
)  # fmt: skip
def test_dockerignore(path, ignored):
    assert is_ignored(path, IGNORED) is ignored


@pytest.mark.parametrize(
    ("bundle", "rootcert"), [("deploy/ca/global-bundle.pem", "/opt/ca/rds.pem"), ("", "")], ids=["bundle", "empty"]
)
def test_certificates_are_verified_if_the_image_has_a_bundle(bundle, rootcert):
    words = dict(word.partition("=")[::2] for word in STAGES["runtime"].last("ENV").split())
    assert expand(words["PGSSLROOTCERT"], {"RDS_CA_BUNDLE": bundle}) == rootcert


def context(place: Path, **files: bytes) -> Path:
    """Copy the build context: the files of the checkout except those ignored by .dockerignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    for name in filter(None, listed):
        if not is_ignored(name, IGNORED) or name == "Dockerfile":
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for name, content in files.items():
        (place / "deploy/ca" / name).with_suffix(".pem").write_bytes(content)
    return place


def start(directory: Path, **request) -> subprocess.Popen[str]:
    text = json.dumps({"directory": str(directory), **request})
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    command = [*alone, sys.executable, "-m", "tests.container.builder", text]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="deploytools-image-"))
    yield path
    shutil.rmtree(path)


INSPECT_AND_SERVE = """
set -e
echo "user: $(id -u):$(id -g)"
for path in /app/tests /app/.git /app/scripts /app/deploy /app/requirements /opt/venv/bin/pip; do
  if [ -e "$path" ]; then echo "exists: $path"; fi
done
for path in /app/x /opt/venv/x /tmp/x /opt/ca/rds.pem; do
  if (: >> "$path") 2>/dev/null; then echo "writable: $path"; fi
done
(: > /dev/shm/x) && echo "writable: /dev/shm"
ls /app/staticfiles/staticfiles.json
exec python -m deploytools.container gunicorn --config python:deploytools.container.gunicorn_config StartupWebApp.wsgi
"""


@pytest.mark.slow
@needs_mounts
def test_the_image_serves_as_an_unprivileged_user_on_a_read_only_root(directory, tmp_path, deployment, migrated):
    port = free_port()
    bundle = Path(deployment.environment["DB_SSLROOTCERT"]).read_bytes()
    names = ("AWS_", "DB_SECRET", "DB_HOSTADDR", "DATABASE_NAME", "ALLOWED_HOSTS", "TENANTS")
    variables = {name: value for name, value in deployment.environment.items() if name.startswith(names)}
    process = start(
        directory,
        context=str(context(tmp_path, **{"global-bundle": bundle})),
        arguments={"RELEASE": "4f2a1c9"},
        stages=["builder", "runtime"],
        command=["/bin/sh", "-c", INSPECT_AND_SERVE],
        environment={**variables, "PORT": str(port), "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}"},
    )
    output: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line.rstrip())
            if "Booting worker" in line:
                break
        assert "Booting worker" in output[-1], output
        wait_for(lambda: get(port, "/healthz") == (200, b"ok\n"))
        assert get(port, "/readyz", X_Forwarded_Proto="https")[0] == 200
        status, page = get(port, "/", Host="localhost", X_Forwarded_Proto="https")
        assert (status, b"4f2a1c9" in page) == (200, True)
    finally:
        process.kill()
        process.communicate()
    inspected = [line for line in output if line.startswith(("user", "exists", "writable", "/app"))]
    assert inspected == ["user: 10001:10001", "writable: /dev/shm", "/app/staticfiles/staticfiles.json"]


@pytest.mark.slow
@needs_mounts
@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "Error: CA bundle not found: deploy/ca/global-bundle.pem."),
     ({"global-bundle": b"<html>404</html>"}, "Error: deploy/ca/global-bundle.pem is not a CA bundle in PEM format.")],
    ids=["missing", "no certificate"],
)  # fmt: skip
def test_a_build_without_a_valid_bundle_fails(directory, tmp_path, files, message):
    place = context(tmp_path, **files)
    text = (place / "Dockerfile").read_text().replace("/opt/venv/bin/pip ", ": ")
    (place / "Dockerfile").write_text(text)
    process = start(directory, context=str(place), arguments={}, stages=["builder"])
    out, _ = process.communicate(timeout=120)
    *_, error, hint = out.splitlines()
    assert (error, hint[:5], process.returncode) == (message, "Hint:", 1)


def test_the_health_check_and_the_user_match_the_task_definition():
    runtime = STAGES["runtime"]
    definition = json.loads((ROOT / "deploy/aws/task-service.json").read_text())["containerDefinitions"][0]
    health = runtime.last("HEALTHCHECK").partition(" CMD ")[2]
    assert definition["healthCheck"]["command"] == ["CMD", *json.loads(health)]
    assert definition["user"] == runtime.last("USER")
    assert runtime.command("ENTRYPOINT") == ["python", "-m", "deploytools.container"]
