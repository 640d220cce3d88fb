"""The checks, one module an area, in the order of a report. They judge facts and do no input or output."""

from __future__ import annotations

AREAS = (
    "connection",
    "secret",
    "secret_state",
    "mail",
    "project",
    "databases",
    "server",
    "rds",
    "rds_state",
    "rds_backups",
    "rds_lifecycle",
    "rds_snapshots",
    "network",
    "bastion",
    "iam",
    "alarms",
    "ecs",
    "ecs_surroundings",
    "outside",
)
