"""gunicorn settings for a container: ``gunicorn --config python:deploytools.container.gunicorn_config``.

The environment variables ``PORT``, ``WEB_CONCURRENCY`` (workers), ``WEB_THREADS`` (threads per worker) and
``WEB_QUERY_TIMEOUT`` (seconds) override the defaults.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

from deploytools.container import liveness_socket
from deploytools.container.json_logs import logging_configuration

CGROUP = Path("/sys/fs/cgroup")


def cpu_count(cgroup: Path = CGROUP, available: int | None = None) -> int:
    """Return the number of CPUs this container can use: at least 1, at most its cgroup's quota, rounded up.

    Args:
        cgroup: where the cgroup file system is mounted.
        available: number of CPUs that the kernel reports; None: ask the kernel.
    """
    available = available or len(os.sched_getaffinity(0))
    return max(1, min([available, *(-(-quota // period) for quota, period in _quotas(cgroup))]))


def _quotas(cgroup: Path) -> list[tuple[int, int]]:
    """Return quota and period in microseconds (one file in cgroup v2, two in v1); empty if there is no limit."""
    files = (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"])
    found = []
    for names in files:
        try:
            quota, period = " ".join((cgroup / name).read_text() for name in names).split()
        except (OSError, ValueError):
            continue
        if quota.isdecimal() and period.isdecimal() and int(quota) > 0 < int(period):
            found.append((int(quota), int(period)))
    return found


port = os.environ.get("PORT") or "8000"
bind = f"0.0.0.0:{port}"
# Seconds after which PostgreSQL cancels a statement of a request; 0: no limit.
query_timeout = float(os.environ.get("WEB_QUERY_TIMEOUT") or 15)
# Each thread can open a database connection: compare the total with max_connections of the RDS instance.
workers = int(os.environ.get("WEB_CONCURRENCY") or cpu_count() + 1)
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS") or 2)
# Workers share the loaded application's memory (copy-on-write). Its connections are closed before the fork.
preload_app = True
# The heartbeat file is in memory: a disk can block for seconds, and the root file system can be read-only.
worker_tmp_dir = "/dev/shm"  # noqa: S108
timeout = 30
control_socket_disable = True  # The socket would be a file in the home directory, which does not exist.
# ECS sends SIGKILL 30 seconds after SIGTERM (stopTimeout in the task definition).
graceful_timeout = 25
# Longer than the idle timeout of a load balancer (60 s), so that it never uses a connection that is being closed.
keepalive = 65
# Restart workers after a number of requests, not all at once, so that memory leaks stay small.
max_requests, max_requests_jitter = 2000, 200
# Only the load balancer can reach the port, so its X-Forwarded-* headers are trusted.
forwarded_allow_ips = "*"
accesslog = "-"
access_log_format = '%(m)s %(U)s %(s)s %(B)s bytes in %(M)s ms for %({x-forwarded-for}i)s "%(a)s" %({x-request-id}o)s'
logconfig_dict: dict[str, Any] = logging_configuration(
    level=os.environ.get("LOG_LEVEL", "INFO"), style=os.environ.get("LOG_FORMAT", "text")
)
logconfig_dict["loggers"] |= {
    name: {"handlers": [], "level": logconfig_dict["root"]["level"], "propagate": True}
    for name in ("gunicorn.error", "gunicorn.access")
}


_liveness: list[socket.socket] = []  # Opened by the arbiter, shared by all workers.


def on_starting(server: Any) -> None:
    """Open the socket for liveness probes."""
    try:
        _liveness.append(liveness_socket.listen(port))
    except OSError:
        server.log.warning("Another server on port %s answers liveness probes. Set PORT.", port)


def post_worker_init(worker: Any) -> None:
    """Answer liveness probes, and limit the queries of requests."""
    from deploytools.postgres.query_limits import limit_queries

    for listener in _liveness:
        arguments = (listener, worker.tmp.last_update, worker.cfg.timeout or timeout)
        threading.Thread(target=liveness_socket.answer, args=arguments, daemon=True).start()
    if query_timeout:
        limit_queries(query_timeout)


def pre_fork(server: object, worker: object) -> None:
    """Close database connections opened while loading: processes cannot share a connection."""
    from django.db import connections

    connections.close_all()
