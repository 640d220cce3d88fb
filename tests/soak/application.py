"""An application with traffic on every tenant, in kept and in new connections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from deploytools.postgres.connections import Login

THREADS = 4

#: Seconds between the statements of a thread.
PAUSE = 0.02


@dataclass
class Client:
    """The application of one tenant.

    Attributes:
        login: the login that its processes have read when they started.
        rows: number of rows in the table: those that were inserted, as the server confirmed.
        lock: held during a statement, and while the application is stopped.
    """

    database: str
    login: Login
    rows: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: psycopg.Connection[Any] | None = None

    def work(self) -> None:
        """Insert and select in the kept connection and in a new one."""
        self.kept = self.kept or self.connect()
        self._insert(self.kept)
        with self.connect() as new:
            self._insert(new)

    def connect(self) -> psycopg.Connection[Any]:
        address = self.login.address
        return psycopg.connect(
            host=address.host,
            hostaddr=address.hostaddr,
            port=address.port,
            sslmode=address.sslmode,
            sslrootcert=address.sslrootcert,
            user=self.login.user,
            password=self.login.password.reveal(),
            dbname=self.database,
            application_name="shop",
            autocommit=True,
        )

    def _insert(self, connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            connection.execute("INSERT INTO fleet_note (text) VALUES ('x')")
            row = connection.execute("SELECT count(*) FROM fleet_note").fetchone()
        self.rows += 1
        assert row == (self.rows,), f"{self.database} has {row} rows, expected {self.rows}"

    def close(self) -> None:
        if self.kept:
            self.kept.close()
        self.kept = None


class Application:
    """Threads that use all clients; a context manager.

    Attributes:
        failures: every statement that failed.
        statements: number of rows inserted.
    """

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.failures: list[str] = []
        self.statements = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)]

    def __enter__(self) -> Application:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for client in self.clients.values():
            client.close()

    def start(self, database: str, login: Login, rows: int = 0) -> None:
        self.clients[database] = Client(database, login, rows)

    def restart(self, database: str, login: Login) -> None:
        """Close all connections and continue with `login`."""
        client = self.clients[database]
        with client.lock:
            client.close()
            client.login = login

    @contextmanager
    def stopped(self, database: str) -> Iterator[Client]:
        """Stop the application of one tenant inside the ``with`` block."""
        client = self.clients[database]
        with client.lock:
            client.close()
            yield client

    def remove(self, database: str) -> None:
        with self.stopped(database):
            del self.clients[database]

    def _run(self, number: int) -> None:
        while not self._stop.wait(PAUSE):
            for client in list(self.clients.values())[number::THREADS]:
                if self._stop.wait(PAUSE) or not client.lock.acquire(blocking=False):
                    continue
                try:
                    if client.database in self.clients:
                        client.work()
                        self.statements += 2
                except (psycopg.Error, AssertionError) as error:
                    client.close()
                    self.failures.append(f"{client.database} as {client.login.user}: {' '.join(str(error).split())}")
                finally:
                    client.lock.release()
