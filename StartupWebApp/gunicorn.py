"""gunicorn's configuration for a container: ``gunicorn --config python:StartupWebApp.gunicorn StartupWebApp.wsgi``.

``PORT``, ``WEB_CONCURRENCY`` (workers) and ``WEB_THREADS`` (threads of each) override what is chosen here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from StartupWebApp.logs import logging_configuration

CGROUP = Path("/sys/fs/cgroup")


def processors(cgroup: Path = CGROUP, available: int | None = None) -> int:
    """How many processors this container may use: a quota of its cgroup counts, rounded up; at least 1.

    Args:
        available: the processors that the kernel shows; asked for where it is None.
    """
    shown = available or len(os.sched_getaffinity(0))
    return max(1, min([shown, *(-(-quota // period) for quota, period in _quotas(cgroup))]))


def _quotas(cgroup: Path) -> list[tuple[int, int]]:
    """Quota and period, in microseconds: cgroup v2 has them in one file, v1 in two. Empty where there is no limit."""
    places = (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"])
    found = []
    for names in places:
        try:
            quota, period = " ".join((cgroup / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota.isdecimal() and period.isdecimal() and int(quota) > 0 < int(period):
            found.append((int(quota), int(period)))
    return found


bind = f"0.0.0.0:{os.environ.get('PORT', '8000')}"
# A database connection a thread: mind the instance's max_connections (docs/container.md).
workers = int(os.environ.get("WEB_CONCURRENCY") or processors() + 1)
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS") or 2)
# The application is loaded once and shared by copy-on-write; what it opened is closed before the fork.
preload_app = True
# A heartbeat on a disk can stall for seconds; this is memory, and writable where the root is read-only.
worker_tmp_dir = "/dev/shm"  # noqa: S108
timeout = 30
control_socket_disable = True  # It would be a file in a home directory that there is not.
# ECS sends SIGKILL 30 seconds after SIGTERM, unless the task definition's stopTimeout says otherwise.
graceful_timeout = 25
# Longer than a load balancer keeps an idle connection (60 s), so that it never writes into one that is just closing.
keepalive = 65
# Workers are replaced now and then, not all at once: a slow leak stays small.
max_requests, max_requests_jitter = 2000, 200
# The load balancer is the only one who can reach the port, and says what the client used.
forwarded_allow_ips = "*"
accesslog = "-"
access_log_format = '%(m)s %(U)s %(s)s %(B)s bytes in %(M)s ms for %({x-forwarded-for}i)s "%(a)s"'
logconfig_dict: dict[str, Any] = logging_configuration(
    level=os.environ.get("LOG_LEVEL", "INFO"), style=os.environ.get("LOG_FORMAT", "text")
)
logconfig_dict["loggers"] |= {
    name: {"handlers": [], "level": logconfig_dict["root"]["level"], "propagate": True}
    for name in ("gunicorn.error", "gunicorn.access")
}


def pre_fork(server: object, worker: object) -> None:
    """Close what the application opened while it was loaded: a connection shared by two processes breaks both."""
    from django.db import connections

    connections.close_all()
