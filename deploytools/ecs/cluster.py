"""Run tasks and update services of an ECS cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploytools.ecs.aws_cli import Response, Unavailable, aws
from deploytools.ecs.task_log import TaskLog
from deploytools.errors import AwsError, ConfigurationError, DeployError, NotFound

POLL_SECONDS = 5.0
#: Seconds for which a call that AWS does not answer is repeated.
RETRY_SECONDS = 300.0
#: Seconds after which a new task is visible: ECS is eventually consistent.
VISIBLE_SECONDS = 60.0

#: Tag of the revisions that `Cluster.deploy` has verified. `Cluster.previous` returns no other.
VERIFIED = "deploytools-verified"

#: Ctrl-C, and what the signal handlers of the command line raise.
INTERRUPTS = (KeyboardInterrupt, SystemExit)


@dataclass(frozen=True)
class Cluster:
    """An ECS cluster.

    Attributes:
        name: name or ARN of the cluster.
        call: calls the AWS CLI.
        log: receives progress messages and the log of tasks.
        sleep: waits for a number of seconds.
    """

    name: str
    call: Callable[..., Response] = aws
    log: Callable[[str], object] = print
    sleep: Callable[[float], None] = time.sleep

    def register(self, definition: Path, *, image: str, account: str) -> str:
        """Register a new revision of a task definition.

        Args:
            definition: JSON file with the placeholders ``IMAGE`` and ``ACCOUNT``.
            image: replaces ``IMAGE``.
            account: replaces ``ACCOUNT``.

        Returns:
            The ARN of the revision.
        """
        text = definition.read_text(encoding="utf-8").replace("ACCOUNT", account).replace('"IMAGE"', json.dumps(image))
        response = self._call("ecs", "register-task-definition", "--cli-input-json", text)
        return str(response["taskDefinition"]["taskDefinitionArn"])

    def run(self, definition: str, command: Sequence[str], *, service: str, stop_on_interrupt: bool = False) -> int:
        """Run a one-off task and follow its log.

        Args:
            definition: task definition to run. Without a revision: the newest one with the image that `service` runs.
            command: replaces the command of its first container.
            service: the task runs in the subnets and security groups of this service.
            stop_on_interrupt: whether a signal stops the task.

        Returns:
            The exit code of the container, or that of the signal that interrupted this process.

        Raises:
            AwsError: the task did not start, or cannot be followed.
            NotFound: the service does not exist, or no revision has its image.
        """
        running = self._service(service)
        if ":" not in _name(definition):
            definition = self._revision_with_image(definition, str(running["taskDefinition"]))
        container = self._container(definition)
        task = self._start(definition, str(container["name"]), command, running["networkConfiguration"])
        task_log = TaskLog(container, task, self.call)
        self.log(f"Started task {_name(task)}.")
        look = f"aws ecs describe-tasks --cluster {self.name} --tasks {_name(task)}"
        try:
            return _exit_code(self._follow(task, task_log), str(container["name"]))
        except INTERRUPTS as interrupt:
            if stop_on_interrupt:
                self._stop(task, look)
                self.log(f"Task {_name(task)} is being stopped. Run: {look}")
            else:
                self.log(
                    f"Task {_name(task)} continues. Run: {look}\n"
                    f"Its log: aws logs tail {task_log.group} --log-stream-names {task_log.stream} --follow"
                )
            return exit_code_of(interrupt)
        except _Lost as error:
            raise AwsError(f"{error} Task {_name(task)} can still be running.", hint=f"Run: {look}") from error

    def _start(self, definition: str, container: str, command: Sequence[str], network: object) -> str:
        overrides = {"containerOverrides": [{"name": container, "command": list(command)}]}
        # With a client token, a repeated call starts no second task.
        start = [
            "ecs", "run-task", "--cluster", self.name, "--task-definition", definition, "--launch-type", "FARGATE",
            "--network-configuration", json.dumps(network), "--overrides", json.dumps(overrides),
            "--client-token", str(uuid.uuid4()),
        ]  # fmt: skip
        try:
            response = self._call(*start)
        except INTERRUPTS:
            family = _name(definition).partition(":")[0]
            self.log(f"A task could have started. Run: aws ecs list-tasks --cluster {self.name} --family {family}")
            raise
        if not response.get("tasks"):
            reasons = [str(failure.get("reason")) for failure in response.get("failures", [])]
            raise AwsError(
                f"ECS did not start the task: {', '.join(reasons) or 'no reason given'}.",
                hint="Check the capacity of the cluster and the service quotas.",
            )
        return str(response["tasks"][0]["taskArn"])

    def _revision_with_image(self, family: str, other: str) -> str:
        """Return the newest revision of `family` that has the image of the task definition `other`."""
        image = self._container(other)["image"]
        for arn in self._revisions(family):
            if self._container(arn)["image"] == image:
                return arn
        raise NotFound(
            f"No revision of {family} has the image of {_name(other)}.",
            hint=f"Pass a revision: --definition {family}:REVISION",
        )

    def _container(self, definition: str) -> Response:
        described = self._call("ecs", "describe-task-definition", "--task-definition", definition)
        first: Response = described["taskDefinition"]["containerDefinitions"][0]
        return first

    def _revisions(self, family: str) -> list[str]:
        """Return the ARNs of all revisions, the newest first."""
        listed = self._call("ecs", "list-task-definitions", "--family-prefix", family, "--sort", "DESC")
        return [str(arn) for arn in listed["taskDefinitionArns"]]

    def _stop(self, task: str, look: str) -> None:
        try:
            self._call("ecs", "stop-task", "--cluster", self.name, "--task", task)
        except DeployError as error:
            reason = str(error).rstrip(".")
            raise AwsError(f"{reason}. Task {_name(task)} was not stopped.", hint=f"Run: {look}") from error

    def _follow(self, task: str, task_log: TaskLog) -> Response:
        """Log what the task writes until it has stopped, and return its last description."""
        waited = 0.0
        while True:
            try:
                found = self._call("ecs", "describe-tasks", "--cluster", self.name, "--tasks", task).get("tasks")
            except DeployError as error:
                raise _Lost(str(error).rstrip(".") + ".") from error
            for line in task_log.new_lines():
                self.log(line)
            if found and found[0]["lastStatus"] == "STOPPED":
                break
            if not found and waited >= VISIBLE_SECONDS:
                raise _Lost(f"ECS does not list the task after {waited:g} s.")
            self.sleep(POLL_SECONDS)
            waited = 0.0 if found else waited + POLL_SECONDS
        self.sleep(POLL_SECONDS)  # The last lines reach CloudWatch Logs with a delay.
        for line in task_log.new_lines():
            self.log(line)
        stopped: Response = found[0]
        return stopped

    def deploy(self, service: str, definition: str, verify: Sequence[str], *, seconds: float) -> int:
        """Update `service` to `definition`. Roll back if it does not become stable, `verify` fails or a signal arrives.

        Args:
            service: name of the service.
            definition: task definition to run.
            verify: command to run once the service is stable; empty: none.
            seconds: how long to wait until the service is stable.

        Returns:
            0, or 1 if the service runs the earlier revision again, or that of another deployment.

        Raises:
            ConfigurationError: `verify` is not installed; nothing was changed.
            AwsError: the service could not be updated, or could not be rolled back.
        """
        if verify and not shutil.which(verify[0]):
            raise ConfigurationError(
                f"{verify[0]} is not installed. Nothing was changed.", hint="Install it, or pass another command."
            )
        before = str(self._service(service)["taskDefinition"])
        try:
            problem = self._update(service, definition, seconds, before) or _run(verify)
        except _Replaced as error:
            self.log(f"Error: {error} It was not changed.")
            return 1
        except INTERRUPTS:
            problem = "interrupted"
        except _Unchanged as error:
            raise error.cause from error
        except DeployError as error:
            problem = str(error).rstrip(".")
        if not problem:
            self._mark_verified(definition)
            self.log(f"{service} runs {_name(definition)}.")
            return 0
        self.log(f"Error: {service} could not be updated to {_name(definition)}: {problem}.")
        self._roll_back(service, before, seconds)
        self.log(f"{service} was rolled back to {_name(before)}.")
        return 1

    def _roll_back(self, service: str, before: str, seconds: float) -> None:
        self.log(f"Rolling back {service} to {_name(before)}.")
        try:
            problem = self._update(service, before, seconds, "")
        except INTERRUPTS:
            problem = "interrupted while it was waited for"
        except (_Replaced, _Unchanged, DeployError) as error:
            problem = str(error).rstrip(".")
        if problem:
            raise AwsError(
                f"The rollback of {service} to {_name(before)} was not verified: {problem}.",
                hint=f"Run: aws ecs describe-services --cluster {self.name} --services {service} "
                "--query services[0].deployments",
            )

    def previous(self, service: str) -> str:
        """Return the ARN of the last verified revision before the one that `service` runs."""
        current = str(self._service(service)["taskDefinition"])
        family = _name(current).rpartition(":")[0]
        for arn in self._revisions(family):
            if _revision(arn) < _revision(current) and self._is_verified(arn):
                return arn
        raise NotFound(
            f"There is no verified revision before {_name(current)}.", hint="Specify a revision: --to FAMILY:REVISION"
        )

    def _is_verified(self, definition: str) -> bool:
        tags = self._call("ecs", "list-tags-for-resource", "--resource-arn", definition).get("tags", [])
        return any(tag["key"] == VERIFIED for tag in tags)

    def _mark_verified(self, definition: str) -> None:
        tag = f"key={VERIFIED},value=true"
        try:
            arn = self._call("ecs", "describe-task-definition", "--task-definition", definition)["taskDefinition"]
            self._call("ecs", "tag-resource", "--resource-arn", str(arn["taskDefinitionArn"]), "--tags", tag)
        except DeployError as error:
            self.log(f"Warning: {_name(definition)} was not tagged as verified, so rollback skips it: {error}")

    def _update(self, service: str, definition: str, seconds: float, before: str) -> str:
        """Update the service and wait until it is stable. Return the problem, or an empty string.

        Args:
            before: revision to which the deployment circuit breaker of ECS can roll back; empty: any.

        Raises:
            _Unchanged: AWS refused the update.
            _Replaced: another deployment has started.
        """
        try:
            self._call(
                "ecs", "update-service", "--cluster", self.name, "--service", service, "--task-definition", definition
            )
        except Unavailable:
            raise  # It is unknown whether the service was updated.
        except DeployError as error:
            raise _Unchanged(error) from error
        waited, is_visible = 0.0, False
        while waited < seconds:
            deployments = self._service(service)["deployments"]
            primary = next((one for one in deployments if one["status"] == "PRIMARY"), None)
            if primary and _name(primary["taskDefinition"]) == _name(definition):
                is_visible = True
                state = primary.get("rolloutState", "IN_PROGRESS")
                if state == "FAILED":
                    return str(primary.get("rolloutStateReason") or "the deployment failed").rstrip(".")
                if state == "COMPLETED":
                    return ""
                tasks = f"{primary['runningCount']} of {primary['desiredCount']} tasks running"
                self.log(f"{_name(definition)}: {tasks}")
            elif primary and (is_visible or waited >= VISIBLE_SECONDS):
                running = _name(primary["taskDefinition"])
                if not before or running == _name(before):
                    return f"ECS rolled back to {running}"
                raise _Replaced(f"Another deployment updates {service} to {running}.")
            self.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
        return f"not stable after {seconds:g} s"

    def _service(self, service: str) -> Response:
        found = self._call("ecs", "describe-services", "--cluster", self.name, "--services", service)["services"]
        if not found:
            raise NotFound(
                f"Service {service} does not exist in cluster {self.name}.", hint="Check both names and the Region."
            )
        one: Response = found[0]
        return one

    def _call(self, *words: str) -> Response:
        """Call the AWS CLI, again while AWS does not answer. Every call here can be repeated."""
        remaining = RETRY_SECONDS
        while True:
            try:
                return self.call(*words)
            except Unavailable:
                if remaining <= 0:
                    raise
            self.sleep(POLL_SECONDS)
            remaining -= POLL_SECONDS


class _Lost(Exception):
    """A task that was started cannot be followed any more."""


class _Replaced(Exception):
    """Another deployment of the service has started."""


class _Unchanged(Exception):
    """AWS refused to update the service."""

    def __init__(self, cause: DeployError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def exit_code_of(interrupt: BaseException) -> int:
    """Return 130 for Ctrl-C, or the exit code that a signal handler raised."""
    return interrupt.code if isinstance(interrupt, SystemExit) and isinstance(interrupt.code, int) else 130


def _exit_code(task: Response, name: str) -> int:
    stopped: Response = next((one for one in task.get("containers", []) if one["name"] == name), {})
    if stopped.get("exitCode") is None:
        reason = stopped.get("reason") or task.get("stoppedReason") or "no reason given"
        raise AwsError(
            f"The container did not start: {reason}.", hint="Check the image, the IAM roles and the network."
        )
    return int(stopped["exitCode"])


def _run(command: Sequence[str]) -> str:
    if not command:
        return ""
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        return f"{command[0]} could not be run: {error.strerror}"
    return f"{command[0]} failed with exit code {code}" if code else ""


def _name(arn: str) -> str:
    return arn.rpartition("/")[2]


def _revision(arn: str) -> int:
    return int(arn.rpartition(":")[2])
