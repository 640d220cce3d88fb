"""Three projects, each from `pip install` of the wheel to a verified deployment, on the oldest and newest versions.

`.ci/package` builds the wheel and runs this file. The ordinary run of the tests does not collect it: creating the
environments takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from deploytools.local.certificates import issue, server_context
from deploytools.local.smtp_server import smtp_server
from tests.projects import page
from tests.projects.host import MARKER, Host
from tests.projects.versions import NEWEST, OLDEST, Environment, Versions

#: boto3 before 1.39 cannot query the support periods of PostgreSQL's versions. docs/your-project.md says it.
OLD_BOTO3 = " --exclude rds.engine-supported"
EXCLUDED = {"oldest": OLD_BOTO3, "newest": ""}
INSTALL = page.commands()[0].replace("[", "[local,")
WRONG = {
    "PORT": "PORT is 1, expected",
    "PASSWORD": "PASSWORD differs from the password in the",
    "CA": "OPTIONS['sslrootcert'] is /nowhere/ca.pem, expected",
    "NAME": "NAME is postgres, expected",
}
Environments = Callable[[Versions], Environment]
Record = Callable[[str, Any], None]


each_version = pytest.mark.parametrize(
    "versions",  # Walks on the same versions share an environment, and so a worker.
    [pytest.param(one, id=one.name, marks=pytest.mark.xdist_group(one.name)) for one in (OLDEST, NEWEST)],
)


@each_version
def test_startproject(tmp_path: Path, environment: Environments, versions: Versions, record_property: Record) -> None:
    """The steps of docs/your-project.md, as they are written there."""
    host = Host(tmp_path, environment(versions), "shop")
    install, init, create_secret, download, create_databases, verify = page.commands()
    host.run(install)
    host.start()
    write(host, "settings.py", "urls.py")
    host.run(init)
    write(host, "settings_production.py")
    host.run('pip install "django-deploytools[local]"')
    with host.cloud():
        instance = prepare(host, "prod/shop")
        host.run(create_secret.replace("ENDPOINT", instance["host"]).replace("5432", str(instance["port"])))
        host.run(download)
        del host.variables["PGSSLROOTCERT"]  # The file is where libpq looks for it.
        host.manage("create_tenant_dbs --plan")
        host.run(create_databases)
        host.run(verify + EXCLUDED[versions.name])
        use(host, "shop_one")
    record_property("walk", host.row("startproject"))


@each_version
def test_odd(tmp_path: Path, environment: Environments, versions: Versions, record_property: Record) -> None:
    """A custom user model, a backend of its own, a router, own checks and keys, a role per tenant.

    Mail is sent by an API, and from the last release on by a relay without a login.
    """
    host = Host(tmp_path, environment(versions), "desk", "odd")
    host.run(INSTALL)
    host.start()
    host.manage("makemigrations people archive")
    host.manage("deploytools_init")
    host.replace("desk/settings_production.py")
    host.manage("deploytools_init --check")
    with host.cloud():
        instance = prepare(host, "team/desk/live")
        host.secret(instance | {"username": "desk_app", "mail_api_key": "key-0123456789abcdef"})
        host.secret({
            "superuser_username": "B-1001", "superuser_password": "correct-Horse-battery-9-staple-and-more",
            "superuser_extra": {"full_name": "Ada Lovelace", "born": "1990-01-31"},
        })  # fmt: skip
        host.manage("create_tenant_dbs --plan")
        host.manage("create_tenant_dbs")
        assert "unapplied" in host.manage("migrate_tenants --plan")
        host.manage("migrate_tenants --check", code=1)
        host.manage("migrate_tenants")
        host.manage("create_tenant_dbs --migrate --superuser")
        use(host, "desk_north")
        assert host.production(
            "shell -c 'from people.models import Person; print(Person.objects.get().badge)'"
        ).endswith("B-1001\n")
        use_relay(host)
    record_property("walk", host.row("odd"))


@each_version
def test_guide(tmp_path: Path, environment: Environments, versions: Versions, record_property: Record) -> None:
    """Production settings written by hand, three tenants, Stripe, mail by SMTP, reports by the guide's steps."""
    host = Host(tmp_path, environment(versions), "webshop", "guide")
    host.run(INSTALL)
    host.start()
    host.replace("webshop/settings_production.py")
    host.manage("deploytools_init .env.example Dockerfile .dockerignore deploy .github")
    with host.cloud():
        instance = prepare(host, "rds/webshop/master")
        smtp = {name: host.variables[f"SMTP_{name.upper()}"] for name in ("host", "port", "user", "password")}
        host.secret(instance | {"username": "django_app"})
        host.secret({
            "stripe_secret_key": "sk_test_" + "1a2B" * 8, "stripe_publishable_key": "pk_test_" + "1a2B" * 8,
            "email_host": "localhost", "email_port": int(smtp["port"]), "email_user": smtp["user"],
            "email_password": smtp["password"],
        })  # fmt: skip
        host.variables["SSL_CERT_FILE"] = host.variables["LOCAL_CA"]
        host.manage("create_tenant_dbs --plan")
        host.manage("create_tenant_dbs --migrate")
        use(host, "webshop_prod")
    record_property("walk", host.row("guide"))


def write(host: Host, *names: str) -> None:
    """Write the lines of the page to these files."""
    for block in page.blocks():
        if block.file in names:
            host.append(f"{host.name}/{block.file}", "\n".join([MARKER, *block.lines, ""]))


def prepare(host: Host, secret: str) -> dict[str, Any]:
    """Make the local cloud an account before a deployment: an instance without a secret. Return its address.

    RDS's master user is known to its owner only, and the deletion protection of the guide's instance is disabled.
    """
    manager, rds = boto3.client("secretsmanager", **host.aws), boto3.client("rds", **host.aws)
    content = json.loads(manager.get_secret_value(SecretId=secret)["SecretString"])
    manager.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    rds.modify_db_instance(DBInstanceIdentifier=content["dbClusterIdentifier"], DeletionProtection=True)
    host.variables |= {f"DEPLOYTOOLS_{name.upper()}": content[name] for name in ("master_username", "master_password")}
    return {name: content[name] for name in ("host", "port")}


def use(host: Host, tenant: str) -> None:
    """Run the commands of later releases, start a container, and break each value of ``DATABASES``."""
    host.variables |= {"DATABASE_NAME": tenant, "ALLOWED_HOSTS": "www.example.com"}
    host.manage("sync_secrets --show")
    host.manage("sync_secrets --generate --check")
    host.manage("create_tenant_dbs --verify")
    host.manage("create_tenant_dbs --check")
    for command in ("migrate_tenants --plan", "migrate_tenants --check", "migrate_tenants", "check_rds"):
        host.production(command)
    host.production(f"verify_deploy --output report.md{EXCLUDED[host.environment.versions.name]}")
    assert "startup" in host.production("verify_deploy --list")
    host.production("verify_deploy --explain rds.deletion-protection")
    host.production("verify_deploy --tag startup")
    assert host.serve("/healthz", "/readyz") == [200, 200]
    host.append(f"{host.name}/settings_wrong.py", SETTINGS_WRONG.format(name=host.name))
    for name, fault in WRONG.items():
        out = host.manage(f"check_rds --settings {host.name}.settings_wrong", code=1, with_={"WRONG": name})
        assert fault in " ".join(out.split()), f"{name}:\n{out}"


def use_relay(host: Host) -> None:
    """Choose the preset of mail, write the address of a relay to the secret, verify it, and send a message."""
    certificates = issue(host.directory, "unused.test")
    host.variables["SSL_CERT_FILE"] = str(certificates.ca_file)
    messages = host.directory / "messages"
    with smtp_server(messages, "", server_context(certificates.mail), requires_login=False) as relay:
        host.append(f"{host.name}/settings.py", RELAY)
        host.secret({"email_host": "localhost", "email_port": relay.port})
        verified = host.production(f"verify_deploy --verbosity 2{EXCLUDED[host.environment.versions.name]}")
        assert "the SMTP server accepts without a login the sender desk@desk.org" in " ".join(verified.split()), (
            verified
        )
        host.production("sendtestemail ada@desk.org")
    (message,) = messages.iterdir()
    assert "To: ada@desk.org" in message.read_text(encoding="utf-8")


RELAY = """
DEPLOYTOOLS |= {"PRESETS": ["email"]}
DEFAULT_FROM_EMAIL = "desk@desk.org"
"""

SETTINGS_WRONG = """
import os
from {name}.settings_production import *

default = DATABASES["default"]
if default["ENGINE"] == "deploytools.backend":  # It would read the right password from the secret.
    default["ENGINE"] = "django.db.backends.postgresql"
if os.environ["WRONG"] == "CA":
    default["OPTIONS"]["sslrootcert"] = "/nowhere/ca.pem"
else:
    default[os.environ["WRONG"]] = {{"PORT": "1", "PASSWORD": "wrong", "NAME": "postgres"}}[os.environ["WRONG"]]
"""
