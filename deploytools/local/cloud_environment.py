"""The environment variables that point a process at the local cloud and away from any AWS account."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from deploytools.local.aws_account import ACCESS_KEY
from deploytools.local.cloud_state import CloudState

#: Variables that would point an AWS client elsewhere. So would every AWS_ENDPOINT_URL_<SERVICE>.
CONFLICTING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")


def variables(state: CloudState) -> dict[str, str]:
    """Return the variables to set. The database passwords are in the secret, not here."""
    return {
        "AWS_ENDPOINT_URL": state.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
        "AWS_REGION": state.names.region,
        "AWS_DEFAULT_REGION": state.names.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PGHOSTADDR": state.main.hostaddr,
        "PGPORT": str(state.main.port),
        "PGSSLROOTCERT": state.ca_file,
        "SMTP_HOST": state.smtp.host,
        "SMTP_PORT": str(state.smtp.port),
        "SMTP_USER": state.smtp.user,
        "SMTP_PASSWORD": state.smtp.password,
    }


def merged(variables: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` with `variables` and without the conflicting ones."""
    unset = _conflicting(environment)
    return {name: value for name, value in environment.items() if name not in unset} | dict(variables)


def as_shell(variables: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """Return shell commands that set `variables` and unset the conflicting ones of `environment`."""
    lines = [f"unset {name}" for name in _conflicting(environment)]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(lines) + "\n"


def _conflicting(environment: Mapping[str, str]) -> list[str]:
    return [*CONFLICTING, *sorted(name for name in environment if name.startswith("AWS_ENDPOINT_URL_"))]
