"""The names of the host project, read from its Django settings and its directory."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings as django_settings

from deploytools.conf import Settings
from deploytools.errors import ConfigurationError
from deploytools.tenants.options import parse_tenants

#: Files of the requirements, in order of preference.
REQUIREMENTS = ("requirements/production.txt", "requirements.txt")


@dataclass(frozen=True)
class ProjectNames:
    """The names that the files contain.

    Attributes:
        directory: the directory of ``manage.py``.
        settings: the module of the base settings, for example ``shop.settings``.
        production: the module of the production settings, for example ``shop.settings_production``.
        wsgi: the module of the WSGI application.
        name: the name in AWS: lower case, digits and hyphens.
        sources: directories that the image contains, relative to `directory`.
        requirements_text: the content of that file; empty if it cannot be read.
        has_static_root: whether ``collectstatic`` has a target.
    """

    directory: Path
    settings: str
    production: str
    wsgi: str
    name: str
    tenant: str
    host: str
    region: str
    sources: tuple[str, ...]
    requirements: str
    requirements_text: str = ""
    has_static_root: bool = False

    @property
    def has_hashes(self) -> bool:
        """Whether the requirements are locked with hashes."""
        return "--hash=" in self.requirements_text

    @property
    def package(self) -> str:
        return self.settings.partition(".")[0]

    @property
    def production_file(self) -> str:
        """The file of the production settings, relative to `directory`."""
        return self.production.replace(".", "/") + ".py"


def read_project_names(settings: Settings) -> ProjectNames:
    """Return the names of the project of the current Django settings.

    Raises:
        ConfigurationError: the settings are not a module of a package, are the production settings, or have no tenant.
    """
    module = str(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
    package, _, last = module.rpartition(".")
    if not package:
        raise ConfigurationError(
            f"The settings module {module!r} is not in a package.",
            hint="Run the command with the settings of your project: --settings shop.settings",
        )
    if "production" in last:
        raise ConfigurationError(
            f"{module} is a module of production settings.",
            hint=f"Run: python manage.py deploytools_init --settings {_base_module(package, last)}",
        )
    if not settings.tenants:
        raise ConfigurationError(
            'DEPLOYTOOLS["TENANTS"] is not set.', hint='For example: DEPLOYTOOLS = {"TENANTS": ["shop_one"], …}'
        )
    top = sys.modules[module.partition(".")[0]]
    directory = Path(next(iter(top.__path__))).resolve().parent
    requirements = next((name for name in REQUIREMENTS if (directory / name).is_file()), REQUIREMENTS[-1])
    return ProjectNames(
        directory,
        settings=module,
        production=f"{package}.{'settings_production' if last == 'settings' else 'production'}",
        wsgi=str(django_settings.WSGI_APPLICATION or f"{top.__name__}.wsgi.application").rpartition(".")[0],
        name=re.sub("[^a-z0-9]+", "-", top.__name__.lower()).strip("-"),
        tenant=parse_tenants(settings.tenants)[0].name,
        host=urlsplit(settings.url).hostname or "www.example.com",
        region=settings.region,
        sources=_sources(directory, top.__name__),
        requirements=requirements,
        requirements_text=_text(directory / requirements),
        has_static_root=bool(django_settings.STATIC_ROOT),
    )


def _base_module(package: str, last: str) -> str:
    """Return the module of the base settings, by convention, of a module of production settings."""
    return f"{package}.{'settings' if 'settings' in last else 'base'}"


def _sources(directory: Path, package: str) -> tuple[str, ...]:
    """Return the top-level directories in the project's directory that it needs at run time.

    They are those of the settings, the installed apps, templates, static files, translations and fixtures.
    """
    paths = [(directory / path).resolve() for path in [*(app.path for app in apps.get_app_configs()), *_data()]]
    inside = [path.relative_to(directory) for path in paths if path.is_relative_to(directory) and path.is_dir()]
    installed = {"lib", "lib64", "site-packages"}  # A virtual environment in the directory of the project.
    return tuple(sorted({package} | {path.parts[0] for path in inside if path.parts and not installed & {*path.parts}}))


def _data() -> list[str]:
    static = [entry[1] if isinstance(entry, list | tuple) else entry for entry in django_settings.STATICFILES_DIRS]
    engines: list[dict[str, Any]] = django_settings.TEMPLATES
    templates = [path for engine in engines for path in engine.get("DIRS", ())]
    return [*templates, *static, *django_settings.LOCALE_PATHS, *django_settings.FIXTURE_DIRS]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
