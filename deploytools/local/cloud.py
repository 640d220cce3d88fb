"""Start and stop a local cloud in this process: PostgreSQL as child processes, the other servers in threads."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore.loaders import create_loader

from deploytools.local import certificates, ports
from deploytools.local.aws_account import AwsAccount, make_password, secret_document
from deploytools.local.binaries import PostgresBinaries, accessible_copy, default_installation
from deploytools.local.cloud_error import LocalCloudError
from deploytools.local.cloud_state import CloudNames, CloudState
from deploytools.local.postgres_server import PostgresServer
from deploytools.local.processes import ServerUser, can_access, server_user
from deploytools.local.smtp_server import smtp_server
from deploytools.local.tls_proxy import TlsProxy
from deploytools.secrets.contract import DATABASE, DJANGO, Field


@contextmanager
def local_cloud(
    names: CloudNames,
    postgres: Sequence[PostgresBinaries] = (),
    *,
    fields: Sequence[Field] = (*DATABASE, *DJANGO),
    secret: Mapping[str, Any] | None = None,
) -> Iterator[CloudState]:
    """Run a local cloud inside the ``with`` block. Its directory is temporary and removed at the end.

    Args:
        names: names in the emulated AWS account.
        postgres: the servers to start, the main one first; by default the machine's preferred one.
        fields: the fields of the secret.
        secret: values of the secret that replace the generated ones.
    """
    user = server_user()
    superuser_password, master_password = make_password(), make_password()
    with ExitStack() as stack:
        directory = stack.enter_context(_directory(user))
        issued = certificates.issue(directory, names.host)
        servers = _create_servers(postgres, names, issued, superuser_password, user, stack)
        _begin_initdb(servers, stack)
        context = certificates.server_context(issued.mail)
        smtp = stack.enter_context(smtp_server(directory / "messages", make_password(), context))
        for server in servers:
            server.check_initdb()
        port, version = servers[0].client_port, servers[0].binaries.version
        document = secret_document(names, port, master_password, smtp, fields=fields) | dict(secret or {})
        endpoint_url = _start_aws(names, port, master_password, document, version)
        _start_servers(servers, master_password, stack)
        yield CloudState(
            directory=str(directory),
            names=names,
            ca_file=str(issued.ca_file),
            aws_endpoint_url=endpoint_url,
            postgres=tuple(server.state() for server in servers),
            smtp=smtp,
            rdsadmin_password=superuser_password,
            master_password=master_password,
        )


@contextmanager
def _directory(user: ServerUser | None) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="deploytools-local-"))
    try:
        directory.chmod(0o711 if user else 0o700)
        if not can_access(directory, user):
            name = user.name if user else "that runs PostgreSQL"
            raise LocalCloudError(
                f"The user {name} cannot access the temporary directory {directory.parent}.",
                hint="Set TMPDIR to a directory that every user can enter, for example TMPDIR=/tmp.",
            )
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _create_servers(
    installations: Sequence[PostgresBinaries],
    names: CloudNames,
    issued: certificates.Certificates,
    superuser_password: str,
    user: ServerUser | None,
    stack: ExitStack,
) -> list[PostgresServer]:
    directory = issued.ca_file.parent
    return [
        PostgresServer(
            accessible_copy(binaries, directory, user),
            directory / f"postgresql-{index}",
            stack.enter_context(ports.reserve()),
            names.host,
            issued,
            superuser_password,
            user,
        )
        for index, binaries in enumerate(installations or (default_installation(),))
    ]


def _begin_initdb(servers: Sequence[PostgresServer], stack: ExitStack) -> None:
    for server in servers:
        stack.enter_context(server.reserved)
        stack.callback(server.stop)
        server.begin_initdb()
    for server in servers:  # The stack runs in reverse: request the shutdown of all servers, then wait for each.
        stack.callback(server.request_stop)


def _start_servers(servers: Sequence[PostgresServer], master_password: str, stack: ExitStack) -> None:
    for server in servers:
        server.start()
    for server in servers:
        server.wait_until_ready()
        server.create_roles(master_password)
        if not server.binaries.has_tls:
            context = certificates.server_context(server.certificates.database)
            stack.enter_context(TlsProxy(server.listener, server.port, context))


def _start_aws(names: CloudNames, port: int, master_password: str, document: Mapping[str, Any], version: str) -> str:
    """Start the AWS emulator in a daemon thread and create the resources of the account. Return its URL."""
    for name in ("werkzeug", "mail.log"):  # Loggers of the emulator and the SMTP server: lines for each request.
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # They take megabytes and are not used.
    botocore.session.create_loader = cache(create_loader)  # moto creates many sessions, and each reads megabytes.
    from moto.server import ThreadedMotoServer  # It takes long to import.

    from deploytools.local import emulator_patches

    emulator_patches.install()
    server = ThreadedMotoServer(ip_address=ports.LOOPBACK, port=0, verbose=False)
    server.start()
    endpoint_url = "http://{}:{}".format(*server.get_host_and_port())
    account = AwsAccount(endpoint_url, names)
    account.create_resources(port, master_password, document, version)
    account.close()
    return endpoint_url
