"""The environment that points a command or a shell at the local cloud, and away from any real account."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from localcloud.state import CloudState

SECRET_NAME = "rds/startupwebapp/multi-tenant/master"
REGION = "us-east-1"
ACCESS_KEY = "local"

#: What would lead an AWS client elsewhere all the same. So would every AWS_ENDPOINT_URL_<SERVICE>.
MISLEADING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")


def variables(state: CloudState) -> dict[str, str]:
    """What to set. No password of a database is among it: they are in the secret."""
    return {
        "AWS_ENDPOINT_URL": state.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "DB_SECRET_NAME": SECRET_NAME,
        "APP_SECURITY_GROUPS": "backend",
        "BASTION_SECURITY_GROUPS": "bastion",
        "DB_HOSTADDR": state.main.hostaddr,
        "DB_SSLROOTCERT": state.ca_file,
        "SMTP_HOST": state.smtp.host,
        "SMTP_PORT": str(state.smtp.port),
        "SMTP_USER": state.smtp.user,
        "SMTP_PASSWORD": state.smtp.password,
    }


def misleading(environment: Mapping[str, str]) -> list[str]:
    """Which variables to unset: the known ones, and what `environment` has besides."""
    return [*MISLEADING, *sorted(name for name in environment if name.startswith("AWS_ENDPOINT_URL_"))]


def merged(state: CloudState, environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` with the local cloud in it, for a command to run in."""
    unwanted = misleading(environment)
    return {name: value for name, value in environment.items() if name not in unwanted} | variables(state)


def as_shell(state: CloudState, environment: Mapping[str, str]) -> str:
    """Lines for ``eval``."""
    lines = [f"unset {name}" for name in misleading(environment)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables(state).items()]
    return "\n".join(lines)
