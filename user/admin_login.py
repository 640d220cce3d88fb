"""The login form of the admin: failed logins are logged, and refused after too many.

Failures are counted in Django's cache: in each process, or together if ``CACHES`` configures a shared one. The address
is the last one in ``X-Forwarded-For``, which the load balancer adds; a client can send only those before it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest

logger = logging.getLogger("user.admin_login")

PERIOD_SECONDS = 900
#: Failures within the period after which logins are refused: of an account from an address, of an address, of an
#: account. The last is high, so that others can hardly lock an account.
LIMITS: Mapping[str, int] = {"both": 5, "address": 20, "account": 100}


class AdminLoginForm(AdminAuthenticationForm):
    """Django's form, with a limit of failures."""

    def clean(self) -> dict[str, Any]:
        """Check the password, unless there were too many failures.

        Raises:
            ValidationError: the login failed or is refused.
        """
        username, address = self.cleaned_data.get("username", ""), client_address(self.request)
        keys = _keys(username, address)
        if any(cache.get(key, 0) >= LIMITS[name] for name, key in keys.items()):
            logger.warning("Login of %s from %s refused: too many failures.", _account(username), address)
            raise ValidationError("Too many failed logins. Try again in 15 minutes.", code="throttled")
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            logger.warning("Login of %s from %s failed.", _account(username), address)
            for key in keys.values():
                cache.add(key, 0, PERIOD_SECONDS)
                with suppress(ValueError):  # The period has ended since.
                    cache.incr(key)
            raise
        cache.delete(keys["both"])
        return cleaned


def client_address(request: HttpRequest | None) -> str:
    """Return the address of the client as the load balancer reports it, or that of the connection."""
    if request is None:
        return ""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded or str(request.META.get("REMOTE_ADDR", ""))


def _account(username: str) -> str:
    """Return the name of an existing account. Other input is not logged: it could be a password."""
    model = get_user_model()
    exists = model._default_manager.filter(**{model.USERNAME_FIELD: username}).exists()
    return f"account {username!r}" if exists else "an unknown account"


def _keys(username: str, address: str) -> dict[str, str]:
    values = {"both": f"{username}\0{address}", "address": address, "account": username}
    return {name: f"admin-login-{name}-{hashlib.sha256(text.encode()).hexdigest()}" for name, text in values.items()}
