"""``create_tenant_dbs --sql``: the script, written where nobody else can read it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploytools.conf import configuration
from deploytools.databases.access import application_login
from deploytools.databases.script import Reader, sql_script
from deploytools.databases.server import Login
from deploytools.databases.state import Wanted
from deploytools.databases.steps import WriteSecret
from deploytools.databases.tenant_secrets import CONCURRENT_READS, settled, tenant_secrets
from deploytools.errors import ConfigurationError
from deploytools.management.base import DeployCommand
from deploytools.secret.document import Document
from deploytools.secret.store import SecretStore

STDOUT = "-"

#: How it is run, by who runs it.
USES: Mapping[Reader, str] = {
    "psql": "psql … --file {}",
    "editor": "open {} in the query editor, connected to the database postgres, and run it one statement at a time",
}


def write_script(
    command: DeployCommand, secret: Document, wanted: Wanted, file: str, reader: Reader, *, interactive: bool
) -> None:
    """Write the script to `file`, or to stdout. Asks no server; tenants' secrets that are missing are made first.

    Args:
        reader: who is to run it.

    Raises:
        ConfigurationError: the file cannot be written.
        DeployError: a secret cannot be used, or is being rotated: the script would bring an old password.
    """
    script = sql_script(wanted, _logins(command, secret, wanted, interactive=interactive), reader)
    if file == STDOUT:
        command.stdout.write(script, ending="")
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as target:  # noqa: PTH123 - its mode is set before a byte is in it
            os.fchmod(target.fileno(), 0o600)
            target.write(script)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.", hint="Name another FILE.") from None
    command.stderr.write(f"{Path(file)} written. As the master user: {USES[reader].format(file)}; then delete it.")


def _logins(command: DeployCommand, secret: Document, wanted: Wanted, *, interactive: bool) -> Mapping[str, Login]:
    secrets = tenant_secrets(secret)
    if secrets is None:
        store = SecretStore.connect(configuration.secret_name, configuration.region)
        return {wanted.app_role: application_login(settled(store))}
    needs, logins = secrets.read(wanted.tenants)
    for need in needs.values():
        if need.obstacle:
            raise need.obstacle
    steps = [WriteSecret(need.secret, name, need.keys, need.is_new) for name, need in needs.items() if need.keys]
    if steps:
        command.stderr.write("\n".join(f"  - {step}" for step in steps))
        command.confirm("The script needs these passwords. Write these secrets?", interactive=interactive)
    written = {step.tenant: secrets.write(step) for step in steps}
    unwritten = [name for name in logins if name not in written]
    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        return dict(zip(unwritten, pool.map(secrets.settled_login, unwritten), strict=True)) | written
