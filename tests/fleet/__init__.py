"""A small test app whose migrations have several versions, for the tests of `migrate_tenants`."""
