"""Every error is a sentence, a hint and exit code 2; nothing is left of what had begun."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from localcloud import CloudState, LocalCloudError, PostgresBinaries, binaries, find_installations
from localcloud.certificates import issue
from localcloud.directory import clear
from localcloud.placement import reachable, servers_directory
from localcloud.ports import number, reserve
from localcloud.postgres import PostgresServer
from localcloud.processes import can_reach, server_user
from tests.localcloud.running import environment, localcloud


def assert_error(result: tuple[int, str, str], sentence: str, hint: str) -> None:
    code, out, err = result
    first, second = err.splitlines()
    assert (code, out) == (2, "")
    assert first.startswith("error: ")
    assert sentence in first
    assert second.startswith("hint: ")
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


def test_the_newest_of_the_system_comes_first_and_the_wheels_last() -> None:
    found = find_installations()
    assert [one.source for one in found] == sorted(one.source for one in found)
    assert len({one.bin_dir for one in found}) == len(found)
    for one in found:
        output = subprocess.run([one.bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True)
        assert one.version in output.stdout


def test_what_scripts_postgresql_brought_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bin_dir = tmp_path / "postgresql" / "17" / "bin"
    bin_dir.mkdir(parents=True)
    program(bin_dir / "postgres", "echo 'postgres (PostgreSQL) 17.3'; printf 'ssl_ciphers\\t\\tSTRING\\tHIGH\\n'")
    program(bin_dir / "initdb", "exit 0")
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert find_installations()[-1] == PostgresBinaries(bin_dir, "17.3", True, "wheel")


def test_binaries_that_are_named_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    last = find_installations()[-1]
    monkeypatch.setenv("DEPLOYTOOLS_PG_BIN", str(last.bin_dir))
    assert find_installations()[0] == PostgresBinaries(last.bin_dir, last.version, last.has_tls, "env")


def test_binaries_that_are_named_but_not_there(directory: Path, tmp_path: Path) -> None:
    result = localcloud("up", "--dir", str(directory), env=environment(DEPLOYTOOLS_PG_BIN=str(tmp_path)))
    assert_error(result, f"DEPLOYTOOLS_PG_BIN={tmp_path} holds no working postgres and initdb.", "or unset it")


def test_no_binaries_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_installations", tuple)
    with pytest.raises(LocalCloudError, match="There is no PostgreSQL server on this machine") as caught:
        binaries.default_installation()
    assert "apt install postgresql" in caught.value.hint


def test_initdb_fails(directory: Path, broken: Path) -> None:
    result = localcloud("up", "--dir", str(directory), env=environment(DEPLOYTOOLS_PG_BIN=str(broken)))
    assert_error(result, "It said: initdb: error: no space left", "DEPLOYTOOLS_PG_BIN")
    assert not directory.exists()


def test_the_server_does_not_start(tmp_path: Path, broken: Path) -> None:
    program(broken / "initdb", 'mkdir -p "${1#--pgdata=}"; touch "${1#--pgdata=}/postgresql.conf"')
    program(broken / "postgres", "echo 'FATAL: no memory'; exit 1")
    issued, reserved = issue(tmp_path), reserve()
    server = PostgresServer(
        PostgresBinaries(broken, "16.9", False, "env"),
        tmp_path / "0",
        reserved,
        number(reserved),
        issued.database,
        issued.ca_file,
        "password",
        None,
        threading.Event(),
    )
    server.initialise()
    server.start()
    with pytest.raises(LocalCloudError, match=r"not ready in 30 s .* It said: FATAL: no memory") as caught:
        server.wait_until_ready()
    assert "DEPLOYTOOLS_PG_BIN" in caught.value.hint
    server.stop()


def test_the_port_is_in_use(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = localcloud("up", "--dir", str(directory), "--pg-port", str(port))
    assert_error(result, f"Port {port} cannot be used: Address already in use.", "--pg-port")
    assert not directory.exists()


def test_the_directory_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = localcloud("up", "--dir", str(tmp_path / "file" / "cloud"))
    assert_error(result, "cannot be used: Not a directory.", "DEPLOYTOOLS_LOCALCLOUD=DIR")


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    result = localcloud("up", "--dir", str(tmp_path))
    assert_error(result, f"{tmp_path} is not empty and is not a local cloud's.", "--dir DIR")
    assert localcloud("down", "--dir", str(tmp_path))[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_nothing_to_point_a_shell_at(directory: Path) -> None:
    assert_error(localcloud("env", "--dir", str(directory)), "No local cloud runs in", "scripts/localcloud up")


def test_a_command_that_is_not_there(cloud: CloudState, directory: Path) -> None:
    result = localcloud("run", "--dir", cloud.directory, "--", "no-such-command")
    assert_error(result, "no-such-command cannot be run: No such file or directory.", "PATH")


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts PostgreSQL as another user")
def test_binaries_that_their_user_cannot_reach_are_copied(tmp_path: Path) -> None:
    wheels = [one for one in find_installations() if one.source == "wheel"]
    if not wheels:
        pytest.skip("no wheel for this platform")
    package = wheels[0].bin_dir.parent.parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for name in (f"{package.name}/{wheels[0].bin_dir.parent.name}", f"{package.name}.libs"):
        shutil.copytree(package.parent / name, closed / name, ignore=shutil.ignore_patterns("include"))
    bin_dir = closed / package.name / wheels[0].bin_dir.parent.name / "bin"
    directory = tmp_path / "cloud"
    directory.mkdir()
    servers = servers_directory(directory, server_user())
    try:
        copied = reachable(replace(wheels[0], bin_dir=bin_dir), servers, server_user())
        assert copied.bin_dir.is_relative_to(servers)
        assert can_reach(copied.bin_dir / "initdb", server_user())
        done = subprocess.run([copied.bin_dir / "initdb", "--version"], capture_output=True, text=True, check=True)
        assert copied.version in done.stdout
    finally:
        clear(directory)
    assert not servers.exists()
