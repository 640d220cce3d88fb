"""Worlds of the application: databases, site, settings, secret, mail and containers. Faults, and good variations."""

from __future__ import annotations

from dataclasses import replace

from tests.verification.zoo.row import WARN, Row
from tests.verification.zoo.world import CATALOGUE, Changes, role, shop, tenant


def catalog(**changes: object) -> Changes:
    return {"server_catalog": replace(CATALOGUE, **changes)}  # type: ignore[arg-type]


SLOT = ("old_replica", "the replication slot has no client, and keeps WAL", "As the master user: …")

DATABASES = [
    *(
        Row(tenant(public_grants=grants), {"databases.public-connect-revoked": WARN}, f"what PUBLIC has: {seen}")
        for grants, seen in (
            (("CREATE on schema public",), "CREATE on schema public"),
            (("SELECT on orders", "SELECT by default privileges of app"), "SELECT on orders, SELECT by default"),
            (("USAGE of the user mapping for server billing",), "USAGE of the user mapping for server billing"),
        )
    ),
    Row(
        tenant(definer_functions=("run(text) (owner postgres)",)),
        {"databases.role-privileges": WARN},
        "shop run(text) (owner postgres): the application can execute it with the privileges of its owner",
    ),
    *(
        Row(tenant(settings=settings), {"databases.table-privileges": WARN}, f"in its sessions, {settings[0]}")
        for settings in (("statement_timeout is 50ms",), ("session_replication_role is replica",))
    ),
    *(
        Row(changes, {"databases.table-privileges": WARN}, "in its sessions, synchronous_commit is off")
        for changes in (
            shop(settings={"synchronous_commit": "off"}),
            role(settings={"synchronous_commit": "off"}),
        )
    ),
    Row(
        {
            "server_catalog": replace(
                CATALOGUE,
                databases={"shop": replace(CATALOGUE.databases["shop"], settings={"synchronous_commit": "off"})},
                roles=(replace(CATALOGUE.roles[0], settings={"synchronous_commit": "on"}),),
            )
        },
        good=("databases.table-privileges",),
    ),
    *(
        Row(tenant(defects=(defect,)), {"databases.migrated": WARN}, defect)
        for defect in (
            "index orders_total is not valid",
            "constraint total_is_positive of orders is not valid",
            "foreign keys of lines are disabled",
            "sequence orders_id_seq is behind orders",
        )
    ),
    *(
        Row(catalog(leftovers=((name, problem, "…"),)), {"databases.no-test-databases": WARN}, f"{name}: {problem}")
        for name, problem, _ in (
            SLOT,
            ("payment-7", "the prepared transaction is open for more than an hour", ""),
            ("shop django_app", "a session is idle in a transaction for more than an hour", ""),
        )
    ),
    Row(
        catalog(outdated_collations=frozenset({"shop"})),
        {"databases.encoding": WARN},
        "the version of its collation C.UTF-8 is outdated",
    ),
    Row(catalog(outdated_collations=frozenset({"other"})), good=("databases.encoding",)),
]
