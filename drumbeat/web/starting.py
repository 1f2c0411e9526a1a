"""What the web application refuses to start with (SPEC section 13)."""

import errno
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import ValidationError

from drumbeat.settings import Settings

SHORTEST_KEY = 32
"""Characters."""
FEWEST_DIFFERENT = 8
"""Characters: `x` written 32 times, or `changeme` four times, is a placeholder and no secret."""

UNDER_UP = "DRUMBEAT_UP"
"""The variable that `up` sets for its parts to 1: everything stays on this machine."""


class StartRefused(Exception):
    """It cannot start; the text is one line that says why, and what would help."""


def read_settings() -> Settings:
    """The settings, from the environment or `.env`.

    Raises:
        StartRefused: One of them cannot be used; it is named as it is set.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise StartRefused(f"DRUMBEAT_{name}: {first['msg']}") from None


def refuse_unsafe(settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse settings with which public links could be forged or read on their way.

    Under `up`, which binds to 127.0.0.1, a plain-http address is allowed and any key will do.

    Raises:
        StartRefused: It names the setting and says what would be right.
    """
    keys = settings.secret_keys
    if not keys:
        raise StartRefused(
            "DRUMBEAT_SECRET_KEY is not set: it signs public links; "
            f"set at least {SHORTEST_KEY} random characters, as from `openssl rand -hex 32`"
        )
    if environment.get(UNDER_UP) == "1":
        return
    for key in keys:
        if len(key) < SHORTEST_KEY:
            raise StartRefused(
                f"DRUMBEAT_SECRET_KEY is too short: {len(key)} characters, at least "
                f"{SHORTEST_KEY} are wanted, as from `openssl rand -hex 32`"
            )
        if len(set(key)) <= FEWEST_DIFFERENT:
            raise StartRefused(
                "DRUMBEAT_SECRET_KEY is a placeholder: set a random one, as from "
                "`openssl rand -hex 32`"
            )
    url = urlsplit(settings.public_url)
    if url.scheme != "https" or not url.hostname:
        raise StartRefused(
            f"DRUMBEAT_BASE_URL is {settings.base_url or 'not set'}: it must be the public address "
            "of the Command Center and begin with https://"
        )


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at an address of this machine.

    Raises:
        StartRefused: The port is taken, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        taken = (
            f"port {port} is taken"
            if error.errno == errno.EADDRINUSE
            else f"{host}:{port}: {error.strerror}"
        )
        raise StartRefused(f"{taken}: set DRUMBEAT_WEB_PORT, or --host and --port") from error
    except (UnicodeError, OverflowError) as error:
        raise StartRefused(
            f"{host}:{port} is no address to listen at: set --host and --port"
        ) from error
    listening.setblocking(False)
    # Every connection gets it from here; without, an answer of two packets waits 40 ms for the
    # browser's acknowledgement of the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
