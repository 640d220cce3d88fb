"""An SMTP server that requires STARTTLS and by default a login. It writes messages to a directory and delivers none."""

from __future__ import annotations

import hmac
import itertools
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from deploytools.local import ports
from deploytools.local.cloud_state import SmtpState

# Not .test: a project that sends from this address passes the check of its mail.
USER = "mailer@deploytools.dev"


class MessageDirectory:
    """Handler of aiosmtpd: write each message to ``0001.eml``, ``0002.eml``, … in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd for each message."""
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        (self._directory / f"{next(self._numbers):04}.eml").write_bytes(content)
        return "250 OK"


@contextmanager
def smtp_server(
    directory: Path, password: str, context: ssl.SSLContext, *, requires_login: bool = True
) -> Iterator[SmtpState]:
    """Run the server in a thread. It accepts one user with one password."""
    directory.mkdir(mode=0o700)
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd warns of its own deprecated attribute.
    with ports.reserve() as reserved:
        port = ports.number(reserved)
    controller = Controller(
        MessageDirectory(directory),
        hostname=ports.LOOPBACK,
        port=port,
        server_hostname="localhost",
        ready_timeout=30,
        tls_context=context,
        require_starttls=True,
        auth_required=requires_login,
        authenticator=_Authenticator(password),
    )
    try:
        controller.start()
        yield SmtpState(ports.LOOPBACK, port, USER, password, str(directory))
    finally:
        with suppress(RuntimeError):  # Ctrl-C came before its thread had started.
            controller.stop(no_assert=True)


class _Authenticator:
    def __init__(self, password: str) -> None:
        self._password = password.encode()

    def __call__(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        is_valid = (
            mechanism in {"LOGIN", "PLAIN"}
            and isinstance(data, LoginPassword)
            and data.login == USER.encode()
            and hmac.compare_digest(data.password, self._password)
        )
        return AuthResult(success=is_valid, handled=False)
