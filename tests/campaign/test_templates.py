import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumbeat.campaign import templates
from drumbeat.campaign.model import Template
from drumbeat.campaign.templates import (
    MAX_SUBJECT,
    Body,
    BrokenTemplate,
    MissingData,
    OutputTooLong,
    RenderingFailed,
    check_typed,
    clean_subject,
    context,
    missing_tokens,
    prompts_left,
    render,
    text_of,
)

URL = "https://drumbeat.example/u/token?a=1&b=2"


def rendered(body: str, *, subject: str | None = "Hi", is_html: bool = True, **data: str) -> Body:
    person = {name: value for name, value in data.items() if not name.startswith("my_")}
    rep = {name: value for name, value in data.items() if name.startswith("my_")}
    result = render(
        Template(subject=subject, body=body, is_html=is_html),
        context(person, rep, "Q4 introduction", URL),
    )
    assert isinstance(result, Body)
    return result


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(templates).failed == 0


def test_every_kind_of_token_is_filled() -> None:
    body = rendered(
        "{{ first_name }} {{ industry }} {{ my_name }} {{ my_first_name }} {{ campaign }}",
        first_name="Ada",
        industry="Mining",
        my_name="Grace Hopper",
        is_html=False,
    )
    assert body.text == "Ada Mining Grace Hopper Grace Q4 introduction"


def test_names_title_and_company_never_block() -> None:
    body = rendered("[{{ first_name }}{{ last_name }}{{ title }}] {{ company }}", is_html=False)
    assert body.text == "[] your company"


def test_a_default_goes_before_the_blank_of_an_empty_field() -> None:
    source = "{{ first_name | default('there') }}, {{ company | default('your team') }}"
    assert rendered(source, first_name=" ", is_html=False).text == "there, your team"
    assert rendered(source, first_name="Ada", company="ACM", is_html=False).text == "Ada, ACM"
    tested = "{% if company is defined %}at {{ company }}{% else %}there{% endif %}"
    assert rendered(tested, is_html=False).text == "there"


def test_all_tokens_without_a_value_are_named_in_order() -> None:
    template = Template(
        subject="{{ topic }}",
        body="{{ phone }} {{ my_title }} {{ x | default('') }} {{ topic }} {{ title }}",
        is_html=True,
    )
    missing = ("topic", "phone", "my_title")
    assert missing_tokens(template, []) == missing
    assert render(template, context({"phone": "  "}, {}, "c", URL)) == MissingData(tokens=missing)
    assert missing_tokens(template, ["topic", "phone", "my_title"]) == ()


def test_a_token_that_only_rendering_reaches_is_named_too() -> None:
    template = Template(
        subject="Hi", body="{% if x is undefined %}{{ x }}{% endif %}", is_html=True
    )
    assert render(template, {}) == MissingData(tokens=("x",))


def test_a_person_cannot_fill_the_reps_or_our_own_tokens() -> None:
    values = context({"my_name": "Eve", "campaign": "x", "unsubscribe_url": "x"}, {}, "c", URL)
    assert values == {"campaign": "c", "unsubscribe_url": URL}


def test_data_is_escaped_in_html_and_left_alone_in_text_and_subject() -> None:
    body = rendered("<p>{{ company }}</p>", subject="To {{ company }}", company="A & <b>")
    assert body.html == "<p>A &amp; &lt;b&gt;</p>"
    assert body.text == "A & <b>"
    assert body.subject == "To A & <b>"


def test_data_is_never_rendered_itself() -> None:
    assert rendered("{{ company }}", company="{{ 7 * 7 }}").text == "{{ 7 * 7 }}"


def test_the_signature_is_appended_unless_the_body_places_it() -> None:
    signature = "Grace\n<CEO> & co"
    lines = "Grace<br>\n&lt;CEO&gt; &amp; co"
    assert rendered("<p>Hi</p>", my_signature=signature).html == f"<p>Hi</p>\n<p>{lines}</p>"
    placed = rendered("<div>{{ my_signature }}</div><p>PS</p>", my_signature=signature)
    assert placed.html == f"<div>{lines}</div><p>PS</p>"
    document = rendered("<html><body>Hi</body></html>", my_signature=signature)
    assert document.html == f"<html><body>Hi\n<p>{lines}</p></body></html>"
    plain = rendered("Hi", is_html=False, my_signature=signature)
    assert plain.text == "Hi\n\nGrace\n<CEO> & co"
    assert plain.html == f"<p>Hi</p>\n<p>{lines}</p>"


def test_without_a_signature_nothing_is_appended() -> None:
    assert rendered("<p>Hi</p>").html == "<p>Hi</p>"
    assert rendered("Hi\n", is_html=False).text == "Hi"


def test_a_plain_text_template_gives_paragraphs() -> None:
    body = rendered("Hi {{ company }},\none\n\n\ntwo\r\n", is_html=False, company="A&B")
    assert body.text == "Hi A&B,\none\n\n\ntwo"
    assert body.html == "<p>Hi A&amp;B,<br>\none</p>\n<p>two</p>"


def test_the_text_of_html_shows_where_links_lead() -> None:
    html = '<p>See <a href="https://x.example/a">this</a>,<br>or</p><ul><li>one<li>two</ul>'
    assert text_of(html) == "See [this](https://x.example/a),\nor\n\n  * one\n  * two"
    assert text_of('<a href="https://x.example">https://x.example</a>') == "https://x.example"
    assert text_of("<head><style>p {}</style></head>") == ""


def test_field_prompts_stay_for_the_rep_to_replace() -> None:
    source = "<p>{{! a word <on>\n their talk }}</p>{{! b }}"
    body = rendered(source, subject="{{! topic }}")
    assert body.subject == "{{! topic }}"
    assert body.html == "<p>{{! a word &lt;on&gt; their talk }}</p>{{! b }}"
    assert prompts_left(body) == ("topic", "a word <on> their talk", "b")
    assert prompts_left(rendered("Hi")) == ()


def test_a_person_cannot_pass_for_a_prompt() -> None:
    assert "fill" not in rendered("{{ company }}", company="\ufdd00\ufdd1{{! fill").html[:1]
    assert rendered("{{! x }}{{ company }}", company="\ufdd00\ufdd1").html == "{{! x }}0"


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("\n{{ 1 / 0 }}", RenderingFailed, "fails in line 2 of the body: ZeroDivisionError"),
        ("{{ ''.__class__ }}", RenderingFailed, "'__class__' of 'str' object is unsafe"),
        ("{{ [].append(1) }}", RenderingFailed, "SecurityError"),
        ("{{ company.boss }}", RenderingFailed, "UndefinedError"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", RenderingFailed, "OverflowError"),
        ("{{ x", BrokenTemplate, "the body of the template does not parse"),
        ("{% for i in range(99999) %}0123456789abc{% endfor %}", OutputTooLong, "1,000,000"),
    ],
)
def test_what_cannot_be_rendered_is_one_clear_error(
    body: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(")):
        rendered(body)


def test_an_error_names_nobody() -> None:
    with pytest.raises(RenderingFailed) as raised:
        rendered("{{ {}[first_name].x }}", first_name="Lovelace")
    assert "Lovelace" not in str(raised.value)


def test_a_subject_stays_one_short_line_whatever_the_data_holds() -> None:
    body = rendered(
        "x", subject=" Hi {{ company }} ", company="a\r\nBcc: eve@example.com\x00\u2028b"
    )
    assert body.subject == "Hi a Bcc: eve@example.com b"
    long = clean_subject("x" * 2000)
    assert len(long) == MAX_SUBJECT
    assert long.endswith("x…")


@given(st.text())
def test_any_data_gives_a_subject_and_a_body_that_mail_can_carry(text: str) -> None:
    body = rendered("{{ x | d('') }}", subject="{{ x | d('') }}", is_html=False, x=text)
    assert body.subject is not None
    assert "\n" not in body.subject
    assert "\r" not in body.subject
    body.text.encode()
    body.html.encode()
    assert not any(ord(character) < 32 and character not in "\t\n" for character in body.text)


def test_a_template_without_a_subject_gives_none() -> None:
    assert rendered("x", subject=None).subject is None


def test_rendering_knows_nothing_random() -> None:
    with pytest.raises(BrokenTemplate):
        rendered("{{ [1, 2, 3] | random }}")
    assert render(Template(subject="a", body="{{ lipsum() }}", is_html=True), {}) == MissingData(
        tokens=("lipsum",)
    )


@pytest.mark.parametrize(
    ("subject", "html", "sentence"),
    [
        ("Hi", "<p>Hello</p>", None),
        ("Hi", "<p>{{! a &amp; b }}</p>", 'replace the field prompt "a & b" in the body'),
        ("{{! t }} {{!u}}", "", 'replace the field prompts "t", "u" in the subject'),
        ("Hi {{ first_name }}", "", '"{{" is left in the subject'),
        ("Hi", "<p>&#123;&#123; x</p>", '"{{" is left in the body'),
        ("Hi", "{% if x %}", '"{%" is left in the body'),
        ("Hi", '<a href="%7B%7B! link %7D%7D">', 'replace the field prompt "link" in the body'),
    ],
)
def test_marks_of_a_template_in_what_a_rep_typed_block_sending(
    subject: str, html: str, sentence: str | None
) -> None:
    found = check_typed(subject, html)
    assert (found is None) == (sentence is None)
    assert (sentence or "") in (found or "")
