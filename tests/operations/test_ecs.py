"""scripts/ecs against a fake of the calls that it makes, which says what ECS says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from operations.ecs import Cluster
from operations.errors import OperationError

ROOT = Path(__file__).parent.parent.parent
ARN = "arn:aws:ecs:us-east-1:123456789012:task-definition/startupwebapp"
TASK = "arn:aws:ecs:us-east-1:123456789012:task/prod/0123abcd"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}


class Ecs:
    """One service, one task."""

    def __init__(self, *, states=("COMPLETED",), exit_code=0, logs=(), statuses=("STOPPED",), failures=()) -> None:
        self.definition = f"{ARN}:7"
        self.states, self.statuses, self.logs = list(states), list(statuses), list(logs)
        self.exit_code, self.failures = exit_code, failures
        self.calls: list[tuple[str, ...]] = []
        self.said: list[str] = []
        self.cluster = Cluster("prod", self, self.said.append, lambda seconds: None)

    def __call__(self, *words):
        self.calls.append(words)
        options = dict(zip(words[2::2], words[3::2], strict=False))
        return getattr(self, words[1].replace("-", "_"))(options)

    def describe_services(self, options):
        if options["--services"] != "web":
            return {"services": []}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        primary = {"status": "PRIMARY", "taskDefinition": self.definition, "runningCount": 0, "desiredCount": 2}
        old = primary | {"status": "ACTIVE"}
        failed = {"rolloutStateReason": "ECS deployment circuit breaker: tasks failed to start."}
        deployments = [primary | {"rolloutState": state} | (failed if state == "FAILED" else {}), old]
        return {
            "services": [
                {"taskDefinition": self.definition, "networkConfiguration": NETWORK, "deployments": deployments}
            ]
        }

    def update_service(self, options):
        self.definition = options["--task-definition"]
        return {}

    def list_task_definitions(self, options):
        assert options["--family-prefix"] == "startupwebapp"
        return {"taskDefinitionArns": [f"{ARN}:{revision}" for revision in (8, 7, 5, 4)]}

    def describe_task_definition(self, options):
        log = {"awslogs-group": "/ecs/shop", "awslogs-stream-prefix": "job"}
        return {"taskDefinition": {"containerDefinitions": [{"name": "job", "logConfiguration": {"options": log}}]}}

    def run_task(self, options):
        self.asked = options
        return {"tasks": [] if self.failures else [{"taskArn": TASK}], "failures": list(self.failures)}

    def describe_tasks(self, options):
        ended = {"name": "job"} | ({} if self.exit_code is None else {"exitCode": self.exit_code})
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"tasks": [{"lastStatus": status, "stoppedReason": "CannotPullContainerError", "containers": [ended]}]}

    def get_log_events(self, options):
        assert options["--log-stream-name"] == "job/job/0123abcd"
        batch = self.logs.pop(0) if self.logs else []
        if batch is None:
            raise OperationError("aws logs get-log-events failed: ResourceNotFoundException", hint="")
        return {"events": [{"message": line} for line in batch], "nextForwardToken": f"f/{len(self.calls)}"}


def definitions(ecs):
    return [words[words.index("--task-definition") + 1] for words in ecs.calls if words[1] == "update-service"]


def test_a_task_is_followed_and_gives_its_exit_code():
    ecs = Ecs(exit_code=3, statuses=["PENDING", "RUNNING", "STOPPED"], logs=[None, ["one"], [], ["two", "three"]])
    assert ecs.cluster.run("startupwebapp-job:4", ["migrate_tenants", "--noinput"], service="web") == 3
    assert ecs.said == ["Task 0123abcd …", "one", "two", "three"]
    assert json.loads(ecs.asked["--overrides"]) == {
        "containerOverrides": [{"name": "job", "command": ["migrate_tenants", "--noinput"]}]
    }
    assert json.loads(ecs.asked["--network-configuration"]) == NETWORK


def test_a_task_that_never_ran_is_no_success():
    with pytest.raises(OperationError, match=r"^The task never ran: CannotPullContainerError\.$"):
        Ecs(exit_code=None).cluster.run("startupwebapp-job:4", ["x"], service="web")
    with pytest.raises(OperationError, match=r"^ECS started no task: RESOURCE:FARGATE\.$"):
        Ecs(failures=[{"reason": "RESOURCE:FARGATE"}]).cluster.run("startupwebapp-job:4", ["x"], service="web")


def test_a_service_becomes_the_new_revision():
    ecs = Ecs(states=["COMPLETED", "IN_PROGRESS", "COMPLETED"])
    assert ecs.cluster.roll("web", f"{ARN}:8", ["true"], seconds=60) == 0
    assert definitions(ecs) == [f"{ARN}:8"]
    assert ecs.said == ["startupwebapp:8: 0 of 2 tasks run …", "web runs startupwebapp:8."]


@pytest.mark.parametrize(
    ("states", "verify", "problem"),
    [
        (["COMPLETED", "FAILED", "COMPLETED"], ["true"], "ECS deployment circuit breaker: tasks failed to start."),
        (["COMPLETED"], ["false"], "false ended with 1"),
        (["COMPLETED", *["IN_PROGRESS"] * 3, "COMPLETED"], ["true"], "it was not stable after 15 s"),
    ],
)
def test_a_service_goes_back_where_it_was(states, verify, problem):
    ecs = Ecs(states=states)
    assert ecs.cluster.roll("web", f"{ARN}:8", verify, seconds=15) == 1
    assert definitions(ecs) == [f"{ARN}:8", f"{ARN}:7"]
    assert f"error: web was not brought to startupwebapp:8: {problem}" in ecs.said
    assert ecs.said[-1] == "web runs startupwebapp:7 again."


def test_what_cannot_be_rolled_back_is_an_error():
    with pytest.raises(OperationError, match=r"^web could not be rolled back to startupwebapp:7 either: "):
        Ecs(states=["COMPLETED", "FAILED"]).cluster.roll("web", f"{ARN}:8", [], seconds=60)


def test_the_revision_before():
    ecs = Ecs()
    assert ecs.cluster.previous("web") == f"{ARN}:5"
    ecs.definition = f"{ARN}:4"
    with pytest.raises(OperationError, match=r"^There is no revision before startupwebapp:4\.$"):
        ecs.cluster.previous("web")
    with pytest.raises(OperationError, match=r"^There is no service shop in prod\.$"):
        ecs.cluster.previous("shop")


def test_the_program_says_what_the_aws_cli_says(tmp_path):
    program = tmp_path / "aws"
    program.write_text("#!/bin/sh\necho 'An error occurred (AccessDeniedException): not you' >&2; exit 254\n")
    program.chmod(0o755)
    done = subprocess.run(
        ["scripts/ecs", "--cluster", "prod", "rollback", "--service", "web"],
        cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHON": sys.executable}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stderr.splitlines(), done.returncode) == (
        [
            "error: aws ecs describe-services failed: An error occurred (AccessDeniedException): not you",
            "hint: Look at the role that runs this.",
        ],
        2,
    )


def test_a_definition_is_registered_with_its_image(aws_environment):
    """Against the emulator, with boto3 in the place of the CLI: the files are what AWS takes."""
    import boto3

    client = boto3.client("ecs")

    def call(*words):
        assert words[:3] == ("ecs", "register-task-definition", "--cli-input-json")
        return client.register_task_definition(**json.loads(words[3]))

    for name in ("service", "job"):
        cluster = Cluster("prod", call)
        image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/startupwebapp@sha256:0f"
        arn = cluster.register(ROOT / f"deploy/aws/task-{name}.json", image=image, account="123456789012")
        found = client.describe_task_definition(taskDefinition=arn)["taskDefinition"]
        assert found["containerDefinitions"][0]["image"] == image
        assert found["taskRoleArn"].startswith("arn:aws:iam::123456789012:role/startupwebapp-")
