"""How far a change of a secret got: the one place that knows whether its values are live. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from deploytools.errors import DeployError
from deploytools.secrets.versions import short_id

NOTHING_CHANGED = "Nothing was changed."


class Live(Enum):
    """Whether AWSCURRENT is attached to the version of the change."""

    NO = "no"
    UNKNOWN = "unknown"
    YES = "yes"
    REPLACED = "replaced"


@dataclass
class ChangeProgress:
    """The state of one change. The store updates it; every message about an interrupted or failed change is its own.

    Attributes:
        subject: what becomes live: ``the new values``.
        version: the version of the change; empty: none yet.
        base: the version that was current before; empty: the secret is new.
        current: the version that was current in the last read after the change.
        is_verified: whether the values were read back from AWSCURRENT.
    """

    name: str
    region: str
    command: str = ""
    subject: str = "the new values"
    live: Live = Live.NO
    version: str = ""
    base: str = ""
    current: str = ""
    is_verified: bool = False

    def start(self, subject: str) -> None:
        """Begin another change."""
        self.subject, self.live, self.is_verified = subject, Live.NO, False
        self.version = self.base = self.current = ""

    def move(self, version: str, base: str = "") -> None:
        """AWS is about to be asked to make `version` current. Until it responds, the result is unknown."""
        self.live, self.version, self.base, self.current = Live.UNKNOWN, version, base, version

    def settle(self, live: Live, current: str = "") -> None:
        """Record the result, and the version that is current now if it is another one."""
        self.live, self.current = live, current or self.current

    def verify(self, current: str) -> None:
        """Record that the values were read back from AWSCURRENT."""
        self.live, self.current, self.is_verified = Live.YES, current, True

    @property
    def sentence(self) -> str:
        """What is true of the secret now."""
        version, subject = short_id(self.version), self.subject
        if self.live is Live.NO:
            return NOTHING_CHANGED
        if self.live is Live.UNKNOWN:
            return f"It is not known whether {subject} are live as version {version}."
        if self.live is Live.REPLACED:
            current = short_id(self.current)
            return f"{_capital(subject)} were live as version {version}; AWSCURRENT is now attached to {current}."
        unverified = "" if self.is_verified else ", but could not be verified"
        return f"{_capital(subject)} are live as version {short_id(self.current)}{unverified}."

    @property
    def next_step(self) -> str:
        """The commands that check the secret and that go back; empty: nothing was changed."""
        if self.live is Live.NO:
            return ""
        where = f"--secret-id {self.name} --region {self.region}"
        show = f"{self.command} --show" if self.command else f"aws secretsmanager list-secret-version-ids {where}"
        if not self.base:
            return f"Check: {show}"
        back = f"{self.command} --rollback {short_id(self.base)}"
        if not self.command:
            back = (
                f"aws secretsmanager update-secret-version-stage {where} --version-stage AWSCURRENT "
                f"--move-to-version-id {self.base} --remove-from-version-id {self.version}"
            )
        return f"Check: {show}. Go back: {back}"

    def explain(self, error: DeployError) -> None:
        """Add to `error` what is true of the secret now, and what to do."""
        message = str(error)
        if message.endswith(self.sentence):
            return
        error.args = (f"{message.rstrip('.')}. {self.sentence}",)
        if self.next_step:
            error.hint = f"{error.hint.rstrip('.')}. {self.next_step}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
