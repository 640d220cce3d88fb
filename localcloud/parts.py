"""Starts the parts of a cloud side by side: initdb works while the AWS emulator is imported and filled."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from moto.server import ThreadedMotoServer

from localcloud import certificates, gaps, ports
from localcloud.binaries import PostgresBinaries
from localcloud.loop import LoopThread
from localcloud.mail import USER, MailServer
from localcloud.placement import reachable, servers_directory
from localcloud.postgres import PostgresServer
from localcloud.processes import server_user
from localcloud.request import Request
from localcloud.state import CloudState, SmtpState
from localcloud.tlsfront import TlsFront
from localcloud.world import World, make_password


@dataclass
class Parts:
    """All parts of the cloud in `directory`. `stack` stops them; `stopping` makes the start give up.

    Use it in the main thread: PostgreSQL has to be started from there.
    """

    directory: Path
    stopping: threading.Event
    stack: contextlib.ExitStack
    rdsadmin_password: str = field(default_factory=make_password)
    master_password: str = field(default_factory=make_password)

    def start(self, request: Request) -> CloudState:
        """Start everything that is asked for; the first server is the one that the secret names.

        Raises:
            LocalCloudError: a part did not start.
        """
        self.issued = certificates.issue(self.directory)
        listeners = [ports.reserve(port) for port in (request.pg_port, *(0 for _ in request.postgres[1:]))]
        servers = self._begin_servers(request.postgres, listeners)
        loop = self.stack.enter_context(LoopThread())
        smtp = self._start_mail(loop)
        for server in servers:
            server.check()
        endpoint_url = self._start_aws(servers[0].client_port)
        self._finish_servers(servers, listeners, loop)
        return CloudState(
            directory=str(self.directory),
            supervisor_pid=os.getpid(),
            has_owners=request.has_owners,
            ca_file=str(self.issued.ca_file),
            aws_endpoint_url=endpoint_url,
            postgres=tuple(server.state() for server in servers),
            smtp=smtp,
            rdsadmin_password=self.rdsadmin_password,
            master_password=self.master_password,
        )

    def _begin_servers(
        self, postgres: Sequence[PostgresBinaries], listeners: Sequence[socket.socket]
    ) -> list[PostgresServer]:
        user = server_user()
        directory = servers_directory(self.directory, user)
        servers = []
        for index, (binaries, listener) in enumerate(zip(postgres, listeners, strict=True)):
            server = PostgresServer(
                binaries=reachable(binaries, directory, user),
                directory=directory / str(index),
                reserved=listener if binaries.has_tls else ports.reserve(),
                client_port=ports.number(listener),
                certificate=self.issued.database,
                ca_file=self.issued.ca_file,
                superuser_password=self.rdsadmin_password,
                user=user,
                stopping=self.stopping,
            )
            self.stack.callback(server.stop)
            server.initialise()
            servers.append(server)
        for server in servers:  # run in reverse: first all are asked, then each is waited for
            self.stack.callback(server.ask_to_stop)
        return servers

    def _finish_servers(
        self, servers: Sequence[PostgresServer], listeners: Sequence[socket.socket], loop: LoopThread
    ) -> None:
        for server in servers:
            server.start()
        for server, listener in zip(servers, listeners, strict=True):
            server.wait_until_ready()
            server.add_roles(self.master_password)
            if not server.binaries.has_tls:
                context = certificates.server_context(self.issued.database)
                loop.serve(TlsFront(listener, server.port, context).start())

    def _start_mail(self, loop: LoopThread) -> SmtpState:
        listener = ports.reserve()
        password, directory = make_password(), self.directory / "messages"
        loop.serve(MailServer(listener, password, certificates.server_context(self.issued.mail), directory).start())
        return SmtpState(ports.LOOPBACK, ports.number(listener), USER, password, str(directory))

    def _start_aws(self, database_port: int) -> str:
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # megabytes that nobody here asks for
        gaps.fill()
        server = ThreadedMotoServer(ip_address=ports.LOOPBACK, port=0, verbose=False)
        server.start()  # in a daemon thread: it ends with this process
        endpoint_url = "http://{}:{}".format(*server.get_host_and_port())
        world = World(endpoint_url)
        world.fill(database_port, self.master_password)
        world.close()
        return endpoint_url
