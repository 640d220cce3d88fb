"""Every fact of ours can be kept in a file and judged again; only what takes a secret's content is unknown then."""

from __future__ import annotations

import json
import typing

from deploytools.verification.facts import Value
from deploytools.verification.findings import Status
from deploytools.verification.runner import judge_all
from deploytools.verification.stored import Codec, known_types
from tests.verification.test_checks import FAULTS
from tests.verification.world import DOCUMENT, FACTS, OURS, REGISTRY

CODEC = Codec(known_types(typing.get_type_hints(source.read).get("return") for source in REGISTRY.sources.values()))


def test_the_good_world_is_judged_as_before():
    text = json.dumps({name: CODEC.encode(fact) for name, fact in FACTS.items()})
    assert not [value for key, value in DOCUMENT.items() if "password" in key and str(value) in text]
    kept = {name: CODEC.decode(fact) for name, fact in json.loads(text).items()}
    findings = judge_all(OURS, kept)
    unknown = {finding.check for finding in findings if finding.status is Status.UNKNOWN}
    assert {finding.status for finding in findings if finding.check not in unknown} == {Status.PASS}
    assert {check.split(".")[0] for check in unknown} <= {"secret", "connection"}
    assert "connection.connect" not in unknown


def test_every_fault_is_judged_as_before():
    """Facts of AWS, of the databases, of the project: what is kept of them decides as they did."""
    for fault in FAULTS:
        if "secret" in fault.changes:
            continue
        needed = [check for check in OURS if set(check.needs) & set(fault.changes) and "secret" not in check.needs]
        facts = {**FACTS, **{name: Value(value) for name, value in fault.changes.items()}}
        kept = {
            name: CODEC.decode(json.loads(json.dumps(CODEC.encode(facts[name])))) for c in needed for name in c.needs
        }
        assert judge_all(needed, kept) == judge_all(needed, facts)
