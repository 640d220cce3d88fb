"""The login form of the admin: failed logins are recorded, and after too many of them logins are refused.

Failures of an account are entries of Django's admin log. So all processes count the same failures, and the history of
the account shows them. A library such as django-axes would add tables to the 57 of each tenant.

The address is the last one in ``X-Forwarded-For``, which the load balancer adds. Clients can only send
those before it.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone

logger = logging.getLogger("user.admin_login")

PERIOD = timedelta(minutes=15)
#: Failures within the period after which logins are refused: of an account from an address since its last login, of an
#: address, of an account. The last is high, so that others can hardly lock an account.
BOTH_LIMIT, ADDRESS_LIMIT, ACCOUNT_LIMIT = 5, 20, 100
#: The length of the prefix of the IPv6 network of one client.
IPV6_PREFIX = 64
#: The action of the entries, beside Django's own: 1 to 3.
FAILED_LOGIN = 20


class AdminLoginForm(AdminAuthenticationForm):
    """Django's form, with a limit of failures. A refused login looks like a failed one, which reveals no account."""

    error_messages = {  # noqa: RUF012  # as in Django
        **AdminAuthenticationForm.error_messages,
        "invalid_login": "Enter the username and password of a staff account. Both are case-sensitive. "
        "After 5 failures, logins are refused for 15 minutes.",
    }

    def clean(self) -> dict[str, Any]:
        """Check the password, and whether there were too many failures.

        Raises:
            ValidationError: the login failed or is refused.
        """
        username, address = self.cleaned_data.get("username", ""), client_address(self.request)
        account = User.objects.filter(username=username).first()
        # Other input is not logged: it could be a password.
        name = f"account {username!r}" if account else "an unknown account"
        is_refused = account is not None and _has_too_many_failures(account, address)
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            logger.warning("Login of %s from %s failed.", name, address)
            if account and not is_refused:
                _record_failure(account, address)
            raise
        if is_refused:
            logger.warning("Login of %s from %s refused: too many failures.", name, address)
            raise self.get_invalid_login_error()
        return cleaned


def client_address(request: HttpRequest | None) -> str:
    """Return the address of the client as the load balancer reports it, or that of the connection.

    For IPv6, it is the network: a client can use each of its addresses.
    """
    if request is None:
        return ""
    reported = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    reported = reported or str(request.META.get("REMOTE_ADDR", ""))
    with_port = re.fullmatch(r"\[(.+)\](:\d+)?|([\d.]+):\d+", reported)
    try:
        address = ip_address(with_port[1] or with_port[3] if with_port else reported)
    except ValueError:
        return reported
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, IPV6_PREFIX), strict=False))


def _message(address: str) -> str:
    return f"Failed login from {address}."


def _has_too_many_failures(account: User, address: str) -> bool:
    failures = LogEntry.objects.filter(action_flag=FAILED_LOGIN, action_time__gt=timezone.now() - PERIOD)
    of_account, of_address = failures.filter(user=account), failures.filter(change_message=_message(address))
    of_both = of_account & of_address.filter(action_time__gt=account.last_login or datetime.min.replace(tzinfo=UTC))
    return of_both.count() >= BOTH_LIMIT or of_address.count() >= ADDRESS_LIMIT or of_account.count() >= ACCOUNT_LIMIT


def _record_failure(account: User, address: str) -> None:
    LogEntry.objects.create(
        user=account,
        content_type=ContentType.objects.get_for_model(User),
        object_id=str(account.pk),
        object_repr=str(account),
        action_flag=FAILED_LOGIN,
        change_message=_message(address),
    )
