"""Template databases: what a new tenant's tables are copied from, and when one has to be built or may go. Pure.

A template is named after what is in it, so a stale one is never met under the wanted name. It is marked ready last of
all: one without the mark was interrupted, and is made anew. The mark holds the version of its row in ``pg_database`` as
it was closed: nobody can come in and change it without an ALTER DATABASE, which makes another version of the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from deploytools.databases.state import HALF_MADE_LIMIT, DatabaseState, ServerState, Wanted
from deploytools.databases.steps import (
    CreateDatabase,
    DropTemplate,
    HandOver,
    LetOwnerIn,
    MigrateTables,
    SealTemplate,
    ShutOutPublic,
    Step,
    UnsealTemplate,
)
from deploytools.errors import ForeignDatabase

#: No tenant may have such a name.
PREFIX = "deploytools_template_"

#: ``COMMENT ON DATABASE`` of a template that is complete begins with this.
READY = "deploytools: template, ready"


def ready_mark(row_version: str) -> str:
    """``COMMENT ON DATABASE`` of a template that is complete and as it was closed."""
    return f"{READY} ({row_version})"


def template_owner(wanted: Wanted, master: str) -> str:
    """Who owns the template and what is in it: the role that tenants share; with a role each, the master."""
    return wanted.app_role if wanted.is_shared else master


def is_ready(database: DatabaseState) -> bool:
    """Whether tenants may be copied from it."""
    is_as_closed = database.comment == ready_mark(database.row_version)
    return is_as_closed and database.is_template and not database.allows_connections


def is_ours(database: DatabaseState) -> bool:
    """Whether these commands made it, complete or not."""
    is_known = database.comment.startswith(READY) or database.connection_limit in (HALF_MADE_LIMIT, -2)
    return database.name.startswith(PREFIX) and is_known


def build_steps(wanted: Wanted, state: ServerState) -> Iterator[Step]:
    """From what is there to a template that is ready.

    Raises:
        ForeignDatabase: somebody else made a database of its name, or changed the template.
    """
    name, master = wanted.template, state.master.name
    owner = template_owner(wanted, master)
    found = state.databases.get(name)
    if found and is_ready(found) and found.owner == owner:
        return
    if found and not is_ours(found):
        raise ForeignDatabase(
            f"{name} exists and is no template of these commands' making; it was left alone.",
            hint="Rename it, or do without a template: --no-template",
        )
    if found and found.comment.startswith(READY):
        raise ForeignDatabase(
            f"The template {name} is not as it was closed: somebody opened, altered or gave it away since; it was left "
            "alone.",
            hint="Drop it, to be made anew: python manage.py create_tenant_dbs --prune-templates --no-template",
        )
    yield from drop_steps([found] if found else [])
    yield CreateDatabase(name, wanted.locale)
    yield ShutOutPublic(name, master)
    if owner != master:
        yield HandOver(name, master, owner)
    yield LetOwnerIn(name, owner)
    yield MigrateTables(name, owner)
    yield SealTemplate(name, owner)


def drop_steps(templates: Iterable[DatabaseState]) -> Iterator[Step]:
    """Remove templates that these commands made."""
    for template in templates:
        if template.is_template:
            yield UnsealTemplate(template.name, template.owner)
        yield DropTemplate(template.name, template.owner)
