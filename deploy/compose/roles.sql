-- The roles of a new RDS instance: the master user is not a superuser. Only compose.yaml uses this password.
CREATE ROLE rds_superuser NOLOGIN;
CREATE ROLE rds_iam NOLOGIN;
CREATE ROLE postgres LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE PASSWORD 'local-master-of-the-compose-file';
GRANT rds_superuser, pg_monitor, pg_signal_backend TO postgres;
ALTER DATABASE postgres OWNER TO postgres;
