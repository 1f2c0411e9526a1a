"""Public links: signed, each kind with its own salt, carrying an opaque id only (section 13)."""

from collections.abc import Sequence

from itsdangerous import BadData, URLSafeSerializer

_UNSUBSCRIBE = "unsubscribe"


class Links:
    """Makes and reads the addresses that stand in emails."""

    def __init__(self, base_url: str, secret_keys: Sequence[str]) -> None:
        """Sign with the last of the keys; what any of them has signed is read.

        Args:
            base_url: The public address, without a slash at its end.
            secret_keys: Oldest first; rotating adds one at the end.
        """
        if not secret_keys:
            raise ValueError("links need a key: set DRUMBEAT_SECRET_KEY")
        self._base_url = base_url
        self._unsubscribe = URLSafeSerializer(list(secret_keys), salt=_UNSUBSCRIBE)

    def unsubscribe_url(self, enrollment_id: str) -> str:
        """Where the person of an enrollment unsubscribes."""
        return f"{self._base_url}/u/{self._unsubscribe.dumps(enrollment_id)}"

    def read_unsubscribe(self, token: str) -> str | None:
        """The enrollment's id; None where the token was not made here, or was changed."""
        if not token.isascii():
            return None
        try:
            read = self._unsubscribe.loads(token)
        except BadData:  # also a payload that another version has signed
            return None
        return read if isinstance(read, str) else None
