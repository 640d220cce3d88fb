"""The search for the secret's values in the code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploytools.secret.document import Document
from deploytools.secret.sync import SecretState
from deploytools.verification.sources import stray_values as source
from deploytools.verification.sources.rds import server_in_use
from deploytools.verification.sources.secret import secret_port, settings_in_use
from deploytools.verification.sources.stray_values import stray_values
from tests.verification.world import DOCUMENT, RDS, findings

SECRET = SecretState(
    "prod",
    "us-east-1",
    "v1",
    Document(DOCUMENT | {"api": "canary7of9another1app2", "short": "abc", "site": "https://www.shop.net/a1b2c3"}),
)
PASSWORD = str(DOCUMENT["password"])


@pytest.fixture
def tree(tmp_path: Path, settings: Any) -> Path:
    settings.BASE_DIR = tmp_path
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "settings.py").write_text("SECRET_NAME = 'prod'\nUSER = 'django_app'\nshort = 'abc'\n")
    return tmp_path


def test_code_without_a_value(tree):
    found = stray_values(SECRET)
    assert (found.files, found.is_complete, found.found) == (1, True, ())


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("settings.py", f"a = 1\n\nPASSWORD = '{PASSWORD}'\n", 3),
        (".env", f"DATABASE_PASSWORD={PASSWORD}\n", 1),
        ("fixtures/data.json", f'{{"é": 1,\n"password": "prefix{PASSWORD}suffix"}}', 2),
    ],
)
def test_a_value_is_found_wherever_it_stands(tree, file, text, line):
    path = tree / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    found = stray_values(SECRET).found
    assert found == (("password", file, line),)
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize(
    "written",
    [
        "DATABASE_URL=postgres://app:p%2B%3Dq%21x%25y%26z0w@db/shop",
        'password: "cCs9cSF4JXkmejB3"',
        "password: cCs9cSF4JXkmejB3Cg==",
        "echo 'p+=q!x%y&z0w' > file",
    ],
)
def test_a_value_is_found_however_it_is_written(tree, written):
    secret = replace(SECRET, document=Document({"password": "p+=q!x%y&z0w"}))
    (tree / "x.env").write_text(f"A=1\n{written}\n")
    assert stray_values(secret).found == (("password", "x.env", 2),)


def test_a_value_is_found_as_json_writes_it(tree):
    secret = replace(SECRET, document=Document({"password": 'p"+=q\\x%y&z0w'}))
    (tree / "x.json").write_text('{"a": "p\\"+=q\\\\x%y&z0w"}')
    assert stray_values(secret).found == (("password", "x.json", 1),)


def test_an_old_key_of_django_s_in_the_code_is_found(tree, settings):
    settings.SECRET_KEY_FALLBACKS = ["short", "an-old-key-of-many-letters"]
    (tree / "old.py").write_text("x\nKEYS = ['short', 'an-old-key-of-many-letters']\n")
    assert stray_values(SECRET).found == (("SECRET_KEY_FALLBACKS[1]", "old.py", 2),)


def test_a_key_that_nobody_here_knows_is_searched_for_too(tree):
    (tree / "x.yaml").write_text("site: https://www.shop.net/a1b2c3\ntoken: canary7of9another1app2\n")
    assert stray_values(SECRET).found == (("api", "x.yaml", 2),)


@pytest.mark.parametrize("file", [".git/config", ".venv/lib/x.py", "node_modules/a/b.js"])
def test_what_is_no_code_of_the_project_is_left_out(tree, file):
    path = tree / file
    path.parent.mkdir(parents=True)
    path.write_text(PASSWORD)
    assert stray_values(SECRET).found == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("before", ["A=b\n", "\0\n"])
def test_a_file_is_looked_into_whatever_wrote_it(tree, encoding, before):
    (tree / ".env").write_bytes(f"{before}PASSWORD={PASSWORD}\n".encode(encoding))
    assert stray_values(SECRET).found == (("password", ".env", 2),)


def test_large_and_linked_files_are_left_out(tree, monkeypatch):
    monkeypatch.setattr(source, "LARGEST_FILE", 1000)
    (tree / "large").write_text(PASSWORD + "x" * 1000)
    (tree / "link").symlink_to(tree / "large")
    (tree / "dangling").symlink_to(tree / "nowhere")
    found = stray_values(SECRET)
    assert (found.found, found.unreadable, found.oversized) == ((), (), ("large",))
    (finding,) = [f for f in findings(stray_values=found) if f.check == "secret.not-in-code"]
    assert finding.evidence.endswith(
        "none is in a file of the project; too large to be code, and not looked into: large"
    )


def test_a_file_that_cannot_be_read_is_told(tree, monkeypatch):
    (tree / "closed.py").write_text("x")
    read = Path.read_bytes

    def closed(path: Path) -> bytes:
        if path.name == "closed.py":
            raise PermissionError("closed")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", closed)
    assert stray_values(SECRET).unreadable == ("closed.py",)


def test_more_files_than_anybody_s_project_has(tree, monkeypatch):
    monkeypatch.setattr(source, "MOST_FILES", 1)
    (tree / "z.py").write_text("")
    assert (stray_values(SECRET).files, stray_values(SECRET).is_complete) == (1, False)


def test_a_project_that_does_not_say_where_it_is(settings):
    del settings.BASE_DIR
    assert stray_values(SECRET).directory == ""


def test_django_s_settings_beside_the_secret(settings, monkeypatch):
    settings.SECRET_KEY = DOCUMENT["django_secret_key"]
    settings.EMAIL_HOST = DOCUMENT["email_host"]
    settings.EMAIL_HOST_PASSWORD = "another"
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", "another.host")
    monkeypatch.setitem(settings.DATABASES["default"], "USER", DOCUMENT["username"])
    found = settings_in_use(SECRET)
    assert "DATABASES['default']['HOST']" in found.differing
    assert "DATABASES['default']['USER']" in found.agreeing
    assert {"SECRET_KEY", "EMAIL_HOST"} <= set(found.agreeing)
    assert "EMAIL_HOST_PASSWORD" in found.differing
    assert "another" not in repr(found)


def test_a_tenant_s_own_login_is_in_another_secret(settings, monkeypatch):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"ISOLATION": "role-per-tenant"}
    for key, value in {"HOST": DOCUMENT["host"], "USER": "shop", "PASSWORD": "its own"}.items():
        monkeypatch.setitem(settings.DATABASES["default"], key, value)
    found = settings_in_use(SECRET)
    assert "DATABASES['default']['HOST']" in found.agreeing
    assert not [name for name in (*found.agreeing, *found.differing) if "USER" in name or "]['PASS" in name]


@pytest.mark.parametrize(("port", "found"), [(5432, 5432), ("5433", 5433), ("x", None), (None, None)])
def test_the_port_of_the_secret(port, found):
    values = {"host": "x"} | ({} if port is None else {"port": port})
    assert secret_port(replace(SECRET, document=Document(values))) == found


@pytest.mark.parametrize(
    ("host", "endpoint", "found"),
    [
        ("db.abc.us-east-1.rds.amazonaws.com", "db.abc.us-east-1.rds.amazonaws.com", (True, True)),
        ("DB.abc.us-east-1.rds.amazonaws.com.", "db.abc.us-east-1.rds.amazonaws.com", (True, True)),
        ("old.abc.us-east-1.rds.amazonaws.com", "db.abc.us-east-1.rds.amazonaws.com", (False, True)),
        ("db.proxy-abc.us-east-1.rds.amazonaws.com", "db.abc.us-east-1.rds.amazonaws.com", (False, False)),
        ("db.internal", "db.abc.us-east-1.rds.amazonaws.com", (False, False)),
        ("db.internal", None, (None, False)),
    ],
)
def test_the_server_in_use(host, endpoint, found):
    secret = replace(SECRET, document=Document({"host": host}))
    said = server_in_use(secret, replace(RDS, endpoint=endpoint))
    assert (said.is_instance, said.has_name_of_rds) == found
    assert host not in repr(said)
