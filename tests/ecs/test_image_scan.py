"""``python -m deploytools.ecs.image_scan`` with the responses of ECR's basic and enhanced scanning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploytools.ecs.image_scan import critical_findings
from deploytools.errors import AwsError, NotFound

ROOT = Path(__file__).parent.parent.parent
BASIC = {
    "imageScanStatus": {"status": "COMPLETE"},
    "imageScanFindings": {
        "findings": [{"name": "CVE-1", "severity": "CRITICAL"}, {"name": "CVE-2", "severity": "HIGH"}]
    },
}
ENHANCED = {
    "imageScanStatus": {"status": "ACTIVE"},
    "imageScanFindings": {
        "enhancedFindings": [
            {"severity": "CRITICAL", "status": "ACTIVE", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-3"}},
            {
                "severity": "CRITICAL",
                "status": "SUPPRESSED",
                "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-4"},
            },
            {"severity": "HIGH", "status": "ACTIVE", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-5"}},
        ]
    },
}
PENDING = {"imageScanStatus": {"status": "IN_PROGRESS"}}
NOT_STARTED = NotFound("aws ecr describe-image-scan-findings failed: (ScanNotFoundException)", hint="")


def scan(*responses) -> list[str]:
    queue = list(responses)

    def call(*words):
        response = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(response, Exception):
            raise response
        return response

    return critical_findings("shop", "sha256:0f", seconds=60, call=call, sleep=lambda seconds: None)


@pytest.mark.parametrize(
    ("responses", "found"),
    [
        ([BASIC], ["CVE-1"]),
        ([NOT_STARTED, PENDING, BASIC], ["CVE-1"]),
        ([PENDING, ENHANCED], ["CVE-3"]),
        ([{"imageScanStatus": {"status": "COMPLETE"}}], []),
    ],
)
def test_the_scan_is_waited_for(responses, found):
    assert scan(*responses) == found


@pytest.mark.parametrize(
    ("response", "status"),
    [({"imageScanStatus": {"status": "UNSUPPORTED_IMAGE"}}, "UNSUPPORTED_IMAGE"), (PENDING, "IN_PROGRESS"),
     (NOT_STARTED, "not started")],
)  # fmt: skip
def test_a_scan_that_does_not_complete_is_an_error(response, status):
    with pytest.raises(AwsError, match=rf"did not complete: {status}\.$"):
        scan(response)


@pytest.mark.parametrize(
    ("exceptions", "code", "out"),
    [
        ("{}", 1, "not accepted: CVE-1 is critical.\nFAILED: 1 critical finding, 1 of them not accepted.\n"),
        (
            '{"CVE-1": "2000-01-01"}', 1,
            "not accepted: CVE-1 is critical (accepted until 2000-01-01).\n"
            "FAILED: 1 critical finding, 1 of them not accepted.\n",
        ),
        (
            '{"CVE-1": "9999-01-01"}', 0,
            "accepted: CVE-1 is critical (accepted until 9999-01-01).\n"
            "OK: 1 critical finding, 0 of them not accepted.\n",
        ),
        ('{"CVE-1": "soon"}', 2, ""),
        ("[]", 2, ""),
    ],
)  # fmt: skip
def test_exceptions_expire(tmp_path, exceptions, code, out):
    program, file = tmp_path / "aws", tmp_path / "exceptions.json"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(BASIC)}'\n")
    program.chmod(0o755)
    file.write_text(exceptions)
    done = subprocess.run(
        [sys.executable, "-m", "deploytools.ecs.image_scan", "shop", "sha256:0f", "--exceptions", file],
        cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (code, out, False)
