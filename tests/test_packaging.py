"""The metadata of the package, its description for the index, and its version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from django.core.management import get_commands

import deploytools
from tests.host_project import manage
from tests.projects import page

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DESCRIPTION = (ROOT / PROJECT["readme"]).read_text()


def test_the_version_has_one_source():
    assert "version" in PROJECT["dynamic"]
    assert re.fullmatch(r"0\.\d+\.\d+", deploytools.__version__)


@pytest.mark.parametrize("command", ["check_rds", "verify_deploy"])
def test_a_command_reports_the_version_of_the_package(command):
    assert manage(command, "--version") == (f"{deploytools.__version__}\n", "", 0)


def test_the_name_differs_from_other_projects():
    """The index refuses a name that equals another one without its separators: deploy-tools exists."""
    assert PROJECT["name"] == "django-deploytools"


@pytest.mark.parametrize(
    "prefix", ["Framework :: Django", "Operating System :: POSIX", "Topic ::", "Intended Audience ::"]
)
def test_classifiers(prefix):
    assert any(classifier.startswith(prefix) for classifier in PROJECT["classifiers"])


def test_the_description_has_no_link_that_the_index_cannot_follow():
    links = re.findall(r"\]\((.*?)\)|^\[.*?\]: (\S+)|src=\"(.*?)\"", DESCRIPTION, re.MULTILINE)
    assert [link for found in links for link in found if link and not link.startswith("https://")] == []


def test_the_first_command_of_the_description_installs_the_package():
    first = next(line.strip() for line in DESCRIPTION.splitlines() if line.startswith("    "))
    extra = re.fullmatch(r'pip install "django-deploytools\[(\w+)\]"', first)
    assert extra
    assert extra[1] in PROJECT["optional-dependencies"]


@pytest.mark.parametrize("page", ["pypi.md", "your-project.md"])
def test_the_commands_of_a_page_for_other_projects_exist(page):
    named = set(re.findall(r"manage\.py (\w+)", (ROOT / "docs" / page).read_text()))
    assert {"deploytools_init", "create_tenant_dbs", "verify_deploy"} <= named
    assert named <= {name for name, app in get_commands().items() if app == "deploytools"}


@pytest.mark.parametrize(("extra", "requirements"), [("local", "local.in"), ("container", "production.in")])
def test_the_extras_have_the_bounds_of_the_requirements(extra, requirements):
    files = [ROOT / "requirements" / name for name in (requirements, "base.in")]
    lines = {line.partition("#")[0].strip() for file in files for line in file.read_text().splitlines()}
    assert set(PROJECT["optional-dependencies"][extra]) <= lines


def test_the_pages_for_other_projects_do_not_name_the_project_of_this_repository():
    text = DESCRIPTION + (ROOT / "docs/your-project.md").read_text()
    assert not re.search(r"startupwebapp|mosaic|scripts/|DB_\w+", text, re.IGNORECASE)


def test_your_own_project_counts_what_it_says():
    """`.ci/package` runs the page's commands and writes its lines: see tests/projects/walks.py."""
    counted = f"{len(page.commands())} commands, {page.count_lines()} lines in your own files"
    assert counted in page.PAGE.read_text(encoding="utf-8")


def test_the_source_distribution_has_all_tracked_rooms():
    manifest = (ROOT / "MANIFEST.in").read_text()
    for name in ("tests", "docs", "StartupWebApp", "requirements", "scripts", "user", "order", "clientevent"):
        assert f"graft {name}\n" in manifest
