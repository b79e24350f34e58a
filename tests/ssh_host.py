"""A host that is reached by ssh: this machine, through an sshd of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildhpc.run import calls
from buildhpc.run.calls import Place

SSHD = "/usr/sbin/sshd"


@dataclass(frozen=True)
class Host:
    """name: of the host. options: for ssh. folder: with its keys and its log."""

    name: str
    options: tuple[str, ...]
    folder: Path

    def logins(self) -> int:
        """How often somebody has logged in."""
        return (self.folder / "log").read_text().count("Accepted publickey")


@contextmanager
def ssh_host(folder: Path, variables: str = "") -> Iterator[Host]:
    """An sshd on a port of its own, with keys of its own; nothing of the system's is used.

    variables: `NAME=VALUE` of those who log in.
    """
    for name in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    if os.getuid() == 0:  # where sshd keeps nothing
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized", "PidFile": "none", "UsePAM": "no",
        "StrictModes": "no", "PermitRootLogin": "yes", "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no", "MaxSessions": 20,
    }  # fmt: skip
    settings |= {"SetEnv": variables} if variables else {}
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    words = [SSHD, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")]
    server = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    client = ("-F", "none", "-p", str(port), "-i", str(folder / "user"))
    known = (f"UserKnownHostsFile={folder}/known", "StrictHostKeyChecking=no", "IdentitiesOnly=yes")
    options = (*client, *(word for each in known for word in ("-o", each)))
    try:
        _await(port, server)
        yield Host("127.0.0.1", options, folder)
    finally:
        server.terminate()
        server.wait()


def disconnect(host: Host) -> None:
    """End the connection that is shared, and that would outlive the host."""
    words = [*calls._ssh(Place("here", host.name, host.options)), "-O", "exit", host.name]
    subprocess.run(words, stderr=subprocess.DEVNULL, check=False)


def _await(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert server.poll() is None, "sshd did not start"
            assert time.monotonic() < deadline_s, "sshd does not answer"
            time.sleep(0.05)
        else:
            return
