"""Every setting, from the environment or `.env`, in one place (SPEC section 12)."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Drumbeat's settings. Temporal's own are read by its tools, see `drumbeat.temporal.client`."""

    model_config = SettingsConfigDict(
        env_prefix="DRUMBEAT_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = Path("var")
    """Where everything that is written on a developer's machine lies."""
    database_url: str = ""
    """A SQLAlchemy URL; empty: SQLite in `home`."""
    reps: Path = Path("reps.yaml")
    """The file of reps and mailboxes."""
    base_url: str = ""
    """The public address of the Command Center; empty: http://127.0.0.1:WEB_PORT."""
    tracking_url: str = ""
    """The public address of tracking links; empty: the base URL."""
    secret_key: str = ""
    """Signs public links; several may stand there, newest last, parted by commas."""
    web_port: int = Field(8080, ge=1, le=65535)
    temporal_port: int = Field(7233, ge=1, le=65535)
    temporal_ui_port: int = Field(8233, ge=1, le=65535)
    smtp_port: int = Field(2525, ge=1, le=65535)
    local_smtp: str = ""
    """The mail server of mailboxes without one: `up` sets smtp://127.0.0.1:PORT; empty: none."""
    worker_cache: int = Field(2000, ge=0)
    """Workflows that a worker keeps in memory; fewer than are due together costs a factor of 3."""
    worker_slots: int = Field(100, ge=1)
    """Activities that a worker runs at once; most of the time they wait for mail servers."""
    worker_threads: int = Field(2, ge=1)
    """In which a worker runs workflows: as many as cores, for they only compute."""
    task_queue: str = "drumbeat"
    metrics_port: int = Field(0, ge=0, le=65535)
    """Where a worker serves `/metrics` and `/health`; 0: nowhere."""
    metrics_host: str = "127.0.0.1"
    log_format: Literal["text", "json"] = "text"

    @property
    def database(self) -> str:
        """The database's URL, the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'drumbeat.db'}"

    @property
    def public_url(self) -> str:
        """The Command Center's public address, without a slash at its end."""
        return (self.base_url or f"http://127.0.0.1:{self.web_port}").rstrip("/")

    @property
    def secret_keys(self) -> list[str]:
        """The signing keys, oldest first; the last one signs, all are read."""
        return [key for part in self.secret_key.split(",") if (key := part.strip())]
