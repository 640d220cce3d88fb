"""PostgreSQL with TLS, an AWS emulator and an SMTP server on this machine: for tests, the demo, a developer's shell."""

from localcloud.binaries import PostgresBinaries, find_installations
from localcloud.cloud import LocalCloud, attach, stop
from localcloud.directory import default_directory
from localcloud.errors import LocalCloudError
from localcloud.state import CloudState, PostgresState, SmtpState

__all__ = [
    "CloudState",
    "LocalCloud",
    "LocalCloudError",
    "PostgresBinaries",
    "PostgresState",
    "SmtpState",
    "attach",
    "default_directory",
    "find_installations",
    "stop",
]
