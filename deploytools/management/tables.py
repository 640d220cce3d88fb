"""``create_tenant_dbs``: how new tenants get their tables, and the templates that are not needed any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from deploytools.databases.state import Wanted
from deploytools.databases.tables import template_name
from deploytools.databases.templates import drop_steps
from deploytools.databases.tenancy import Tenancy
from deploytools.errors import ConfigurationError
from deploytools.management.base import FINDINGS, FINE, DeployCommand, exit_with
from deploytools.management.progress import Progress


def add_tables_options(parser: CommandParser) -> None:
    """What new databases are filled with, and ``--prune-templates``."""
    parser.add_argument(
        "--migrate",
        action="store_true",
        help="Give new tenants their tables: as a copy of a template that is migrated once. (Existing ones: "
        "migrate_tenants.)",
    )
    parser.add_argument(
        "--superuser", action="store_true", help="Make the secret's superuser_* one in each tenant that has none."
    )
    parser.add_argument(
        "--no-template", action="store_true", help="With --migrate: run the migrations in each instead."
    )
    parser.add_argument(
        "--prune-templates",
        action="store_true",
        help="Only drop the templates of earlier migrations; with --no-template this one's, too.",
    )


def with_tables(
    wanted: Wanted,
    *,
    migrate: bool,
    no_template: bool,
    prune_templates: bool,
    superuser: bool,
    sql: str | None,
    format: str,
    output: Path | None,
    **_: Any,
) -> Wanted:
    """`wanted`, with the template that new tenants are copied from.

    Raises:
        ConfigurationError: the options contradict each other.
    """
    if no_template and not (migrate or prune_templates):
        raise ConfigurationError("--no-template says how to --migrate.", hint="Say --migrate --no-template.")
    if sql is not None and (migrate or prune_templates or superuser):
        raise ConfigurationError(
            "The script makes the databases and nothing in them.",
            hint="Run the script, then: python manage.py migrate_tenants",
        )
    if prune_templates and (format != "text" or output is not None):
        raise ConfigurationError("--prune-templates makes no report.", hint="Leave out --format and --output.")
    name = "" if no_template or not (migrate or prune_templates) else template_name(wanted)
    return replace(wanted, migrate=migrate, template=name)


def prune(command: DeployCommand, tenancy: Tenancy, *, look_only: bool, check: bool, interactive: bool) -> None:
    """Show the old templates, ask, drop them."""
    templates = tenancy.old_templates()
    steps = tuple(drop_steps(templates))
    command.stderr.write("\n".join(f"  - {step}" for step in steps) or "  There are no old templates.")
    if not steps or look_only:
        exit_with(FINDINGS if check and steps else FINE)
        return
    command.confirm("Drop these templates?", interactive=interactive)
    tenancy.prune(steps, Progress(command.stderr, len(templates), verbosity=2))
