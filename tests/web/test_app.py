import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from httpx2 import ASGITransport, AsyncClient, Response

from activities.letters import Letters
from drumbeat.mail.links import Links
from drumbeat.mail.rendering import Renderer
from drumbeat.reps import Reps
from drumbeat.store.engine import Store, migrate, open_store
from drumbeat.store.schema import outbox, suppressions
from drumbeat.web.app import LONGEST_REASON, create_app
from drumbeat.web.guarding import HEADERS, LARGEST_BODY
from drumbeat.web.limiting import FailureLimit
from drumbeat.web.site import Site
from tests.postgres import Cluster
from tests.web.rows import all_rows, enrolled
from tests.web.site import no_temporal

BASE = "https://beat.example.com"
LINKS = Links(BASE, ["an-example-secret-key-0123456789abcdef"])
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
PART = b'--x\r\nContent-Disposition: form-data; name="reason"%b\r\n\r\n'
CSP = "content-security-policy"
UNKNOWN = "/u/not-a-token"


def at(store: Store, *, failures: FailureLimit | None = None, of: str = "192.0.2.7") -> AsyncClient:
    """A client without cookies at an address."""
    reps = Reps((), b"")
    site = Site(store, LINKS, reps, Letters(Renderer(), LINKS, reps), no_temporal)
    app = create_app(site, failures=failures)
    return AsyncClient(transport=ASGITransport(app, client=(of, 1234)), base_url=BASE)


def path_of(enrollment_id: str) -> str:
    return LINKS.unsubscribe_url(enrollment_id).removeprefix(BASE)


async def suppressed(store: Store) -> list[object]:
    return [row["value"] for row in await all_rows(store, suppressions)]


async def test_looking_at_the_link_shows_a_button_and_changes_nothing(store: Store) -> None:
    path = path_of(await enrolled(store))
    async with at(store) as client:
        page = await client.get(path)
        head = await client.head(path)
    assert (page.status_code, head.status_code) == (200, 200)
    assert '<form method="post">' in page.text
    assert "Unsubscribe</button>" in page.text
    assert "ada" not in page.text
    assert await suppressed(store) == []


async def test_the_button_unsubscribes_with_the_reason_that_was_given(store: Store) -> None:
    enrollment_id = await enrolled(store)
    async with at(store) as client:
        page = await client.post(path_of(enrollment_id), data={"reason": " too many,\r\nreally "})
    assert page.status_code == 200
    assert "You are unsubscribed" in page.text
    [row] = await all_rows(store, suppressions)
    assert (row["value"], row["reason"]) == ("ada@example.org", "too many, really")
    assert [row["kind"] for row in await all_rows(store, outbox)] == ["unsubscribed"]


@pytest.mark.parametrize("how", ["urlencoded", "multipart"])
async def test_a_mail_programs_one_click_is_answered_plainly(store: Store, how: str) -> None:
    path = path_of(await enrolled(store))
    fields = [(name, (None, value)) for name, value in ONE_CLICK.items()]
    async with at(store) as client:
        if how == "multipart":
            answer = await client.post(path, files=fields)
        else:
            answer = await client.post(path, data=ONE_CLICK)
    assert (answer.status_code, answer.history) == (200, [])
    assert answer.headers["content-type"].startswith("text/plain")
    assert await suppressed(store) == ["ada@example.org"]


async def test_unsubscribing_twice_is_answered_alike_and_noted_once(store: Store) -> None:
    path = path_of(await enrolled(store))
    async with at(store) as client:
        answers = [await client.post(path, data=ONE_CLICK) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].text == answers[1].text
    assert len(await all_rows(store, outbox)) == 1


async def test_neither_cookie_nor_origin_is_asked_for_or_set(store: Store) -> None:
    path = path_of(await enrolled(store))
    foreign = {"Origin": "https://mail.example.net", "Sec-Fetch-Site": "cross-site"}
    async with at(store) as client:
        page = await client.get(path)
        answer = await client.post(path, data=ONE_CLICK, headers=foreign)
    assert answer.status_code == 200
    assert "set-cookie" not in page.headers
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", None),
        (b'{"reason": 1}', "application/json"),
        (b"not a form", "multipart/form-data"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
        (b"&".join([b"a=1"] * 50), "application/x-www-form-urlencoded"),
        (b"reason=%00%ff%0d%0aBcc:%20x", "application/x-www-form-urlencoded"),
        (b"reason=" + b"x" * 5000, "application/x-www-form-urlencoded"),
        (
            PART % b"" + b"\\ud800 \\x00\r\n--x--\r\n",
            "multipart/form-data; boundary=x; charset=unicode_escape",
        ),
        (
            PART % b"" + b"\xff\r\n--x--\r\n",
            "multipart/form-data; boundary=x; charset=hex",
        ),
        (
            PART % b'; filename="a"' + b"a file\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
    ],
)
async def test_the_token_alone_decides_whatever_the_body(
    store: Store, body: bytes, content_type: str | None
) -> None:
    path = path_of(await enrolled(store))
    headers = {"Content-Type": content_type} if content_type else {}
    async with at(store) as client:
        answer = await client.post(path, content=body, headers=headers)
    assert answer.status_code == 200
    [row] = await all_rows(store, suppressions)
    reason = str(row["reason"] or "")
    assert len(reason) <= LONGEST_REASON
    assert not any(ord(character) < 32 for character in reason)


async def test_a_body_that_is_too_large_is_refused_before_and_while_it_is_read(
    sqlite_store: Store,
) -> None:
    path = path_of(await enrolled(sqlite_store))
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * (LARGEST_BODY // 10)

    async with at(sqlite_store) as client:
        announced = await client.post(path, content=b"x" * (LARGEST_BODY + 1), headers=form)
        counted = await client.post(path, content=unannounced(), headers=form)
    assert (announced.status_code, counted.status_code) == (413, 413)
    assert announced.headers[CSP] == counted.headers[CSP]
    assert await suppressed(sqlite_store) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        UNKNOWN,
        "/u/IjAi.",
        "/u/%00",
        "/u/%0d%0aSet-Cookie:%20a=b",
        "/u/%c3%a9",
        "/u/%ff",
        "/u/" + "a" * 5000,
        path_of("fedcba9876543210"),  # well signed, but nobody's
    ],
)
async def test_an_unknown_token_gets_a_neutral_page(
    sqlite_store: Store, method: str, path: str
) -> None:
    async with at(sqlite_store) as client:
        answer = await client.request(method, path)
        other = await client.request(method, "/u/another")
    assert answer.status_code == 404
    assert answer.content == other.content
    assert "set-cookie" not in answer.headers


async def test_a_token_of_another_key_unsubscribes_nobody(store: Store) -> None:
    enrollment_id = await enrolled(store)
    foreign = Links(BASE, ["another-secret-key-0123456789abcdef"])
    async with at(store) as client:
        url = foreign.unsubscribe_url(enrollment_id)
        assert (await client.post(url, data=ONE_CLICK)).status_code == 404
    assert await suppressed(store) == []


async def test_who_tries_too_many_unknown_tokens_is_told_to_wait(sqlite_store: Store) -> None:
    limit = FailureLimit(most=3, span=timedelta(minutes=1))
    async with at(sqlite_store, failures=limit) as client:
        answers = [await client.get(UNKNOWN) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert answers[-1].headers["retry-after"] == "60"
    async with at(sqlite_store, failures=limit, of="192.0.2.8") as other:
        assert (await other.get(UNKNOWN)).status_code == 404


async def test_one_households_ipv6_addresses_count_as_one(sqlite_store: Store) -> None:
    limit = FailureLimit(most=1)
    statuses = []
    for last in range(3):
        async with at(sqlite_store, failures=limit, of=f"2001:db8::{last}") as client:
            statuses.append((await client.get(UNKNOWN)).status_code)
    assert statuses == [404, 429, 429]


async def test_a_good_token_is_read_even_from_an_address_that_tried_too_many(
    sqlite_store: Store,
) -> None:
    path = path_of(await enrolled(sqlite_store))
    async with at(sqlite_store, failures=FailureLimit(most=0)) as client:
        assert (await client.get(UNKNOWN)).status_code == 429
        assert (await client.post(path, data=ONE_CLICK)).status_code == 200
    assert await suppressed(sqlite_store) == ["ada@example.org"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/health"),
        ("GET", UNKNOWN),
        ("PUT", UNKNOWN),
        ("GET", "/static/site.css"),
        ("GET", "/static/../app.py"),
        ("GET", "/docs"),
        ("POST", "/"),
    ],
)
async def test_every_answer_has_the_security_headers(
    sqlite_store: Store, method: str, path: str
) -> None:
    async with at(sqlite_store) as client:
        answer = await client.request(method, path)
    sent = {name: answer.headers.get(name) for name in HEADERS}
    assert sent == HEADERS
    assert "default-src 'self'" in answer.headers[CSP]
    assert "unsafe" not in answer.headers[CSP]
    cached = answer.status_code == 200 and path.startswith("/static/")
    assert ("no-store" not in answer.headers["cache-control"]) == cached


async def test_what_a_page_needs_is_kept_by_its_content_and_sent_compressed(
    sqlite_store: Store,
) -> None:
    async with at(sqlite_store) as client:
        page = await client.get("/u/unknown")
        [styles] = re.findall(r'href="(/static/site.css[^"]*)"', page.text)
        named = await client.get(styles)
        plain = await client.get("/static/site.css", headers={"Accept-Encoding": "identity"})
    assert "immutable" in named.headers["cache-control"]
    assert "immutable" not in plain.headers["cache-control"]
    assert named.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert named.text == plain.text


async def test_no_page_holds_inline_script_or_style_or_leaves_the_site(store: Store) -> None:
    path = path_of(await enrolled(store))
    async with at(store) as client:
        pages = [await client.get(url) for url in ("/", path, UNKNOWN)]
        pages.append(await client.post(path))
        pages.append(await client.get("/static/mark.svg"))
    for page in pages:
        text = page.text.lower()
        assert "<script" not in text
        assert "<style" not in text
        assert " style=" not in text
        assert "javascript:" not in text
        for address in ("http://", "https://", 'src="//', 'href="//'):
            assert address not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/u/x", 405),
        ("POST", "/health", 405),
        ("GET", "/nothing", 404),
        ("GET", "/u/", 404),
        ("GET", "/u/x/", 404),
        ("GET", "/static", 404),
        ("GET", "/openapi.json", 404),
    ],
)
async def test_what_is_not_there_is_never_a_redirect(
    sqlite_store: Store, method: str, path: str, status: int
) -> None:
    async with at(sqlite_store) as client:
        answer = await client.request(method, path, headers={"Host": "evil.example"})
    assert answer.status_code == status
    assert "evil" not in str(answer.headers) + answer.text


async def test_the_health_address_says_that_the_database_answers(store: Store) -> None:
    async with at(store) as client:
        answer = await client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@asynccontextmanager
async def store_that_lost_its_database(cluster: Cluster) -> AsyncIterator[Store]:
    name = cluster.create_database("lost")
    url = cluster.url(name)
    await migrate(url)
    store = await open_store(url)
    try:
        with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())
        yield store
    finally:
        await store.close()


async def test_a_database_that_is_away_is_said_by_health_and_survived_by_pages(
    postgres_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of("0123456789abcdef")
    async with store_that_lost_its_database(postgres_cluster) as store, at(store) as client:
        health: Response = await client.get("/health")
        page = await client.post(path, data=ONE_CLICK)
        start = await client.get("/")
    assert (health.status_code, health.json()) == (503, {"status": "database unreachable"})
    assert (page.status_code, page.headers["retry-after"]) == (503, "60")
    assert "lost" not in page.text
    assert start.status_code == 303
    assert path.removeprefix("/u/") not in caplog.text


async def test_an_error_nobody_foresaw_is_logged_by_type_and_place_only(
    sqlite_store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(await enrolled(sqlite_store))
    error = RuntimeError(f"ada@example.org at {path}")

    async def fails(*_: object, **__: object) -> bool:
        raise error

    monkeypatch.setattr("drumbeat.web.app.unsubscribe_enrollment", fails)
    async with at(sqlite_store) as client:
        answer = await client.post(path, data=ONE_CLICK)
    assert answer.status_code == 500
    assert answer.headers[CSP] == HEADERS["Content-Security-Policy"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "RuntimeError" in record.getMessage()
    assert "test_app.py" in record.getMessage()
    for secret in ("ada@", path, path.removeprefix("/u/")):
        assert secret not in caplog.text
        assert secret not in answer.text
