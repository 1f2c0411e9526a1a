"""A throw-away Dovecot: a real IMAP server on folders and ports of its own, no service."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import imapclient  # type: ignore[import-untyped]  # it comes without types
import pytest
import trustme

from drumbeat.reps import Mailbox, Server, Tls
from tests.ports import free_port

USER = "grace@example.com"
PASSWORD = 'an "example" pässword\\'
"""With everything that a client may quote wrongly."""

_MASTER = shutil.which("dovecot") or "/usr/sbin/dovecot"

_CONFIGURATION = """
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
first_valid_uid = 1
first_valid_gid = 1
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
ssl = {ssl}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
mail_location = maildir:~/Maildir
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
  {folders}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""

SENT = "Gesendet"
"""The user's Sent folder, whose name says nothing to a program: it is marked as what it is."""

SPECIAL_USE = f"mailbox {SENT} {{\n    special_use = \\Sent\n    auto = create\n  }}"


def missing() -> str | None:
    """Why no Dovecot can be started here; None: it can."""
    if os.access(_MASTER, os.X_OK) and Path("/usr/lib/dovecot/imap").exists():
        return None
    return "Dovecot is missing: `apt-get install dovecot-imapd`, or `scripts/test-packages`"


def need() -> None:
    """Skip the test where there is no Dovecot; in continuous integration that fails."""
    why = missing()
    if why is not None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running server with one user."""

    port: int
    """Plain text, and TLS after STARTTLS where there is a certificate."""
    tls_port: int
    """TLS from the first byte, where there is a certificate."""
    folder: Path

    def mailbox(self, tls: Tls = Tls.NONE, **changes: Any) -> Mailbox:
        """A rep's mailbox that is read here; the test sets GRACE_PASSWORD."""
        port = self.tls_port if tls is Tls.IMPLICIT else self.port
        details: dict[str, Any] = {
            "address": USER,
            "smtp": Server("127.0.0.1", 1, Tls.NONE),
            "imap": Server("127.0.0.1", port, tls, USER),
            "password_env": "GRACE_PASSWORD",
            "batch": None,
            "daily": None,
        }
        return Mailbox(**(details | changes))

    @contextmanager
    def client(self) -> Iterator[imapclient.IMAPClient]:
        """The user's own mail program."""
        with imapclient.IMAPClient("127.0.0.1", self.port, ssl=False, timeout=10) as client:
            client.normalise_times = False
            client.plain_login(USER, PASSWORD)
            yield client

    def append(self, folder: str, content: bytes, at: datetime | None = None) -> None:
        """Put an email into a folder, which is made where there is none."""
        with self.client() as client:
            if not client.folder_exists(folder):
                client.create_folder(folder)
            client.append(folder, content, msg_time=at)

    def delete(self, folder: str) -> None:
        """Remove a folder and the emails in it."""
        with self.client() as client:
            client.delete_folder(folder)

    @property
    def log(self) -> str:
        """What the server has written down."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def flags(self, folder: str) -> list[tuple[bytes, ...]]:
        """The flags of a folder's emails, in order."""
        with self.client() as client:
            client.select_folder(folder, readonly=True)
            found = client.fetch(client.search(), ["FLAGS"])
        return [found[uid][b"FLAGS"] for uid in sorted(found)]


@contextmanager
def running_dovecot(
    certificate: trustme.LeafCert | None = None,
    *,
    folders: str = SPECIAL_USE,
    separator: str = "/",
    prefix: str = "",
) -> Iterator[Dovecot]:
    """Start a Dovecot and remove it without a trace at the end.

    Args:
        certificate: What it shows; None: it knows no TLS.
        folders: The configuration of folders inside the user's namespace.
        separator: Between the names of folders.
        prefix: Before the name of every folder but INBOX.
    """
    folder = Path(tempfile.mkdtemp(prefix="drumbeat-dovecot-"))
    is_root = os.geteuid() == 0
    # Dovecot keeps mails as root for nobody; as another user it can only be that user.
    me = pwd.getpwuid(os.geteuid())
    owner = pwd.getpwnam("mail") if is_root else me
    port, tls_port = free_port(), free_port() if certificate else 0
    text = _CONFIGURATION.format(
        folder=folder,
        folders=folders,
        separator=separator,
        prefix=prefix,
        port=port,
        tls_port=tls_port,
        ssl="yes" if certificate else "no",
        uid=owner.pw_uid,
        gid=owner.pw_gid,
        internal="dovecot" if is_root else me.pw_name,
        internal_group="dovecot" if is_root else _group(me.pw_gid),
        login="dovenull" if is_root else me.pw_name,
    )
    try:
        folder.chmod(0o755)  # the processes that serve a user run as that user
        (folder / "mail").mkdir()
        os.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
        (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n", encoding="utf-8")
        if certificate:
            pems = (certificate.private_key_pem, *certificate.cert_chain_pems)
            (folder / "tls.pem").write_bytes(b"".join(pem.bytes() for pem in pems))
            text += f"ssl_cert = <{folder}/tls.pem\nssl_key = <{folder}/tls.pem\n"
        (folder / "dovecot.conf").write_text(text, encoding="utf-8")
        process = subprocess.Popen(
            [_MASTER, "-F", "-c", str(folder / "dovecot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _wait_until_greeted(port, process, folder / "log")
            yield Dovecot(port, tls_port, folder)
        finally:
            process.terminate()
            process.communicate(timeout=20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_greeted(port: int, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                if connection.recv(200).startswith(b"* OK"):
                    return
        except OSError:
            pass  # not up yet: asked again below, until the deadline
        if process.poll() is not None or time.monotonic() > deadline:
            said = process.stderr.read() if process.poll() is not None and process.stderr else ""
            logged = log.read_text(errors="replace") if log.exists() else ""
            raise RuntimeError(f"Dovecot did not start: {said}{logged}")
        time.sleep(0.05)


def _group(gid: int) -> str:
    import grp  # only where the tests are not root's

    return grp.getgrgid(gid).gr_name
