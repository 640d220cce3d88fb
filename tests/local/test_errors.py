"""Every error is a sentence, a hint and exit code 2; nothing is left of what had started."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploytools.local import LocalCloudError, PostgresBinaries, binaries, find_installations, local_cloud
from deploytools.local.binaries import accessible_copy
from deploytools.local.certificates import issue
from deploytools.local.ports import reserve
from deploytools.local.postgres_server import PostgresServer
from deploytools.local.processes import can_access, server_user
from tests.local.running import environment, localcloud
from tests.local_cloud import NAMES


def assert_error(result: tuple[int, str, str], sentence: str, hint: str) -> None:
    code, out, err = result
    first, second = err.splitlines()
    assert (code, out) == (2, "")
    assert first.startswith("Error: ")
    assert sentence in first
    assert second.startswith("Hint: ")
    assert hint in second


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH | stat.S_IRGRP | stat.S_IROTH)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """An installation whose initdb fails."""
    for part in ("bin", "lib", "share"):
        (tmp_path / part).mkdir()
    program(tmp_path / "bin" / "postgres", "echo 'postgres (PostgreSQL) 16.9'")
    program(tmp_path / "bin" / "initdb", "echo 'initdb: error: no space left' >&2; exit 1")
    return tmp_path / "bin"


def test_order_of_installations() -> None:
    found = find_installations()
    assert [one.source for one in found] == sorted(one.source for one in found)
    assert len({one.bin_dir for one in found}) == len(found)
    for one in found:
        output = subprocess.run([one.bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
        assert one.version in output.stdout


def test_installation_by_scripts_postgresql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bin_dir = tmp_path / "postgresql" / "17" / "bin"
    bin_dir.mkdir(parents=True)
    program(bin_dir / "postgres", "echo 'postgres (PostgreSQL) 17.3'; printf 'ssl_ciphers\\t\\tSTRING\\tHIGH\\n'")
    program(bin_dir / "initdb", "exit 0")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert find_installations()[-1] == PostgresBinaries(bin_dir, "17.3", True, "wheel")


def test_configured_installation_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    last = find_installations()[-1]
    monkeypatch.setenv("DEPLOYTOOLS_PG_BIN", str(last.bin_dir))
    assert find_installations()[0] == PostgresBinaries(last.bin_dir, last.version, last.has_tls, "env")


def test_configured_installation_does_not_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEPLOYTOOLS_PG_BIN", str(tmp_path))
    with pytest.raises(LocalCloudError) as caught:
        find_installations()
    assert str(caught.value) == f"DEPLOYTOOLS_PG_BIN={tmp_path} does not contain a working postgres and initdb."
    assert "or unset it" in caught.value.hint


def test_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_installations", tuple)
    with pytest.raises(LocalCloudError, match="No PostgreSQL server is installed") as caught:
        binaries.default_installation()
    assert "apt install postgresql" in caught.value.hint


def test_initdb_fails(accessible: Path, broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(accessible))
    binaries_16 = PostgresBinaries(broken, "16.9", False, "env")
    with pytest.raises(LocalCloudError) as caught, local_cloud(NAMES, [binaries_16]):
        pass
    assert "Output: initdb: error: no space left" in str(caught.value)
    assert "DEPLOYTOOLS_PG_BIN" in caught.value.hint
    assert list(accessible.iterdir()) == []


def test_server_does_not_start(tmp_path: Path, broken: Path) -> None:
    program(broken / "initdb", 'mkdir -p "${1#--pgdata=}"; touch "${1#--pgdata=}/postgresql.conf"')
    program(broken / "postgres", "echo 'FATAL: no memory'; exit 1")
    binaries, issued = PostgresBinaries(broken, "16.9", True, "env"), issue(tmp_path, "db.example")
    server = PostgresServer(binaries, tmp_path / "0", reserve(), "db.example", issued, "password", None)
    server.begin_initdb()
    server.start()
    with pytest.raises(LocalCloudError, match=r"not ready in 30 s .* Output: FATAL: no memory") as caught:
        server.wait_until_ready()
    assert "DEPLOYTOOLS_PG_BIN" in caught.value.hint
    server.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="PostgreSQL runs as another user only if this process is root")
def test_temporary_directory_of_root(accessible: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accessible.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(accessible))
    with pytest.raises(LocalCloudError) as caught, local_cloud(NAMES):
        pass
    assert str(caught.value).endswith(f" cannot access the temporary directory {accessible}.")
    assert "TMPDIR=/tmp" in caught.value.hint
    assert list(accessible.iterdir()) == []


@pytest.mark.slow
def test_unknown_command(accessible: Path) -> None:
    result = localcloud("run", "--", "no-such-command", env=environment(accessible))
    assert_error(result, "Cannot run no-such-command: No such file or directory.", "PATH")


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="PostgreSQL runs as another user only if this process is root")
def test_inaccessible_binaries_are_copied(accessible: Path, tmp_path: Path) -> None:
    wheels = [one for one in find_installations() if one.source == "wheel"]
    if not wheels:
        pytest.skip("no wheel for this platform")
    package = wheels[0].bin_dir.parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in (f"{package.name}/{wheels[0].bin_dir.parent.name}", f"{package.name}.libs"):
        shutil.copytree(package.parent / name, closed / name, ignore=shutil.ignore_patterns("include"))
    bin_dir = closed / package.name / wheels[0].bin_dir.parent.name / "bin"
    copied = accessible_copy(replace(wheels[0], bin_dir=bin_dir), accessible, server_user())
    assert copied.bin_dir.is_relative_to(accessible)
    assert can_access(copied.bin_dir / "initdb", server_user())
    done = subprocess.run([copied.bin_dir / "initdb", "--version"], capture_output=True, text=True, check=True)
    assert copied.version in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "secret.json could not be read: No such file or directory."),
        (b"\xff", "secret.json could not be read: not a text file."),
        (b"[]", "secret.json is JSON, but not an object."),
    ],
)
def test_values_of_the_secret_that_cannot_be_read(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    file = tmp_path / "secret.json"
    if content is not None:
        file.write_bytes(content)
    result = localcloud("--secret", str(file), "run", "--", "true", env=environment(tmp_path))
    assert_error(result, sentence, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "name"), [("HOSTADDR", "DB_HOSTADDR"), ("PORT", "DB_PORT"), ("SSLROOTCERT", "DB_SSLROOTCERT")]
)
def test_settings_with_the_address_of_another_server(tmp_path: Path, key: str, name: str) -> None:
    others = dict.fromkeys(("DB_HOSTADDR", "DB_PORT", "DB_SSLROOTCERT", "PGHOSTADDR", "PGPORT", "PGSSLROOTCERT"), "")
    result = localcloud("run", "--", "true", env=environment(tmp_path, **others | {name: "15432"}))
    assert_error(result, f'DEPLOYTOOLS["{key}"] is set', f"set the environment variable PG{key} instead.")
