"""Read the CloudWatch Logs stream of a task."""

from __future__ import annotations

from collections.abc import Callable

from deploytools.ecs.aws_cli import Response, Unavailable
from deploytools.errors import DeployError, NotFound


class TaskLog:
    """The log of one container, written by the ``awslogs`` driver.

    Args:
        container: the container's part of the task definition.
        task: ARN of the task.
        call: calls the AWS CLI.
    """

    def __init__(self, container: Response, task: str, call: Callable[..., Response]) -> None:
        options = container["logConfiguration"]["options"]
        self.group = str(options["awslogs-group"])
        self.stream = f"{options['awslogs-stream-prefix']}/{container['name']}/{task.rpartition('/')[2]}"
        self._source = ["--log-group-name", self.group, "--log-stream-name", self.stream, "--start-from-head"]
        self._call = call
        self._token = ""
        self._is_readable = True

    def new_lines(self) -> list[str]:
        """Return the lines since the last call; empty while the stream does not exist or cannot be read.

        If it will never be readable, for example without permission, the first call returns the reason.
        """
        if not self._is_readable:
            return []
        token = ["--next-token", self._token] if self._token else []
        try:
            response = self._call("logs", "get-log-events", *self._source, *token)
        except (NotFound, Unavailable):
            return []
        except DeployError as error:
            self._is_readable = False
            return [f"The log of the task cannot be read: {error}"]
        self._token = str(response["nextForwardToken"])
        return [str(event["message"]) for event in response["events"]]
