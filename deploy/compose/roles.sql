-- What RDS makes for its customer: a master that is no superuser. The password is that of compose.yaml alone.
CREATE ROLE rds_superuser NOLOGIN;
CREATE ROLE rds_iam NOLOGIN;
CREATE ROLE postgres LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE PASSWORD 'local-master-of-the-compose-file';
GRANT rds_superuser, pg_monitor, pg_signal_backend TO postgres;
ALTER DATABASE postgres OWNER TO postgres;
