"""The files that a project needs for a deployment, with its own names: for ``manage.py deploytools_init``."""
