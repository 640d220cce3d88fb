"""``python -m deploytools.tunnel``: a tunnel to an RDS instance through a bastion host. Standard library only."""
