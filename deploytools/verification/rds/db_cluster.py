"""The DB cluster of an RDS instance: Aurora PostgreSQL, or a Multi-AZ DB cluster with two readable standbys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from deploytools import aws
from deploytools.errors import NotFound

if TYPE_CHECKING:
    from types_boto3_rds import RDSClient

#: The endpoint of a DB cluster: of the writer, or of the readers. The name of a custom one is not that of the cluster.
CLUSTER_ENDPOINT = re.compile(r"([a-z0-9-]+)\.cluster-(ro-)?[a-z0-9]+\.[a-z0-9-]+\.rds\.amazonaws\.com(\.cn)?")
CUSTOM_ENDPOINT = re.compile(r"[a-z0-9-]+\.cluster-custom-[a-z0-9]+\.[a-z0-9-]+\.rds\.amazonaws\.com(\.cn)?")

#: Members of the response about an instance that its cluster has instead.
OF_CLUSTER = (
    *("DeletionProtection", "BackupRetentionPeriod", "PreferredBackupWindow", "LatestRestorableTime"),
    *("StorageEncrypted", "MultiAZ", "CopyTagsToSnapshot", "EnabledCloudwatchLogsExports", "EngineLifecycleSupport"),
    *("MasterUserSecret", "TagList"),
)

#: Options of ``modify-db-instance`` that an instance of a cluster gets from ``modify-db-cluster``.
CLUSTER_OPTIONS = {
    *("--deletion-protection", "--backup-retention-period", "--preferred-backup-window", "--copy-tags-to-snapshot"),
    *("--cloudwatch-logs-export-configuration", "--engine-version", "--manage-master-user-password"),
}

#: More such options of a Multi-AZ DB cluster. Those of Aurora belong to each instance.
MULTI_AZ_OPTIONS = {"--auto-minor-version-upgrade", "--ca-certificate-identifier", "--monitoring-interval"}


def read_instance(client: RDSClient, name: str, region: str) -> dict[str, Any]:
    """Return the response about an instance, or about the writer of a cluster, with the members of its cluster.

    Raises:
        NotFound: there is neither.
    """
    try:
        item = read_member(client, name, region)
    except NotFound:
        cluster: Mapping[str, Any] = {}
        with suppress(NotFound):
            cluster = _cluster(client, name, region)
        writer = [member for member in cluster.get("DBClusterMembers", ()) if member.get("IsClusterWriter")]
        if not writer:
            raise
        return _with_cluster(read_member(client, writer[0]["DBInstanceIdentifier"], region), cluster)
    if name := item.get("DBClusterIdentifier", ""):
        return _with_cluster(item, _cluster(client, name, region))
    return item


def read_member(client: RDSClient, name: str, region: str) -> dict[str, Any]:
    """Return the response about one instance."""
    with aws.translate_aws_errors("rds:DescribeDBInstances", f"the RDS instance {name} in {region}"):
        found = client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
    if not found:
        raise NotFound(f"The RDS instance {name} does not exist.", hint="Check the identifier and the Region.")
    return dict(found[0])


def _cluster(client: RDSClient, name: str, region: str) -> Mapping[str, Any]:
    with aws.translate_aws_errors("rds:DescribeDBClusters", f"the DB cluster {name} in {region}"):
        found: Any = client.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"]
    if not found:
        raise NotFound(f"The DB cluster {name} does not exist.", hint="Check the identifier and the Region.")
    return dict(found[0])


def _with_cluster(item: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of an instance with those of its cluster. A member in `OF_CLUSTER` is only the cluster's."""
    members = {member["DBInstanceIdentifier"]: member for member in cluster.get("DBClusterMembers", ())}
    member = members.get(item["DBInstanceIdentifier"], {})
    group = {
        "DBParameterGroupName": cluster.get("DBClusterParameterGroup", ""),
        "ParameterApplyStatus": member.get("DBClusterParameterGroupStatus", ""),
    }
    return {
        **{key: value for key, value in item.items() if key not in OF_CLUSTER},
        **{key: cluster[key] for key in OF_CLUSTER if key in cluster},
        "DBParameterGroups": [group] if group["DBParameterGroupName"] else [],
        "InstanceParameterGroups": item.get("DBParameterGroups", ()),
        "ClusterPendingModifiedValues": cluster.get("PendingModifiedValues", {}),
        "InstanceCreateTime": cluster.get("ClusterCreateTime"),
        "DBClusterArn": cluster.get("DBClusterArn", ""),
        "ClusterEndpoint": cluster.get("Endpoint", ""),
        "OtherEndpoints": (cluster.get("ReaderEndpoint", ""), *cluster.get("CustomEndpoints", ())),
        "Others": tuple(name for name in members if name != item["DBInstanceIdentifier"]),
    }
