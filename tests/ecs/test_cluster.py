"""``python -m deploytools.ecs`` against a fake of the AWS CLI that returns what ECS returns."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploytools.ecs.aws_cli import Unavailable, aws
from deploytools.ecs.cluster import Cluster
from deploytools.errors import AwsError, ConfigurationError, DeployError, NotFound

ROOT = Path(__file__).parent.parent.parent
ARN = "arn:aws:ecs:us-east-1:123456789012:task-definition/startupwebapp"
TASK = "arn:aws:ecs:us-east-1:123456789012:task/prod/0123abcd"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}


class Ecs:
    """A cluster with one service and one task."""

    def __init__(self, *, states=("COMPLETED",), exit_code=0, logs=(), statuses=("STOPPED",), failures=()) -> None:
        self.definition = f"{ARN}:7"
        self.tags: dict[str, str] = {}
        self.errors: dict[int, BaseException] = {}  # By the number of the call.
        self.states, self.statuses, self.logs = list(states), list(statuses), list(logs)
        self.exit_code, self.failures = exit_code, failures
        self.calls: list[tuple[str, ...]] = []
        self.messages: list[str] = []
        self.cluster = Cluster("prod", self, self.messages.append, lambda seconds: None)

    def __call__(self, *words):
        self.calls.append(words)
        if error := self.errors.get(len(self.calls)):
            raise error
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
        suffix = options["--family-prefix"].removeprefix("startupwebapp")
        return {"taskDefinitionArns": [f"{ARN}{suffix}:{revision}" for revision in (8, 7, 5, 4)]}

    def describe_task_definition(self, options):
        log = {"awslogs-group": "/ecs/shop", "awslogs-stream-prefix": "job"}
        definition = options["--task-definition"]
        image = f"shop@sha256:{definition.rpartition(':')[2]}"
        containers = [{"name": "job", "image": image, "logConfiguration": {"options": log}}]
        return {"taskDefinition": {"taskDefinitionArn": definition, "containerDefinitions": containers}}

    def tag_resource(self, options):
        self.tags[options["--resource-arn"]] = options["--tags"]
        return {}

    def list_tags_for_resource(self, options):
        tag = self.tags.get(options["--resource-arn"])
        return {"tags": [{"key": "deploytools-verified", "value": "true"}] if tag else []}

    def stop_task(self, options):
        self.statuses = ["STOPPED"]
        return {}

    def run_task(self, options):
        self.run_options = options
        return {"tasks": [] if self.failures else [{"taskArn": TASK}], "failures": list(self.failures)}

    def describe_tasks(self, options):
        container = {"name": "job"} | ({} if self.exit_code is None else {"exitCode": self.exit_code})
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "MISSING":
            return {"tasks": [], "failures": [{"arn": TASK, "reason": "MISSING"}]}
        task = {"lastStatus": status, "stoppedReason": "CannotPullContainerError", "containers": [container]}
        return {"tasks": [task]}

    def get_log_events(self, options):
        assert options["--log-stream-name"] == "job/job/0123abcd"
        batch = self.logs.pop(0) if self.logs else []
        if batch is None:
            raise NotFound("aws logs get-log-events failed: ResourceNotFoundException", hint="")
        return {"events": [{"message": line} for line in batch], "nextForwardToken": f"f/{len(self.calls)}"}


def definitions(ecs):
    return [words[words.index("--task-definition") + 1] for words in ecs.calls if words[1] == "update-service"]


def test_run_follows_the_log_and_returns_the_exit_code():
    ecs = Ecs(exit_code=3, statuses=["PENDING", "RUNNING", "STOPPED"], logs=[None, ["one"], [], ["two", "three"]])
    assert ecs.cluster.run("startupwebapp-job:4", ["migrate_tenants", "--noinput"], service="web") == 3
    assert ecs.messages == ["Started task 0123abcd.", "one", "two", "three"]
    assert json.loads(ecs.run_options["--overrides"]) == {
        "containerOverrides": [{"name": "job", "command": ["migrate_tenants", "--noinput"]}]
    }
    assert json.loads(ecs.run_options["--network-configuration"]) == NETWORK


def test_run_without_a_revision_uses_the_image_of_the_service():
    """A newer revision can be one that was not verified, or that was rolled back."""
    ecs = Ecs()
    assert ecs.cluster.run("startupwebapp-job", ["x"], service="web") == 0
    assert ecs.run_options["--task-definition"] == f"{ARN}-job:7"
    ecs.definition = f"{ARN}:6"
    with pytest.raises(NotFound) as caught:
        ecs.cluster.run("startupwebapp-job", ["x"], service="web")
    assert str(caught.value) == "No revision of startupwebapp-job has the image of startupwebapp:6."
    assert caught.value.hint == "Pass a revision: --definition startupwebapp-job:REVISION"


def test_run_fails_if_the_container_did_not_start():
    with pytest.raises(AwsError, match=r"^The container did not start: CannotPullContainerError\.$"):
        Ecs(exit_code=None).cluster.run("startupwebapp-job:4", ["x"], service="web")
    with pytest.raises(AwsError, match=r"^ECS did not start the task: RESOURCE:FARGATE\.$"):
        Ecs(failures=[{"reason": "RESOURCE:FARGATE"}]).cluster.run("startupwebapp-job:4", ["x"], service="web")


def test_deploy_updates_the_service():
    ecs = Ecs(states=["COMPLETED", "IN_PROGRESS", "COMPLETED"])
    assert ecs.cluster.deploy("web", f"{ARN}:8", ["true"], seconds=60) == 0
    assert definitions(ecs) == [f"{ARN}:8"]
    assert ecs.messages == ["startupwebapp:8: 0 of 2 tasks running", "web runs startupwebapp:8."]


@pytest.mark.parametrize(
    ("states", "verify", "problem"),
    [
        (["COMPLETED", "FAILED", "COMPLETED"], ["true"], "ECS deployment circuit breaker: tasks failed to start"),
        (["COMPLETED"], ["false"], "false failed with exit code 1"),
        (["COMPLETED", *["IN_PROGRESS"] * 3, "COMPLETED"], ["true"], "not stable after 15 s"),
    ],
)
def test_deploy_rolls_back_on_failure(states, verify, problem):
    ecs = Ecs(states=states)
    assert ecs.cluster.deploy("web", f"{ARN}:8", verify, seconds=15) == 1
    assert definitions(ecs) == [f"{ARN}:8", f"{ARN}:7"]
    assert f"Error: web could not be updated to startupwebapp:8: {problem}." in ecs.messages
    assert ecs.messages[-1] == "web was rolled back to startupwebapp:7."


def test_a_failed_rollback_is_an_error():
    with pytest.raises(AwsError, match=r"^The rollback of web to startupwebapp:7 was not verified: ") as caught:
        Ecs(states=["COMPLETED", "FAILED"]).cluster.deploy("web", f"{ARN}:8", [], seconds=60)
    assert caught.value.hint.startswith("Run: aws ecs describe-services --cluster prod --services web ")


def test_a_verification_that_is_not_installed_changes_nothing():
    ecs = Ecs()
    with pytest.raises(ConfigurationError, match=r"^no-such-command is not installed\. Nothing was changed\.$"):
        ecs.cluster.deploy("web", f"{ARN}:8", ["no-such-command"], seconds=60)
    assert definitions(ecs) == []


EXPIRED = AwsError("aws ecs describe-services failed: (ExpiredTokenException)", hint="")
DENIED = AwsError("aws ecs update-service failed: (AccessDeniedException)", hint="")
UNAVAILABLE = Unavailable("aws ecs describe-services failed: (ThrottlingException)", hint="")
#: The calls of a deployment: read the service, update, read it three times, describe and tag the revision.
CALLS, UPDATE = 7, 2


def deploy(*errors: tuple[int, BaseException]) -> tuple[Ecs, int]:
    ecs = Ecs(states=["COMPLETED", "IN_PROGRESS", "IN_PROGRESS", "COMPLETED"])
    ecs.errors = dict(errors)
    return ecs, ecs.cluster.deploy("web", f"{ARN}:8", ["true"], seconds=60)


@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_call_that_fails_once_is_repeated(number):
    ecs, code = deploy((number, UNAVAILABLE))
    assert (code, ecs.definition, list(ecs.tags)) == (0, f"{ARN}:8", [f"{ARN}:8"])
    assert len(ecs.calls) == CALLS + 1


def test_a_refused_update_changes_nothing():
    ecs = Ecs()
    ecs.errors = {UPDATE: DENIED}
    with pytest.raises(AwsError, match="AccessDeniedException"):
        ecs.cluster.deploy("web", f"{ARN}:8", ["true"], seconds=60)
    assert ecs.definition == f"{ARN}:7"


@pytest.mark.parametrize("number", range(UPDATE + 1, CALLS - 1))
@pytest.mark.parametrize("error", [EXPIRED, KeyboardInterrupt(), SystemExit(143)], ids=repr)
def test_any_failure_after_the_update_is_rolled_back(number, error):
    ecs, code = deploy((number, error))
    assert (code, ecs.definition, ecs.tags) == (1, f"{ARN}:7", {})
    assert ecs.messages[-1] == "web was rolled back to startupwebapp:7."


def test_a_rollback_that_fails_says_where_to_look():
    ecs = Ecs(states=["COMPLETED", "IN_PROGRESS"])
    ecs.errors = dict.fromkeys(range(UPDATE + 1, 20), EXPIRED)
    with pytest.raises(AwsError, match=r"^The rollback of web to startupwebapp:7 was not verified: aws ecs .*Expired"):
        ecs.cluster.deploy("web", f"{ARN}:8", ["true"], seconds=60)


def test_a_missing_tag_is_a_warning():
    ecs, code = deploy((CALLS, DENIED))
    assert (code, ecs.messages[-2].startswith("Warning: startupwebapp:8 was not tagged")) == (0, True)


def test_another_deployment_is_unchanged(monkeypatch):
    ecs = Ecs(states=["IN_PROGRESS"])
    ecs.cluster = Cluster("prod", ecs, ecs.messages.append, lambda seconds: ecs.update_service(OTHER))
    assert ecs.cluster.deploy("web", f"{ARN}:8", ["true"], seconds=60) == 1
    assert ecs.definition == f"{ARN}:5"
    assert ecs.messages[-1] == "Error: Another deployment updates web to startupwebapp:5. It was not changed."


OTHER = {"--task-definition": f"{ARN}:5"}


@pytest.mark.parametrize("statuses", [["MISSING", "MISSING", "PENDING", "STOPPED"], ["RUNNING", "MISSING", "STOPPED"]])
def test_a_task_that_is_not_visible_yet_is_waited_for(statuses):
    assert Ecs(statuses=statuses, exit_code=3).cluster.run("job:4", ["x"], service="web") == 3


def test_a_task_that_cannot_be_followed_is_named():
    with pytest.raises(
        AwsError, match=r"^ECS does not list the task after 60 s\. Task 0123abcd can still be running\.$"
    ):
        Ecs(statuses=["MISSING"]).cluster.run("job:4", ["x"], service="web")
    ecs = Ecs(statuses=["RUNNING"])
    ecs.errors = {6: EXPIRED}
    with pytest.raises(AwsError, match=r"Expired.*[^.]\. Task 0123abcd can still be running\.$") as caught:
        ecs.cluster.run("job:4", ["x"], service="web")
    assert caught.value.hint == "Run: aws ecs describe-tasks --cluster prod --tasks 0123abcd"


def test_a_log_that_cannot_be_read_does_not_hide_the_exit_code():
    ecs = Ecs(statuses=["RUNNING", "STOPPED"], exit_code=5)
    ecs.errors = {5: AwsError("aws logs get-log-events failed: (AccessDeniedException)", hint="")}
    assert ecs.cluster.run("job:4", ["x"], service="web") == 5
    assert ecs.messages[1:] == [
        "The log of the task cannot be read: aws logs get-log-events failed: (AccessDeniedException)"
    ]


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)], ids=repr)
def test_an_interrupt_names_the_task_or_stops_it(error, code):
    for is_stopped in (False, True):
        ecs = Ecs(statuses=["RUNNING"])
        ecs.errors = {6: error}
        assert ecs.cluster.run("job:4", ["x"], service="web", stop_on_interrupt=is_stopped) == code
        assert [words[1] for words in ecs.calls].count("stop-task") == is_stopped
        state = "is being stopped" if is_stopped else "continues"
        assert f"Task 0123abcd {state}. Run: aws ecs describe-tasks --cluster prod --tasks 0123abcd" in ecs.messages[-1]


def test_a_task_that_could_not_be_stopped_is_named():
    ecs = Ecs(statuses=["RUNNING"])
    ecs.errors = {6: KeyboardInterrupt(), 7: AwsError("aws ecs stop-task failed: (AccessDeniedException)", hint="")}
    with pytest.raises(AwsError, match=r"Exception\)\. Task 0123abcd was not stopped\.$") as caught:
        ecs.cluster.run("job:4", ["x"], service="web", stop_on_interrupt=True)
    assert caught.value.hint == "Run: aws ecs describe-tasks --cluster prod --tasks 0123abcd"


def test_previous_returns_the_last_verified_revision():
    ecs = Ecs()
    ecs.definition = f"{ARN}:8"
    ecs.tags = {f"{ARN}:{number}": "true" for number in (8, 5, 4)}  # 7 was rolled back.
    assert ecs.cluster.previous("web") == f"{ARN}:5"
    ecs.definition = f"{ARN}:4"
    with pytest.raises(NotFound, match=r"^There is no verified revision before startupwebapp:4\.$"):
        ecs.cluster.previous("web")
    with pytest.raises(NotFound, match=r"^Service shop does not exist in cluster prod\.$"):
        ecs.cluster.previous("shop")


#: A service whose new revision never becomes stable, in a file.
FAKE_AWS = """#!/bin/sh
state={directory}/definition
case "$1 $2" in
  "ecs describe-services")
    primary='"status": "PRIMARY", "runningCount": 0, "desiredCount": 1'
    [ "$(cat $state)" = x:7 ] && rollout=COMPLETED || rollout=IN_PROGRESS
    echo '{{"services": [{{"taskDefinition": "'$(cat $state)'", "deployments": [{{'"$primary"', "taskDefinition": "'$(cat $state)'", "rolloutState": "'$rollout'"}}]}}]}}' ;;
  "ecs update-service") while [ "$1" != --task-definition ]; do shift; done
    [ "$2" = x:7 ] && [ -e {directory}/denied ] && exit 1
    echo "$2" > $state; echo '{{}}' ;;
esac
"""  # noqa: E501


@contextmanager
def interrupted(directory: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    """A deployment that got a signal."""
    (directory / "definition").write_text("x:7")
    program = directory / "aws"
    program.write_text(FAKE_AWS.format(directory=directory))
    program.chmod(0o755)
    with subprocess.Popen(
        ["scripts/ecs", "--cluster", "prod", "deploy", "--service", "web", "--definition", "x:8"],
        cwd=ROOT, env={"PATH": f"{directory}:/usr/bin:/bin", "PYTHON": sys.executable}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "x:8: 0 of 1 tasks running\n"
        process.send_signal(number)
        yield process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_deployment_rolls_back(tmp_path, number):
    with interrupted(tmp_path, number) as process:
        assert process.stdout is not None
        assert process.stdout.read().splitlines() == [
            "Error: web could not be updated to x:8: interrupted.",
            "Rolling back web to x:7.",
            "web was rolled back to x:7.",
        ]
        assert (process.wait(30), (tmp_path / "definition").read_text()) == (1, "x:7\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_rollback_that_fails_after_a_signal_is_reported(tmp_path, number):
    (tmp_path / "denied").touch()
    with interrupted(tmp_path, number) as process:
        assert process.stdout is not None
        assert process.stdout.read().splitlines()[-2:] == [
            "Error: The rollback of web to x:7 was not verified: aws ecs update-service failed: exit code 1.",
            "Hint: Run: aws ecs describe-services --cluster prod --services web --query services[0].deployments",
        ]
        assert process.wait(30) == 2


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("echo '(ResourceNotFoundException): none' >&2; exit 254", NotFound, "(ResourceNotFoundException): none"),
        ("echo '(AccessDeniedException): not allowed' >&2; exit 254", AwsError, "(AccessDeniedException): not allowed"),
        ("exit 3", AwsError, "exit code 3"),
        ("echo '(ThrottlingException): slow' >&2; exit 254", Unavailable, "(ThrottlingException): slow"),
        ("echo 'Connect timeout on endpoint' >&2; exit 255", Unavailable, "Connect timeout on endpoint"),
        ("echo '(ExpiredTokenException): late' >&2; exit 254", AwsError, "(ExpiredTokenException): late"),
    ],
    ids=["not found", "denied", "no output", "throttled", "no network", "expired"],
)
def test_errors_of_the_aws_cli(tmp_path, monkeypatch, script, kind, message):
    program = tmp_path / "aws"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(AwsError) as caught:
        aws("logs", "get-log-events")
    assert (type(caught.value), str(caught.value)) == (kind, f"aws logs get-log-events failed: {message}")


def test_a_missing_aws_cli_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match=r"^aws is not installed\.$"):
        aws("sts", "get-caller-identity")


def test_an_error_of_the_aws_cli_is_reported(tmp_path):
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
            "Error: aws ecs describe-services failed: An error occurred (AccessDeniedException): not you",
            "Hint: Check the credentials and their IAM policy.",
        ],
        2,
    )


def test_register_fills_in_image_and_account(aws_environment):
    """Against the AWS emulator, with boto3 instead of the CLI: AWS accepts the files."""
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
