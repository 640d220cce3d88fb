"""Where new connections get their login from: the settings at first, then the secret, or a token of IAM."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from django.core.exceptions import ImproperlyConfigured

from deploytools.backend import login_changed
from deploytools.errors import DeployError, NotFound
from deploytools.loader import require_keys
from deploytools.postgres.failures import is_login_refused
from deploytools.secrets.document import Secret
from deploytools.secrets.versions import CURRENT, PENDING

if TYPE_CHECKING:
    from deploytools.secrets.reader import SecretReader

Opened = TypeVar("Opened")

logger = logging.getLogger("deploytools.backend")

#: The keys of ``LOGIN``.
KEYS = {"SECRET", "REGION", "REFRESH", "VERSION", "IAM"}

#: Seconds after which a login is read again, before a new connection.
REFRESH = 300
#: Seconds that one connection waits for AWS in all.
TIMEOUT = 3.0
#: Seconds until AWS is queried again after a read that found no new login; doubled each time.
FIRST_DELAY, MAXIMUM_DELAY = 1.0, 30.0
#: Seconds that a token of IAM is reused. It is valid for 15 minutes.
TOKEN_AGE = 600

#: When the settings, and the login in them, were read.
STARTED = monotonic()


@dataclass(frozen=True)
class DatabaseLogin:
    """User name and password.

    Attributes:
        version: ID of the secret's version; empty: unknown.
    """

    user: str
    password: Secret[str]
    version: str = field(default="", compare=False)


def connect_with(source: LoginSource, connect: Callable[[DatabaseLogin], Opened]) -> Opened:
    """Open a connection with `connect`; where the server refuses the login, with the other ones of `source`.

    Raises:
        psycopg.OperationalError: that of the first attempt.
    """
    started = monotonic()
    tried = [source.newest()]
    waited, deadline = monotonic() - started, 0.0
    first: psycopg.OperationalError | None = None
    while True:
        try:
            opened = connect(tried[-1])
        except psycopg.OperationalError as error:
            first = first or error
            if not is_login_refused(str(error), used_password=bool(error.pgconn and error.pgconn.used_password)):
                break
        else:
            source.accept(tried[-1])
            return opened
        deadline = deadline or monotonic() + TIMEOUT - waited
        candidate = source.candidate(tried, deadline)
        if candidate is None:
            break
        tried.append(candidate)
    try:
        raise first
    finally:
        del first  # It refers to this frame.


class SecretLogins:
    """The logins in a secret. One thread reads at a time; the others wait for its result.

    A read runs in its own thread, so that a connection can stop waiting for it: neither the resolution of a name nor
    the credentials of AWS have a time-out of their own.

    Args:
        initial: the login in the settings.
        secret: name or ARN of the secret.
        refresh: seconds after which the login is read again.
    """

    def __init__(self, initial: DatabaseLogin, secret: str, region: str, refresh: float) -> None:
        self.present = initial
        self._found: DatabaseLogin | None = None
        self._secret, self._region, self._refresh = secret, region, refresh
        self._read_at, self._not_before, self._delay = STARTED, 0.0, FIRST_DELAY
        self.reset()

    def reset(self) -> None:
        """Start without locks, threads and sockets of another process: after a fork."""
        self._lock = threading.Lock()
        self._reading: Future[DatabaseLogin | None] | None = None
        self._reader: SecretReader | None = None

    def newest(self) -> DatabaseLogin:
        """Return the login of AWSCURRENT if the present one is old, and the present one if AWS does not respond.

        Only one connection waits; the others use the present login meanwhile.
        """
        if monotonic() - self._read_at < self._refresh:
            return self.present
        reading, is_own = self._read(())
        found = _result(reading, monotonic() + TIMEOUT) if reading and is_own else None
        return found or self.present

    def candidate(self, refused: Sequence[DatabaseLogin], deadline: float) -> DatabaseLogin | None:
        """Return the login that another connection uses or has found, or else one from the secret."""
        is_own = False
        while True:
            for known in (self.present, self._found):
                if known and known not in refused:
                    return known
            if is_own or monotonic() >= deadline:
                return None
            reading, is_own = self._read(refused)  # That for another connection can find a login that was refused here.
            if reading:
                _result(reading, deadline)

    def accept(self, login: DatabaseLogin) -> None:
        """Use `login` for new connections from now on. The change is one log record and one signal."""
        with self._lock:
            self._delay = FIRST_DELAY
            if login == self.present:
                return
            self.present = login
        logger.info(
            "The database login from the secret %s changed to %s, version %s.", self._secret, login.user, login.version
        )
        login_changed.send_robust(type(self), secret=self._secret, user=login.user, version=login.version)

    def _read(self, refused: Sequence[DatabaseLogin]) -> tuple[Future[DatabaseLogin | None] | None, bool]:
        """Return a read, and whether this call started it. None: the last read found nothing a moment ago."""
        with self._lock:
            if self._reading and not self._reading.done():
                return self._reading, False
            if monotonic() < self._not_before:
                return None, True
            reading = self._reading = Future()
        thread = threading.Thread(target=self._run, args=(reading, tuple(refused)), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # No more threads, or the interpreter is shutting down.
            reading.set_result(None)
        return reading, True

    def _run(self, reading: Future[DatabaseLogin | None], refused: Sequence[DatabaseLogin]) -> None:
        found, reason = None, ""
        try:
            found = self._find(refused)
        except DeployError as error:
            reason = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}."
        with self._lock:
            if found:
                self._found, self._read_at = found, monotonic()
            else:
                self._not_before = monotonic() + self._delay
                self._delay = min(self._delay * 2, MAXIMUM_DELAY)
        if reason:
            logger.warning("The database login was not read from the secret %s: %s", self._secret, reason)
        reading.set_result(found)

    def _find(self, refused: Sequence[DatabaseLogin]) -> DatabaseLogin | None:
        """Return the first login that is not in `refused`.

        Between two steps of a rotation, only the version of AWSPENDING has the password that works.
        """
        for label in (CURRENT, PENDING, CURRENT):
            try:
                login = self._read_login(label)
            except NotFound:
                if label != PENDING:
                    raise
            else:
                if login not in refused:
                    return login
        return None

    def _read_login(self, label: str) -> DatabaseLogin:
        from deploytools import aws  # boto3 takes long to import.
        from deploytools.secrets.reader import SecretReader

        if self._reader is None:
            client = aws.impatient_client("secretsmanager", self._region)
            self._reader = SecretReader(client, self._secret, self._region)
        found = self._reader.read_stage(label)
        require_keys(found.document, ("username", "password"), name=self._secret)
        user, password = (str(found.document[key].reveal()) for key in ("username", "password"))
        return DatabaseLogin(user, Secret(password), found.version)


class IamLogins:
    """Tokens of IAM for one user of one server, instead of a password.

    Args:
        host: the endpoint of the RDS instance, also if the connection goes through a tunnel.
        region: AWS Region of the instance; empty: that of the environment.
    """

    def __init__(self, host: str, port: int, user: str, region: str) -> None:
        self._host, self._port, self._user, self._region = host, port, user, region
        self._token: tuple[float, DatabaseLogin] | None = None
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()

    @property
    def present(self) -> DatabaseLogin:
        """The user with a valid token."""
        return self.newest()

    def newest(self) -> DatabaseLogin:
        """Return the user with a token that is at most 10 minutes old.

        Raises:
            psycopg.OperationalError: there are no AWS credentials.
        """
        with self._lock:
            if self._token is None or monotonic() - self._token[0] >= TOKEN_AGE:
                self._token = monotonic(), self._sign()
            return self._token[1]

    def candidate(self, refused: Sequence[DatabaseLogin], deadline: float) -> DatabaseLogin | None:
        """Return a new token, once."""
        if len(refused) > 1:
            return None
        with self._lock:
            if self._token and self._token[1] in refused:
                self._token = None
        found = self.newest()
        return found if found not in refused else None

    def accept(self, login: DatabaseLogin) -> None:
        """Do nothing: the user stays the same."""

    def _sign(self) -> DatabaseLogin:
        from deploytools import aws  # boto3 takes long to import.

        try:
            token = aws.database_token(self._host, self._port, self._user, self._region)
        except DeployError as error:
            raise psycopg.OperationalError(f"No IAM token for {self._user}: {error}") from error
        return DatabaseLogin(self._user, Secret(token))


def _result(reading: Future[DatabaseLogin | None], deadline: float) -> DatabaseLogin | None:
    with suppress(FutureTimeoutError):
        return reading.result(max(0.0, deadline - monotonic()))
    return None


LoginSource = SecretLogins | IamLogins

_sources: dict[tuple[object, ...], LoginSource] = {}
_sources_lock = threading.Lock()


def login_source(database: Mapping[str, Any]) -> LoginSource | None:
    """Return the source for the settings of a database, shared by all threads of the process; None without ``LOGIN``.

    Raises:
        ImproperlyConfigured: ``LOGIN`` is invalid.
    """
    given = database.get("LOGIN")
    if not given:
        return None
    _validate(given, database)
    user, region = database["USER"], given.get("REGION", "")
    if given.get("IAM"):
        address = (database["HOST"], int(database["PORT"] or 5432))
        return _shared(("iam", *address, user, region), lambda: IamLogins(*address, user, region))
    initial, refresh = DatabaseLogin(user, Secret(database["PASSWORD"])), given.get("REFRESH", REFRESH)
    key = (given["SECRET"], region, refresh, initial)
    return _shared(key, lambda: SecretLogins(initial, given["SECRET"], region, refresh))


def _shared(key: tuple[object, ...], create: Callable[[], LoginSource]) -> LoginSource:
    found = _sources.get(key)
    if found is None:
        with _sources_lock:
            found = _sources.setdefault(key, create())
    return found


def _validate(given: Mapping[str, Any], database: Mapping[str, Any]) -> None:
    if unknown := set(given) - KEYS:
        raise ImproperlyConfigured(f"LOGIN has unknown keys: {', '.join(sorted(unknown))}.")
    if not given.get("IAM") and not (given.get("SECRET") and given.get("REGION")):
        raise ImproperlyConfigured("LOGIN must have SECRET and REGION, or IAM.")
    if given.get("IAM") and (database["OPTIONS"].get("sslmode") != "verify-full" or not database["HOST"]):
        raise ImproperlyConfigured(
            "LOGIN with IAM requires HOST, and sslmode verify-full in OPTIONS: the token must not reach another server."
        )


def _after_fork() -> None:
    global _sources_lock
    _sources_lock = threading.Lock()
    for source in _sources.values():
        source.reset()


os.register_at_fork(after_in_child=_after_fork)
