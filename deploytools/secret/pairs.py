"""What a broken rule is, and the rules that judge fields together: the mail's and the two Stripe keys. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploytools.secret.value import Secret

TEST_MODE = "is a test-mode key"

GMAIL_HOST = "smtp.gmail.com"
SES_HOST = re.compile(r"email-smtp\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class Problem:
    """One rule that a document breaks.

    Attributes:
        key: the field.
        sentence: how, without the value.
        shape: what a good value looks like, made up.
        is_warning: allowed at this stage, worth saying.
        with_key: the other field, where the two do not go together.
    """

    key: str
    sentence: str
    shape: str
    is_warning: bool = False
    with_key: str = ""


def pair_problems(document: Mapping[str, Secret[Any]], found: Sequence[Problem]) -> list[Problem]:
    """What does not go together in `document`.

    Args:
        found: what single fields break already; those are not judged again.
    """
    return [*_mail_problems(document, found), *_stripe_pair_problems(document, found)]


def _mail_problems(document: Mapping[str, Secret[Any]], found: Sequence[Problem]) -> list[Problem]:
    """User and password must fit the host: what Google and SES hand out have known shapes."""
    broken = {problem.key for problem in found}
    if "email_host" not in document or "email_host" in broken:
        return []
    host = str(document["email_host"].reveal())
    expected = _GMAIL if host == GMAIL_HOST else _SES if SES_HOST.fullmatch(host) else {}
    return [
        Problem(key, sentence, shape, with_key="email_host")
        for key, (pattern, sentence, shape) in expected.items()
        if key in document and key not in broken and not re.fullmatch(pattern, str(document[key].reveal()))
    ]


_GMAIL = {
    "email_user": (r"[^@\s]+@[^@\s]+", "is not the address of a Google account", "you@your-domain.com"),
    "email_password": ("[a-z]{16}", "is not a Gmail app password", "16 lowercase letters, no spaces"),
}
_SES = {
    "email_user": ("[A-Z0-9]{16,128}", "is not an SMTP user of SES's", "AKIA… and 16 letters and digits"),
    "email_password": (
        "[A-Za-z0-9+/]{44}",
        "is not an SMTP password of SES's",
        "44 characters; --email ses makes it from the IAM secret key",
    ),
}


def _stripe_pair_problems(document: Mapping[str, Secret[Any]], found: Sequence[Problem]) -> list[Problem]:
    """Both keys must be of one mode: a live page with a test key takes no money and says it did."""
    names = ("stripe_secret_key", "stripe_publishable_key")
    if any(name not in document for name in names):
        return []
    if any(item.key in names and not item.is_warning and item.sentence != TEST_MODE for item in found):
        return []
    modes = {str(document[name].reveal()).split("_")[1] for name in names}
    if len(modes) == 1:
        return []
    return [Problem(name, "is of another mode than its pair: one is live, one is test", "one mode") for name in names]
