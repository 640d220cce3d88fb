"""``python -m deploytools.ecs.image_scan REPOSITORY DIGEST``: fail if an image in ECR has critical findings.

Works with ECR's basic scanning, whose scan completes, and with enhanced scanning, which stays active. The file of
exceptions has the day until which a finding is accepted: ``{"CVE-2023-45853": "2027-03-31"}``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from deploytools.ecs.aws_cli import Response, Unavailable, aws
from deploytools.errors import AwsError, ConfigurationError, DeployError, NotFound, format_error
from deploytools.wording import count

POLL_SECONDS = 5.0
DONE = ("COMPLETE", "ACTIVE")
WAITING = ("PENDING", "IN_PROGRESS")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return the exit code: 0 no critical finding, 1 critical findings, 2 error."""
    parser = argparse.ArgumentParser("python -m deploytools.ecs.image_scan", description=__doc__)
    parser.add_argument("repository", metavar="REPOSITORY", help="name of the ECR repository")
    parser.add_argument("digest", metavar="DIGEST", help="digest of the image: sha256:…")
    parser.add_argument("--exceptions", type=Path, metavar="FILE", help="JSON file of accepted findings")
    parser.add_argument(
        "--wait", type=float, default=600, metavar="SECONDS", help="seconds to wait for the scan (default: 600)"
    )
    options = parser.parse_args(arguments)
    try:
        exceptions = read_exceptions(options.exceptions) if options.exceptions else {}
        found = critical_findings(options.repository, options.digest, seconds=options.wait)
    except DeployError as error:
        print(f"Error: {format_error(error)}", file=sys.stderr)
        return error.exit_code
    today = datetime.now(UTC).date()
    refused = [name for name in found if exceptions.get(name, date.min) < today]
    for name in found:
        until = f" (accepted until {exceptions[name]})" if name in exceptions else ""
        print(f"{'not accepted' if name in refused else 'accepted'}: {name} is critical{until}.")
    verdict = "FAILED" if refused else "OK"
    print(f"{verdict}: {count(len(found), 'critical finding')}, {len(refused)} of them not accepted.")
    return 1 if refused else 0


def read_exceptions(file: Path) -> Mapping[str, date]:
    """Return the last day on which each finding is accepted."""
    try:
        return {name: date.fromisoformat(day) for name, day in json.loads(file.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{file} is not a JSON object of findings and dates.", hint='For example: {"CVE-2023-45853": "2027-03-31"}'
        ) from error


def critical_findings(
    repository: str,
    digest: str,
    *,
    seconds: float,
    call: Callable[..., Response] = aws,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Wait for the scan of the image, and return the names of the critical findings.

    Raises:
        AwsError: the scan failed, is not supported for this image or did not complete in time.
    """
    words = (
        "ecr",
        "describe-image-scan-findings",
        "--repository-name",
        repository,
        "--image-id",
        f"imageDigest={digest}",
    )
    status, remaining = "not started", seconds
    while remaining > 0:
        try:
            response = call(*words)
            status = response.get("imageScanStatus", {}).get("status", "")
            if status in DONE:
                return _critical(response.get("imageScanFindings", {}))
            if status not in WAITING:
                break
        except (NotFound, Unavailable):
            pass  # The scan has not started, or AWS did not answer.
        sleep(POLL_SECONDS)
        remaining -= POLL_SECONDS
    raise AwsError(
        f"The scan of {repository}@{digest} did not complete: {status}.",
        hint="Enable scan on push for the repository, or enhanced scanning for the registry.",
    )


def _critical(findings: Response) -> list[str]:
    basic = {one["name"] for one in findings.get("findings", []) if one["severity"] == "CRITICAL"}
    enhanced = {
        one.get("packageVulnerabilityDetails", {}).get("vulnerabilityId") or one.get("title", "unnamed finding")
        for one in findings.get("enhancedFindings", [])
        if one["severity"] == "CRITICAL" and one.get("status", "ACTIVE") == "ACTIVE"
    }
    return sorted(basic | enhanced)


if __name__ == "__main__":
    sys.exit(main())
