"""Kernels that start at once: a server imports the libraries of the pages, and every kernel is a fork of it.

    python sarlab_kernels.py serve SOCKET          # import, then fork a kernel for each request
    python sarlab_kernels.py ask SOCKET FILE …     # the command of the kernel: ask for one, and wait for its end

An import of the drawing libraries takes longer than most pages compute.
"""

import json
import os
import signal
import socket
import sys


def serve(path: str) -> None:
    """Fork kernels with everything imported; each keeps its connection open while it runs."""
    builder = os.getppid()  # the server ends with it
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as a kernel sets it, before the import
    import seaborn  # noqa: F401
    from ipykernel.kernelapp import IPKernelApp

    import sarlab.views.chart
    import sarlab.views.claims
    import sarlab.views.compare
    import sarlab.views.figures  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server.settimeout(2)
    while os.getppid() == builder:
        try:
            connection = server.accept()[0]
        except TimeoutError:
            continue
        connection.settimeout(None)
        request = json.loads(connection.makefile().readline())
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server.close()
            for stream in (1, 2):  # a kernel speaks through its sockets
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            os.environ.update(request["environment"])
            os.chdir(request["folder"])
            IPKernelApp.launch_instance(argv=request["arguments"])
            os._exit(0)
        connection.close()


def ask(path: str, file: str, *options: str) -> None:
    """Ask the server for a kernel with this connection file and options, and return when it has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    request = {"arguments": ["-f", file, *options], "folder": os.getcwd(), "environment": dict(os.environ)}
    connection.sendall(json.dumps(request).encode() + b"\n")
    connection.recv(1)


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
