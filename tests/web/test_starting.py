import secrets
import socket
from collections.abc import Callable

import pytest

from drumbeat.settings import Settings
from drumbeat.web.starting import StartRefused, listening_socket, refuse_unsafe

GOOD = "f3b6c1d97e204a58b0c9d2e1a7f65348"
HTTPS = "https://beat.example.com"


def settings(key: str = GOOD, base_url: str = HTTPS) -> Settings:
    return Settings(secret_key=key, base_url=base_url)


@pytest.mark.parametrize("make", [lambda: GOOD, secrets.token_hex, secrets.token_urlsafe])
def test_random_keys_behind_https_are_safe(make: Callable[[], str]) -> None:
    refuse_unsafe(settings(make()), {})


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "is not set"),
        (" , ", "is not set"),
        ("short", "too short: 5 characters, at least 32"),
        (GOOD[:31], "too short"),
        ("x" * 64, "placeholder"),
        ("changeme" * 8, "placeholder"),
        (f"short,{GOOD}", "too short"),
        (f"{GOOD},{'0' * 32}", "placeholder"),
    ],
)
def test_missing_short_and_default_keys_are_refused(key: str, words: str) -> None:
    with pytest.raises(StartRefused, match=words) as raised:
        refuse_unsafe(settings(key), {})
    assert "DRUMBEAT_SECRET_KEY" in str(raised.value)
    assert GOOD not in str(raised.value)


@pytest.mark.parametrize("url", ["", "http://beat.example.com", "beat.example.com", "https://"])
def test_a_public_address_that_is_no_https_is_refused(url: str) -> None:
    with pytest.raises(StartRefused, match=r"DRUMBEAT_BASE_URL .* https://"):
        refuse_unsafe(settings(base_url=url), {})


def test_up_may_use_any_key_and_plain_http_but_not_no_key() -> None:
    refuse_unsafe(settings("k", "http://127.0.0.1:8080"), {"DRUMBEAT_UP": "1"})
    with pytest.raises(StartRefused):
        refuse_unsafe(settings(""), {"DRUMBEAT_UP": "1"})


def test_the_socket_listens_where_it_is_asked_to() -> None:
    with listening_socket("127.0.0.1", 0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
        with socket.create_connection(listening.getsockname()):
            answering, _ = listening.accept()
            with answering:
                # An answer's second packet does not wait for the first one's acknowledgement.
                assert answering.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "x" * 70])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(StartRefused, match="--host and --port"):
        listening_socket(host, 8080)
