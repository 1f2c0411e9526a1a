import json
from pathlib import Path
from typing import Any

import pytest

from drumbeat.cli.app import main
from tests.campaign.reading_folder import STEPS, folder
from tests.campaign.test_reading import EXAMPLE

__all__ = ["folder"]
pytestmark = pytest.mark.usefixtures("folder")

PEOPLE = (
    "email,first_name,last_name,timezone,industry\n"
    "ada@example.org,Ada,Lovelace,Europe/London,engines\n"
    "alan@example.org,Alan,Turing,,\n"
    "broken,Bro,Ken,,\n"
)
REPS = (
    "reps:\n"
    "- {email: grace@example.com, name: Grace Hopper, timezone: Asia/Tokyo, signature: GH}\n"
    "- {email: edsger@example.com, name: Edsger Dijkstra}\n"
)


@pytest.fixture(autouse=True)
def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRUMBEAT_REPS", raising=False)
    monkeypatch.delenv("DRUMBEAT_BASE_URL", raising=False)
    Path("people.csv").write_text(PEOPLE)
    Path("example.yaml").write_text(EXAMPLE)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `preview --json` prints."""
    assert main(["preview", *arguments, "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    printed: dict[str, Any] = json.loads(shown.out)
    return printed


def times(printed: dict[str, Any]) -> list[str | None]:
    return [step["at"] for step in printed["steps"]]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 1) -> str:
    """The only line that a refused preview prints."""
    assert main(["preview", *arguments]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    return line


def test_the_calendar_of_the_specifications_example(capsys: pytest.CaptureFixture[str]) -> None:
    printed = run(
        capsys, "example.yaml", "--start", "2026-11-23T10:00", "--send-at", "2026-11-24T14:20"
    )
    assert list(printed) == ["steps"]
    assert printed["steps"][0] == {
        "step": 1,
        "day": 1,
        "kind": "email",
        "action": "send",
        "at": "2026-11-24T14:20:00-05:00",
        "follow_up": False,
    }
    assert [
        (step["step"], step["day"], step["kind"], step["action"], step["at"], step["follow_up"])
        for step in printed["steps"][1:]
    ] == [
        (2, 1, "call", "task", "2026-11-24T14:20:00-05:00", False),
        (3, 3, "email", "send", "2026-11-27T14:20:00-05:00", False),
        (4, 4, "email", "send", "2026-11-30T09:30:00-05:00", True),
        (5, 6, "inmail", "task", "2026-12-02T00:00:00-05:00", False),
        (6, 6, "custom", "task", "2026-12-02T00:00:00-05:00", False),
        (7, 6, "email", "send", "2026-12-02T10:00:00-05:00", False),
    ]


def test_the_launchers_time_for_a_step_and_tasks_that_are_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printed = run(
        capsys,
        *("example.yaml", "--start", "2026-11-23T10:00", "--send-at", "now", "--at", "4=17:00"),
        *("--done", "2=2026-11-24T12:00", "--done", "5=2026-12-02T11:00"),
    )
    assert times(printed)[1] == "2026-11-23T10:00:00-05:00"
    # The call of day 1 was done on Tuesday, the InMail of day 6 after the last email's time.
    assert times(printed)[3] == "2026-11-30T17:00:00-05:00"
    assert times(printed)[6] == "2026-12-02T11:00:00-05:00"


def test_zones_are_the_persons_or_the_campaigns_or_the_reps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = STEPS + "  - {email: intro, send: '10:00'}\n"
    start = ("c.yaml", "--start", "2026-11-23T00:00")
    both = ("--person-timezone", "Asia/Tokyo", "--rep-timezone", "Europe/Berlin")
    for settings, options, offset in [
        ("", (), "+00:00"),
        ("", both, "+01:00"),
        ("settings: {person_timezone: true}", both, "+09:00"),
        ("settings: {timezone: America/New_York}", both, "-05:00"),
    ]:
        Path("c.yaml").write_text(f"{text}{settings}\n")
        assert times(run(capsys, *start, *options)) == [f"2026-11-23T10:00:00{offset}"]


def test_what_hangs_on_a_reps_moment_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text(
        STEPS + "  - {email: intro, send: task}\n- day: 2\n  steps:\n"
        "  - {email: intro, send: same_time}\n"
    )
    start = ("c.yaml", "--start", "2026-11-23T10:00")
    assert times(run(capsys, *start)) == ["2026-11-23T10:00:00+00:00", None]
    assert times(run(capsys, *start, "--done", "1=2026-11-23T11:30"))[1] == (
        "2026-11-24T11:30:00+00:00"
    )
    assert main(["preview", *start]) == 0
    assert "not yet known" in capsys.readouterr().out


def test_a_person_of_the_csv_brings_their_zone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text(
        STEPS + "  - {email: intro, send: '10:00'}\nsettings: {person_timezone: true}\n"
    )
    who = ("--people", "people.csv", "--person", "ADA@example.org")
    printed = run(capsys, "c.yaml", "--start", "2026-07-01T00:00", *who)
    assert times(printed) == ["2026-07-01T10:00:00+01:00"]


def test_the_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("example.yaml", "--start", "2026-11-23T10:00", "--send-at", "now")
    assert main(["preview", *arguments]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "Q4 introduction, kickoff Mon 2026-11-23 10:00 EST, in America/New_York",
        "",
        "step day action what when",
        "1 1 send email: intro Mon 2026-11-23 10:00 EST",
        "2 1 task call: Introduce yourself Mon 2026-11-23 10:00 EST",
        "3 3 send email: case-study Wed 2026-11-25 10:00 EST",
        "4 4 send email: bump, follow-up Fri 2026-11-27 09:30 EST",
        "5 6 task inmail: Connect on LinkedIn Tue 2026-12-01 00:00 EST",
        "6 6 task custom: Invite to the happy hour Tue 2026-12-01 00:00 EST",
        "7 6 send email: Last try, {{ first_name }} Tue 2026-12-01 10:00 EST",
    ]


def letters(capsys: pytest.CaptureFixture[str], *more: str) -> list[dict[str, Any]]:
    """What the letters of the example are for Ada, unless another person is named."""
    who = () if "--person" in more else ("--person", "ada@example.org")
    printed = run(
        capsys,
        *("example.yaml", "--start", "2026-11-23T10:00", "--send-at", "now"),
        *("--letters", "--people", "people.csv", *who, *more),
    )
    found: list[dict[str, Any]] = printed["letters"]
    return found


def test_letters_are_rendered_with_the_quoted_follow_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("reps.yaml").write_text(REPS)
    shown = letters(capsys)
    assert [(letter["step"], letter["subject"]) for letter in shown] == [
        (1, "Hello Ada"),
        (3, "How others do it"),
        (4, "Re: How others do it"),
        (7, "Last try, Ada"),
    ]
    assert shown[2]["text"] == (
        "Did you see this?\n"
        "\n"
        "GH\n"
        "\n"
        "On Wed, 25 Nov 2026 at 10:00, Grace Hopper wrote:\n"
        "> So\n"
        ">\n"
        "> GH\n"
        "\n"
        "If you would rather not hear from me again, unsubscribe here: "
        "http://127.0.0.1:8080/u/preview\n"
    )
    assert "<blockquote" in shown[2]["html"]
    assert [letter["missing"] for letter in shown] == [[], [], [], []]


def test_beside_the_database_of_up_a_named_rep_may_be_the_examples(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = ("example.yaml", "--send-at", "now", "--rep", "grace@example.com")
    monkeypatch.setenv("DRUMBEAT_HOME", str(tmp_path / "home"))
    assert refused(capsys, *asked).startswith("reps.yaml:1:1: ")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "drumbeat.db").touch()
    assert len(run(capsys, *asked)["steps"]) == 7


def test_letters_are_the_named_reps_or_a_stand_ins(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\n[my_signature]\n" in letters(capsys)[0]["text"]
    Path("reps.yaml").write_text(REPS)
    assert "Edsger Dijkstra wrote:" in letters(capsys, "--rep", "Edsger@example.com")[2]["text"]
    line = refused(capsys, "example.yaml", "--send-at", "now", "--rep", "nobody@example.com")
    assert line == (
        "reps.yaml: there is no rep nobody@example.com: known are grace@example.com, "
        "edsger@example.com"
    )


def test_letters_are_printed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file.pdf").write_text("x")
    Path("templates/intro.html").write_text(
        "---\nsubject: Hello\nattachments: [file.pdf]\n---\n<p>Hi {{ first_name }}</p>\n"
    )
    arguments = ("example.yaml", "--start", "2026-11-23T10:00", "--send-at", "now", "--letters")
    who = ("--people", "people.csv", "--person", "ada@example.org")
    assert main(["preview", *arguments, *who]) == 0
    assert (
        "\n--- step 1, day 1, Mon 2026-11-23 10:00 EST\n"
        "Subject: Hello\n"
        "Attachments: file.pdf\n"
        "\n"
        "Hi Ada\n"
    ) in capsys.readouterr().out


def test_an_email_whose_tokens_are_missing_says_so_and_its_follow_up_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("templates/case-study.html").write_text("---\nsubject: x\n---\n{{ industry }}\n")
    arguments = ("example.yaml", "--send-at", "now", "--letters", "--people", "people.csv")
    assert main(["preview", *arguments, "--person", "alan@example.org"]) == 0
    shown = capsys.readouterr()
    assert shown.out.count("It waits as missing data, for: industry\n") == 2
    assert "templates/case-study.html:4:4: warning: the token 'industry'" in shown.err


def test_a_prompt_is_shown_to_be_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text(STEPS + "  - {email: prompt, send: task}\n")
    who = ("--people", "people.csv", "--person", "ada@example.org")
    (letter,) = run(capsys, "c.yaml", "--letters", *who)["letters"]
    assert "{{! a word on them }}" in letter["text"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "2 s"),
        ("{% for a in range(99999) %}{{ 'x' * 9999 }}{% endfor %}", "more than 1,000,000"),
        ("{{ 'x' * (10 ** 10) }}", "memory"),
    ],
)
def test_a_template_that_never_ends_or_gives_too_much_is_one_line(
    capsys: pytest.CaptureFixture[str], body: str, words: str
) -> None:
    Path("templates/t.html").write_text(f"---\nsubject: x\n---\n{body}\n")
    Path("c.yaml").write_text(STEPS + "  - {email: t, send: task}\n")
    who = ("--people", "people.csv", "--person", "ada@example.org")
    line = refused(capsys, "c.yaml", "--letters", *who)
    assert line.startswith("step 1, t: the ")
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the first email says `send: choose`: give its send time (--send-at ISO or now)"),
        (("--send-at", "2020-01-01T10:00"), "is in the past: give a later one, or now"),
        (("--send-at", "now", "--at", "1=10:00"), "step 1 is an email with `send: choose`"),
        (("--send-at", "now", "--at", "4=19:00"), "19:00 for step 4 is outside the sending window"),
        (("--send-at", "now", "--at", "9=10:00"), "there is no step 9"),
        (("--send-at", "now", "--done", "1=2030-01-01T10:00"), "only a task can be done"),
        (("--send-at", "now", "--done", "2=2020-01-01T10:00"), "step 2 cannot be done at 2020"),
        (("--send-at", "now", "--person-timezone", "Mars"), "unknown time zone 'Mars'"),
        (("--send-at", "now", "--rep-timezone", "Mars"), "unknown time zone 'Mars'"),
        (
            ("--send-at", "now", "--people", "people.csv", "--person", "eve@example.org"),
            "people.csv: there is no person with the address eve@example.org",
        ),
        (
            ("--send-at", "now", "--people", "people.csv", "--person", "broken"),
            "--person broken: ",
        ),
        (
            ("--send-at", "now", "--people", "none.csv", "--person", "ada@example.org"),
            "none.csv: ",
        ),
        (("--send-at", "now", "--rep", "grace@example.com"), "reps.yaml:1:1: No such file"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused(capsys, "example.yaml", *arguments)


def test_a_send_time_is_refused_where_nothing_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text(STEPS + "  - call: x\n")
    assert "a send time is given (--send-at)" in refused(capsys, "c.yaml", "--send-at", "now")


def test_a_campaign_with_faults_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text(STEPS + "  - {email: intro, send: 9:30}\n")
    assert refused(capsys, "c.yaml") == (
        "c.yaml:6:26: 'send' is to be a time HH:MM with two digits each: write '09:30'"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("--letters",),
        ("--people", "people.csv"),
        ("--person", "ada@example.org"),
        ("--start", "tomorrow"),
        ("--at", "1"),
        ("--done", "x=2026-11-26T15:00"),
    ],
)
def test_what_is_written_wrongly_is_a_matter_of_usage(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert "See starter.py preview --help" in refused(capsys, "example.yaml", *arguments, status=2)
