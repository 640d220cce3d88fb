"""Messages of libpq, SQLSTATEs of PostgreSQL, and the hint for each. Pure."""

from __future__ import annotations

import re

from deploytools.errors import ConnectionFailure

#: An idle worker of the application keeps its connection for CONN_MAX_AGE.
NO_SLOT_HINT = "Close idle connections, or reduce CONN_MAX_AGE and the number of workers (migrate_tenants: --jobs)."

#: A pooler gives one session of PostgreSQL to several clients: locks and settings stay behind in it.
POOLER_HINT = (
    "Connect to PostgreSQL itself (on RDS: the endpoint of the instance): set host in the secret, or "
    'DEPLOYTOOLS["HOSTADDR"] and DEPLOYTOOLS["PORT"].'
)

#: For a read replica.
REPLICA_HINT = (
    "Use the writer: set host in the secret to the endpoint of the primary instance (Aurora: of the cluster): "
    "python manage.py sync_secrets --set host=ENDPOINT. If you use a tunnel, open it to the writer."
)

#: When it is unknown whether a statement was executed.
LOST_HINT = (
    "Completed steps are kept; the next run checks whether the last one was executed. Run the command again when the "
    "server responds: python manage.py check_rds --wait 60"
)

#: For a template after an upgrade of the server's C library or ICU. PostgreSQL has only SQLSTATE XX000 for it.
COLLATION_HINT = (
    "The server's collations have changed since the template was created. Remove a template of these commands, so that "
    "it is created again: python manage.py create_tenant_dbs --prune-templates --no-template. For template0, a "
    "superuser (on RDS: AWS) must run: ALTER DATABASE template0 REFRESH COLLATION VERSION"
)

#: AWS's CA bundle for all Regions.
BUNDLE_URL = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"

TLS_HINT = (
    'Set DEPLOYTOOLS["SSLMODE"] to verify-full and DEPLOYTOOLS["SSLROOTCERT"] to AWS\'s CA bundle: the server requires '
    "TLS (rds.force_ssl)."
)

TUNNEL = 'set DEPLOYTOOLS["HOSTADDR"] to 127.0.0.1 and DEPLOYTOOLS["PORT"] to the local port'

#: Patterns of messages, tried in this order, with their reason and hint. psycopg has no SQLSTATE for a failed
#: connection, so the text must be matched.
FAILURES: tuple[tuple[str, ConnectionFailure, str], ...] = (
    (
        r"could not translate host name|failed to resolve host|Name or service not known|nodename nor servname",
        ConnectionFailure.NO_SUCH_NAME,
        f"Check host in the secret. From outside the VPC, use a tunnel: {TUNNEL}.",
    ),
    (r"RDS Proxy requires TLS", ConnectionFailure.TLS_REQUIRED, TLS_HINT),
    (
        r"RDS Proxy has no credentials",
        ConnectionFailure.POOLER,
        "Add the secret of this role to RDS Proxy: aws rds modify-db-proxy --db-proxy-name PROXY --auth …. "
        f"create_tenant_dbs and migrate_tenants refuse a proxy. For these commands: {POOLER_HINT}",
    ),
    (
        r"Timed-out waiting to acquire database connection",
        ConnectionFailure.TOO_MANY,
        "RDS Proxy could not get a connection to the instance. Check the state of its targets, and "
        "MaxConnectionsPercent: aws rds describe-db-proxy-targets --db-proxy-name PROXY",
    ),
    (r"unsupported startup parameter|RDS Proxy", ConnectionFailure.POOLER, POOLER_HINT),
    (
        r"server certificate for .* does not match",
        ConnectionFailure.CERTIFICATE_NAME,
        "Check what listens on this port (a local PostgreSQL on the tunnel's port?) and that host is the RDS endpoint. "
        f"With a tunnel, keep the endpoint as host and {TUNNEL}.",
    ),
    (
        r"certificate has expired",
        ConnectionFailure.CERTIFICATE,
        "Renew the server's certificate. On RDS, run: aws rds modify-db-instance --db-instance-identifier INSTANCE "
        "--ca-certificate-identifier rds-ca-rsa2048-g1 --apply-immediately",
    ),
    (
        r"certificate is not yet valid",
        ConnectionFailure.CERTIFICATE,
        "Check the clock of this machine: run date -u. The certificate is valid from a later date.",
    ),
    (
        r"certificate verify failed|root certificate file",
        ConnectionFailure.CERTIFICATE,
        f'Download AWS\'s CA bundle, {BUNDLE_URL}, and set DEPLOYTOOLS["SSLROOTCERT"] to its path.',
    ),
    (
        r"server does not support SSL",
        ConnectionFailure.NO_TLS,
        "Check the tunnel's port: RDS always supports TLS, so this is another server.",
    ),
    (
        r"PAM authentication failed",
        ConnectionFailure.PASSWORD,
        "As the master user, run REVOKE rds_iam FROM the role: a member of rds_iam can log in with an IAM token only, "
        "whatever its password is.",
    ),
    (
        r"(password|SASL) authentication failed|no password supplied|authentication failed for user",
        ConnectionFailure.PASSWORD,
        "Check the password in the secret: it differs from the role's, or the role does not exist. If the secret is "
        "right, set the role's password: python manage.py create_tenant_dbs",
    ),
    (r"no encryption", ConnectionFailure.TLS_REQUIRED, TLS_HINT),
    (
        r"pg_hba\.conf",
        ConnectionFailure.OTHER,
        "Check the role and the database: the server's pg_hba.conf has no rule for them from this address. On RDS, it "
        "cannot be changed: the database must not be rdsadmin, and host must be the instance's endpoint.",
    ),
    (
        r'database ".*" does not exist',
        ConnectionFailure.NO_DATABASE,
        "Create the tenant databases: python manage.py create_tenant_dbs",
    ),
    (
        r"permission denied for database|not currently accepting connections|User does not have CONNECT",
        ConnectionFailure.NO_CONNECT,
        "Show what is missing: python manage.py create_tenant_dbs --plan",
    ),
    (
        r"too many connections for role",
        ConnectionFailure.TOO_MANY,
        f"Raise the limit of the role as the master user: ALTER ROLE … CONNECTION LIMIT N. {NO_SLOT_HINT}",
    ),
    (
        r"too many connections for database",
        ConnectionFailure.TOO_MANY,
        f'Raise CONNECTION_LIMIT of the tenant in DEPLOYTOOLS["TENANTS"]. {NO_SLOT_HINT}',
    ),
    (r"too many (clients|connections)|remaining connection slots", ConnectionFailure.TOO_MANY, NO_SLOT_HINT),
    (
        r"starting up|shutting down|in recovery mode|not yet accepting connections",
        ConnectionFailure.STARTING,
        "Wait until the server has started: python manage.py check_rds --wait 60",
    ),
    (
        r"Connection refused",
        ConnectionFailure.REFUSED,
        "Check that the instance is available and the tunnel is open: nothing listens on this port. Do not open the "
        "security group to the internet; use a tunnel through the bastion host.",
    ),
    (
        r"timeout expired|timed out|timeout|Network is unreachable|No route to host",
        ConnectionFailure.TIMEOUT,
        f"Run the command inside the VPC, or use a tunnel through the bastion host: {TUNNEL}. RDS is in a private "
        "subnet, and its security group allows only the backend.",
    ),
)

#: Hints for SQLSTATEs that have a usual cause in these commands.
SQLSTATE_HINTS = {
    "25006": "The session is read-only. If default_transaction_read_only is on for the role or the database, reset it "
    "(ALTER … RESET); otherwise the server has become a read replica.",
    "25P04": "Raise transaction_timeout of the role or the database (ALTER … SET), then run the command again.",
    "42501": "The role of this session does not have a privilege. Show what is missing: python manage.py "
    "create_tenant_dbs --plan",
    "42809": "Set DEPLOYTOOLS['LOCALE'] to a locale of the server: SELECT collname FROM pg_collation",
    "53100": "Increase the instance's storage, which is full, then run the command again.",
    "53300": NO_SLOT_HINT,
    "55006": "Run the command again: another session was connected to the template.",
    "57014": "Run the command again. Completed steps are kept.",
}

#: The server refuses the login: a wrong password, a role with NOLOGIN, a token of IAM, a password at PgBouncer.
LOGIN_REFUSED = re.compile(
    r"password authentication failed|is not permitted to log in|PAM authentication failed|SASL authentication failed"
)


def is_login_refused(text: str, *, used_password: bool) -> bool:
    """Return whether the server refused the user or the password, so that another login can succeed.

    Args:
        text: libpq's message. The server's part of it is in the server's language.
        used_password: the server asked for the password.
    """
    if LOGIN_REFUSED.search(text):
        return True
    known = any(re.search(pattern, text, re.IGNORECASE) for pattern, _, _ in FAILURES)
    return used_password and not known
