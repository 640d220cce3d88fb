"""The Dockerfile, performed here without an engine, and what it leaves in the image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.container.dockerfile import expand, is_ignored, parse, patterns
from tests.test_gunicorn import free_port, get, wait_for

ROOT = Path(__file__).parent.parent.parent
STAGES = parse((ROOT / "Dockerfile").read_text())
IGNORED = patterns((ROOT / ".dockerignore").read_text())


def can_mount() -> bool:
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
               "mount -t overlay o -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"]  # fmt: skip
    return bool(shutil.which("unshare")) and not subprocess.run(command, capture_output=True, check=False).returncode


needs_mounts = pytest.mark.skipif(not can_mount(), reason="this user may not mount an overlay")


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
def test_the_build_context(path, ignored):
    assert is_ignored(path, IGNORED) is ignored


@pytest.mark.parametrize(
    ("bundle", "rootcert"), [("deploy/ca/global-bundle.pem", "/opt/ca/rds.pem"), ("", "")], ids=["verify", "do not"]
)
def test_the_bundle_decides_whether_certificates_are_verified(bundle, rootcert):
    words = dict(word.partition("=")[::2] for word in STAGES["runtime"].last("ENV").split())
    assert expand(words["DB_SSLROOTCERT"], {"RDS_CA_BUNDLE": bundle}) == rootcert


def context(place: Path, **files: bytes) -> Path:
    """What Docker would send: the checkout's files without those that .dockerignore names."""
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


LOOK = """
set -e
echo "user: $(id -u):$(id -g)"
for path in /app/tests /app/.git /app/localcloud /app/deploy /app/requirements /opt/venv/bin/pip; do
  if [ -e "$path" ]; then echo "there: $path"; fi
done
for path in /app/x /opt/venv/x /tmp/x /opt/ca/rds.pem; do
  if (: >> "$path") 2>/dev/null; then echo "writable: $path"; fi
done
(: > /dev/shm/x) && echo "writable: /dev/shm"
ls /app/staticfiles/staticfiles.json
exec scripts/entrypoint gunicorn --config python:StartupWebApp.gunicorn StartupWebApp.wsgi
"""


@pytest.mark.slow
@needs_mounts
def test_the_image_is_built_and_serves_as_another_user_on_a_read_only_root(directory, tmp_path, deployment, migrated):
    port = free_port()
    bundle = Path(deployment.environment["DB_SSLROOTCERT"]).read_bytes()
    wanted = ("AWS_", "DB_SECRET", "DB_HOSTADDR", "DATABASE_NAME", "ALLOWED_HOSTS", "TENANTS")
    variables = {name: value for name, value in deployment.environment.items() if name.startswith(wanted)}
    process = start(
        directory,
        context=str(context(tmp_path, **{"global-bundle": bundle})),
        arguments={"RELEASE": "4f2a1c9"},
        stages=["builder", "runtime"],
        command=["/bin/sh", "-c", LOOK],
        environment={**variables, "PORT": str(port), "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}"},
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            if "Booting worker" in line:
                break
        assert "Booting worker" in said[-1], said
        wait_for(lambda: get(port, "/healthz") == (200, b"ok\n"))
        assert get(port, "/readyz", X_Forwarded_Proto="https")[0] == 200
        status, page = get(port, "/", Host="localhost", X_Forwarded_Proto="https")
        assert (status, b"4f2a1c9" in page) == (200, True)
    finally:
        process.kill()
        process.communicate()
    plain = [line for line in said if line.startswith(("user", "there", "writable", "/app"))]
    assert plain == ["user: 10001:10001", "writable: /dev/shm", "/app/staticfiles/staticfiles.json"]


@needs_mounts
@pytest.mark.parametrize(
    ("files", "said"),
    [({}, "error: there is no CA bundle at deploy/ca/global-bundle.pem, "),
     ({"global-bundle": b"<html>404</html>"}, "error: deploy/ca/global-bundle.pem holds no certificate in PEM form")],
    ids=["missing", "no certificate"],
)  # fmt: skip
def test_a_build_without_a_bundle_says_so(directory, tmp_path, files, said):
    place = context(tmp_path, **files)
    text = (place / "Dockerfile").read_text().replace("/opt/venv/bin/pip ", ": ")
    (place / "Dockerfile").write_text(text)
    process = start(directory, context=str(place), arguments={}, stages=["builder"])
    out, _ = process.communicate(timeout=120)
    *_, error, hint = out.splitlines()
    assert (error.startswith(said), hint[:5], process.returncode) == (True, "hint:", 1)


def test_the_health_check_and_the_start_are_those_of_the_task_definition():
    runtime = STAGES["runtime"]
    definition = json.loads((ROOT / "deploy/aws/task-service.json").read_text())["containerDefinitions"][0]
    health = runtime.last("HEALTHCHECK").partition(" CMD ")[2]
    assert definition["healthCheck"]["command"] == ["CMD", *json.loads(health)]
    assert definition["user"] == runtime.last("USER")
    assert os.access(ROOT / runtime.command("ENTRYPOINT")[0], os.X_OK)
