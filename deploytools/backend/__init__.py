"""A PostgreSQL backend whose new connections use the login that works now, without a restart.

::

    DATABASES = {
        "default": {
            "ENGINE": "deploytools.backend",
            "LOGIN": {"SECRET": "prod/shop", "REGION": "us-east-1"},
            ...
        }
    }

Without ``LOGIN`` it is Django's own backend. `deploytools.settings.production_settings` sets it.
"""

from __future__ import annotations

from django.dispatch import Signal

__all__ = ["login_changed"]

#: Sent after a connection was opened with another login than the one before. Arguments: ``secret``, its name; ``user``;
#: ``version``, the ID of the secret's version. It can be sent in any thread.
login_changed = Signal()
