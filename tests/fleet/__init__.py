"""A small app whose migrations come in versions: what `migrate_tenants` is tried on."""
