"""``scripts/ecs``: one-off tasks whose log is followed and whose exit code counts; services that roll back (ECS)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operations.errors import OperationError

PAUSE = 5.0
Answer = dict[str, Any]


def aws(*words: str) -> Answer:
    """What the AWS CLI answers.

    Raises:
        OperationError: it refused, or is not there.
    """
    try:
        done = subprocess.run(["aws", *words, "--output", "json"], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise OperationError("aws is not installed.", hint="Install the AWS CLI.") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OperationError(f"aws {' '.join(words[:2])} failed: {said}", hint="Look at the role that runs this.")
    answer: Answer = json.loads(done.stdout or "{}")
    return answer


@dataclass(frozen=True)
class Cluster:
    """One ECS cluster.

    Attributes:
        call: the AWS CLI.
        say: where progress goes.
    """

    name: str
    call: Callable[..., Answer] = aws
    say: Callable[[str], object] = print
    sleep: Callable[[float], None] = time.sleep

    def register(self, definition: Path, *, image: str, account: str) -> str:
        """A new revision of a task definition's file, with its image and account filled in. Returns its ARN."""
        text = definition.read_text(encoding="utf-8").replace("ACCOUNT", account).replace('"IMAGE"', json.dumps(image))
        answer = self.call("ecs", "register-task-definition", "--cli-input-json", text)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def run(self, definition: str, command: Sequence[str], *, service: str) -> int:
        """Run `command` as a task of its own in the network of `service`. Returns the exit code of its container."""
        network = self._service(service)["networkConfiguration"]
        described = self.call("ecs", "describe-task-definition", "--task-definition", definition)["taskDefinition"]
        container = described["containerDefinitions"][0]
        overrides = {"containerOverrides": [{"name": container["name"], "command": list(command)}]}
        answer = self.call(
            "ecs", "run-task", "--cluster", self.name, "--task-definition", definition, "--launch-type", "FARGATE",
            "--network-configuration", json.dumps(network), "--overrides", json.dumps(overrides),
        )  # fmt: skip
        if not answer.get("tasks"):
            reasons = (
                ", ".join(str(failure.get("reason")) for failure in answer.get("failures", [])) or "no reason given"
            )
            raise OperationError(f"ECS started no task: {reasons}.", hint="Look at the cluster's capacity and quotas.")
        return self._follow(answer["tasks"][0]["taskArn"], container)

    def _follow(self, task: str, container: Answer) -> int:
        log = Log(self, container, task)
        self.say(f"Task {task.rpartition('/')[2]} …")
        while True:
            described = self.call("ecs", "describe-tasks", "--cluster", self.name, "--tasks", task)["tasks"][0]
            log.show_new()
            if described["lastStatus"] == "STOPPED":
                break
            self.sleep(PAUSE)
        self.sleep(PAUSE)  # What the container wrote last arrives late.
        log.show_new()
        (ended,) = [one for one in described["containers"] if one["name"] == container["name"]]
        if ended.get("exitCode") is None:
            reason = ended.get("reason") or described.get("stoppedReason") or "ECS gives no reason"
            raise OperationError(f"The task never ran: {reason}.", hint="Look at its image, its roles and its network.")
        return int(ended["exitCode"])

    def roll(self, service: str, definition: str, verify: Sequence[str], *, seconds: float) -> int:
        """Bring `service` to `definition`; back to what it had where it does not become stable, or `verify` fails.

        Returns:
            0, or 1 where it was rolled back.
        """
        before = str(self._service(service)["taskDefinition"])
        problem = self._replace(service, definition, seconds)
        if not problem and verify:
            code = subprocess.run(verify, check=False).returncode
            problem = f"{verify[0]} ended with {code}" if code else ""
        if not problem:
            self.say(f"{service} runs {_short(definition)}.")
            return 0
        self.say(f"error: {service} was not brought to {_short(definition)}: {problem}")
        worse = self._replace(service, before, seconds)
        if worse:
            raise OperationError(
                f"{service} could not be rolled back to {_short(before)} either: {worse}.",
                hint=f"aws ecs describe-services --cluster {self.name} --services {service}",
            )
        self.say(f"{service} runs {_short(before)} again.")
        return 1

    def previous(self, service: str) -> str:
        """The revision before the one that `service` runs.

        Raises:
            OperationError: there is none.
        """
        current = str(self._service(service)["taskDefinition"])
        family = current.rpartition("/")[2].rpartition(":")[0]
        listed = self.call("ecs", "list-task-definitions", "--family-prefix", family, "--sort", "DESC")
        older = [arn for arn in listed["taskDefinitionArns"] if _revision(arn) < _revision(current)]
        if not older:
            raise OperationError(
                f"There is no revision before {_short(current)}.", hint="Name one: --to FAMILY:REVISION"
            )
        return str(older[0])

    def _replace(self, service: str, definition: str, seconds: float) -> str:
        """Returns why it did not become stable, or nothing."""
        update = ["ecs", "update-service", "--cluster", self.name, "--service", service]
        self.call(*update, "--task-definition", definition)
        deadline = seconds
        while deadline > 0:
            deployments = self._service(service)["deployments"]
            (primary,) = [one for one in deployments if one["status"] == "PRIMARY"]
            if primary["taskDefinition"].rpartition("/")[2] != definition.rpartition("/")[2]:
                return f"ECS went back to {_short(primary['taskDefinition'])}"
            if primary["rolloutState"] == "FAILED":
                return str(primary.get("rolloutStateReason") or "the deployment failed")
            if primary["rolloutState"] == "COMPLETED":
                return ""
            self.say(f"{_short(definition)}: {primary['runningCount']} of {primary['desiredCount']} tasks run …")
            self.sleep(PAUSE)
            deadline -= PAUSE
        return f"it was not stable after {seconds:g} s"

    def _service(self, service: str) -> Answer:
        found = self.call("ecs", "describe-services", "--cluster", self.name, "--services", service)["services"]
        if not found:
            raise OperationError(
                f"There is no service {service} in {self.name}.", hint="Check both names and the Region."
            )
        one: Answer = found[0]
        return one


class Log:
    """What a task writes, as far as CloudWatch Logs has it."""

    def __init__(self, cluster: Cluster, container: Answer, task: str) -> None:
        options = container["logConfiguration"]["options"]
        stream = f"{options['awslogs-stream-prefix']}/{container['name']}/{task.rpartition('/')[2]}"
        self._cluster = cluster
        self._where = ["--log-group-name", options["awslogs-group"], "--log-stream-name", stream, "--start-from-head"]
        self._token = ""

    def show_new(self) -> None:
        """Say what came since the last look. A stream that is not there yet has nothing."""
        token = ["--next-token", self._token] if self._token else []
        try:
            answer = self._cluster.call("logs", "get-log-events", *self._where, *token)
        except OperationError as error:
            if "ResourceNotFoundException" in str(error):
                return
            raise
        self._token = str(answer["nextForwardToken"])
        for event in answer["events"]:
            self._cluster.say(event["message"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    place = words.index("--") if "--" in words else len(words)
    options, command = _parser().parse_args(words[:place]), words[place + 1 :]
    cluster = Cluster(options.cluster, say=lambda text: print(text, flush=True))
    try:
        if options.action == "register":
            print(cluster.register(options.file, image=options.image, account=options.account))
            return 0
        if options.action == "run":
            return cluster.run(options.definition, command, service=options.service)
        definition = options.definition if options.action == "roll" else options.to or cluster.previous(options.service)
        return cluster.roll(options.service, definition, command, seconds=options.wait)
    except OperationError as error:
        print(error.explain(), file=sys.stderr)
        return error.code


def _short(arn: str) -> str:
    return arn.rpartition("/")[2]


def _revision(arn: str) -> int:
    return int(arn.rpartition(":")[2])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("scripts/ecs", description="Tasks and services of ECS, for the pipeline.")
    parser.add_argument("--cluster", required=True)
    actions = parser.add_subparsers(dest="action", required=True)
    register = actions.add_parser("register", help="a new revision of a task definition; prints its ARN")
    register.add_argument("file", type=Path)
    register.add_argument("--image", required=True)
    register.add_argument("--account", required=True)
    run = actions.add_parser("run", help="a one-off task: its log is followed, its exit code is ours")
    run.add_argument("--service", required=True, help="whose network it gets")
    run.add_argument("--definition", required=True)
    roll = actions.add_parser("roll", help="a new revision for a service; rolled back where what follows -- fails")
    roll.add_argument("--service", required=True)
    roll.add_argument("--definition", required=True)
    back = actions.add_parser("rollback", help="the revision before")
    back.add_argument("--service", required=True)
    back.add_argument("--to", default="", metavar="FAMILY:REVISION")
    for one in (roll, back):
        one.add_argument("--wait", type=float, default=900, metavar="SECONDS")
    return parser


if __name__ == "__main__":
    sys.exit(main())
