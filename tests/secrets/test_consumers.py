"""The restart of an ECS service: deployments that fail, are rolled back, or do not end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from deploytools import aws
from deploytools.errors import AccessDenied, DeployError
from deploytools.secrets.consumers import FIRST_POLLS, POLL_SECONDS, POLLS, EcsService

OLD, NEW, LATER = "ecs-svc/1", "ecs-svc/2", "ecs-svc/3"


def service(*deployments: tuple[str, str], reason: str = "") -> dict[str, Any]:
    """A service whose first deployment is the primary one; each is an ID and a rollout state."""
    return {
        "deployments": [
            {
                "id": id,
                "status": "ACTIVE" if number else "PRIMARY",
                "rolloutState": state,
                "rolloutStateReason": reason,
                "createdAt": datetime(2026, 1, 1, tzinfo=UTC),
            }
            for number, (id, state) in enumerate(deployments)
        ]
    }


@pytest.fixture
def restart(monkeypatch):
    """Return a function that restarts a service with these responses, and returns the seconds that it slept."""

    def restart(*states: dict[str, Any]) -> float:
        client = boto3.client("ecs", "us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
        names = {"cluster": "shop", "service": "web"}
        slept: list[float] = []
        with Stubber(client) as stub:
            started = service((NEW, "IN_PROGRESS"), (OLD, "COMPLETED"))
            stub.add_response("update_service", {"service": started}, {**names, "forceNewDeployment": True})
            for state in states:
                expected = {"cluster": "shop", "services": ["web"]}
                stub.add_response("describe_services", {"services": [state]}, expected)
            monkeypatch.setattr(aws, "client", lambda name, region: client)
            EcsService("web", "shop", "us-east-1", sleep=slept.append).restart()
            stub.assert_no_pending_responses()
        return sum(slept)

    return restart


def test_it_ends_when_only_new_tasks_are_left(restart):
    in_progress = service((NEW, "IN_PROGRESS"), (OLD, "COMPLETED"))
    draining = service((NEW, "COMPLETED"), (OLD, "COMPLETED"))
    assert restart(in_progress, draining, service((NEW, "COMPLETED"))) == 2 * POLL_SECONDS


def test_it_waits_until_aws_shows_the_new_deployment(restart):
    before = service((OLD, "COMPLETED"))
    assert restart(before, before, service((NEW, "COMPLETED"))) == 2 * POLL_SECONDS


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([service((NEW, "FAILED"), reason="tasks failed\nto start")], "failed: tasks failed to start"),
        ([service((NEW, "FAILED"))], "failed: no reason given"),
        ([service((OLD, "IN_PROGRESS"), (NEW, "FAILED"))], "was replaced or rolled back"),
        ([service((NEW, "IN_PROGRESS")), service((OLD, "COMPLETED"))], "was replaced or rolled back"),
        ([service((LATER, "COMPLETED"))] * (FIRST_POLLS + 1), "was replaced or rolled back"),
    ],
)
def test_deployment_that_fails(restart, states, message):
    with pytest.raises(DeployError) as caught:
        restart(*states)
    assert str(caught.value) == f"The new deployment of web {message}; processes with the old values might still run."
    assert caught.value.hint.endswith("aws ecs describe-services --cluster shop --services web --region us-east-1")


def test_deployment_that_does_not_end(restart):
    with pytest.raises(DeployError, match="did not end in 15 minutes"):
        restart(*[service((NEW, "IN_PROGRESS"), (OLD, "COMPLETED"))] * POLLS)


def test_service_of_another_deployment_controller(restart):
    with pytest.raises(DeployError, match="another deployment controller manages it"):
        restart({"deployments": []})


def test_denied_restart(monkeypatch):
    client = boto3.client("ecs", "us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")
    with Stubber(client) as stub:
        stub.add_client_error("update_service", "AccessDeniedException", http_status_code=400)
        monkeypatch.setattr(aws, "client", lambda name, region: client)
        with pytest.raises(AccessDenied, match="ecs:UpdateService"):
            EcsService("web", "shop", "us-east-1").restart()
