"""Bad input of all kinds: the campaign file itself, its templates and its attachments."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from drumbeat.campaign import attachments
from drumbeat.campaign.model import EmailStep
from drumbeat.campaign.reading import Reading, read_campaign
from tests.campaign.reading_folder import SETTINGS, STEPS, TEMPLATES, faults, folder, read, warnings

__all__ = ["folder"]
pytestmark = pytest.mark.usefixtures("folder")

USE = STEPS + "  - {email: t, send: choose}\n"


def template(content: str | bytes, name: str = "t.html") -> None:
    """Write a template."""
    data = content.encode() if isinstance(content, str) else content
    Path("templates", name).write_bytes(data)


def template_faults(content: str | bytes, campaign: str = USE, name: str = "t.html") -> list[str]:
    """The faults of a campaign that uses a template, without the template's path."""
    template(content, name)
    return [fault.removeprefix(f"templates/{name}:") for fault in faults(campaign)]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "1:1: the file is empty: it is to hold campaign, name and days"),
        (b"# nothing\n", "1:1: the file is empty"),
        (b"---\n", "1:1: the file is empty"),
        (b"\x89PNG\r\n\x1a\n\xff", "1:1: no text in UTF-8: save it as such"),
        ("campaign: a".encode("utf-16"), "1:1: no text in UTF-8"),
        (b"campaign: a\nname: A\0\n", "2:8: a control character (U+0000): this is no text file"),
        (b"# " + b"x" * (1 << 20), "1:1: more than 1 MiB"),
        (b"x" * (2 << 20), "1:1: more than 1 MiB"),
        (b"a: b: c\n", "1:5: this is no YAML: mapping values are not allowed here: put a text"),
        (
            b"a:\n\tb: c\n",
            "2:1: this is no YAML: found character '\\t' that cannot start any token",
        ),
        (b"a: 'x\n", "2:1: this is no YAML: found unexpected end of stream"),
        (b"a: {{ x }}, y\n", "1:11: this is no YAML: expected <block end>, but found ',': put a"),
        (b"[" * 100_000, "1:41: nested more than 40 deep"),
        (SETTINGS.encode() + b"---\nb: 2\n", "5:1: a file holds one document"),
        (b"%YAML 1.1\n---\n" + (STEPS + "  - call: x\n").encode(), "2:1: YAML 1.2 is read"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_fault(content: bytes, fault: str) -> None:
    found = faults(content)
    assert len(found) == 1 and found[0].startswith(fault), found


def test_a_file_that_is_missing_or_a_folder_or_a_pipe_is_one_fault(folder: Path) -> None:
    os.mkfifo("pipe")
    for path, words in [
        ("none.yaml", "cannot be read: no such file or directory"),
        (f"{'a' * 300}.yaml", "cannot be read: file name too long"),
        ("templates", "this is a folder: name the campaign file in it"),
        ("pipe", "this is no file: name the campaign file in it"),
        ("a\0b", "cannot be read: embedded null byte"),
        ("c.yaml/d.yaml", "cannot be read: no"),
    ]:
        (fault,) = read_campaign(path).faults
        assert str(fault).startswith(f"{path}:1:1: {words}")


def test_a_file_that_may_not_be_read_is_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    Path("c.yaml").write_text(SETTINGS)
    monkeypatch.setattr("drumbeat.campaign.text_files.open", refuse, raising=False)
    (fault,) = read_campaign("c.yaml").faults
    assert str(fault) == "c.yaml:1:1: cannot be read: permission denied"


def test_a_file_of_exactly_one_mebibyte_is_read() -> None:
    text = STEPS + "  - call: x\n#"
    assert faults(text + "x" * ((1 << 20) - len(text))) == []


def test_a_byte_order_mark_and_windows_line_ends_change_no_place() -> None:
    text = (STEPS + "  - {call: x, notes: 5}\n").replace("\n", "\r\n")
    assert faults(b"\xef\xbb\xbf" + text.encode()) == [
        "6:22: 'notes' is to be text: put '5' in quotes"
    ]


def test_files_are_named_as_they_are_reached_from_what_was_typed(folder: Path) -> None:
    template("---\nsubject: x\n---\n{{ my_x }}\n")
    for typed, reached in [
        ("./c.yaml", "./templates/t.html"),
        (str(folder / "c.yaml"), str(folder / "templates/t.html")),
        ("templates/../c.yaml", "templates/../templates/t.html"),
    ]:
        Path("c.yaml").write_text(USE + "x: 1\n")
        assert [fault.file for fault in read_campaign(typed).faults] == [typed, reached]


def bomb(before: str = "", after: str = "") -> str:
    names = "abcdefghij"
    lines = [f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}]" for a, b in pairwise(names)]
    return f"{before}a: &a [lol]\n" + "\n".join(lines) + f"\n{after}"


def test_aliases_that_expand_too_far_are_one_fault_beside_the_others() -> None:
    found = [fault for fault in faults(bomb(after=SETTINGS)) if "unknown key" not in fault]
    assert found == [
        "7:8: the aliases expand to more than 10,000 nodes or 1 MiB: write out what is meant"
    ]


def test_aliases_that_expand_to_more_than_a_mebibyte_are_a_fault() -> None:
    text = STEPS + f"  - call: x\n    notes: &long {'x' * 500_000}\n"
    more = "".join("  - {call: x, notes: *long}\n" for _ in range(3))
    assert faults(text + more.replace("*long", "y", 1)) == []
    assert [fault.split(": ")[0] for fault in faults(text + more)] == ["10:22"]


def test_up_to_ten_thousand_nodes_may_be_aliased() -> None:
    notes = ", ".join("x" * 99)
    text = SETTINGS.replace("settings:\n", f"x: &x [{notes}]\ny: [")  # a hundred nodes
    for number, places in [(100, ["4:1", "5:1"]), (101, ["4:1", "5:1", "5:405"])]:
        found = faults(text + ", ".join(["*x"] * number) + "]\n")
        assert [fault.split(": ")[0] for fault in found] == places


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (STEPS + "  - &a [*a]\n", "6:9: '*a' holds itself: write out what is meant"),
        (STEPS + "  - &a {call: *a}\n", "6:15: '*a' holds itself"),
        (STEPS + "  - *a\n", "6:5: '*a' stands for nothing: no '&a' before"),
        (STEPS + "  - call: !x y\n", "6:11: the tag '!x' is not read: leave it out"),
        (STEPS + "  - call: !!python/object y\n", "6:11: 'call' is to be text"),
        (STEPS + "  - !x {call: y}\n", "6:5: the tag '!x' is not read"),
    ],
)
def test_faults_of_aliases_and_tags(text: str, fault: str) -> None:
    found = faults(text)
    assert found[0].startswith(fault) or found[-1].startswith(fault)


def test_a_campaign_has_at_most_a_thousand_steps() -> None:
    text = STEPS + "  - &call {call: x}\n" + "  - *call\n" * 999
    assert faults(text) == []
    assert faults(f"{text}  - *call\n") == [
        "1006:5: the campaign has 1,001 steps: write at most 1,000"
    ]


def test_a_file_full_of_faults_is_read_to_its_end() -> None:
    text = STEPS + "".join(f"  - {{call: x, zz{number}: y}}\n" for number in range(900))
    assert len(faults(text)) == 900


# Templates


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", ["1:1: the template has no body: write the email"]),
        ("---\nsubject: x\n---\n \n", ["4:1: the template has no body"]),
        ("---\nsubject: x\n", ["1:1: the front matter has no end: write a line '---' below it"]),
        ("---\nsubjct: x\n---\nb", ["2:1: unknown key 'subjct' in a template's front matter: did"]),
        ("---\nsubject:\n---\nb", ["2:1: 'subject' is empty"]),
        ("---\nsubject: ' '\n---\nb", ["2:10: 'subject' is blank"]),
        ("---\nsubject: 5\n---\nb", ["2:10: 'subject' is to be text: put '5' in quotes"]),
        (
            "---\nsubject: {{ company }}\n---\nb",
            ["2:10: 'subject' is to be text, and YAML takes it"],
        ),
        ("---\nsubject: {{ a }}, b\n---\nb", ["2:17: this is no YAML: expected <block end>"]),
        ("---\nsubject: a\nsubject: b\n---\nb", ["3:1: 'subject' stands twice, first in line 2"]),
        ("---\n- a\n---\nb", ["2:1: a template's front matter is to be a mapping with subject"]),
        ("---\nsubject: x\n---\n\n  {{ a", ["5:3: the template does not parse: unexpected end"]),
        ("---\nsubject: x\n---\n{% if %}", ["4:1: the template does not parse: Expected an expr"]),
        ("---\nsubject: 'x {{'\n---\nb", ["2:13: the template does not parse"]),
        (
            "---\nsubject: x\n---\n{{ a | defalt(1) }}",
            ["4:1: there is no filter 'defalt'; did you"],
        ),
        ("---\nsubject: x\n---\n{% include 'y' %}", ["4:1: a template stands alone"]),
        ("---\nsubject: x\n---\na\n{{ my_nme }}", ["5:4: unknown token 'my_nme' of the rep: did"]),
        ("---\nsubject: x\n---\n{{ my_x | default(1) }}", ["4:4: unknown token 'my_x' of the rep"]),
        ("---\nsubject: '{{ my_nme }}'\n---\na", ["2:14: unknown token 'my_nme' of the rep"]),
        ('---\nsubject: "\\"{{ my_nme }}"\n---\na', ["2:10: unknown token 'my_nme' of the rep"]),
        ("---\nsubject: x\n---\n{{! a }}", ["4:1: the field prompt 'a' must be replaced before"]),
        (
            "---\nsubject: '{{! a }}'\n---\nb",
            ["2:11: the field prompt 'a' must be replaced before"],
        ),
        ("---\nsubject: x\n---\n{{! a", ["4:1: the field prompt has no end"]),
        (
            "---\nsubject: x\n---\nb\x00",
            ["4:2: a control character (U+0000): this is no text file"],
        ),
        ("---\nsubject: x\n---\n" + "\n{{!" * 90_000, ["5:1: the field prompt has no end"]),
        ("---\nsubject: x\n---\n{# #}{#" + "{#" * 90_000, ["4:6: the comment has no end"]),
        (b"---\nsubject: x\n---\n\xff", ["1:1: no text in UTF-8"]),
        ("x" * (1 << 20) + "x", ["1:1: more than 1 MiB"]),
        (
            "---\r\nsubject: x\r\n---\r\na\r\n{{ my_nme }}",
            ["5:4: unknown token 'my_nme' of the rep: did"],
        ),
    ],
)
def test_faults_of_a_template(content: str | bytes, wanted: list[str]) -> None:
    found = template_faults(content)
    own = [fault for fault in found if not fault.startswith("6:")]
    assert len(own) == len(wanted), found
    for fault, words in zip(own, wanted, strict=True):
        assert fault.startswith(words)
    # Besides, at most, that there is no subject: a broken one is told once.
    assert len(found) == len(own) or "has no 'subject'" in found[0]


def test_a_fault_of_a_template_is_told_once_however_often_it_is_used() -> None:
    twice = USE + "  - {email: t, send: task}\n"
    assert template_faults("---\nsubject: x\n---\n{{ my_x }}\n", twice) == [
        "4:4: unknown token 'my_x' of the rep: known are my_name, my_first_name, my_email, "
        "my_title, my_phone, my_signature"
    ]


def test_templates_come_after_the_campaign_file_as_they_are_named() -> None:
    template("---\nsubject: x\n---\n{{ my_x }}\n", "z.html")
    template("---\nsubject: x\n---\n{{ my_x }}\n", "y.html")
    text = STEPS + "  - {email: z, send: task}\n  - {email: y, send: tsk}\n"
    assert [fault.split(": ")[0] for fault in faults(text)] == [
        "7:22",
        "templates/z.html:4:4",
        "templates/y.html:4:4",
    ]


def test_a_prompt_is_right_in_a_task_and_wrong_in_an_automatic_email() -> None:
    task = STEPS + "  - {email: prompt, send: task}\n"
    assert faults(task) == []
    assert faults(task + "  - {email: prompt, send: '10:00'}\n") == [
        "templates/prompt.html:5:4: the field prompt 'a word on them' must be replaced before "
        "sending, and c.yaml:7 sends the email automatically: write the text itself, or "
        "'send: task' there"
    ]


def test_a_template_without_subject_is_for_follow_ups_alone() -> None:
    text = STEPS + "  - {email: intro, send: choose}\n  - {email: bump, send: '10:00'}\n"
    assert faults(text) == [
        "7:13: templates/bump.txt has no 'subject', which only a follow-up can do without: add it, "
        "or write 'follow_up: true' here"
    ]
    assert faults(text.replace("'10:00'", "'10:00', follow_up: true")) == []


def test_html_goes_before_text() -> None:
    template("---\nsubject: text\n---\nb\n", "t.txt")
    reading = read(USE)
    assert reading.campaign is not None
    step = reading.campaign.step(1)
    assert isinstance(step, EmailStep)
    assert not step.template.is_html and step.template.name == "t"
    template("---\nsubject: html\n---\n<p>b</p>\n")
    step = _step(read(USE))
    assert step.template.is_html and step.template.subject == "html"


def _step(reading: Reading) -> EmailStep:
    assert reading.campaign is not None
    step = reading.campaign.step(1)
    assert isinstance(step, EmailStep)
    return step


def test_a_template_that_is_a_folder_is_a_fault() -> None:
    Path("templates/t.html").mkdir()
    assert faults(USE) == ["templates/t.html:1:1: this is a folder: a template is a file"]


def test_without_a_folder_of_templates_none_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder / "empty")
    assert faults(USE) == [
        "6:13: 'email' names no template, as there is no templates/t.html or templates/t.txt: "
        "write templates/t.html"
    ]


def test_a_token_is_warned_of_once_a_template_where_it_has_no_default() -> None:
    template("---\nsubject: '{{ x | default(1) }}'\n---\n{{ indstry }}\n{{ indstry }} {{ x }}\n")
    assert [warning.split(": the")[0] for warning in warnings(USE)] == [
        "templates/t.html:4:4: warning",
        "templates/t.html:5:18: warning",
    ]


def test_a_template_may_be_only_body() -> None:
    assert TEMPLATES["bump.txt"].startswith("Did")
    text = (
        STEPS + "  - {email: intro, send: task}\n  - {email: bump, send: task, follow_up: true}\n"
    )
    assert faults(text) == []


# Attachments

WITH = "---\nsubject: x\nattachments: [{}]\n---\nb\n"


def test_an_attachment_is_read_with_its_hash() -> None:
    Path("files").mkdir()
    Path("files/a.pdf").write_bytes(b"%PDF")
    Path("b.txt").write_bytes(b"")
    template(WITH.format("files/a.pdf, ./b.txt"))
    reading = read(USE)
    first, second = _step(reading).template.attachments
    assert (first.path, first.filename, first.size) == ("files/a.pdf", "a.pdf", 4)
    assert reading.attachments == {first.sha256: b"%PDF", second.sha256: b""}


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        ("zz", "3:15: 'attachments' has 'zz', which is no file beside the campaign file"),
        (
            "offer.pfd",
            "3:15: 'attachments' has 'offer.pfd', which is no file: did you mean 'offer.",
        ),
        (
            "files/x.pdf",
            "3:15: 'attachments' has 'files/x.pdf', which is no file: there is no fold",
        ),
        ("../x.pdf", "3:15: 'attachments' has '../x.pdf', which leaves the campaign's folder"),
        ("templates/../../x", "3:15: 'attachments' has 'templates/../../x', which leaves the camp"),
        ("/etc/passwd", "3:15: 'attachments' has '/etc/passwd', which leaves the campaign's folde"),
        ("'~/x'", "3:15: 'attachments' has '~/x', which leaves the campaign's folder"),
        ("link", "3:15: 'attachments' has 'link', which leaves the campaign's folder"),
        ("out/secret", "3:15: 'attachments' has 'out/secret', which leaves the campaign's folder"),
        ("loop", "3:15: 'attachments' has 'loop', which cannot be read"),
        ("templates", "3:15: 'attachments' has 'templates', which is no file"),
        ("pipe", "3:15: 'attachments' has 'pipe', which is no file"),
        ("'files\\x'", "3:15: 'attachments' has 'files\\x': write '/' between folders and files"),
        ("5", "3:15: 'attachments' is to be text: put '5' in quotes"),
        ("offer.pdf, offer.pdf", "3:26: 'attachments' has 'offer.pdf' twice: leave one out"),
        ("''", "3:15: 'attachments' is to be text, and is blank"),
        (f"{'x' * 300}", "3:15: 'attachments' has 'xxx"),
    ],
)
def test_faults_of_attachments(folder: Path, listed: str, fault: str) -> None:
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    Path("link").symlink_to(outside / "secret")
    Path("out").symlink_to(outside)
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    Path("offer.pdf").write_text("o")
    (found,) = template_faults(WITH.format(listed))
    assert found.startswith(fault)


def test_attachments_may_be_links_within_the_folder() -> None:
    Path("a.pdf").write_text("a")
    Path("b.pdf").symlink_to("a.pdf")
    assert template_faults(WITH.format("b.pdf, templates/../a.pdf")) == []


@pytest.mark.parametrize(("more", "is_too_much"), [(0, False), (1, True)])
def test_the_attachments_of_an_email_have_at_most_20_million_bytes(
    more: int, is_too_much: bool
) -> None:
    for name, size in (("a", 12_000_000), ("b", 8_000_000 + more)):
        with Path(name).open("wb") as file:
            file.truncate(size)
    found = template_faults(WITH.format("a, b"))
    assert found == (
        ["3:14: 'attachments' have 20,000,001 bytes together: an email may carry 20,000,000"]
        if is_too_much
        else []
    )


def test_an_attachment_that_grows_while_it_is_read_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("a").write_text("aaaa")
    monkeypatch.setattr(attachments.AttachmentFiles, "find", lambda *_: 1)
    monkeypatch.setattr(attachments, "MOST_BYTES", 3)
    assert "3:14: 'attachments' have 4 bytes together" in template_faults(WITH.format("a"))[0]


def test_an_attachment_that_several_templates_name_is_kept_once() -> None:
    Path("a").write_text("a")
    Path("same").write_text("a")
    template(WITH.format("a"))
    template(WITH.format("same, a"), "u.html")
    reading = read(USE + "  - {email: u, send: task}\n")
    assert reading.faults == ()
    assert list(reading.attachments.values()) == [b"a"]


def test_a_text_in_the_campaign_file_may_have_attachments() -> None:
    Path("a").write_text("a")
    text = STEPS + "  - {email: {subject: s, body: b, attachments: [a]}, send: task}\n"
    assert _step(read(text)).template.attachments[0].path == "a"
