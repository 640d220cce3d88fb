"""Facts of the secret: the search for its values, its port, and the settings that use it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import subprocess
import zipfile
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import django
import pytest

from deploytools.conf import read_settings
from deploytools.secrets.document import Document
from deploytools.secrets.plan import SecretState
from deploytools.verification.findings import Status
from deploytools.verification.rds.facts import server_in_use
from deploytools.verification.secret import secret_scan
from deploytools.verification.secret.facts import leaked_secrets, secret_port, settings_in_use
from tests.verification.zoo.world import DOCUMENT, RDS, findings

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


def test_project_without_a_value(tree):
    found = leaked_secrets(SECRET, read_settings())
    assert (found.files, found.is_complete, found.found) == (1, True, ())


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("settings.py", f"a = 1\n\nPASSWORD = '{PASSWORD}'\n", 3),
        (".env", f"DATABASE_PASSWORD={PASSWORD}\n", 1),
        ("__pycache__/removed.cpython-312.pyc", f"PASSWORD\n{PASSWORD}", 2),
        ("fixtures/data.json", f'{{"é": 1,\n"password": "prefix{PASSWORD}suffix"}}', 2),
    ],
)
def test_value_is_found_in_any_file(tree, file, text, line):
    path = tree / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    found = leaked_secrets(SECRET, read_settings()).found
    assert found == (("password", file, line),)
    assert PASSWORD not in repr(found)


@pytest.mark.parametrize(
    "line",
    [
        "DATABASE_URL=postgres://app:p%2B%3Dq%21x%25y%26z0w@db/shop",
        "DATABASE_URL=postgres://app:p%2b%3dq%21x%25y%26z0w@db/shop",
        'password: "cCs9cSF4JXkmejB3"',
        "password: cCs9cSF4JXkmejB3Cg==",
        "echo 'p+=q!x%y&z0w' > file",
        r'{"password": "p+=q!x%y\u0026z0w"}',
        "<password>p+=q!x%y&amp;z0w</password>",
        *(
            f"Authorization: Basic {encode(f'{user}:p+=q!x%y&z0w'.encode()).decode()}"
            for user in ("app", "shop", "django_app")
            for encode in (b64encode, urlsafe_b64encode)
        ),
    ],
)
def test_value_is_found_in_every_encoding(tree, line):
    secret = replace(SECRET, document=Document({"password": "p+=q!x%y&z0w"}))
    (tree / "x.env").write_text(f"A=1\n{line}\n")
    assert leaked_secrets(secret, read_settings()).found == (("password", "x.env", 2),)


def test_value_is_found_in_json(tree):
    secret = replace(SECRET, document=Document({"password": 'p"+=q\\x%y&z0w'}))
    (tree / "x.json").write_text('{"a": "p\\"+=q\\\\x%y&z0w"}')
    assert leaked_secrets(secret, read_settings()).found == (("password", "x.json", 1),)


def test_secret_key_fallback_is_found(tree, settings):
    settings.SECRET_KEY_FALLBACKS = ["short", "an-old-key-of-many-letters"]
    (tree / "old.py").write_text("x\nKEYS = ['short', 'an-old-key-of-many-letters']\n")
    assert leaked_secrets(SECRET, read_settings()).found == (("SECRET_KEY_FALLBACKS[1]", "old.py", 2),)


def test_value_of_an_unknown_key_is_found(tree):
    (tree / "x.yaml").write_text("site: https://www.shop.net/a1b2c3\ntoken: canary7of9another1app2\n")
    assert leaked_secrets(SECRET, read_settings()).found == (("api", "x.yaml", 2),)


@pytest.mark.parametrize("file", [".git/config", ".venv/lib/x.py", "node_modules/a/b.js"])
def test_excluded_directories_are_not_searched(tree, file):
    path = tree / file
    path.parent.mkdir(parents=True)
    path.write_text(PASSWORD)
    assert leaked_secrets(SECRET, read_settings()).found == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("before", ["A=b\n", "\0\n"])
def test_value_is_found_in_every_text_encoding(tree, encoding, before):
    (tree / ".env").write_bytes(f"{before}PASSWORD={PASSWORD}\n".encode(encoding))
    assert leaked_secrets(SECRET, read_settings()).found == (("password", ".env", 2),)


def test_large_files_and_links_are_skipped(tree, monkeypatch):
    monkeypatch.setattr(secret_scan, "MAX_SIZE", 1000)
    (tree / "large").write_text(PASSWORD + "x" * 1000)
    (tree / "link").symlink_to(tree / "large")
    (tree / "dangling").symlink_to(tree / "nowhere")
    found = leaked_secrets(SECRET, read_settings())
    assert (found.found, found.unreadable, found.oversized) == ((), (), ("large",))
    (finding,) = [f for f in findings(leaked_secrets=found) if f.check.id == "secret.not-in-code"]
    assert (finding.status, finding.evidence) == (Status.UNKNOWN, "not read because of their size or format: large")


def test_unreadable_file_is_reported(tree, monkeypatch):
    (tree / "closed.py").write_text("x")
    read = Path.read_bytes

    def closed(path: Path) -> bytes:
        if path.name == "closed.py":
            raise PermissionError("closed")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", closed)
    assert leaked_secrets(SECRET, read_settings()).unreadable == ("closed.py",)


def test_more_files_than_the_limit(tree, monkeypatch):
    monkeypatch.setattr(secret_scan, "MAX_FILES", 1)
    (tree / "z.py").write_text("")
    assert (leaked_secrets(SECRET, read_settings()).files, leaked_secrets(SECRET, read_settings()).is_complete) == (
        1,
        False,
    )


def test_base_dir_is_not_set(settings):
    del settings.BASE_DIR
    assert leaked_secrets(SECRET, read_settings()).directory == ""


def test_settings_are_compared_with_the_secret(settings):
    settings.SECRET_KEY = DOCUMENT["django_secret_key"]
    found = settings_in_use(SECRET, read_settings())
    assert "SECRET_KEY" in found.equal
    assert "another" not in repr(found)


MAIL_OPTIONS = tuple(f"MAILERS['default']['OPTIONS']['{name}']" for name in ("host", "port", "username", "password"))
MAIL_VALUES = {
    "host": DOCUMENT["email_host"],
    "port": DOCUMENT["email_port"],
    "username": DOCUMENT["email_user"],
    "password": DOCUMENT["email_password"],
}


def mail(values):
    return {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": values}}


@pytest.mark.skipif(django.VERSION >= (6, 1), reason="Django has MAILERS")
def test_email_settings_are_compared_with_the_secret(settings):
    settings.EMAIL_HOST = DOCUMENT["email_host"]
    settings.EMAIL_HOST_PASSWORD = "another"
    found = settings_in_use(SECRET, read_settings())
    assert "EMAIL_HOST" in found.equal
    assert "EMAIL_HOST_PASSWORD" in found.different
    assert "another" not in repr(found)


@pytest.mark.parametrize(
    ("mailers", "equal"),
    [
        (mail(MAIL_VALUES), MAIL_OPTIONS),
        (mail(MAIL_VALUES | {"password": "another"}), MAIL_OPTIONS[:3]),
        ({"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}, ()),
        ({}, ()),
    ],
)
def test_mailers_are_compared_with_the_secret(settings, monkeypatch, mailers, equal):
    monkeypatch.setattr("django.VERSION", (6, 1))
    settings.MAILERS = mailers
    found = settings_in_use(SECRET, read_settings())
    assert tuple(name for name in found.equal if "MAIL" in name) == equal
    assert tuple(name for name in found.different if "MAIL" in name) == MAIL_OPTIONS[len(equal) :]
    assert "another" not in repr(found)


def test_other_settings_with_the_name_of_a_key_are_compared(settings, monkeypatch):
    settings.STRIPE_SECRET_KEY, settings.STRIPE_PUBLISHABLE_KEY = "sk_test_env", DOCUMENT["stripe_publishable_key"]
    host = {"ENGINE": "django.db.backends.postgresql", "HOST": DOCUMENT["host"], "USER": DOCUMENT["username"]}
    for alias, database in {
        "reports": host | {"PASSWORD": "canary-literal"},
        "replica": host | {"PASSWORD": DOCUMENT["password"]},
        "elsewhere": host | {"HOST": "warehouse", "PASSWORD": "canary-literal"},
        "other_user": host | {"USER": "reader", "PASSWORD": "canary-literal"},
    }.items():
        monkeypatch.setitem(settings.DATABASES, alias, database)
    found = settings_in_use(SECRET, read_settings())
    assert "STRIPE_PUBLISHABLE_KEY" in found.equal
    assert {"STRIPE_SECRET_KEY", "DATABASES['reports']['PASSWORD']"} <= set(found.different)
    assert [name for name in found.different if "DATABASES" in name] == ["DATABASES['reports']['PASSWORD']"]
    assert "canary" not in repr(found)


def test_mail_that_is_not_configured_differs_from_the_secret():
    found = settings_in_use(SECRET, read_settings())
    assert len([name for name in found.different if "MAIL" in name]) == 4


@pytest.mark.parametrize(("port", "found"), [(5432, 5432), ("5433", 5433), ("x", None), (None, None)])
def test_port_of_the_secret(port, found):
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
    said = server_in_use(secret, replace(RDS, endpoint=endpoint), ())
    assert (said.is_instance, said.is_rds_endpoint) == found
    assert host not in repr(said)


@pytest.mark.parametrize(
    ("name", "opened"), [("dump.sql.gz", gzip.open), ("dump.xz", lzma.open), ("dump.bz2", bz2.open)]
)
def test_compressed_files_are_read(tree, name, opened):
    with opened(tree / name, "wb") as file:
        file.write(b"COPY users\n" + PASSWORD.encode())
    assert leaked_secrets(SECRET, read_settings()).found == (("password", name, 2),)


def test_archives_are_read_member_by_member(tree):
    with zipfile.ZipFile(tree / "backup.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes", "nothing")
        archive.writestr("env", f"PASSWORD={PASSWORD}")
    assert [item[:2] for item in leaked_secrets(SECRET, read_settings()).found] == [("password", "backup.zip")]


@pytest.mark.parametrize(("name", "content"), [("a.7z", b"x"), ("a.gz", b"not gzip"), ("a.zip", b"PK but no archive")])
def test_unknown_formats_are_not_read(tree, name, content):
    (tree / name).write_bytes(content)
    assert leaked_secrets(SECRET, read_settings()).oversized == (name,)


def test_a_compressed_file_that_is_large_is_not_read(tree, monkeypatch):
    monkeypatch.setattr(secret_scan, "MAX_SIZE", 1000)
    with gzip.open(tree / "bomb.gz", "wb") as file:
        file.write(b"x" * 5000)
    with zipfile.ZipFile(tree / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", "x" * 5000)
    assert leaked_secrets(SECRET, read_settings()).oversized == ("bomb.gz", "bomb.zip")


def git(root: Path, *arguments: str) -> None:
    """Run Git without the configuration of this machine."""
    identity = ["-c", "user.name=Alice", "-c", "user.email=alice@shop.net", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tree: Path) -> Path:
    """A project whose password was committed on a branch, in a file that a later commit deleted."""
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    git(tree, "checkout", "-qb", "old")
    (tree / "old.env").write_text(f"X=1\nPASSWORD={PASSWORD}\n")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "password")
    git(tree, "rm", "-q", "old.env")
    git(tree, "commit", "-qm", "removed")
    git(tree, "checkout", "-q", "main")
    return tree


def in_history() -> tuple[tuple[str, ...], str]:
    """The file and the commit of each value that was found, without the digits, and the gap."""
    found = leaked_secrets(SECRET, replace(read_settings(), history=True))
    return tuple(re.sub("@[0-9a-f]{7,}", "@", f"{key} {path}:{line}") for key, path, line in found.found), found.history


def test_value_in_the_git_history(repository):
    assert leaked_secrets(SECRET, read_settings()).found == ()
    assert in_history() == (("password old.env@:0",), "")


def test_value_that_a_merge_added(repository):
    git(repository, "merge", "-q", "--no-ff", "--no-commit", "old")
    (repository / "merged.env").write_text(f"PASSWORD={PASSWORD}\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "merged")
    git(repository, "rm", "-q", "merged.env")
    git(repository, "commit", "-qm", "removed")
    assert in_history() == (("password merged.env@:0", "password old.env@:0"), "")


def test_value_on_a_merged_branch_that_changed_nothing_in_the_end(repository):
    git(repository, "merge", "-q", "--no-ff", "old")
    git(repository, "branch", "-q", "-D", "old")
    assert in_history() == (("password old.env@:0",), "")


def test_value_in_a_commit_message(repository):
    (repository / "README").touch()
    git(repository, "add", ".")
    git(repository, "commit", "-qm", f"Rotate\n\ncommit 1: the former\n  password was {PASSWORD}")
    assert in_history() == (("password commit message@:0", "password old.env@:0"), "")


def test_git_history_that_cannot_be_read_completely(repository, tmp_path_factory, settings, monkeypatch):
    shallow = tmp_path_factory.mktemp("shallow") / "shop"
    git(repository, "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow))
    settings.BASE_DIR = shallow
    assert in_history() == ((), "the clone is shallow: it has only a part of the history")
    settings.BASE_DIR = tmp_path_factory.mktemp("plain")
    assert in_history() == ((), f"git log failed in {settings.BASE_DIR}")
    settings.BASE_DIR = repository
    monkeypatch.setattr(secret_scan, "MAX_HISTORY", 1)
    assert in_history() == ((), "only the newest 0 MB of the Git history were read")
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    assert in_history() == ((), "git could not be run: No such file or directory")
