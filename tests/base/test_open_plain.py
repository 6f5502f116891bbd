"""`open_plain` opens regular files, and refuses everything else without waiting for it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gradinc.base.files import NotPlain, open_plain


def test_a_file_and_a_link_to_it_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_plain(tmp_path / name) as file:
            assert file.read() == b"content"


def test_a_pipe_without_a_writer_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotPlain, match="not a plain file"):
        open_plain(tmp_path / "pipe")


@pytest.mark.parametrize("path", ["/dev/zero", "/"])
def test_a_device_and_a_directory_are_refused(path: str) -> None:
    with pytest.raises(NotPlain, match="not a plain file"):
        open_plain(Path(path))


def test_a_socket_and_a_missing_file_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is at most some hundred bytes long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        for name in ("socket", "missing"):
            with pytest.raises(OSError) as caught:
                open_plain(Path(name))
            assert not isinstance(caught.value, NotPlain)


def test_nothing_stays_open_after_a_refusal() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(NotPlain):
            open_plain(Path("/dev/zero"))
    assert len(os.listdir("/proc/self/fd")) == before
