"""``DATABASES["default"]`` compared with the secret and ``DEPLOYTOOLS``. Passwords are compared, never shown."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deploytools.conf import SSLMODES

#: The keys of ``DATABASES["default"]`` by libpq's parameter. Other parameters are keys of its OPTIONS.
KEYS = {
    "host": "HOST",
    "port": "PORT",
    "dbname": "NAME",
    "user": "USER",
    "password": "PASSWORD",
    "login_secret": "LOGIN['SECRET']",
    "login_region": "LOGIN['REGION']",
}


@dataclass(frozen=True)
class Difference:
    """One setting with another value than expected.

    Attributes:
        key: the key in ``DATABASES["default"]``.
        found: its value; empty: not set. Never a password.
        expected: the expected value; empty: not set. Never a password.
        source: where the expected value comes from.
    """

    key: str
    found: str
    expected: str
    source: str

    def __str__(self) -> str:
        if self.key == KEYS["password"]:
            return f"PASSWORD differs from {self.source}"
        return f"{self.key} is {self.found or 'not set'}, expected {self.expected or 'not set'} ({self.source})"

    @property
    def fix(self) -> str:
        """The instruction that removes the difference."""
        if self.key == KEYS["password"]:
            return f"set PASSWORD to {self.source}"
        return f"set {self.key} to {self.expected}" if self.expected else f"remove {self.key}"


@dataclass(frozen=True)
class DatabaseSettings:
    """The result of the comparison.

    Attributes:
        user: the role that Django is expected to log in as; empty: unknown.
        equal: the keys of ``DATABASES["default"]`` that are set to the expected value.
        recovers: the backend reads the login again if it changes (``LOGIN``).
    """

    user: str = ""
    equal: tuple[str, ...] = ()
    different: tuple[Difference, ...] = ()
    recovers: bool = False

    @property
    def sentence(self) -> str:
        """All differences; empty: there are none."""
        return f"DATABASES['default']: {'; '.join(map(str, self.different))}" if self.different else ""

    @property
    def hint(self) -> str:
        """How to remove all differences; empty: there are none."""
        fixes = ", ".join(difference.fix for difference in self.different)
        return f"In DATABASES['default'], {fixes}" if fixes else ""


def compare(
    given: Mapping[str, str], found: Mapping[str, str], expected: Mapping[str, str], sources: Mapping[str, str]
) -> DatabaseSettings:
    """Compare the parameters of Django's connection with the expected ones.

    Args:
        given: the parameters that Django passes to libpq.
        found: these, and libpq's defaults for the others.
        expected: the expected parameters, and libpq's defaults for the others.
        sources: the parameters to compare, and where each expected value comes from.
    """
    equal, different = list[str](), list[Difference]()
    for parameter, source in sources.items():
        key = KEYS.get(parameter, f"OPTIONS['{parameter}']")
        value, wanted = found.get(parameter, ""), expected.get(parameter, "")
        if _is_equal(parameter, value, wanted):
            equal += [key] if value else []
        elif parameter == "password":
            different.append(Difference(key, "", "", source))
        else:
            shown = value if parameter in given or not value else f"not set (libpq uses {value})"
            different.append(Difference(key, shown, wanted, source))
    return DatabaseSettings(expected["user"] if "user" in sources else "", tuple(equal), tuple(different))


def _is_equal(parameter: str, value: str, wanted: str) -> bool:
    if parameter == "host":
        return value.rstrip(".").casefold() == wanted.rstrip(".").casefold()
    if parameter == "sslmode":  # A stricter mode is allowed.
        return SSLMODES.index(value) >= SSLMODES.index(wanted) if value in SSLMODES else False
    if parameter == "sslrootcert":
        if not wanted:  # Any file is allowed that exists.
            return value in ("", "system") or Path(value).is_file()
        return value == wanted or _is_same_file(value, wanted)
    return value == wanted


def _is_same_file(value: str, wanted: str) -> bool:
    """Whether both files have the same content: a CA bundle can be in two places."""
    with suppress(OSError):
        return Path(value).read_bytes() == Path(wanted).read_bytes()
    return False
