"""The words that this project does not use, in any text or name that a person reads."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: Words that read as translated or as a riddle, and what to write instead.
FORBIDDEN = {
    r"mend(s|ed|ing)?": "fix",
    r"(no|some)body('s)?|whoever|whomever": "the actor's name, or the passive voice",
    r"anew": "again",
    r"bears?|borne": "has",
    r"lest": "so that … not",
    r"told|tells": "reported, reports",
    r"obituar(y|ies)|deeds?|craft": "crash report, operation, task",
    r"as it should be|as it must be|as they must be": "OK, or the state itself",
    r"which it cannot be": "has an invalid value",
    r"look(s|ed|ing)? at|looks? whether": "read, inspect, check",
    r"judg(e|es|ed|ing|ement)": "evaluate, check",
    r"pro(of|ofs|ve|ves|ved|ven|ving)": "verify, verification",
    r"shut(s|ting)? out|lets? (alone )?(in|into)|way in": "revoke access, grant access",
    r"hand(s|ed|ing)? (it |them )?over|change hands": "transfer ownership",
    r"half[- _]made": "incomplete",
    r"strangers?|foreigners?": "other role, unmanaged database",
    r"may not": "is not allowed to, or might not",
    r"come into being|of its own accord|in earnest|for ever|vantage|stray|moot|remarks?": "plain words",
    r"put right|taken back": "fix, rolled back",
    r"unproved|healing": "unverified, transient",
}
#: This file, and the operating system's user of that name.
ALLOWED_FILE, ALLOWED_TEXT = "tests/test_language.py", re.compile(r"``nobody``|\"nobody\"")
SUFFIXES = {".py", ".md", ".html", ".css", ".js", ".sh", ".toml", ".in", ".yaml", ".yml", ".sql", ".json", ""}
PATTERN = re.compile("|".join(f"(?<![A-Za-z])({words})(?![A-Za-z])" for words in FORBIDDEN), re.IGNORECASE)


def texts() -> list[str]:
    """The tracked files that people read."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    found = [name for name in listed if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]
    return [name for name in found if name != ALLOWED_FILE]


@pytest.mark.parametrize("name", texts())
def test_words(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [
        f"{name}:{number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in PATTERN.finditer(ALLOWED_TEXT.sub("", line).replace("_", " "))
    ]
    assert not found, "\n".join(found)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a source distribution has no list of tracked files")
def test_there_are_texts():
    assert len(texts()) > 300


#: Names of this repository's own project, which mean nothing in another one.
OWN_NAMES = re.compile(
    r"(?i:startup[ _-]?web[ _-]?app|django_app|multi-tenant/|mosaicmesh)"
    r"|\bDB_[A-Z]+|\b[A-Z]+_SECURITY_GROUPS=|\bDATABASE_NAME=\S+ python|\bAWS_REGION\b"
    r"|\b(scripts|docs|tests)/"
)
#: The variable of the AWS SDKs, which the local cloud sets and containers have.
ALLOWED_OWN_NAMES = {
    (f"deploytools/{name}.py", "AWS_REGION")
    for name in ("local/cloud_environment", "verification/ecs/checks", "verification/ecs/facts")
}


@pytest.mark.parametrize("name", [name for name in texts() if name.startswith("deploytools/")])
def test_the_package_names_nothing_of_this_project(name):
    found = {match.group() for match in OWN_NAMES.finditer((ROOT / name).read_text(encoding="utf-8"))}
    assert {word for word in found if (name, word) not in ALLOWED_OWN_NAMES} == set()
