"""Stand in for a kernel that a warm server forks: what Jupyter starts, signals and watches. Standard library only.

Run as a file: ``kernel_client.py SOCKET ARGUMENTS…``; see `sarlab.lab.kernels`.
"""

import contextlib
import json
import os
import signal
import socket
import sys


def main() -> None:
    """Ask for a kernel, pass signals on to it, and end as it ends; without a server become an ordinary kernel."""
    path, *arguments = sys.argv[1:]
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = {"arguments": arguments, "environment": dict(os.environ), "folder": os.getcwd()}
    try:
        server.connect(path)
        socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
        process = int(server.recv(64))
    except (OSError, ValueError):
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *arguments])

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    status = int(server.recv(64) or b"1")
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(abs(status))


if __name__ == "__main__":
    main()
