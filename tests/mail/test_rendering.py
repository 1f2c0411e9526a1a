import asyncio
import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from drumbeat.campaign.model import Template
from drumbeat.campaign.templates import Body, MissingData, render
from drumbeat.mail.rendering import Renderer, RenderingStopped

HELLO = Template(subject="Hi {{ first_name }}", body="<p>{{ company }}</p>", is_html=True)
FOR_EVER = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture(scope="module")
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(limit=timedelta(seconds=0.3)) as renderer:
        yield renderer


def html(body: str) -> Template:
    return Template(subject="Hi", body=body, is_html=True)


def child_of(renderer: Renderer) -> int:
    assert renderer._child is not None
    return renderer._child.pid


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_it_gives_what_rendering_here_gives(renderer: Renderer) -> None:
    data = {"first_name": "Zoë\u2028", "company": "A & <b>"}
    assert await renderer.render(HELLO, data) == render(HELLO, data)
    assert await renderer.render(html("{{ x }}{{ y }}"), {}) == MissingData(tokens=("x", "y"))


async def test_the_child_is_kept_between_calls(renderer: Renderer) -> None:
    await renderer.render(HELLO, {})
    first = child_of(renderer)
    await renderer.render(HELLO, {})
    assert child_of(renderer) == first


async def test_many_callers_at_once_each_get_their_own(renderer: Renderer) -> None:
    names = [f"Ada {number}" for number in range(200)]
    bodies = await asyncio.gather(*(renderer.render(HELLO, {"first_name": name}) for name in names))
    assert [body.subject for body in bodies if isinstance(body, Body)] == [
        f"Hi {name}" for name in names
    ]


@pytest.mark.parametrize(
    "bomb",
    [FOR_EVER, "{{ 9 ** (9 ** 9) }}", "{% for i in range(99999) %}{{ 9 ** 9999 }}{% endfor %}"],
)
async def test_what_does_not_end_is_stopped_and_the_next_one_goes_on(
    renderer: Renderer, bomb: str
) -> None:
    await renderer.render(HELLO, {})
    pid = child_of(renderer)
    with pytest.raises(RenderingStopped, match=r"takes longer than 0.3 s|more than|ValueError"):
        await renderer.render(html(bomb), {})
    assert isinstance(await renderer.render(HELLO, {}), Body)
    assert bomb is not FOR_EVER or is_gone(pid)


@pytest.mark.parametrize("bomb", ['{{ "a" * 10 ** 9 }}', '{{ "a" | center(10 ** 9) }}'])
async def test_what_fills_the_memory_is_stopped(renderer: Renderer, bomb: str) -> None:
    with pytest.raises(RenderingStopped, match="more memory"):
        await renderer.render(html(bomb), {})
    assert isinstance(await renderer.render(HELLO, {}), Body)


async def test_a_faulty_template_is_told_in_its_own_words(renderer: Renderer) -> None:
    with pytest.raises(RenderingStopped, match="line 1 of the body: ZeroDivisionError"):
        await renderer.render(html("{{ 1 / 0 }}"), {})


async def test_a_child_that_is_killed_from_outside_costs_no_email(renderer: Renderer) -> None:
    await renderer.render(HELLO, {})
    os.kill(child_of(renderer), signal.SIGKILL)
    assert isinstance(await renderer.render(HELLO, {}), Body)


async def test_a_caller_that_goes_leaves_no_answer_to_the_next(renderer: Renderer) -> None:
    await renderer.render(HELLO, {})
    pid = child_of(renderer)
    going = asyncio.create_task(renderer.render(html(FOR_EVER), {}))
    await asyncio.sleep(0)  # it runs until it waits for the child
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going
    assert is_gone(pid)
    body = await renderer.render(HELLO, {"first_name": "Ada"})
    assert isinstance(body, Body)
    assert body.subject == "Hi Ada"


async def test_closing_leaves_no_process_and_it_can_start_again() -> None:
    renderer = Renderer()
    await renderer.close()
    await renderer.render(HELLO, {})
    pid = child_of(renderer)
    await renderer.close()
    assert is_gone(pid)
    await renderer.render(HELLO, {})
    await renderer.close()


async def test_the_child_ends_with_its_input_as_it_does_when_its_parent_dies() -> None:
    async with Renderer() as renderer:
        await renderer.render(HELLO, {})
        child = renderer._child
        assert child is not None
        assert child.stdin is not None
        child.stdin.close()
        assert await child.wait() == 0


async def test_the_child_sees_none_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRUMBEAT_SECRET_KEY", "do-not-tell")
    async with Renderer() as renderer:
        await renderer.render(HELLO, {})
        assert b"do-not-tell" not in environment_of(child_of(renderer))
