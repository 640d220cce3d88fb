"""What libpq and PostgreSQL write when something fails, and what to do about it: two tables. Pure."""

from __future__ import annotations

from deploytools.errors import ConnectionFailure

#: Each worker that is idle keeps its connection for CONN_MAX_AGE.
NO_SLOT_HINT = "Close idle connections, or lower CONN_MAX_AGE and the number of workers (of migrate_tenants: --jobs)."

#: Where nothing can be changed.
REPLICA_HINT = (
    "Use the writer: put the endpoint of the instance that it replicates (Aurora: the cluster's) into the secret: "
    "python manage.py sync_secrets --set host=ENDPOINT. Through a tunnel, open that to the writer."
)

#: Where the outcome of a statement is not known.
LOST_HINT = (
    "What was done stays, and the next run looks whether the server still obeyed. When it answers again "
    "(python manage.py check_rds --wait 60), run it again."
)

#: Of a template, after the server's C library or ICU was upgraded; PostgreSQL has no SQLSTATE for it but XX000.
COLLATION_HINT = (
    "The server's collations have changed since it was made. A template of these commands' is removed and made anew: "
    "python manage.py create_tenant_dbs --prune-templates --no-template. template0 is a superuser's to mend (on RDS, "
    "AWS's): ALTER DATABASE template0 REFRESH COLLATION VERSION"
)

#: What libpq and PostgreSQL write, in the order in which they are looked for. psycopg has no SQLSTATE for a connection
#: that failed (FACTS B2.18), so the text has to do. Hints are those of the guide's Troubleshooting.
FAILURES: tuple[tuple[str, ConnectionFailure, str], ...] = (
    (
        r"could not translate host name|failed to resolve host|Name or service not known|nodename nor servname",
        ConnectionFailure.NO_SUCH_NAME,
        "Check host in the secret; from outside the VPC, go through a tunnel: DB_HOSTADDR=127.0.0.1 DB_PORT=…",
    ),
    (
        r"server certificate for .* does not match",
        ConnectionFailure.CERTIFICATE_NAME,
        "Something else listens there (a local PostgreSQL on the tunnel's port?), or host is not the RDS endpoint. "
        "Through a tunnel keep the endpoint as host and set DB_HOSTADDR=127.0.0.1.",
    ),
    (
        r"certificate verify failed|root certificate file",
        ConnectionFailure.CERTIFICATE,
        "Point DB_SSLROOTCERT at AWS's CA bundle, global-bundle.pem "
        "(https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem).",
    ),
    (
        r"server does not support SSL",
        ConnectionFailure.NO_TLS,
        "RDS always speaks TLS, so this is another server: check the tunnel's port.",
    ),
    (
        r"password authentication failed|no password supplied|authentication failed for user",
        ConnectionFailure.PASSWORD,
        "The password in the secret is not the one in the database, or there is no such role. "
        "If the secret is right, this sets the role's: python manage.py create_tenant_dbs",
    ),
    (
        r"no encryption",
        ConnectionFailure.TLS_REQUIRED,
        "The server wants TLS (rds.force_ssl): use sslmode=verify-full and DB_SSLROOTCERT.",
    ),
    (
        r'database ".*" does not exist',
        ConnectionFailure.NO_DATABASE,
        "Create the tenants' databases: python manage.py create_tenant_dbs",
    ),
    (
        r"permission denied for database|not currently accepting connections|User does not have CONNECT",
        ConnectionFailure.NO_CONNECT,
        "Look at what is missing: python manage.py create_tenant_dbs --plan",
    ),
    (
        r"too many (clients|connections)|remaining connection slots",
        ConnectionFailure.TOO_MANY,
        NO_SLOT_HINT,
    ),
    (
        r"starting up|shutting down|in recovery mode|not yet accepting connections",
        ConnectionFailure.STARTING,
        "Wait for it: python manage.py check_rds --wait 60",
    ),
    (
        r"Connection refused",
        ConnectionFailure.REFUSED,
        "Nothing listens there: is the instance available, is the tunnel open? Do not open the security group to the "
        "world; use a tunnel through the bastion host.",
    ),
    (
        r"timeout expired|timed out|timeout|Network is unreachable|No route to host",
        ConnectionFailure.TIMEOUT,
        "RDS is in a private subnet and its security group lets only the backend in: run it inside the VPC, or through "
        "a tunnel by the bastion host (DB_HOSTADDR=127.0.0.1 DB_PORT=…).",
    ),
)

#: Hints for SQLSTATEs that have a usual cause here.
SQLSTATE_HINTS = {
    "25006": "The session may only read: default_transaction_read_only is on for the role or the database (ALTER … "
    "RESET it), or the server has become a read replica.",
    "25P04": "transaction_timeout of the role or the database is too short for it: raise it (ALTER … SET), then run it "
    "again.",
    "42501": "Use the master user of the RDS instance, not the application's.",
    "42809": "DEPLOYTOOLS['LOCALE'] must be one that the server has: SELECT collname FROM pg_collation",
    "53100": "The instance's storage is full: enlarge it, then run it again.",
    "53300": NO_SLOT_HINT,
    "55006": "Somebody is connected to the template; run it again.",
    "57014": "Run it again: what was done stays, the rest is left.",
}
