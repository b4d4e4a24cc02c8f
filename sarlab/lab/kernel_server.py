"""A process that imports what notebooks need and forks a kernel for each that asks; see `sarlab.lab.kernels`.

``python -m sarlab.lab.kernel_server LISTENER MODULE…``, where LISTENER is the number of an open Unix socket. It ends with
its standard input, and its kernels, which watch their parent, end with it. When a client goes away, its kernel is killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import warnings
from typing import Any

#: Largest request in bytes: arguments and environment variables.
MOST_BYTES = 1 << 20


def main() -> None:
    """Import, then serve; in a fork, be the kernel."""
    # Both are read at import: kernels watch this process, and draw into their page.
    os.environ["JPY_PARENT_PID"] = str(os.getpid())
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    # "-m" put the folder at hand first; a kernel adds it itself
    sys.path[:1] = [] if sys.path[0] == os.getcwd() else sys.path[:1]
    for name in ("ipykernel.kernelapp", *sys.argv[2:]):
        # What cannot be imported is met again, and told, by the notebook that needs it.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    if request is not None:
        sys.argv = ["ipykernel_launcher", *request["arguments"]]
        importlib.import_module("ipykernel.kernelapp").launch_new_instance()


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Fork a kernel for each client until standard input ends.

    Returns
    -------
    dict or None
        In a fork: the request that it is to serve. In the server: None.
    """
    wake, waker = socket.socketpair()
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    # Python says so of every fork beside threads; those of OpenBLAS and jemalloc are prepared for it.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    looking = selectors.DefaultSelector()
    for source in (sys.stdin, wake, listener):
        looking.register(source, selectors.EVENT_READ)
    clients: dict[int, socket.socket] = {}
    while True:
        for key, _ in looking.select():
            if key.fileobj is sys.stdin:
                signal.set_wakeup_fd(-1)
                return None
            if key.fileobj is wake:
                wake.recv(4096)
                for process, status in ended():
                    tell(clients, process, status, looking)
            elif key.fileobj is listener:
                client, _ = listener.accept()
                looking.register(client, selectors.EVENT_READ, data=client)
            elif (client := key.data) in clients.values():
                # It says nothing more: it has gone, and its kernel goes with it.
                process = next(number for number, other in clients.items() if other is client)
                looking.unregister(client)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            else:
                data, streams, *_ = socket.recv_fds(client, MOST_BYTES, 3)
                if len(streams) != 3:
                    looking.unregister(client)
                    client.close()
                    continue
                process = os.fork()
                if not process:
                    for other in (listener, wake, waker, client, *clients.values()):
                        other.close()
                    looking.close()
                    return become(json.loads(data), streams)
                for stream in streams:
                    os.close(stream)
                clients[process] = client
                client.send(str(process).encode())


def ended() -> list[tuple[int, int]]:
    """Forks that have ended since the last call: process, and exit status or minus the signal."""
    found: list[tuple[int, int]] = []
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not process:
            return found
        found.append((process, os.waitstatus_to_exitcode(status)))


def tell(clients: dict[int, socket.socket], process: int, status: int, looking: selectors.BaseSelector) -> None:
    """Tell a client how its kernel has ended."""
    client = clients.pop(process)
    with contextlib.suppress(KeyError):
        looking.unregister(client)
    with contextlib.suppress(OSError):
        client.send(str(status).encode())
    client.close()


def become(request: dict[str, Any], streams: list[int]) -> dict[str, Any]:
    """Give this fork the session, streams, variables and folder of the client."""
    server = os.environ["JPY_PARENT_PID"]
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"], JPY_PARENT_PID=server)
    with contextlib.suppress(OSError):
        os.chdir(request["folder"])
    return request


if __name__ == "__main__":
    main()
