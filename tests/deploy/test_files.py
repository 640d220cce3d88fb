"""What lies in deploy/ and .github/: valid, consistent, and what the code declares."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

ROOT = Path(__file__).parent.parent.parent
AWS = ROOT / "deploy/aws"
policies = runpy.run_path(str(AWS / "policies.py"))["policies"]


@pytest.mark.parametrize("name", ["policy-app.json", "policy-job.json", "policy-operator.json"])
def test_the_policies_are_what_the_code_declares(name):
    assert (AWS / name).read_text() == policies()[name], "run: python deploy/aws/policies.py"


def test_the_application_may_do_less_than_the_job():
    app, job = (actions(name) for name in ("policy-app.json", "policy-job.json"))
    assert app < job
    assert {"secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"} <= actions(
        "policy-operator.json"
    )
    looking = r"\w+:(Get|Describe|List|Simulate|Lookup)"
    assert {action for action in job if not re.match(looking, action)} == {"kms:Decrypt"}


def actions(name: str) -> set[str]:
    found = [one["Action"] for one in json.loads((AWS / name).read_text())["Statement"]]
    return {action for entry in found for action in ([entry] if isinstance(entry, str) else entry)}


def test_the_pipelines_policy_is_what_its_program_calls():
    source = (ROOT / "operations/ecs.py").read_text()
    calls = re.findall(r'"(ecs|logs)", "([a-z-]+)"', source)
    called = {f"{service}:{''.join(word.title() for word in verb.split('-'))}" for service, verb in calls}
    assert actions("policy-pipeline.json") == called | {"iam:PassRole"}


@pytest.mark.parametrize(
    ("name", "service", "operation"),
    [
        ("task-service.json", "ecs", "RegisterTaskDefinition"),
        ("task-job.json", "ecs", "RegisterTaskDefinition"),
        ("batch-migrate.json", "batch", "RegisterJobDefinition"),
    ],
)
def test_what_aws_is_given_has_its_shape(name, service, operation):
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    assert model.input_shape is not None
    report = ParamValidator().validate(json.loads((AWS / name).read_text()), model.input_shape)
    assert not report.has_errors(), report.generate_report()


def test_the_job_is_the_service_without_a_port():
    service, job = (json.loads((AWS / f"task-{name}.json").read_text()) for name in ("service", "job"))
    (one,), (other,) = service["containerDefinitions"], job["containerDefinitions"]
    for key in ("image", "user", "readonlyRootFilesystem", "linuxParameters"):
        assert one[key] == other[key]
    assert "portMappings" not in other
    assert (service["taskRoleArn"], job["taskRoleArn"]) == (
        "arn:aws:iam::ACCOUNT:role/startupwebapp-app",
        "arn:aws:iam::ACCOUNT:role/startupwebapp-job",
    )


def test_no_definition_holds_a_credential():
    for path in [*AWS.glob("*.json"), ROOT / "deploy/kubernetes/migrate.yaml"]:
        assert not re.search(r'(?i)(password|secret_key|access_key)"?\s*[:,]\s*"?value', path.read_text()), path


def test_kubernetes_is_told_the_number_of_parts():
    job = yaml.safe_load((ROOT / "deploy/kubernetes/migrate.yaml").read_text())["spec"]
    environment = {one["name"]: one["value"] for one in job["template"]["spec"]["containers"][0]["env"]}
    assert (job["completionMode"], environment["JOB_COMPLETIONS"]) == ("Indexed", str(job["completions"]))


def test_the_workflows_pin_what_they_use_and_may_nothing_by_default():
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text()
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {}
        for used in re.findall(r"uses: (\S+)(.*)", text):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", used[0]), used
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", used[1]), used
        for job in workflow["jobs"].values():
            assert set(job["permissions"]) <= {"contents", "id-token"}
            assert job["permissions"]["contents"] == "read"


def test_compose_runs_the_image_as_the_cloud_does():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["app"]["read_only"] is True
    assert services["app"]["cap_drop"] == ["ALL"]
    assert "-cssl=on" in services["database"]["command"]
    master = services["account"]["command"][-1]
    assert f"PASSWORD '{master}'" in (ROOT / "deploy/compose/roles.sql").read_text()
