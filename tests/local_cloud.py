"""A local cloud for tests in its own process, which ends when the process that started it ends.

It is not in the process of the tests: they turn warnings into errors, and change the environment and the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploytools.local import CloudNames, CloudState, find_installations, local_cloud
from deploytools.local.cloud_environment import variables

NAMES = CloudNames("rds/startupwebapp/multi-tenant/master", instance="startupwebapp-multi-tenant-prod")
INSTANCE = NAMES.instance
ROOT = Path(__file__).resolve().parent.parent
SECRET = json.loads((ROOT / "deploy/compose/secret.json").read_text(encoding="utf-8"))


def shop_variables(state: CloudState) -> dict[str, str]:
    """Return the environment of StartupWebApp, with its own names of what libpq's variables are for any project."""
    found = variables(state)
    return {name: value for name, value in found.items() if not name.startswith("PG")} | {
        "DB_SECRET_NAME": state.names.secret,
        "APP_SECURITY_GROUPS": state.names.app_group,
        "BASTION_SECURITY_GROUPS": state.names.bastion_group,
        "DB_HOSTADDR": found["PGHOSTADDR"],
        "DB_SSLROOTCERT": found["PGSSLROOTCERT"],
    }


def start(file: Path, majors: Iterable[int]) -> subprocess.Popen[str]:
    """Start a cloud with these versions of PostgreSQL and wait until its state is in `file`.

    The cloud ends when the standard input of the returned process is closed: at the latest when this process ends.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.local_cloud", str(file), *map(str, majors)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C must not end it before the tests have cleaned up.
    )
    assert process.stdout
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"The local cloud ended with exit code {process.wait()}.")
    return process


@contextmanager
def separate_cloud(*majors: int) -> Iterator[CloudState]:
    """Run a cloud that no other test uses, by default with the machine's preferred version of PostgreSQL."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "cloud.json")
        process = start(file, majors or [find_installations()[0].major])
        try:
            yield CloudState.from_json(file.read_text(encoding="utf-8"))
        finally:
            process.communicate()


def main(file: Path, majors: Iterable[int]) -> None:
    """Run until standard input is closed."""
    installed = {found.major: found for found in reversed(find_installations())}
    with local_cloud(NAMES, [installed[major] for major in majors], secret=SECRET) as state:
        with open(file, "w", opener=lambda path, flags: os.open(path, flags, 0o600), encoding="utf-8") as target:
            target.write(state.to_json())
        print("ready", flush=True)  # noqa: T201
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(major) for major in sys.argv[2:]])
