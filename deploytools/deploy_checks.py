"""The checks of deploytools itself, in the order of a report. Importing this module registers them."""

from __future__ import annotations

from importlib import import_module

AREAS = (
    "connection.checks",
    "secret.checks",
    "secret.rotation_checks",
    "mail.checks",
    "project.checks",
    "databases.checks",
    "rds.checks",
    "rds.status_checks",
    "rds.backup_checks",
    "network.checks",
    "bastion.checks",
    "iam.checks",
    "alarms.checks",
    "ecs.checks",
    "ecs.connection_checks",
    "web.checks",
)

for area in AREAS:
    import_module(f"deploytools.verification.{area}")
