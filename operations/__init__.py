"""What is run beside the application: the tunnel to its database, and the pipeline's dealings with ECS.

Nothing but the standard library and the programs that an operator has (``aws``, ``ssh``): a laptop, a bastion host and
a runner of the pipeline need no installation.
"""
