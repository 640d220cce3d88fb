"""The files in deploy/ and .github/: valid, consistent with each other and with the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

import deploytools
from deploytools.conf import read_settings
from deploytools.scaffold.deployment_policies import deployment_policies
from deploytools.scaffold.project_files import render
from deploytools.scaffold.project_names import read_project_names
from tests.management.runner import run
from tests.old_boto3 import needs_boto3_1_40

ROOT = Path(__file__).parent.parent.parent
AWS = ROOT / "deploy/aws"


def test_deploytools_init_writes_the_files_of_this_repository(settings, capsys):
    """All but those that StartupWebApp edited: its production settings and ``.env.example``."""
    settings.DEPLOYTOOLS = settings.DEPLOYTOOLS | {"URL": "https://www.mosaicmeshai.com"}
    assert run(capsys, "deploytools_init", "--check") == ("No changes: the files are up to date.\n", "", 0)
    project_settings = read_settings()
    wanted = render(read_project_names(project_settings), deployment_policies(project_settings))
    edited = {"StartupWebApp/settings_production.py", ".env.example"}
    assert {path for path, text in wanted.items() if (ROOT / path).read_text() != text} == edited


def test_the_application_has_fewer_permissions_than_the_job():
    app, job = (actions(name) for name in ("policy-app.json", "policy-job.json"))
    assert app < job
    write = {f"secretsmanager:{name}" for name in ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage")}
    assert write <= actions("policy-operator.json")
    read_only = r"[\w-]+:(Get|Describe|List|Simulate|Lookup)"
    assert {action for action in job if not re.match(read_only, action)} == {"kms:Decrypt"}


def actions(name: str) -> set[str]:
    found = [one["Action"] for one in json.loads((AWS / name).read_text())["Statement"]]
    return {action for entry in found for action in ([entry] if isinstance(entry, str) else entry)}


#: GitHub's default subject, and that of repositories created or renamed since 15 July 2026.
REPOSITORIES = ("repo:ORGANIZATION/REPOSITORY", "repo:ORGANIZATION@ORGANIZATION_ID/REPOSITORY@REPOSITORY_ID")


def subjects(name: str) -> list[str]:
    (statement,) = json.loads((AWS / name).read_text())["Statement"]
    found: list[str] = statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    return found


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    return loaded


def test_the_roles_trust_the_subjects_of_the_workflow_in_both_formats():
    jobs = workflow("deploy.yml")["jobs"]
    names = [job["with"]["environment"] for job in jobs.values() if "with" in job]
    assert names == ["staging", "production"]
    assert subjects("trust-pipeline.json") == [f"{one}:environment:{name}" for name in names for one in REPOSITORIES]
    assert "environment" not in jobs["image"]
    assert subjects("trust-build.json") == [f"{one}:ref:refs/heads/main" for one in REPOSITORIES]


def test_production_gets_the_image_that_was_deployed_to_staging():
    jobs = workflow("deploy.yml")["jobs"]
    assert jobs["production"]["needs"] == ["image", "staging"]
    assert (
        jobs["staging"]["with"]["digest"]
        == jobs["production"]["with"]["digest"]
        == ("${{ needs.image.outputs.digest }}")
    )


def test_an_image_has_signed_attestations_of_its_digest():
    """Also in a second run of the workflow, after the first one pushed the image and could not sign it."""
    steps = workflow("deploy.yml")["jobs"]["image"]["steps"]
    sbom, *signed = [step for step in steps if step.get("uses", "").startswith(("anchore/", "actions/attest"))]
    assert not any("if" in step for step in (sbom, *signed))
    assert sbom["with"]["image"] == "${{ env.REPOSITORY }}@${{ steps.push.outputs.digest }}"
    assert [step["with"]["subject-digest"] for step in signed] == ["${{ steps.push.outputs.digest }}"] * 2
    assert [step["with"].get("sbom-path") for step in signed] == [None, sbom["with"]["output-file"]]


def test_the_base_images_are_pinned_by_the_same_digest():
    files = ("Dockerfile", "deploy/compose/Dockerfile", "deploytools/scaffold/files/Dockerfile.txt")
    (base,) = {re.findall(r"^ARG BASE=(.*)$", (ROOT / name).read_text(), re.MULTILINE)[0] for name in files}
    assert re.fullmatch(r"python:3\.13-slim-trixie@sha256:[0-9a-f]{64}", base)


@pytest.mark.parametrize("name", ["CLUSTER", "SERVICE", "ACCOUNT", "CANARY", "URL"])
def test_a_variable_that_is_not_set_ends_the_deployment(name):
    first = workflow("deploy-environment.yml")["jobs"]["deploy"]["steps"][0]["run"]
    variables = dict.fromkeys(["CLUSTER", "SERVICE", "ACCOUNT", "CANARY", "URL"], "set")
    for environment, code in ((variables, 0), (variables | {name: ""}, 1)):
        done = subprocess.run(["bash", "-e", "-c", first], env=environment, capture_output=True, text=True, check=False)
        assert (min(done.returncode, 1), f"{name}: Set " in done.stderr) == (code, bool(code))


def test_a_rollback_does_not_wait_for_a_deployment():
    deployment = workflow("deploy-environment.yml")["jobs"]["deploy"]["concurrency"]["group"]
    assert workflow("rollback.yml")["concurrency"]["group"] != deployment == "deploy-${{ inputs.environment }}"


def test_the_policies_of_the_pipeline_allow_exactly_the_calls_of_its_code():
    source = "".join(path.read_text() for path in (ROOT / "deploytools/ecs").glob("*.py"))
    called = {
        f"{service}:{''.join(word.title() for word in verb.split('-'))}"
        for service, verb in re.findall(r'"(ecs|logs|ecr)", "([a-z-]+)"', source)
    }
    scan = {"ecr:DescribeImageScanFindings"}
    assert actions("policy-pipeline.json") == called - scan | {"iam:PassRole"}
    assert scan <= actions("policy-build.json")
    assert {"inspector2:ListCoverage", "inspector2:ListFindings"} <= actions("policy-build.json")  # Enhanced scanning.
    assert {action.partition(":")[0] for action in actions("policy-build.json")} == {"ecr", "inspector2"}


@pytest.mark.parametrize(
    ("name", "service", "operation"),
    [
        ("task-service.json", "ecs", "RegisterTaskDefinition"),
        ("task-job.json", "ecs", "RegisterTaskDefinition"),
        pytest.param("service.json", "ecs", "CreateService", marks=needs_boto3_1_40),
        ("batch-migrate.json", "batch", "RegisterJobDefinition"),
    ],
)
def test_the_definitions_match_the_api_model(name, service, operation):
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    assert model.input_shape is not None
    report = ParamValidator().validate(json.loads((AWS / name).read_text()), model.input_shape)
    assert not report.has_errors(), report.generate_report()


def test_the_job_and_the_service_have_the_same_container():
    service, job = (json.loads((AWS / f"task-{name}.json").read_text()) for name in ("service", "job"))
    (one,), (other,) = service["containerDefinitions"], job["containerDefinitions"]
    for key in ("image", "user", "readonlyRootFilesystem", "linuxParameters"):
        assert one[key] == other[key]
    assert "portMappings" not in other
    assert (service["taskRoleArn"], job["taskRoleArn"]) == (
        "arn:aws:iam::ACCOUNT:role/startupwebapp-app",
        "arn:aws:iam::ACCOUNT:role/startupwebapp-job",
    )


def test_the_definitions_contain_no_credentials():
    for path in [*AWS.glob("*.json"), ROOT / "deploy/kubernetes/migrate.yaml"]:
        assert not re.search(r'(?i)(password|secret_key|access_key)"?\s*[:,]\s*"?value', path.read_text()), path


def test_the_kubernetes_job_sets_the_number_of_shards():
    job = yaml.safe_load((ROOT / "deploy/kubernetes/migrate.yaml").read_text())["spec"]
    environment = {one["name"]: one["value"] for one in job["template"]["spec"]["containers"][0]["env"]}
    assert (job["completionMode"], environment["JOB_COMPLETIONS"]) == ("Indexed", str(job["completions"]))


def test_the_workflows_pin_actions_and_have_minimal_permissions():
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text()
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {}
        for used in re.findall(r"uses: ([^\s.]\S*)(.*)", text):  # A path is a workflow of this repository.
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", used[0]), used
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", used[1]), used
        for job in workflow["jobs"].values():
            assert set(job["permissions"]) <= {"contents", "id-token", "attestations"}
            assert job["permissions"]["contents"] == "read"


@pytest.mark.parametrize(
    ("tag", "heading", "is_released"),
    [("v{}", "{}", True), ("v{}", "Unreleased", False), ("v{}.1", "{}", False), ("v{}", "{}.1", False)],
)
def test_a_release_has_the_version_of_its_tag_and_an_entry_in_the_changelog(tmp_path, tag, heading, is_released):
    """The step of the workflow, run as GitHub does."""
    version = deploytools.__version__
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {heading.format(version)}\n", encoding="utf-8")
    (step,) = [step for step in workflow("release.yml")["jobs"]["build"]["steps"] if "tag" in step.get("name", "")]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {"GITHUB_REF_NAME": tag.format(version), "PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=variables, check=False)
    assert (done.returncode == 0) is is_released


def test_compose_uses_a_read_only_root_and_tls():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["app"]["read_only"] is True
    assert services["app"]["cap_drop"] == ["ALL"]
    assert "-cssl=on" in services["database"]["command"]
    master = services["account"]["command"][-1]
    assert f"PASSWORD '{master}'" in (ROOT / "deploy/compose/roles.sql").read_text()
