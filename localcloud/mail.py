"""A real SMTP server: STARTTLS and a login are required, and what it receives goes nowhere but into a directory."""

from __future__ import annotations

import asyncio
import hmac
import socket
import ssl
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER = "notifications@mosaicmeshai.com"


class MailServer:
    """Accepts one user with one password. `messages` are those received so far, oldest first."""

    def __init__(self, listener: socket.socket, password: str, context: ssl.SSLContext, directory: Path) -> None:
        self.messages: list[EmailMessage] = []
        self._listener = listener
        self._password = password.encode()
        self._context = context
        self._directory = directory

    async def start(self) -> asyncio.Server:
        """Begin to listen."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        return await asyncio.get_running_loop().create_server(self._protocol, sock=self._listener)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd for each message: keep it."""
        content = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        self.messages.append(message_from_bytes(content, EmailMessage, policy=default))
        (self._directory / f"{len(self.messages):04}.eml").write_bytes(content)
        return "250 OK"

    def _protocol(self) -> SMTP:
        return SMTP(
            self,
            hostname="localhost",
            loop=asyncio.get_running_loop(),
            tls_context=self._context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
        )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        known = (
            mechanism in {"LOGIN", "PLAIN"}
            and isinstance(data, LoginPassword)
            and data.login == USER.encode()
            and hmac.compare_digest(data.password, self._password)
        )
        return AuthResult(success=known, handled=False)
