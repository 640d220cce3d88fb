"""A shell or a command is pointed at the local cloud, and at nothing else."""

from __future__ import annotations

import subprocess

from localcloud import CloudState
from localcloud.environment import merged
from tests.localcloud.running import environment, localcloud


def test_what_is_set_and_what_is_taken_away(cloud: CloudState) -> None:
    mine = {"HOME": "/home/me", "AWS_PROFILE": "production", "AWS_ENDPOINT_URL_RDS": "https://example.com"}
    assert merged(cloud, mine) == {
        "HOME": "/home/me",
        "AWS_ENDPOINT_URL": cloud.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "DB_SECRET_NAME": "rds/startupwebapp/multi-tenant/master",
        "APP_SECURITY_GROUPS": "backend",
        "BASTION_SECURITY_GROUPS": "bastion",
        "DB_HOSTADDR": "127.0.0.1",
        "DB_SSLROOTCERT": cloud.ca_file,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(cloud.smtp.port),
        "SMTP_USER": "notifications@mosaicmeshai.com",
        "SMTP_PASSWORD": cloud.smtp.password,
    }


def test_a_shell_can_evaluate_it(cloud: CloudState) -> None:
    mine = environment(AWS_PROFILE="production", AWS_SESSION_TOKEN="token", DEPLOYTOOLS_LOCALCLOUD=cloud.directory)
    code, lines, _ = localcloud("env", env=mine)
    script = f'{lines}\necho "${{AWS_PROFILE-none}} ${{AWS_SESSION_TOKEN-none}} $AWS_ENDPOINT_URL"'
    done = subprocess.run(["sh", "-euc", script], env=mine, capture_output=True, text=True, check=True)
    assert (code, done.stdout) == (0, f"none none {cloud.aws_endpoint_url}\n")


def test_no_database_password_is_in_it(cloud: CloudState) -> None:
    assert not {cloud.master_password, cloud.rdsadmin_password} & set(merged(cloud, {}).values())
