"""PostgreSQL with TLS, an AWS emulator and an SMTP server on this machine: for tests, a demo and development."""

from deploytools.local.binaries import PostgresBinaries, find_installations
from deploytools.local.cloud import local_cloud
from deploytools.local.cloud_error import LocalCloudError
from deploytools.local.cloud_state import CloudNames, CloudState, PostgresState, SmtpState

__all__ = [
    "CloudNames",
    "CloudState",
    "LocalCloudError",
    "PostgresBinaries",
    "PostgresState",
    "SmtpState",
    "find_installations",
    "local_cloud",
]
