"""Files with credentials, and the prompt before a change."""

from __future__ import annotations

import io
import os

import pytest

from deploytools.errors import ConfigurationError, Refused, SecretNotJson
from deploytools.management.base import DeployCommand
from deploytools.management.private_files import read_document
from tests.management.terminal import Terminal


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_file_that_only_its_owner_can_read(tmp_path):
    assert list(read_document(write(tmp_path / "s.json", '{"a": 1}'))) == ["a"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o666])
def test_file_that_others_can_read_is_refused(tmp_path, mode):
    file = write(tmp_path / "s.json", '{"a": 1}', mode)
    with pytest.raises(Refused) as caught:
        read_document(file)
    assert (str(caught.value), caught.value.hint) == (
        f"{file} contains credentials, and other users can read it.",
        f"Run: chmod 600 {file}",
    )


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
    assert list(read_document("-")) == ["a"]


def test_mode_of_a_pipe_is_not_checked(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b'{"a": 1}')
    os.close(writing)
    assert list(read_document(f"/dev/fd/{reading}")) == ["a"]
    os.close(reading)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, ConfigurationError, "Cannot read {file}: No such file or directory."),
        (b"\xff\xfe", ConfigurationError, "Cannot read {file}: it is not UTF-8 text."),
        (b'{"a": hunter2}', SecretNotJson, "{file} is not valid JSON (line 1, column 7)."),
    ],
)
def test_file_that_is_not_a_document(tmp_path, content, error, message):
    path = tmp_path / "s.json"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(error) as caught:
        read_document(str(path))
    assert str(caught.value) == message.format(file=path)


@pytest.mark.parametrize("answer", ["y\n", "yes\n", " Y \n"])
def test_yes(monkeypatch, answer):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    DeployCommand().confirm("Go on?", interactive=True)


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yess\n"])
def test_any_other_answer_is_a_no(monkeypatch, answer):
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(Refused, match="Canceled"):
        DeployCommand().confirm("Go on?", interactive=True)


def test_no_terminal_is_a_no(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(Refused, match="stdin is not a terminal") as caught:
        DeployCommand().confirm("Go on?", interactive=True)
    assert caught.value.hint == "Check the plan with --plan, then run the command with --noinput."
