"""Free ports of this machine, for servers that tests start."""

import random
import socket

_FIRST, _LAST = 12_000, 32_000
"""Below the range from which the system takes the ports of outgoing connections: a port that is
free now stays free until the server that gets it is up."""


def free_port() -> int:
    """A port on which nothing listens on 127.0.0.1."""
    while True:
        port = random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
