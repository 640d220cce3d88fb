"""`deploytools_init` in projects that `startproject` created."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploytools import __version__
from deploytools.scaffold.file_plan import RECORD
from tests.management.runner import run
from tests.management.terminal import answer

ROOT = Path(__file__).parent.parent.parent
SETTINGS = """
INSTALLED_APPS += ["deploytools", "visits"]
DEPLOYTOOLS = {"SECRET_NAME": "prod/clinic", "REGION": "eu-central-1", "TENANTS": ["clinic_north"]}
"""
FILES = {
    ".dockerignore",
    ".env.example",
    ".github/workflows/deploy-environment.yml",
    ".github/workflows/deploy.yml",
    "Dockerfile",
    "clinic_desk/settings_production.py",
    "deploy/aws/policy-app.json",
    "deploy/aws/policy-build.json",
    "deploy/aws/policy-job.json",
    "deploy/aws/policy-operator.json",
    "deploy/aws/policy-pipeline.json",
    "deploy/aws/service.json",
    "deploy/aws/task-job.json",
    "deploy/aws/task-service.json",
    "deploy/aws/trust-build.json",
    "deploy/aws/trust-pipeline.json",
    "deploy/ca/README.md",
    "deploy/scan-exceptions.json",
    RECORD,
}


class Project:
    """A project in its own directory; its commands run in their own processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.before = self.files()

    def run(self, *arguments: str) -> tuple[str, str, int]:
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPYCACHEPREFIX") if name in os.environ}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory, env=keep | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout, done.stderr, done.returncode

    def init(self, *arguments: str) -> tuple[str, str, int]:
        return self.run("manage.py", "deploytools_init", *arguments)

    def append(self, name: str, text: str) -> None:
        with (self.directory / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def text(self, name: str) -> str:
        return (self.directory / name).read_text(encoding="utf-8")

    def files(self) -> set[str]:
        found = (path.relative_to(self.directory) for path in self.directory.rglob("*") if path.is_file())
        return {str(path) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a new project."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.run("-m", "django", "startproject", "clinic_desk", ".")
    project.run("manage.py", "startapp", "visits")
    project.append("clinic_desk/settings.py", SETTINGS)
    return project.directory


@pytest.fixture
def project(started: Path, tmp_path: Path) -> Project:
    return Project(shutil.copytree(started, tmp_path, dirs_exist_ok=True))


def test_a_new_project(project):
    out, err, code = project.init("--check")
    assert (code, err, project.files()) == (1, "", project.before)
    assert "  create  clinic_desk/settings_production.py\n" in out

    out, err, code = project.init("--noinput")
    assert (code, err, project.files() - project.before) == (0, "", FILES)
    written = {name: project.text(name) for name in FILES}
    assert not [name for name, text in written.items() if "tartup" in text or "mosaic" in text or "@@{" in text]
    assert "from clinic_desk.settings import *" in written["clinic_desk/settings_production.py"]
    assert "COPY clinic_desk clinic_desk\nCOPY visits visits\n" in written["Dockerfile"]
    assert "--requirement requirements.txt" in written["Dockerfile"]
    assert "collectstatic" not in written["Dockerfile"]  # There is no STATIC_ROOT.
    service = json.loads(written["deploy/aws/task-service.json"])
    environment = {one["name"]: one["value"] for one in service["containerDefinitions"][0]["environment"]}
    assert (service["family"], environment["DATABASE_NAME"], environment["DJANGO_SETTINGS_MODULE"]) == (
        "clinic-desk", "clinic_north", "clinic_desk.settings_production",
    )  # fmt: skip
    assert "eu-central-1:*:secret:prod/clinic-??????" in written["deploy/aws/policy-app.json"]
    assert "- run: pip install --requirement requirements.txt " in written[".github/workflows/deploy.yml"]
    assert steps(out) == [
        f"Add to requirements.txt: django-deploytools[binary,container]=={__version__}",
        'Add to MIDDLEWARE, as the first: "deploytools.container.ProbeHostMiddleware"',
        'Add to urlpatterns: path("healthz", liveness), path("readyz", ReadinessView.as_view())'
        " (from deploytools.container)",
        "If the image serves static files: set STATIC_ROOT, then run this command again.",
        "The image contains clinic_desk, visits. Add other directories to the Dockerfile and .dockerignore.",
        "Replace ACCOUNT, ORGANIZATION, REPOSITORY and their IDs in deploy/aws/trust-*.json and policy-*.json.",
        "Create the secret: python manage.py sync_secrets --create --generate --set host=ENDPOINT --set port=5432"
        " --set username=clinic_desk_app",
    ]

    assert project.init("--check") == ("No changes: the files are up to date.\n", "", 0)
    assert project.init("--noinput")[0] == "No changes: the files are up to date.\n"


def steps(out: str) -> list[str]:
    return [line.removeprefix("  - ") for line in out.partition("Files written. Next:\n")[2].splitlines()]


READY = """
MIDDLEWARE = ["deploytools.container.ProbeHostMiddleware", *MIDDLEWARE]
STATIC_ROOT = BASE_DIR / "collected"
STATICFILES_DIRS = [("site", BASE_DIR / "assets/css"), BASE_DIR / "missing"]
LOCALE_PATHS = [BASE_DIR / "locale"]
TEMPLATES[0]["DIRS"] = ["templates", "/elsewhere"]
"""


@pytest.mark.slow
def test_a_project_that_is_prepared(project):
    """Only what is missing is a next step, and the image has the directories of the settings."""
    for name in ("assets/css", "locale", "templates"):
        (project.directory / name).mkdir(parents=True)
    project.append("clinic_desk/settings.py", READY)
    project.append(
        "clinic_desk/urls.py",
        "from deploytools.container import ReadinessView\nurlpatterns += [path('readyz', ReadinessView.as_view())]\n",
    )
    project.append("requirements.txt", "django-deploytools[binary,container]\n")
    out, err, code = project.init("--noinput")
    assert (code, err, len(steps(out))) == (0, "", 3)
    assert steps(out)[0].startswith("The image contains assets, clinic_desk, locale, templates, visits. ")
    copied = [line.split()[1] for line in project.text("Dockerfile").splitlines() if line.startswith("COPY ")]
    assert copied[3:8] == ["assets", "clinic_desk", "locale", "templates", "visits"]
    assert "!assets\n!clinic_desk\n!locale\n!templates\n!visits\n" in project.text(".dockerignore")


@pytest.mark.slow
def test_operators_can_create_the_secrets(project):
    project.append("clinic_desk/settings.py", 'DEPLOYTOOLS["ISOLATION"] = "role-per-tenant"\n')
    project.init("--noinput", "deploy")
    statements = json.loads(project.text("deploy/aws/policy-operator.json"))["Statement"]
    arn = "arn:aws:secretsmanager:eu-central-1:*:secret:prod/clinic"
    assert [one["Sid"] for one in statements] == ["SyncSecrets", "CreateSecret", "History"]
    assert [one["Resource"] for one in statements[:2]] == [[f"{arn}-??????", f"{arn}/tenant/*-??????"]] * 2


@pytest.mark.slow
def test_what_the_project_edited_is_kept_and_what_changed_is_proposed(project):
    project.init("--noinput")
    project.append("clinic_desk/settings_production.py", "SESSION_COOKIE_AGE = 3600\n")
    (project.directory / ".github/workflows/deploy.yml").unlink()
    assert project.init("--check")[2] == 0

    project.append("clinic_desk/settings.py", 'DEPLOYTOOLS["URL"] = "https://clinic.example"\n')
    out, _, code = project.init("--noinput")
    changed = {line.split()[1] for line in out.splitlines() if line.startswith("  change  ")}
    assert (code, changed) == (
        0, {".env.example", "deploy/aws/task-job.json", "deploy/aws/task-service.json"},
    )  # fmt: skip
    assert '+        {"name": "ALLOWED_HOSTS", "value": "clinic.example"},' in out
    assert "SESSION_COOKIE_AGE" in project.text("clinic_desk/settings_production.py")


@pytest.mark.slow
def test_an_existing_file_is_shown_and_not_changed_without_confirmation(project):
    (project.directory / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    before = project.files()
    out, err, code = project.init()
    assert "  change  Dockerfile\n" in out
    assert "\n-FROM scratch\n" in out
    assert err.splitlines()[0] == ("Error: Confirmation required, but stdin is not a terminal. Nothing was changed.")
    assert (code, project.files(), project.text("Dockerfile")) == (1, before, "FROM scratch\n")

    out, _, code = project.init("--noinput", "deploy", ".github")
    assert (code, project.text("Dockerfile"), "  change  Dockerfile\n" in out) == (0, "FROM scratch\n", False)
    assert (project.directory / "deploy/aws/task-job.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (lambda path: (path / "deploy").write_text(""), ("deploy",), "README.md could not be read: Not a directory."),
        (lambda path: (path / "Dockerfile").write_bytes(b"\xff"), (), "Dockerfile could not be read: not a text file."),
        (lambda path: (path / "Dockerfile").mkdir(), (), "Dockerfile could not be read: Is a directory."),
        (lambda path: None, ("Makefile",), "Error: This command does not write Makefile."),
    ],
)
def test_files_that_cannot_be_used(project, prepare, arguments, message):
    prepare(project.directory)
    before = project.files()
    out, err, code = project.init("--noinput", *arguments)
    assert (out, code, message in err, project.files()) == ("", 2, True, before), err


@pytest.mark.slow
def test_a_directory_that_cannot_be_written(project):
    """A dangling link is a file that does not exist and cannot be created."""
    (project.directory / "Dockerfile").symlink_to("/nowhere/Dockerfile")
    _, err, code = project.init("--noinput")
    assert (code, "Dockerfile could not be written: No such file or directory." in err) == (2, True)
    record = json.loads(project.text(RECORD))["files"]
    assert ("clinic_desk/settings_production.py" in record, "Dockerfile" in record) == (True, False)
    (project.directory / "Dockerfile").unlink()
    assert project.init("--noinput")[2] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        ('DEPLOYTOOLS["TENANTS"] = []', (), 'Error: DEPLOYTOOLS["TENANTS"] is not set.'),
        ('del DEPLOYTOOLS["SECRET_NAME"]', (), '(deploytools.E007) DEPLOYTOOLS["SECRET_NAME"] is not set.'),
        ("", ("--settings", "plain"), "Error: The settings module 'plain' is not in a package."),
        ("", ("--settings", "clinic_desk.settings_production"), "init --settings clinic_desk.settings\n"),
    ],
)
def test_settings_that_cannot_be_used(project, lines, arguments, message):
    project.append("clinic_desk/settings.py", f"{lines}\n")
    for name in ("plain.py", "clinic_desk/settings_production.py"):
        (project.directory / name).write_text("from clinic_desk.settings import *\n", encoding="utf-8")
    _, err, code = project.init("--noinput", *arguments)
    assert (code, message in err) == (2, True), err


@pytest.mark.slow
def test_settings_in_a_package_of_their_own(project):
    package = project.directory / "clinic_desk/settings"
    package.mkdir()
    (package / "__init__.py").touch()
    (project.directory / "clinic_desk/settings.py").rename(package / "base.py")
    assert project.init("--noinput", "--settings", "clinic_desk.settings.base")[2] == 0
    assert "from clinic_desk.settings.base import *" in project.text("clinic_desk/settings/production.py")


def test_an_answer_that_is_not_yes(settings, capsys, monkeypatch):
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"URL": "https://other.example"}
    answer(monkeypatch, "n")
    result = run(capsys, "deploytools_init", "deploy/aws/task-job.json")
    assert (result.code, "Error: Canceled. Nothing was changed." in result.err) == (1, True)
    assert "other.example" not in (ROOT / "deploy/aws/task-job.json").read_text(encoding="utf-8")
