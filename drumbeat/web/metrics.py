"""The worker's own small address for ops: `/metrics` for Prometheus, and `/health`."""

import threading
from collections.abc import Callable, Iterable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app

from drumbeat.web.starting import StartRefused


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: it is asked every few seconds."""


def serve_metrics(host: str, port: int, trouble: Callable[[], str | None]) -> WSGIServer:
    """Serve from a thread of its own, until `shutdown`.

    Args:
        host: The address to listen at.
        port: Its port.
        trouble: Says why the worker is not healthy; None: it is.

    Raises:
        StartRefused: The port is taken.
    """
    metrics = make_wsgi_app()

    def application(environment: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environment["PATH_INFO"] == "/health":
            reason = trouble()
            start("200 OK" if reason is None else "503 Service Unavailable", _PLAIN)
            return [f"{reason or 'ok'}\n".encode()]
        if environment["PATH_INFO"] == "/metrics":
            page: Iterable[bytes] = metrics(environment, start)
            return page
        start("404 Not Found", _PLAIN)
        return [b"/metrics or /health\n"]

    try:
        server = make_server(host, port, application, handler_class=_Quiet)
    except OSError as error:
        raise StartRefused(
            f"port {port} for metrics cannot be used ({error.strerror}): set DRUMBEAT_METRICS_PORT"
        ) from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]
