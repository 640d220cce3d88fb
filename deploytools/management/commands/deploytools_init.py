"""`deploytools_init`: write the files that a deployment of the project needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import CommandParser
from django.urls import Resolver404, resolve

import deploytools
from deploytools.conf import read_settings
from deploytools.errors import ConfigurationError
from deploytools.management.base import FINDINGS, OK, DeployCommand, raise_unless_ok, unreadable_file
from deploytools.scaffold.deployment_policies import deployment_policies
from deploytools.scaffold.file_plan import (
    RECORD,
    FileChange,
    format_record,
    is_in,
    parse_record,
    plan_files,
    select,
    update_record,
)
from deploytools.scaffold.project_files import render
from deploytools.scaffold.project_names import ProjectNames, read_project_names

MIDDLEWARE = "deploytools.container.ProbeHostMiddleware"


class Command(DeployCommand):
    """Render the files, compare them with those of the project, show the plan, write."""

    help = (
        "Write what a deployment of this project needs: production settings, .env.example, Dockerfile, ECS task "
        "definitions, IAM policies, GitHub workflow. Existing files are shown as a diff before they are changed. After "
        "an upgrade, run it again: it proposes what changed. Edited files are kept unless their template changed."
    )
    after_interrupt = "Files that were written are kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="*", metavar="PATH", help="Only these files or directories (default: all).")
        self.add_change_options(parser)

    def handle(self, *, paths: Sequence[str], plan: bool, check: bool, interactive: bool, **_: Any) -> None:
        settings = read_settings()
        names = read_project_names(settings)
        files = render(names, deployment_policies(settings))
        _require_known(paths, files)
        wanted = select(files, paths)
        current = _read(names.directory, [*wanted, RECORD])
        recorded = parse_record(current.pop(RECORD, ""))
        changes = plan_files(wanted, current, recorded)
        self.stdout.write(_as_text(names, changes))
        if plan or check:
            raise_unless_ok(FINDINGS if check and changes else OK, "Changes are pending.")
            return
        if not changes:
            return
        self.confirm("Write these files?", interactive=interactive)
        written = list[FileChange]()
        try:
            for change in changes:
                _write(names.directory / change.path, change.after)
                written.append(change)
        finally:
            record = update_record(recorded, wanted, current, written)
            _write(names.directory / RECORD, format_record(record, deploytools.__version__))
        self.stdout.writelines(f"{line}\n" for line in ("Files written. Next:", *_next_steps(names, settings.app_role)))


def _require_known(paths: Collection[str], files: Iterable[str]) -> None:
    for path in paths:
        if not any(is_in(file, path) for file in files):
            raise ConfigurationError(
                f"This command does not write {path}.", hint=f"Use some of: {', '.join(sorted(files))}."
            )


def _read(directory: Path, paths: Iterable[str]) -> dict[str, str]:
    found = {}
    for path in paths:
        try:
            found[path] = (directory / path).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            hint = "Move it away, or pass the paths of the other files."
            raise unreadable_file(directory / path, error, hint) from error
    return found


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{file} could not be written: {error.strerror}.",
            hint="Check the permissions of the directory, then run the command again to continue.",
        ) from error


def _as_text(names: ProjectNames, changes: Sequence[FileChange]) -> str:
    if not changes:
        return "No changes: the files are up to date."
    lines = [f"Files in {names.directory}:", ""]
    lines += [f"  {'create' if change.is_new else 'change'}  {change.path}" for change in changes]
    for change in changes:
        if not change.is_new:
            lines += ["", change.diff()]
    return "\n".join([*lines, ""])


def _next_steps(names: ProjectNames, role: str) -> list[str]:
    """Return what the command cannot do: the host's own files, and what only AWS knows."""
    steps = []
    if "deploytools" not in names.sources and "django-deploytools" not in names.requirements_text:
        package = f"django-deploytools[binary,container]=={deploytools.__version__}"
        steps.append(f"Add to {names.requirements}: {package}")
    if MIDDLEWARE not in django_settings.MIDDLEWARE:
        steps.append(f'Add to MIDDLEWARE, as the first: "{MIDDLEWARE}"')
    if not _has_readiness():
        steps.append(
            'Add to urlpatterns: path("healthz", liveness), path("readyz", ReadinessView.as_view())'
            " (from deploytools.container)"
        )
    if not names.has_static_root:
        steps.append("If the image serves static files: set STATIC_ROOT, then run this command again.")
    steps += [
        f"The image contains {', '.join(names.sources)}. Add other directories to the Dockerfile and .dockerignore.",
        "Replace ACCOUNT, ORGANIZATION, REPOSITORY and their IDs in deploy/aws/trust-*.json and policy-*.json.",
        "Create the secret: python manage.py sync_secrets --create --generate --set host=ENDPOINT --set port=5432"
        f" --set username={role or names.name.replace('-', '_') + '_app'}",
    ]
    return [f"  - {step}" for step in steps]


def _has_readiness() -> bool:
    try:
        resolve("/readyz")
    except Resolver404:
        return False
    return True
