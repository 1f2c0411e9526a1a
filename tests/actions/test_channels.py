import pytest

from drumbeat.actions.channels import channel, linkedin_link, phone_link


@pytest.mark.parametrize(
    ("phone", "link"),
    [
        ("+1 (555) 010-0199", "tel:+15550100199"),
        ("555.010.0199", "tel:5550100199"),
        ("+49 (0)30 901820", "tel:+4930901820"),
        ("+1 555 010 0199 x12", "tel:+15550100199;ext=12"),
        ("+1 555 010 0199 extension 12", "tel:+15550100199;ext=12"),
        ("+1-555-010-0199;ext=12", "tel:+15550100199;ext=12"),
        ("ask the desk", None),
        ("", None),
    ],
)
def test_a_number_becomes_a_link_that_can_be_called(phone: str, link: str | None) -> None:
    assert phone_link(phone) == link


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://www.linkedin.com/in/ada", "https://www.linkedin.com/in/ada"),
        ("http://linkedin.com/in/ada?x=1", "http://linkedin.com/in/ada?x=1"),
        ("https://www.example.org/in/ada", "https://www.example.org/in/ada"),
        ("de.linkedin.com/in/ada", "https://de.linkedin.com/in/ada"),
        ("in/ada-lovelace", "https://www.linkedin.com/in/ada-lovelace"),
        ("ada-lovelace", "https://www.linkedin.com/in/ada-lovelace"),
        ("javascript:alert(1)", None),
        ("javascript://example.org/%0aalert(1)", None),
        ("https://", None),
        ("linkedin.com/in/ada lovelace", None),
    ],
)
def test_only_web_addresses_become_links(address: str, link: str | None) -> None:
    assert linkedin_link(address) == link


def test_a_task_whose_channel_the_person_lacks_says_so() -> None:
    for kind, what in (("call", "no phone number"), ("inmail", "no linkedin address")):
        way = channel(kind, "ada@example.org", {"phone": " "})
        assert way is not None
        assert (way.value, way.link) == (None, None)
        assert what in (way.trouble or "")


def test_a_value_that_cannot_be_used_says_so() -> None:
    way = channel("inmail", "ada@example.org", {"linkedin": "ask Ada"})
    assert way is not None
    assert (way.link, way.trouble) == (
        None,
        "'ask Ada' is no usable LinkedIn address",
    )


def test_an_email_goes_to_the_address_and_a_custom_task_needs_nothing() -> None:
    way = channel("email", "ada@example.org", {})
    assert way is not None
    assert way.link == "mailto:ada@example.org"
    assert channel("custom", "ada@example.org", {}) is None
