"""Worlds of the application: databases, site, settings, secret, mail and containers. Faults, and good variations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deploytools.verification.connection.facts import LOCAL
from deploytools.verification.mail.sender_domain import DmarcRecord
from deploytools.verification.web.facts import ORIGIN, Response
from tests.verification.zoo.ecs import defined, variable
from tests.verification.zoo.row import FAIL, WARN, Row
from tests.verification.zoo.web import headers, page
from tests.verification.zoo.world import (
    CATALOGUE,
    DOCUMENT,
    Changes,
    project,
    role,
    secret,
    ses_identity,
    shop,
    site_response,
    spf,
    tenant,
)


def catalog(**changes: object) -> Changes:
    return {"server_catalog": replace(CATALOGUE, **changes)}  # type: ignore[arg-type]


SLOT = ("old_replica", "the replication slot has no client, and keeps WAL", "As the master user: …")

DATABASES = [
    *(
        Row(tenant(public_grants=grants), {"databases.public-connect-revoked": WARN}, f"what PUBLIC has: {seen}")
        for grants, seen in (
            (("CREATE on schema public",), "CREATE on schema public"),
            (("SELECT on orders", "SELECT by default privileges of app"), "SELECT on orders, SELECT by default"),
            (("USAGE of the user mapping for server billing",), "USAGE of the user mapping for server billing"),
        )
    ),
    *(
        Row(tenant(weakness=weakness), {"databases.login": FAIL}, f"the password of its role {weakness}")
        for weakness in ("has 8 characters, at least 32 are required", "is also the password of clinic")
    ),
    Row(
        tenant(definer_functions=("run(text) (owner postgres)",)),
        {"databases.role-privileges": WARN},
        "shop run(text) (owner postgres): the application can execute it with the privileges of its owner",
    ),
    *(
        Row(tenant(settings=settings), {"databases.table-privileges": WARN}, f"in its sessions, {settings[0]}")
        for settings in (
            ("statement_timeout is 50ms",),
            ("lock_timeout is 1ms",),
            ("idle_session_timeout is 1s",),
            ("session_replication_role is replica",),
        )
    ),
    *(
        Row(changes, {"databases.table-privileges": WARN}, "in its sessions, synchronous_commit is off")
        for changes in (
            shop(settings={"synchronous_commit": "off"}),
            role(settings={"synchronous_commit": "off"}),
        )
    ),
    Row(
        {
            "server_catalog": replace(
                CATALOGUE,
                databases={"shop": replace(CATALOGUE.databases["shop"], settings={"synchronous_commit": "off"})},
                roles=(replace(CATALOGUE.roles[0], settings={"synchronous_commit": "on"}),),
            )
        },
        good=("databases.table-privileges",),
    ),
    *(
        Row(tenant(defects=(defect,)), {"databases.migrated": WARN}, defect)
        for defect in (
            "index orders_total is not valid",
            "constraint total_is_positive of orders is not valid",
            "foreign keys of lines are disabled",
            "table lines is unlogged: a crash empties it",
            'table "order_order" has no primary key',
            'table "order_order" has no unique constraint of number',
            'column "total" of "order_order" has 50 characters, not 255',
            "sequence orders_id_seq is behind orders",
        )
    ),
    *(
        Row(catalog(leftovers=((name, problem, "…"),)), {"databases.no-test-databases": WARN}, f"{name}: {problem}")
        for name, problem, _ in (
            SLOT,
            ("payment-7", "the prepared transaction is open for more than an hour", ""),
            ("shop django_app", "a session is idle in a transaction for more than an hour", ""),
        )
    ),
    Row(
        catalog(outdated_collations=frozenset({"shop"})),
        {"databases.encoding": WARN},
        "the version of its collation C.UTF-8 is outdated",
    ),
    Row(catalog(outdated_collations=frozenset({"other"})), good=("databases.encoding",)),
]


def cookie_domain(domain: str, name: str = "SESSION_COOKIE_DOMAIN") -> Changes:
    return project(cookie_domains=((name, domain),))


SETTINGS = [
    *(
        Row(project(weak=(setting,)), {"django.check-deploy": FAIL}, f"with prod.settings: {setting}")
        for setting in (
            "DEBUG_PROPAGATE_EXCEPTIONS is True",
            "PASSWORD_HASHERS begins with django.contrib.auth.hashers.MD5PasswordHasher",
            "SESSION_ENGINE uses django.core.cache.backends.locmem.LocMemCache, in which other processes",
            "INSTALLED_APPS contains debug_toolbar",
            "MIGRATION_MODULES['order'] is None: its tables are not migrated",
            "SERVER_EMAIL is root@localhost, from which no mail to ADMINS is accepted",
        )
    ),
    *(
        Row(cookie_domain(domain, name), {"django.check-deploy": FAIL}, f"{name} is {domain}")
        for domain, name in (
            (".shop.com", "SESSION_COOKIE_DOMAIN"),
            ("shop.example", "CSRF_COOKIE_DOMAIN"),
            (".net", "SESSION_COOKIE_DOMAIN"),
            ("www.shop.net.evil.net", "SESSION_COOKIE_DOMAIN"),
        )
    ),
    *(
        Row(cookie_domain(domain), good=("django.check-deploy",))
        for domain in (".shop.net", "shop.net", "www.shop.net", ".WWW.shop.net")
    ),
    Row(
        {"alias_sslmodes": {"reports": LOCAL, "replica": "verify-full"}},
        {"databases.tls-verified": WARN},
        "DATABASES['reports'] is a server on this machine",
    ),
]

CORS = {"access_control_allow_credentials": "true"}
ERROR_PAGE = Response(404, {}, cookies=("sessionid; Secure; Path=/",))

SITE = [
    *(
        Row(changes, {"web.security-headers": WARN}, seen)
        for changes, seen in (
            (page(cookies=("sessionid; Secure; Path=/",)), "cookie sessionid is not HttpOnly"),
            (site_response(missing=ERROR_PAGE), "cookie sessionid is not HttpOnly"),
            (site_response(health=Response(200, {}, cookies=("visitor; Path=/",))), "cookie visitor is not Secure"),
            (headers(access_control_allow_origin=ORIGIN, **CORS), "allows every site to read pages as the visitor"),
            (headers(content_security_policy="script-src 'self' 'unsafe-eval'"), "allows scripts from 'unsafe-eval'"),
            (headers(access_control_allow_origin="null", **CORS), "allows every site to read pages as the visitor"),
        )
    ),
    *(
        Row(changes, good=("web.security-headers",))
        for changes in (
            page(cookies=("csrftoken; Secure; Path=/", "sessionid; secure; httponly")),
            headers(access_control_allow_origin="*"),  # Browsers then send no cookies.
            headers(access_control_allow_origin="https://app.shop.net", **CORS),
        )
    ),
    *(
        Row(site_response(exposed=paths), {"web.no-debug-page": FAIL}, f"every visitor can read {seen}")
        for paths, seen in ((("/.env",), "/.env"), (("/.git/HEAD", "/.env"), "/.git/HEAD, /.env"))
    ),
]

PASSWORD: Any = {"secret.database-passwords": FAIL}

SECRET = [
    *(
        Row(secret(**changes), PASSWORD, "contains a word: it was not generated")
        for changes in (
            {"password": "Startup-Production-2026-Winter!!"},
            {"password": "MyVerySafePassw0rd-For-The-Shop1"},
            {"dbClusterIdentifier": "flowers-prod", "password": "Flowers-2026-Berlin-Hamburg-Wien"},
            {"master_password": "Admin-of-the-shop-2026-in-Berlin"},
        )
    ),
    *(
        Row(secret(host=host), {"secret.other-values": FAIL}, f"{host} is not the endpoint of a server in production")
        for host in ("localhost", "127.0.0.1", "127.9.9.9", "db", "host.docker.internal", "shop.localhost")
    ),
    Row(
        secret(stripe_publishable_key="pk_live_51ZzCdEfGhIjKlMnOpQrStUv"),
        {"secret.stripe-format": WARN},
        "are of different Stripe accounts",
    ),
    Row(secret(stripe_publishable_key="pk_live_51AbCdEfGhIjKlMnOz8Yx7Wv6U"), good=("secret.stripe-format",)),
    Row(secret(stripe_publishable_key="pk_live_Ab8YxCdEfGhIjKlMnOpQrStUv"), good=("secret.stripe-format",)),
    *(
        Row(secret(host=host), good=("secret.other-values",))
        for host in ("db.internal.shop.net", "good.abc.us-east-1.rds.amazonaws.com", "10.0.1.5")
    ),
    *(
        Row(secret(**changes), {"secret.distinct": FAIL}, "or one contains the other")
        for changes in (
            {"password": DOCUMENT["django_secret_key"][:32]},
            {"django_secret_key": DOCUMENT["password"] + "x7Yw2Vb9Nc4Md6Ke8T"},
            {"superuser_password": "Zq" + DOCUMENT["email_password"]},
        )
    ),
]


def dmarc(record: str) -> Changes:
    return {"dmarc_record": DmarcRecord("shop.net", (record,))}


MAIL = [
    *(
        Row(dmarc(f"v=DMARC1; p={policy}; sp=none"), {"mail.dmarc": WARN}, f"p={policy}, but sp=none")
        for policy in ("reject", "quarantine")
    ),
    Row(dmarc("v=DMARC1; p=reject; sp=quarantine"), good=("mail.dmarc",)),
    *(
        Row(spf(deprecated=terms), {"mail.spf": WARN}, f"advised to ignore {seen}")
        for terms, seen in ((("ptr",), "ptr"), (("ptr:shop.net",), "ptr:shop.net"))
    ),
    Row(ses_identity(key_length="RSA_1024_BIT"), {"mail.ses-identity": WARN}, "the DKIM key has 1024 bits"),
    Row(ses_identity(key_length="RSA_2048_BIT"), good=("mail.ses-identity",)),
]

CONTAINERS = [
    *(
        Row(variable(name, value), {"ecs.expected-secret": FAIL}, f"it has {name}={value}")
        for name, value in (
            ("DEBUG", "1"),
            ("DJANGO_DEBUG", "True"),
            ("ALLOWED_HOSTS", "*"),
            ("DJANGO_ALLOWED_HOSTS", "www.shop.net, *"),
            ("PYTHONHTTPSVERIFY", "0"),
        )
    ),
    *(
        Row(variable(name, value), good=("ecs.expected-secret",))
        for name, value in (("DEBUG", "0"), ("ALLOWED_HOSTS", "www.shop.net"), ("DEBUG_EMAIL", "true"))
    ),
    *(
        Row(defined(command=command.split()), {"ecs.expected-secret": FAIL}, seen)
        for command, seen in (
            ("python manage.py runserver 0.0.0.0:8000", "web: it has runserver in its command"),
            ("gunicorn shop.wsgi --reload", "web: it has --reload in its command"),
            (
                "gunicorn --env DJANGO_SETTINGS_MODULE=shop.dev shop.wsgi",
                "DJANGO_SETTINGS_MODULE is shop.dev, expected",
            ),
            ("python manage.py qcluster --settings=shop.dev", "SETTINGS_MODULE is shop.dev, expected"),
        )
    ),
    *(
        Row(defined(command=command.split()), good=("ecs.expected-secret",))
        for command in (
            "gunicorn --env DJANGO_SETTINGS_MODULE=prod.settings --reload-engine auto shop.wsgi",
            "python manage.py qcluster --settings prod.settings",
            "sh -c exec gunicorn --env DJANGO_SETTINGS_MODULE=$MODULE -c /srv/runserver.conf/gunicorn.py shop.wsgi",
        )
    ),
]
