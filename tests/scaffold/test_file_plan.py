"""Which files are proposed: those whose content is new since they were written."""

from __future__ import annotations

import pytest

from deploytools.scaffold.file_plan import (
    FileChange,
    digest,
    format_record,
    parse_record,
    plan_files,
    select,
    update_record,
)

OLD, NEW, EDITED = "old\n", "new\n", "edited\n"


@pytest.mark.parametrize(
    ("wanted", "current", "recorded", "is_proposed"),
    [
        (NEW, None, None, True),  # A new file.
        (NEW, NEW, None, False),
        (NEW, EDITED, None, True),  # A file that another tool wrote.
        (NEW, OLD, OLD, True),  # The template changed.
        (NEW, EDITED, OLD, True),  # The template changed, and the project edited the file.
        (NEW, EDITED, NEW, False),  # Only the project edited the file.
        (NEW, None, NEW, False),  # The project deleted the file.
    ],
)
def test_plan(wanted, current, recorded, is_proposed):
    changes = plan_files({"a": wanted}, {"a": current} if current else {}, {"a": digest(recorded)} if recorded else {})
    assert [(change.path, change.before, change.after) for change in changes] == [("a", current, wanted)] * is_proposed


@pytest.mark.parametrize(
    ("only", "paths"),
    [
        ((), ["Dockerfile", "deploy/aws/a", "deployment"]),
        (("deploy",), ["deploy/aws/a"]),
        (("deploy/",), ["deploy/aws/a"]),
        (("Dockerfile", "deploy/aws/a"), ["Dockerfile", "deploy/aws/a"]),
    ],
)
def test_selection(only, paths):
    wanted = dict.fromkeys(["Dockerfile", "deploy/aws/a", "deployment"], NEW)
    assert list(select(wanted, only)) == paths


def test_the_record_has_what_was_written_and_what_is_equal():
    wanted, current = dict.fromkeys("abc", NEW), {"a": NEW, "b": EDITED}
    recorded = {"b": digest(OLD), "removed": digest(OLD)}
    assert update_record(recorded, wanted, current, [FileChange("c", None, NEW)]) == {
        "a": digest(NEW),
        "b": digest(OLD),
        "c": digest(NEW),
        "removed": digest(OLD),
    }


@pytest.mark.parametrize("text", ["", "[]", '{"files": 1}', "{"])
def test_a_record_that_is_not_one_is_empty(text):
    assert parse_record(text) == {}


def test_the_record_is_read_back():
    assert parse_record(format_record({"a": "b"}, "0.1.0")) == {"a": "b"}


def test_a_diff():
    assert FileChange("a", "one\ntwo\n", "one\nthree\n").diff().splitlines() == [
        "--- a", "+++ a", "@@ -1,2 +1,2 @@", " one", "-two", "+three",
    ]  # fmt: skip
