"""The environment of a process that uses the local cloud."""

from __future__ import annotations

import subprocess

from deploytools.local import CloudState
from deploytools.local.cloud_environment import as_shell, merged, variables


def test_variables(cloud: CloudState) -> None:
    mine = {
        "HOME": "/home/me",
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL_RDS": "https://example.com",
        "PGPORT": "1",
    }
    assert merged(variables(cloud), mine) == {
        "HOME": "/home/me",
        "AWS_ENDPOINT_URL": cloud.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(cloud.main.port),
        "PGSSLROOTCERT": cloud.ca_file,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(cloud.smtp.port),
        "SMTP_USER": "mailer@deploytools.dev",
        "SMTP_PASSWORD": cloud.smtp.password,
    }


def test_shell_commands(cloud: CloudState) -> None:
    mine = {"AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "token", "AWS_ENDPOINT_URL_RDS": "https://example.com"}
    script = as_shell(variables(cloud), mine) + (
        'echo "${AWS_PROFILE-none} ${AWS_SESSION_TOKEN-none} ${AWS_ENDPOINT_URL_RDS-none} $AWS_ENDPOINT_URL"'
    )
    done = subprocess.run(["sh", "-euc", script], env=mine, capture_output=True, text=True, check=True)
    assert done.stdout == f"none none none {cloud.aws_endpoint_url}\n"


def test_no_database_password(cloud: CloudState) -> None:
    assert not {cloud.master_password, cloud.rdsadmin_password} & set(merged(variables(cloud), {}).values())
