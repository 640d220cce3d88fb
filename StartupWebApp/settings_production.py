"""Production settings: all credentials from AWS Secrets Manager, all of Django's deployment settings enabled.

Loading fails if the secret is missing, unreadable or incomplete; there are no default values. `sync_secrets` and
`create_tenant_dbs`, which fix such a secret, run with `StartupWebApp.settings`.
"""

from __future__ import annotations

from importlib import import_module

from deploytools.settings import production_settings
from StartupWebApp.settings import *  # noqa: F403
from StartupWebApp.settings import env

globals().update(
    production_settings(
        globals(),
        tenant=env.str("DATABASE_NAME", default=""),
        allowed_hosts=env.list("ALLOWED_HOSTS", default=[]),
        from_secret={"STRIPE_SECRET_KEY": "stripe_secret_key", "STRIPE_PUBLISHABLE_KEY": "stripe_publishable_key"},
        base_settings="StartupWebApp.settings",
    )
)

PRODUCTION = True
# False on a machine without TLS (compose.yaml): browsers then open the shop with plain HTTP.
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=True)
if dsn := env.str("SENTRY_DSN", default=""):
    # Local variables and request bodies can contain credentials and personal data.
    import_module("sentry_sdk").init(
        dsn=dsn,
        release=RELEASE,  # noqa: F405
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
    )
# Serve the files that collectstatic wrote.
WHITENOISE_AUTOREFRESH = False
WHITENOISE_USE_FINDERS = False
