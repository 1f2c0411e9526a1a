import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumbeat.campaign import tokens
from drumbeat.campaign.tokens import (
    Prompt,
    SourceFault,
    check_source,
    find_prompts,
    find_tokens,
)


def test_the_examples_in_the_module_hold() -> None:
    assert doctest.testmod(tokens).failed == 0


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ first_name }} {{ industry }}", ["first_name", "industry"]),
        ("{% for word in words %}{{ word }}{{ loop.index }}{% endfor %}", ["words"]),
        ("{% set greeting = 'Hi' %}{{ greeting }}", []),
        ("{% if vip %}{% set greeting = 'Hi' %}{% endif %}{{ greeting }}", ["vip"]),
        ("{% for i in range(3) %}{{ i }}{% endfor %}", []),
        ("{% macro hello(who) %}{{ who }}{{ sign }}{% endmacro %}{{ hello(x) }}", ["sign", "x"]),
        ("{{ company.name }} {{ title | upper }}", ["company", "title"]),
        ("{# {{ nobody }} #}{% raw %}{{ nobody }}{% endraw %}", []),
        ("{{! ask {their} cat }}{{ email }}", ["email"]),
        ("{{ broken", []),
    ],
)
def test_tokens_are_the_names_that_jinja_asks_the_data_for(source: str, names: list[str]) -> None:
    assert [use.name for use in find_tokens(source)] == names


def test_a_set_name_is_a_token_where_its_own_value_asks_for_it() -> None:
    source = "{% set company = company | default('you') %}\n{{ company }}"
    assert [(use.name, use.line, use.column) for use in find_tokens(source)] == [("company", 1, 18)]


@pytest.mark.parametrize(
    ("source", "has_default"),
    [
        ("{{ industry }}", False),
        ('{{ industry | default("your industry") }}', True),
        ("{{ industry | d('x') | upper }}", True),
        ("{{ industry | upper | default('x') }}", False),
        ("{% if industry is defined %}{{ industry }}{% endif %}", True),
    ],
)
def test_a_default_or_a_test_makes_a_value_needless(source: str, has_default: bool) -> None:
    assert {use.has_default for use in find_tokens(source)} == {has_default}


def test_places_count_from_one_in_any_kind_of_lines() -> None:
    source = "Hi {{! what\r\n to say }} {{ foo | d('z') }} {{ foo }}\r\n{{- bar(name=name) }}"
    assert [(use.name, use.line, use.column) for use in find_tokens(source)] == [
        ("foo", 2, 15),
        ("foo", 2, 34),
        ("bar", 3, 5),
        ("name", 3, 14),
    ]


def test_a_loop_variable_does_not_take_the_place_of_a_token_of_the_same_name() -> None:
    source = "{% for b in c %}{{ b }}{% endfor %}{{ b }}"
    assert [(use.name, use.column) for use in find_tokens(source)] == [("c", 13), ("b", 39)]


def test_prompts_are_found_with_their_text_on_one_line_and_their_place() -> None:
    source = "<p>\n  {{! their\n  last talk }}</p>{{!x}}{# {{! not this }} #}"
    assert find_prompts(source) == [Prompt("their last talk", 2, 3), Prompt("x", 3, 19)]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("\n {{ name", "unexpected end of template"),
        ("\n {% if x %}", "'endif'"),
        ("\n {{ x | uper }}", "there is no filter 'uper'; did you mean 'upper'?"),
        ("\n {% if x is odder %}{% endif %}", "there is no test 'odder'; did you mean 'odd'?"),
        ("\n {% include 'x' %}", "a template stands alone"),
        ("\n {% extends 'x' %}", "a template stands alone"),
        ("\n {{! what", "the field prompt has no end; write {{! what to write here }}"),
        ("\n {{! a {{ b }} c }}", "a field prompt is plain text"),
    ],
)
def test_a_fault_names_its_place_and_what_is_wrong(source: str, fault: str) -> None:
    found = check_source(source)[0]
    assert (found.line, found.column) == (2, 2)
    assert fault in found.message


def test_every_unknown_filter_is_named() -> None:
    faults = check_source("{{ a | uper }}\n{{ b | lowr }}\n{{ c | random }}")
    assert [fault.line for fault in faults] == [1, 2, 3]


def test_a_good_source_has_no_fault() -> None:
    source = "Hi {{! x }} {% for i in range(3) %}{{ i | d(1) }}{% else %}-{% endfor %}"
    assert check_source(source) == []


def test_nesting_without_end_is_a_fault_and_no_crash() -> None:
    message = "the template does not parse: it is nested too deeply"
    assert check_source("{{ " + "(" * 100_000) == [SourceFault(1, 1, message)]


@pytest.mark.parametrize("bomb", ["{{ 9 ** 9 ** 9 }}", '{{ "a" | center(10000000000) }}'])
def test_checking_a_source_computes_nothing_of_it(bomb: str) -> None:
    assert check_source(bomb) == []
    assert find_tokens(bomb) == []


_BY_REGEX = re.compile(r"\{#.*?#\}|\{\{!(?P<text>.*?)\}\}", re.DOTALL)


@given(st.text(alphabet="{}!# a\n", max_size=60))
def test_prompts_are_those_that_a_plain_expression_finds(source: str) -> None:
    expected = [
        " ".join(match["text"].split())
        for match in _BY_REGEX.finditer(source)
        if match["text"] is not None
    ]
    assert [prompt.text for prompt in find_prompts(source)] == expected


@pytest.mark.parametrize("begin", ["{#", "{{!", "{{"])
def test_a_source_full_of_beginnings_is_read_and_refused(begin: str) -> None:
    # Each would once have been followed to the end: minutes for a file of this size.
    assert len(check_source(begin * 150_000)) == 1
