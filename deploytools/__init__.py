"""Deploy a Django project to Amazon RDS: secrets, tenant databases, migrations, verification."""

__version__ = "0.1.0"
