"""A marker of tests that need more of AWS's API than the oldest supported boto3 has."""

from __future__ import annotations

import boto3
import pytest

IS_OLD = tuple(map(int, boto3.__version__.split(".")[:2])) < (1, 40)

needs_boto3_1_40 = pytest.mark.skipif(
    IS_OLD,
    reason="this boto3 has neither rds:DescribeDBMajorEngineVersions nor ECS's blue/green deployments",
)
