"""Production settings: every secret from AWS Secrets Manager, Django's deployment settings all on.

Refuses to start on a secret that is missing, unreadable or incomplete, and never falls back to a default value.
`sync_secrets` and `create_tenant_dbs`, which repair a broken secret, run under `StartupWebApp.settings`.
"""

from __future__ import annotations

from deploytools.errors import ConfigurationError
from deploytools.loader import load_secrets, load_tenant_secret
from StartupWebApp.settings import *  # noqa: F403
from StartupWebApp.settings import DATABASES, DEPLOYTOOLS, env

_missing = [name for name in ("DATABASE_NAME", "ALLOWED_HOSTS") if not env.str(name, default="")]
if _missing:
    raise ConfigurationError(
        f"The production settings need {' and '.join(_missing)} in the environment.",
        hint="For example: export DATABASE_NAME=startupwebapp_prod ALLOWED_HOSTS=www.example.com",
    )

_secret = load_secrets(
    DEPLOYTOOLS["SECRET_NAME"],
    region=DEPLOYTOOLS["REGION"],
    required=DEPLOYTOOLS["REQUIRED_KEYS"],
    mend="python manage.py sync_secrets FILE --settings StartupWebApp.settings",
)

# With a role per tenant, this process knows the login of its own tenant only.
_login = _secret
if DEPLOYTOOLS["ISOLATION"] == "role-per-tenant":
    _login = load_tenant_secret(
        DEPLOYTOOLS["TENANT_SECRET_PREFIX"] + DATABASES["default"]["NAME"],
        region=DEPLOYTOOLS["REGION"],
        mend="python manage.py create_tenant_dbs --settings StartupWebApp.settings",
    )

PRODUCTION = True
DEBUG = False
SECRET_KEY = _secret["django_secret_key"].reveal()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS")

DATABASES["default"] |= {
    "HOST": _login["host"].reveal(),
    "PORT": DEPLOYTOOLS["PORT"] or str(_login["port"].reveal()),
    "USER": _login["username"].reveal(),
    "PASSWORD": _login["password"].reveal(),
    "CONN_MAX_AGE": 600,
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": {
        "connect_timeout": 5,
        "application_name": "StartupWebApp",
        "sslmode": DEPLOYTOOLS["SSLMODE"],
        # psycopg would look for ~/.postgresql/root.crt on an empty value, and for no address at all.
        **{
            option: DEPLOYTOOLS[key]
            for option, key in (("sslrootcert", "SSLROOTCERT"), ("hostaddr", "HOSTADDR"))
            if DEPLOYTOOLS[key]
        },
    },
}

# Served is what collectstatic wrote, under hashed names (PRODUCTION).
WHITENOISE_AUTOREFRESH = False
WHITENOISE_USE_FINDERS = False

STRIPE_SECRET_KEY = _secret["stripe_secret_key"].reveal()
STRIPE_PUBLISHABLE_KEY = _secret["stripe_publishable_key"].reveal()

EMAIL_HOST = _secret["email_host"].reveal()
EMAIL_PORT = int(_secret["email_port"].reveal())
EMAIL_HOST_USER = _secret["email_user"].reveal()
EMAIL_HOST_PASSWORD = _secret["email_password"].reveal()
EMAIL_USE_TLS = True

# https://docs.djangoproject.com/en/5.2/howto/deployment/checklist/; TLS ends at the load balancer.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
# A load balancer asks these over plain HTTP, and takes a redirect for a failure.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^order/products$"]
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
CSRF_TRUSTED_ORIGINS = ["https://" + ("*" + host if host.startswith(".") else host) for host in ALLOWED_HOSTS]

# Step 10 of the guide would make test_* databases on the production instance.
TEST_RUNNER = "StartupWebApp.no_tests.RefusingRunner"
