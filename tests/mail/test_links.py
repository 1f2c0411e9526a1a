import pytest
from itsdangerous import URLSafeSerializer
from itsdangerous.encoding import base64_decode

from drumbeat.mail.links import Links

OLD, NEW = "an-old-example-key-0123456789abcdef", "a-new-example-key-0123456789abcdef"
ENROLLMENT = "0123456789abcdef"


def token_of(links: Links) -> str:
    return links.unsubscribe_url(ENROLLMENT).rpartition("/")[2]


def test_a_link_leads_to_its_enrollment() -> None:
    links = Links("https://beat.example.com", [NEW])
    url = links.unsubscribe_url(ENROLLMENT)
    assert url.startswith("https://beat.example.com/u/")
    assert links.read_unsubscribe(url.rpartition("/")[2]) == ENROLLMENT


def test_a_link_is_short_enough_for_one_header_line() -> None:
    url = Links("https://drumbeat.sales.example.com", [NEW]).unsubscribe_url(ENROLLMENT)
    assert len(f"List-Unsubscribe: <{url}>") < 998
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url


def test_a_changed_token_is_not_read() -> None:
    links = Links("", [NEW])
    token = token_of(links)
    for place in range(len(token) - 1):  # the last character holds bits that say nothing
        other = "A" if token[place] != "A" else "B"
        assert links.read_unsubscribe(token[:place] + other + token[place + 1 :]) is None


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "abc", "IjAi.", "\x00", "é.ü", "\ud800", "%0d%0a", "a" * 10_000, ".eJw.x.y"],
)
def test_what_is_no_token_is_not_read(token: str) -> None:
    assert Links("", [NEW]).read_unsubscribe(token) is None


def test_a_token_of_another_key_is_not_read() -> None:
    assert Links("", [NEW]).read_unsubscribe(token_of(Links("", [OLD]))) is None


def test_a_new_key_signs_while_old_links_are_still_read() -> None:
    before, after = Links("", [OLD]), Links("", [OLD, NEW])
    assert after.read_unsubscribe(token_of(before)) == ENROLLMENT
    assert Links("", [NEW]).read_unsubscribe(token_of(after)) == ENROLLMENT
    assert before.read_unsubscribe(token_of(after)) is None


def test_a_signature_for_another_purpose_is_not_read() -> None:
    foreign = URLSafeSerializer(NEW, salt="click").dumps(ENROLLMENT)
    assert isinstance(foreign, str)
    assert Links("", [NEW]).read_unsubscribe(foreign) is None


def test_a_payload_that_cannot_be_read_is_not_read() -> None:
    serializer = URLSafeSerializer(NEW, salt="unsubscribe")
    signed = serializer.make_signer("unsubscribe").sign(b"bm90IEpTT04").decode()
    assert Links("", [NEW]).read_unsubscribe(signed) is None


@pytest.mark.parametrize("content", [17, None, ["0123456789abcdef"], {"id": "x"}])
def test_only_a_text_is_an_enrollments_id(content: object) -> None:
    signed = URLSafeSerializer(NEW, salt="unsubscribe").dumps(content)
    assert isinstance(signed, str)
    assert Links("", [NEW]).read_unsubscribe(signed) is None


def test_a_token_carries_the_opaque_id_and_nothing_else() -> None:
    payload = token_of(Links("", [NEW])).partition(".")[0]
    assert base64_decode(payload) == f'"{ENROLLMENT}"'.encode()


def test_links_want_a_key() -> None:
    with pytest.raises(ValueError, match="DRUMBEAT_SECRET_KEY"):
        Links("https://beat.example.com", [])
