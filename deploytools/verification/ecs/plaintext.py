"""Recognize credentials in a task definition by their values and names. Pure.

detect-secrets is not used: it has had no release since 2024, and its keyword detector reads source code, not variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

#: Values that are credentials under any name: URLs with a password, and formats of well-known services.
CREDENTIAL = re.compile(
    r"""[a-z][a-z0-9+.-]{0,30}://[^/\s:@]*:[^/\s@]+@
        |[?&](password|passwd|pwd|secret|token|api_?key|access_key)=[^&\s]+
        |(^|[\s;])((?i:password|AccountKey|SharedAccessKey)|[Pp]wd)=[^\s;$<{/]
        |"[\w-]*(?i:password|passwd|client_?secret|secret_?key|private_?key|api_?key)"\s*:\s*"[^"$<{/\s]
        |(^|\n)[ \t]*[\w-]*(?i:password|passwd):[ ]+[^\s$<{/]
        |\$(apr1|2[abxy]|argon2\w+|[56y])\$\S{8}
        |\b(Basic|Bearer)\s+(?=\S*[\d=])[\w.+/=-]{8}
        |hooks\.slack\.com/services/\w|discord(app)?\.com/api/webhooks/\w
        |\b(sk|rk|whsec|pk)_(live|test)_\w{8}|\bwhsec_\w{8}
        |\b(AKIA|ASIA)[A-Z0-9]{16}\b
        |\b(ghp|gho|ghs|ghu|github_pat|glpat|npm|pypi|xox[abps]|SG|dop_v1|hf|shpat)[_.-][\w.-]{16}
        |\bAIza[\w-]{30}|\beyJ[\w-]{10,}\.eyJ|-----BEGIN\ [A-Z ]*PRIVATE\ KEY|\bdjango-insecure-
    """,
    re.VERBOSE,
)

#: Names of credentials.
NAMED = re.compile(
    r"PASS(WORD|WD|PHRASE)?(_|$)|PASSWORD|PWD|SECRET|TOKEN|CREDENTIAL|(^|_)(API|PRIVATE|ACCESS)?_?KEY($|_)|APIKEY"
)

#: The ends of names of what concerns a credential and is not one.
ABOUT = re.compile(
    r"_(NAME|ARN|ID|PREFIX|PATH|FILE|HEADER|TTL|TIMEOUT|AGE|SECONDS|MINUTES|HOURS|DAYS|EXPIRY|LIFETIME|LENGTH|BACKEND"
    r"|ALGORITHM|REGION|ENABLED|REQUIRED|POLICY|FIELD|URL|HASHERS?|VALIDATORS?|TYPE|VERSION|MANAGER)$"
)

#: Names of keys that browsers receive; a public server can also have a credential.
PUBLIC = re.compile(r"(?!.*(SECRET|PASS|PRIVATE|TOKEN))(.*PUBLISHABLE|(.*_)?(PUBLIC|SITE_?KEY)(_|$))")

#: Variables of the shell with a directory.
DIRECTORIES = {"PWD", "OLDPWD"}

#: Values that are no credential: numbers, durations, switches, Regions, ARNs, paths, dotted names of Python.
HARMLESS = re.compile(
    r"-?[\d.,_]+\s?(ms|s|m|h|d)?|true|false|yes|no|on|off|none|null|[a-z]{2}(-[a-z]+)+-\d|arn:.*|/[\w./-]*|[a-z_]+(\.\w+)+",
    re.IGNORECASE,
)

#: A random value: long, with upper-case and lower-case letters and digits, without separators of words.
RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d.*\d)[A-Za-z0-9+/=_-]{32,}")

#: A variable that the shell of a command replaces.
REFERENCE = re.compile(r"\$(\{[A-Z_][A-Z0-9_]*\}|[A-Z_][A-Z0-9_]*)")

#: A client whose command has a login as an option.
LOGIN = re.compile(
    r"""\b(?P<client>curl(?=\b.*\s(-\w*[uU]|--(proxy-)?user)[\s=]?['"]?[^\s:'"$]+:[^\s'"$])
        |redis-cli(?=\b.*\s(-a|--pass)\s+['"]?[^\s'"$])
        |(mysql|mariadb)\w*(?=\b[^;&|\n]*\s-p(?!ort\b)['"]?[^\s'"$])
        |sshpass(?=\s+-p\s?['"]?[^\s'"$]))
    """,
    re.VERBOSE,
)

#: An option with its value, or an assignment, in a command.
ASSIGNMENT = re.compile(r"(?:^|[\s'\"])-{0,2}([A-Za-z][\w.-]*)=(\S+)")


def is_credential(name: str, value: str) -> bool:
    """Return whether a variable, an option or a label has a credential as its value."""
    is_directory, name = name in DIRECTORIES, re.sub(r"[^A-Z0-9]+", "_", name.upper())
    if not value or HARMLESS.fullmatch(value):
        return False
    if CREDENTIAL.search(value):
        return "PUBLISHABLE" not in name and not value.startswith("pk_")
    if is_directory or PUBLIC.match(name):
        return False
    if RANDOM.fullmatch(value):
        return True
    is_about = ABOUT.search(name) and not name.endswith("SECRET_ID")
    return bool(NAMED.search(name)) and not is_about


def credentials_in(container: Mapping[str, Any]) -> Iterator[str]:
    """Yield where a container definition has credentials, other than in its environment: ``command --db-password``."""
    health = (container.get("healthCheck") or {}).get("command")
    for member, command in (
        *((member, container.get(member)) for member in ("command", "entryPoint")),
        ("healthCheck", health),
    ):
        words = [REFERENCE.sub("", str(word)) for word in command or ()]
        pairs = [(word, following) for word, following in pairwise(words) if word.startswith("--")]
        pairs += [pair for word in words for pair in ASSIGNMENT.findall(word)]
        yield from (f"{member} {name}" for name, value in pairs if "=" not in name and is_credential(name, value))
        if login := LOGIN.search(" ".join(map(str, command or ()))):
            yield f"{member} {login['client']}"
        yield from (member for word in words if CREDENTIAL.search(word) and not ASSIGNMENT.search(word))
    options = (container.get("logConfiguration") or {}).get("options") or {}
    for kind, members in (("label", container.get("dockerLabels") or {}), ("log option", options)):
        yield from (f"{kind} {name}" for name, value in members.items() if is_credential(name, str(value)))
