"""CloudWatch log groups."""

from __future__ import annotations

from collections.abc import Iterable

from deploytools import aws


def read_log_groups(names: Iterable[str], region: str) -> dict[str, int | None]:
    """Return the log groups of these names that exist, with the days for which they keep events; None: forever."""
    pages = aws.client("logs", region).get_paginator("describe_log_groups")
    found: dict[str, int | None] = {}
    for name in sorted(set(names)):
        with aws.translate_aws_errors("logs:DescribeLogGroups", f"the log group {name}"):
            groups = pages.paginate(logGroupNamePrefix=name).build_full_result()["logGroups"]
        exact = [group for group in groups if group.get("logGroupName") == name]
        found |= {name: exact[0].get("retentionInDays")} if exact else {}
    return found
