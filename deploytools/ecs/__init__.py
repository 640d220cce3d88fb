"""``python -m deploytools.ecs``: run tasks and update services on Amazon ECS. Standard library and AWS CLI only."""
