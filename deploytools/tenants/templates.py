"""Template databases, from which the tables of new tenants are copied: when to build and when to drop one. Pure.

A template is named after its content, so an outdated template never has the desired name. Its comment is set last: a
template without the comment is incomplete and is recreated. The comment holds the version of the template's row in
``pg_database``: a change of the template requires connections, and so an ALTER DATABASE, which changes that version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploytools.errors import UnmanagedDatabase
from deploytools.tenants.database_operations import (
    AllowOwnerConnections,
    ChangeOwner,
    CreateDatabase,
    CreateExtension,
    DropTemplate,
    FinalizeTemplate,
    RevokePublicConnect,
    RunMigrations,
    UnmarkTemplate,
)
from deploytools.tenants.operations import Operation
from deploytools.tenants.options import DesiredState
from deploytools.tenants.state import TEMPLATE_COMMENT, DatabaseState, ServerState


def build_steps(desired: DesiredState, state: ServerState) -> Iterator[Operation]:
    """Yield the steps to a complete template.

    Raises:
        UnmanagedDatabase: a database of its name is not a template of deploytools, or the template was changed.
    """
    name, master = desired.template, state.master.name
    owner = desired.template_owner(master)
    found = state.databases.get(name)
    if found and found.is_complete_template and found.owner == owner:
        return
    if found:
        _require_own(found)
        yield from drop_steps([found])
    yield CreateDatabase(name, desired.locale)
    yield RevokePublicConnect(name, master)
    if owner != master:
        yield ChangeOwner(name, master, owner)
    yield AllowOwnerConnections(name, owner)
    for extension in desired.template_extensions:
        yield CreateExtension(name, extension)
    yield RunMigrations(name, owner)
    yield FinalizeTemplate(name, owner)


def _require_own(found: DatabaseState) -> None:
    if not found.is_own_template:
        raise UnmanagedDatabase(
            f"{found.name} exists and is not a template created by deploytools; it was not changed.",
            hint="Rename it, or run create_tenant_dbs with --no-template.",
        )
    if found.comment.startswith(TEMPLATE_COMMENT):
        raise UnmanagedDatabase(
            f"Template {found.name} was altered after it was completed: its connections, settings or "
            "owner have changed.",
            hint="Drop it; the next run recreates it: "
            "python manage.py create_tenant_dbs --prune-templates --no-template",
        )


def drop_steps(templates: Iterable[DatabaseState]) -> Iterator[Operation]:
    for template in templates:
        if template.is_template:
            yield UnmarkTemplate(template.name, template.owner)
        yield DropTemplate(template.name, template.owner)
