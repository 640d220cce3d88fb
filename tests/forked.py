"""Run ``manage.py`` in a separate process that has most of its start behind it.

It is forked from a process that has imported the libraries and nothing else: no settings, no connections.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.management.runner import Result

ROOT = Path(__file__).parent.parent
SLOW_IMPORTS = (
    "boto3.session",
    "csp.checks",
    "deploytools.management.commands.create_tenant_dbs",
    "deploytools.management.commands.migrate_tenants",
    "deploytools.management.commands.sync_secrets",
    "deploytools.management.commands.verify_deploy",
    "django.contrib.staticfiles.storage",
    "django.core.management.commands.check",
    "django.core.management.commands.makemigrations",
    "django.db.backends.postgresql.base",
    "django.views.i18n",
    __name__,
)

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(list(SLOW_IMPORTS))


def manage(
    *arguments: str, environment: Mapping[str, str], timeout: float = 120, kill: tuple[float, int] | None = None
) -> Result:
    """Run ``python manage.py arguments…`` with only the variables in `environment`. Its stdin is empty.

    Args:
        kill: seconds after which a signal is sent, and the signal.
    """
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory, name) for name in ("out", "err")]
        process = CONTEXT.Process(target=_main, args=(arguments, dict(environment), files))
        process.start()
        if kill:
            process.join(kill[0])
            if process.exitcode is None and process.pid:
                os.kill(process.pid, kill[1])
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"{arguments} took more than {timeout} s: {files[1].read_text(encoding='utf-8')}")
        out, err = (file.read_text(encoding="utf-8") for file in files)
        return Result(out, err, process.exitcode)


def _main(arguments: Sequence[str], environment: Mapping[str, str], files: Sequence[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    for stream, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), stream)
    sys.argv = ["manage.py", *arguments]
    import manage

    manage.main()
