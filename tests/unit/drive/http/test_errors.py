"""Why a connection was not opened: the target, its name, or this machine."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path

import pytest

from loadtest.drive.http.errors import ConnectError, connect_error
from loadtest.errors import recording_error
from loadtest.record.sample import ErrorKind, certainly_refused

CASES = [
    (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), ErrorKind.LOCAL_RESOURCES, "ulimit -n"),
    (OSError(errno.ENFILE, os.strerror(errno.ENFILE)), ErrorKind.LOCAL_RESOURCES, "fs.file-max"),
    (OSError(errno.EADDRNOTAVAIL, "Cannot assign"), ErrorKind.LOCAL_RESOURCES, "ip_local_port_range"),
    (OSError(errno.ENOMEM, "Cannot allocate"), ErrorKind.LOCAL_RESOURCES, "short of memory"),
    (OSError(errno.ENOBUFS, "No buffer"), ErrorKind.LOCAL_RESOURCES, "short of memory"),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), ErrorKind.LOCAL_RESOURCES, "name server"),
    (socket.gaierror(socket.EAI_SYSTEM, "System error"), ErrorKind.LOCAL_RESOURCES, "name server"),
    (socket.gaierror(socket.EAI_NONAME, "not known"), ErrorKind.DNS_ERROR, "not known"),
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ErrorKind.CONNECT_ERROR, "refused"),
    (OSError(errno.EHOSTUNREACH, "No route"), ErrorKind.CONNECT_ERROR, "No route"),
    (ssl.SSLError(1, "handshake"), ErrorKind.TLS_ERROR, "handshake"),
]


@pytest.mark.parametrize(("error", "kind", "said"), CASES)
def test_kind_tells_this_machine_from_the_target(error: OSError, kind: ErrorKind, said: str) -> None:
    found = connect_error(error)
    assert found.kind is kind
    assert said in str(found)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_only_a_full_disk_needs_space(number: int) -> None:
    text = str(recording_error(Path("x"), OSError(number, "any")))
    assert text.startswith(f"x: cannot be written: {os.strerror(number)}")
    assert ("free some space" in text) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_without_a_connection_no_submission_can_have_been_accepted() -> None:
    kinds, never_sent = [ConnectError], set()
    while kinds:
        kind = kinds.pop()
        never_sent.add(kind.kind)
        kinds += kind.__subclasses__()
    assert {kind for kind in ErrorKind if certainly_refused(kind, None)} == never_sent
