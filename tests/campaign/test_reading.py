from datetime import date, time

import pytest

from drumbeat.campaign.model import (
    Attachment,
    EmailStep,
    OnReply,
    Priority,
    Send,
    Settings,
    TaskStep,
    Window,
)
from tests.campaign.reading_folder import SETTINGS, STEPS, faults, folder, read, warnings

__all__ = ["folder"]
pytestmark = pytest.mark.usefixtures("folder")

# As in SPEC section 2.
EXAMPLE = """\
campaign: intro-q4 # slug: a-z, 0-9 and '-'; identifies the campaign
name: Q4 introduction
category: Prospecting # optional; campaigns are grouped by it
settings: # all optional
  timezone: America/New_York # IANA name; default: the rep's, else UTC
  person_timezone: false # true: a person's own zone, where the person has one
  skip_weekends: true # default false
  holidays: [US, 2026-12-24] # ISO country codes and single dates; default none      (ours)
  sending_window: "08:00-18:00" # automatic emails only; default none                   (ours)
  on_reply: end_as_success # continue | end | end_as_success; default end
  remove_on_bounce: true # default true
  call_outcomes: [Connected, Left voicemail, No answer] # optional, at most 15
days:
  - day: 1
    steps:
      - email: intro # a template's name: templates/intro.html beside this file
        send: choose
      - call: Introduce yourself
        notes: |
          Ask about the migration.
  - day: 3
    steps:
      - email: case-study
        send: same_time
  - day: 4
    steps:
      - email: bump
        send: "09:30"
        follow_up: true
  - day: 6
    steps:
      - inmail: Connect on LinkedIn
        notes: Mention the webinar.
      - custom: Invite to the happy hour
        priority: high
      - email: { subject: "Last try, {{ first_name }}", body: "<p>Shall I close your file?</p>" }
        send: "10:00"
"""


def test_the_specifications_example_is_read() -> None:
    reading = read(EXAMPLE)
    assert reading.faults == reading.warnings == ()
    campaign = reading.campaign
    assert campaign is not None
    assert (campaign.slug, campaign.name) == ("intro-q4", "Q4 introduction")
    assert campaign.category == "Prospecting"
    assert campaign.settings == Settings(
        timezone="America/New_York",
        skip_weekends=True,
        holiday_countries=("US",),
        holiday_dates=(date(2026, 12, 24),),
        sending_window=Window(start=time(8), end=time(18)),
        on_reply=OnReply.END_AS_SUCCESS,
        call_outcomes=("Connected", "Left voicemail", "No answer"),
    )
    assert [(number, day, step.kind, step.title) for number, day, step in campaign.steps] == [
        (1, 1, "email", "intro"),
        (2, 1, "call", "Introduce yourself"),
        (3, 3, "email", "case-study"),
        (4, 4, "email", "bump"),
        (5, 6, "inmail", "Connect on LinkedIn"),
        (6, 6, "custom", "Invite to the happy hour"),
        (7, 6, "email", "email"),
    ]
    first, call, _, bump, _, custom, last = (step for _, _, step in campaign.steps)
    assert (first.called, call.called) == ("intro", "Introduce yourself")
    assert last.called == "Last try, {{ first_name }}"
    assert isinstance(first, EmailStep) and first.send is Send.CHOOSE
    assert first.template.subject == "Hello {{ first_name }}"
    assert first.template.body == "<p>Hello</p>\n" and first.template.is_html
    assert call == TaskStep(
        kind="call", subject="Introduce yourself", notes="Ask about the migration."
    )
    assert isinstance(bump, EmailStep) and bump.follow_up and bump.send_time == time(9, 30)
    assert bump.template.subject is None and not bump.template.is_html
    assert custom.priority is Priority.HIGH
    assert isinstance(last, EmailStep) and last.template.name is None and last.template.is_html


def test_the_smallest_file_has_the_defaults() -> None:
    campaign = read("{campaign: a, name: A, days: [{day: 1, steps: [{call: x}]}]}").campaign
    assert campaign is not None
    assert campaign.settings == Settings()
    assert campaign.category is None


def test_yaml_1_2_is_read() -> None:
    """Times are text, NO is Norway, yes is text; settings may be left out below their key."""
    text = STEPS + "  - {call: yes, notes: NO}\n  - {email: intro, send: 10:00}\nsettings:\n"
    campaign = read(text.replace("settings:\n", "settings: {holidays: [NO]}\n")).campaign
    assert campaign is not None
    assert campaign.settings.holiday_countries == ("NO",)
    assert campaign.step(1).title == "yes" and campaign.step(1).notes == "NO"
    email = campaign.step(2)
    assert isinstance(email, EmailStep) and email.send_time == time(10)
    assert faults(text) == []


def test_a_text_of_several_lines_is_folded_without_a_trace() -> None:
    campaign = read(STEPS + "  - call: x\n    notes: >\n      one\n      two\n").campaign
    assert campaign is not None and campaign.step(1).notes == "one two"


def test_aliases_stand_for_what_they_name() -> None:
    text = STEPS + "  - &step {email: intro, send: '10:00'}\n  - *step\n"
    campaign = read(text).campaign
    assert campaign is not None
    assert campaign.step(1) == campaign.step(2)


def test_the_same_content_is_the_same_version_and_another_template_is_another() -> None:
    text = STEPS + "  - email: intro\n    send: '10:00'\n"
    first, again = read(text).campaign, read(text.replace("'10:00'", "10:00 # as before")).campaign
    assert first is not None and again is not None
    assert first.version == again.version
    with open("templates/intro.html", "a") as file:
        file.write("<p>More</p>\n")
    changed = read(text).campaign
    assert changed is not None and changed.version != first.version


FILES = [
    # of the whole file
    ("- a\n", ["1:1: the file is to be a mapping with campaign, name, days, not a list"]),
    ("hello\n", ["1:1: the file is to be a mapping with campaign, name, days, not 'hello'"]),
    (
        "category: x\n",
        [
            "1:1: the file lacks 'campaign'",
            "1:1: the file lacks 'name'",
            "1:1: the file lacks 'days'",
        ],
    ),
    (
        "nmae: A\ncampaign: a\ndays: []\n",
        [
            "1:1: unknown key 'nmae' in the file: did you mean 'name'?",
            "3:7: 'days' is to hold at least one day",
        ],
    ),
    (SETTINGS.replace("settings:", "zzz: 1"), ["4:1: unknown key 'zzz' in the file: known are"]),
    (SETTINGS.replace("settings:", "name: B"), ["4:1: 'name' stands twice, first in line 2"]),
    (SETTINGS.replace("settings:", "[a]: B"), ["4:1: a key of the file is to be a word"]),
    (SETTINGS.replace("settings:", "<<: {a: 1}"), ["4:1: unknown key '<<' in the file: YAML 1.2"]),
    (SETTINGS.replace("settings:", "settings: []"), ["4:11: the settings is to be a mapping"]),
    (
        SETTINGS.replace(": A", ": A: b"),
        ["2:8: this is no YAML: mapping values are not allowed here: put a text that holds"],
    ),
    # campaign, name, category
    (SETTINGS.replace(": a", ": Intro Q4"), ["1:11: 'campaign' is to be made of a-z, 0-9 and '-'"]),
    (SETTINGS.replace(": a", ": Intro Q4"), ["write 'intro-q4'"]),
    (SETTINGS.replace(": a", ": 5"), ["1:11: 'campaign' is to be text: put '5' in quotes"]),
    (SETTINGS.replace(": a", ": " + "a" * 101), ["1:11: 'campaign' is to have at most 100"]),
    (SETTINGS.replace(": a", ":"), ["1:1: 'campaign' is empty: fill it in"]),
    (SETTINGS.replace(": A", ": true"), ["2:7: 'name' is to be text: put 'true' in quotes"]),
    (SETTINGS.replace(": A", ": [A]"), ["2:7: 'name' is to be text, not a list"]),
    (SETTINGS.replace(": A", ": ''"), ["2:7: 'name' is to be text, and is blank"]),
    (SETTINGS.replace(": A", ': "a\\nb"'), ["2:7: 'name' is to be one line of text"]),
    (SETTINGS.replace("settings", "category: 3\nsettings"), ["4:11: 'category' is to be text"]),
]

SETTING = [
    ("timezone: America/NewYork", "13: 'timezone' names no time zone that is known"),
    ("timezone: America/NewYork", "did you mean 'America/New_York'?"),
    ("timezone: EST5", "13: 'timezone' names no time zone"),
    ("timezone: 5", "13: 'timezone' is to be text"),
    ("timezone:", "3: 'timezone' is empty"),
    ("timezon: UTC", "3: unknown key 'timezon' in the settings: did you mean 'timezone'?"),
    ("person_timezone: yes", "20: 'person_timezone' is to be true or false, not 'yes'"),
    ("skip_weekends: 1", "18: 'skip_weekends' is to be true or false, not '1'"),
    ("skip_weekends: 'true'", "18: 'skip_weekends' is to be true or false, not 'true'"),
    ("holidays: US", "13: 'holidays' is to be a list, as in [US, 2026-12-24], not 'US'"),
    ("holidays: [US, XX]", "18: 'holidays' has 'XX', which is no ISO country code"),
    ("holidays: [us]", "14: 'holidays' has 'us', which is no ISO country code that is known: did"),
    ("holidays: [2026-02-30]", "14: 'holidays' has '2026-02-30', which is no date"),
    ("holidays: [24.12.2026]", "14: 'holidays' has '24.12.2026', which is no ISO country code"),
    ("holidays: [2026]", "14: 'holidays' has '2026': write a country's code or a date"),
    ("holidays: [[US]]", "14: 'holidays' has a list: write a country's code or a date"),
    ("sending_window: '08:00'", "19: 'sending_window' is to be two times, as in '08:00-18:00'"),
    ("sending_window: 8:00-18:00", "19: 'sending_window' is to be a time HH:MM with two digits"),
    ("sending_window: 08:00-24:00", "19: 'sending_window' is to be a time from 00:00 to 23:59"),
    ("sending_window: 18:00-08:00", "19: 'sending_window' is to run forwards within one day"),
    ("sending_window: 08:00-08:00", "19: 'sending_window' is to run forwards within one day"),
    ("sending_window: [a]", "19: 'sending_window' is to be text, not a list"),
    ("on_reply: stop", "13: 'on_reply' cannot be 'stop': write one of continue, end"),
    ("on_reply: end_as_sucess", "13: 'on_reply' cannot be 'end_as_sucess': did you mean 'end_as_s"),
    ("on_reply: [end]", "13: 'on_reply' is to be one of continue, end, end_as_success, not a list"),
    ("remove_on_bounce: no", "21: 'remove_on_bounce' is to be true or false, not 'no'"),
    ("call_outcomes: Connected", "18: 'call_outcomes' is to be a list"),
    ("call_outcomes: [a, a]", "22: 'call_outcomes' has 'a' twice: leave one out"),
    ("call_outcomes: [a, 2]", "22: 'call_outcomes' is to be text: put '2' in quotes"),
    (f"call_outcomes: {list('abcdefghijklmnop')}", "94: 'call_outcomes' has 16 outcomes: at most"),
    ("track: maybe", "10: 'track' is to be true or false, not 'maybe'"),
]

DAYS = [
    ("days:", ["3:1: 'days' is empty"]),
    ("days: []", ["3:7: 'days' is to hold at least one day"]),
    ("days: {day: 1}", ["3:7: 'days' is to be a list of days"]),
    ("days: [1]", ["3:8: a day is to be a mapping with day, steps, not '1'"]),
    ("days: [{day: 1}]", ["3:8: a day lacks 'steps'"]),
    ("days: [{steps: [{call: x}]}]", ["3:8: a day lacks 'day'"]),
    ("days: [{day: 1, steps: []}]", ["3:24: 'steps' is to hold at least one step"]),
    ("days: [{day: 1, steps: x}]", ["3:24: 'steps' is to be a list of steps"]),
    ("days: [{day: 1, steps: }]", ["3:17: 'steps' is empty"]),
    (
        "days: [{day: one, steps: [{call: x}]}]",
        ["3:14: 'day' is to be a whole number from 1 to 365"],
    ),
    ("days: [{day: 1.5, steps: [{call: x}]}]", ["3:14: 'day' is to be a whole number"]),
    ("days: [{day: '1', steps: [{call: x}]}]", ["3:14: 'day' is to be a whole number"]),
    ("days: [{day: 0, steps: [{call: x}]}]", ["3:14: 'day' is to be a whole number from 1"]),
    ("days: [{day: 2, steps: [{call: x}]}]", ["3:14: the first day is to be 1, not 2"]),
    (
        "days: [{day: 1, steps: [{call: x}]}, {day: 366, steps: [{call: x}]}]",
        ["3:44: 'day' is to be a whole number from 1 to 365, not '366'"],
    ),
    (
        "days:\n- day: 1\n  steps: [{call: x}]\n- day: 1\n  steps: [{call: x}]",
        ["6:8: days are to ascend, and 1 does not come after 1 in line 4: put both days' steps"],
    ),
    (
        "days:\n- {day: 1, steps: [{call: x}]}\n- {day: 5, steps: [{call: x}]}\n"
        "- {day: 3, steps: [{call: x}]}\n- {day: 4, steps: [{call: x}]}",
        ["6:9: days are to ascend, and 3 does not come after 5 in line 5: order them"],
    ),
    (
        "days: [{day: 1, stepps: [{call: x}]}]",
        ["3:17: unknown key 'stepps' in a day: did you mean"],
    ),
]

STEP = [
    # a kind
    ("- x", ["5: a step is to be a mapping with one of email, call, inmail, custom, not 'x'"]),
    ("- notes: x", ["5: a step is to have one of email, call, inmail, custom: this one has none"]),
    ("- {call: x, inmail: y}", ["15: a step is one thing: 'call' stands here already"]),
    ("- cal: x", ["5: unknown key 'cal' in a step: did you mean 'call'?"]),
    ("- call:", ["5: 'call' is empty"]),
    ("- call: {a: 1}", ["11: 'call' is to be text, not a mapping"]),
    (
        "- call: {{ first_name }}",
        ["11: 'call' is to be text, and YAML takes it for a mapping: put"],
    ),
    ("- {call: x, send: '10:00'}", ["15: 'send' belongs to emails, not to a step 'call'"]),
    ("- {call: x, follow_up: true}", ["15: 'follow_up' belongs to emails"]),
    ("- {call: x, priority: urgent}", ["25: 'priority' cannot be 'urgent': write one of normal"]),
    ("- {call: x, priority: hihg}", ["25: 'priority' cannot be 'hihg': did you mean 'high'?"]),
    ("- {call: x, notes: [a]}", ["22: 'notes' is to be text, not a list"]),
    ("- {call: x, notes: 5}", ["22: 'notes' is to be text: put '5' in quotes"]),
    ("- {call: x, call: y}", ["15: 'call' stands twice, first in line 6"]),
    # send
    ("- email: intro", ["5: an email step lacks 'send': write choose, a time as in '09:30'"]),
    ("- {email: intro, send: 9:30}", ["26: 'send' is to be a time HH:MM with two digits each: wr"]),
    ("- {email: intro, send: 9:30}", ["write '09:30'"]),
    ("- {email: intro, send: 24:00}", ["26: 'send' is to be a time from 00:00 to 23:59"]),
    ("- {email: intro, send: 10:00:00}", ["26: 'send' is to be a time from 00:00 to 23:59"]),
    ("- {email: intro, send: 10}", ["26: 'send' is to be choose, a time as in '09:30', same_time"]),
    (
        "- {email: intro, send: sametime}",
        ["26: 'send' cannot be 'sametime': did you mean 'same_ti"],
    ),
    ("- {email: intro, send: fixed}", ["26: 'send' is to be choose, a time as in '09:30'"]),
    ("- {email: intro, send: now}", ["26: 'send' is to be choose, a time as in '09:30'"]),
    ("- {email: intro, send: }", ["20: 'send' is empty"]),
    ("- {email: intro, snd: '10:00'}", ["20: unknown key 'snd' in a step: did you mean 'send'?"]),
    ("- {email: intro, send: same_time}", ["26: 'send: same_time' has no email before it"]),
    ("- call: x\n  - {email: intro, send: choose}", ["7:26: 'send: choose' is for the first step"]),
    (
        "- {email: intro, send: task}\n- day: 2\n  steps:\n  - {email: intro, send: choose}",
        ["9:26: 'send: choose' is for the first step of the first day only"],
    ),
    (
        "- call: x\n- day: 2\n  steps:\n  - {email: intro, send: '10:00'}\n"
        "  - {email: intro, send: same_time}",
        ["10:26: 'send: same_time' needs an email on an earlier day"],
    ),
    (
        "- {email: intro, send: '10:00'}\n  - {email: intro, send: '09:00'}",
        ["7:26: the times of this day run backwards: 09:00 comes after 10:00 in line 6"],
    ),
    (
        "- {email: intro, send: '10:00'}\n  - call: x\n  - {email: intro, send: '09:00'}",
        ["8:26: the times of this day run backwards"],
    ),
    (
        "- {email: intro, send: '10:00'}\nsettings: {sending_window: 08:00-09:59}",
        ["6:26: 'send' at 10:00 is outside the sending window: write a time from 08:00 to 09:59"],
    ),
    # what belongs to tasks
    (
        "- {email: intro, send: choose, notes: x}",
        ["34: 'notes' belongs to tasks: leave it out, or"],
    ),
    ("- {email: intro, send: '10:00', priority: high}", ["35: 'priority' belongs to tasks"]),
    # follow_up
    ("- {email: intro, send: choose, follow_up: yes}", ["45: 'follow_up' is to be true or false"]),
    ("- {email: intro, send: choose, follow_up: true}", ["45: 'follow_up' has no email before it"]),
    (
        "- call: x\n  - {email: bump, send: '10:00', follow_up: true}",
        ["7:45: 'follow_up' needs an email as the step directly before, and that is a step 'call'"],
    ),
    (
        "- {email: intro, send: '10:00'}\n  - inmail: x\n- day: 2\n  steps:\n"
        "  - {email: bump, send: '10:00', follow_up: true}",
        ["10:45: 'follow_up' needs an email as the step directly before, and that is a step 'inm"],
    ),
    # email
    ("- {email: intr, send: choose}", ["13: 'email' names no template, as there is no templates/"]),
    ("- {email: intr, send: choose}", ["did you mean 'intro'?"]),
    ("- {email: zzz, send: choose}", ["13: 'email' names no template, as there is no templates/z"]),
    (
        "- {email: intro.html, send: choose}",
        ["13: 'email' is to be a template's name alone: write"],
    ),
    ("- {email: ../intro, send: choose}", ["13: 'email' is to be a template's name: letters"]),
    ("- {email: 5, send: choose}", ["13: 'email' is to be text: put '5' in quotes"]),
    ("- {email: [a], send: choose}", ["13: 'email' is to be a template's name, or a subject and"]),
    ("- {email: bump, send: choose}", ["13: templates/bump.txt has no 'subject', which only a fo"]),
    # a text in the campaign file
    ("- {email: {subject: a}, send: choose}", ["13: an email's text lacks 'body'"]),
    ("- {email: {body: a}, send: choose}", ["13: the email's text has no 'subject', which only a"]),
    (
        "- {email: {subject: a, boddy: b}, send: choose}",
        ["26: unknown key 'boddy' in an email's te"],
    ),
    ("- {email: {subject: '', body: b}, send: choose}", ["23: 'subject' is blank"]),
    ("- {email: {subject: a, body: ''}, send: choose}", ["32: 'body' is blank"]),
    ("- {email: {subject: a, body: 5}, send: choose}", ["32: 'body' is to be text: put '5' in"]),
    (
        "- email: {subject: 'Hi {{ my_nam }}', body: b}\n    send: choose",
        ["29: unknown token 'my_nam' of the rep: did you mean 'my_name'?"],
    ),
    (
        "- email:\n      subject: a\n      body: |\n        Hi\n\n        you {{ my_nmae }}\n"
        "    send: choose",
        ["11:16: unknown token 'my_nmae' of the rep: did you mean 'my_name'?"],
    ),
    (
        "- email: {subject: a, body: 'b {{ c'}\n    send: choose",
        ["34: the template does not parse"],
    ),
    (
        "- email: {subject: a, body: 'b {{! c }}'}\n    send: choose",
        ["34: the field prompt 'c' must be replaced before sending, and this step sends the email"],
    ),
]


def expect(found: list[str], wanted: list[str], line: int) -> None:
    """As many faults as are wanted, each holding its words; places may leave out their line."""
    assert len(found) == len(wanted), found
    for fault, words in zip(found, wanted, strict=True):
        start, colon, _ = words.partition(": ")
        if colon and start.isdigit():
            words = f"{line}:{words}"
        if words[0].isdigit():
            assert fault.startswith(words), found
        else:
            assert words in fault, found


@pytest.mark.parametrize(("text", "wanted"), FILES)
def test_faults_of_the_file(text: str, wanted: list[str]) -> None:
    expect(faults(text), wanted, 1)


@pytest.mark.parametrize(("setting", "wanted"), SETTING)
def test_faults_of_the_settings(setting: str, wanted: str) -> None:
    expect(faults(f"{SETTINGS}  {setting}\n"), [wanted], 5)


@pytest.mark.parametrize(("days", "wanted"), DAYS)
def test_faults_of_days(days: str, wanted: list[str]) -> None:
    expect(faults(f"campaign: a\nname: A\n{days}\n"), wanted, 3)


@pytest.mark.parametrize(("step", "wanted"), STEP)
def test_faults_of_steps(step: str, wanted: list[str]) -> None:
    expect(faults(f"{STEPS}  {step}\n"), wanted, 6)


def test_every_fault_is_told_at_once_in_order() -> None:
    text = """\
campaign: Intro Q4
nmae: x
settings:
  skip_weekends: yes
  on_reply: end_as_sucess
days:
  - day: 2
    steps:
      - email: intr
        send: same_time
        follow_up: true
      - emial: foo
  - day: 2
    steps: []
  - day: x
    steps:
      - email: prompt
        call: you
        send: 9:30
      - email: bump
        send: "11:00"
      - email: prompt
        send: "10:00"
        priority: high
        priority: normal
"""
    assert [fault.split(": ")[0] for fault in faults(text)] == [
        "1:11",
        "2:1",
        "4:18",
        "5:13",
        "7:10",
        "9:16",
        "10:15",
        "11:20",
        "12:9",
        "13:10",
        "14:12",
        "15:10",
        "18:9",
        "19:15",
        "20:16",
        "23:15",
        "24:9",
        "25:9",
        "templates/prompt.html:5:4",
    ]


def test_one_mistake_is_one_fault() -> None:
    """What cannot be told because of a fault draws no further ones."""
    text = STEPS + (
        "  - emial: x\n"
        "  - {email: bump, send: 10:00, follow_up: true}\n"
        "- day: x\n"
        "  steps:\n"
        "  - {email: intro, send: same_time}\n"
    )
    assert len(faults(text)) == 2


def test_a_fault_in_what_several_aliases_name_is_told_once() -> None:
    text = STEPS + "  - &step\n    call: x\n    notes: 5\n  - *step\n  - *step\n"
    assert faults(text) == ["8:12: 'notes' is to be text: put '5' in quotes"]


def test_where_a_step_may_stand_is_told_at_its_alias() -> None:
    text = STEPS + "  - call: &send 'choose'\n  - {email: intro, send: *send}\n"
    assert [fault.split(": ")[0] for fault in faults(text)] == ["7:26"]


def test_what_is_allowed_at_its_limits() -> None:
    outcomes = ", ".join(f"'{number}'" for number in range(15))
    text = (
        f"campaign: {'a' * 100}\nname: A\n"
        f"settings: {{sending_window: 08:00-18:00, call_outcomes: [{outcomes}]}}\n"
        "days:\n"
        "- day: 1\n"
        "  steps:\n"
        "  - {email: intro, send: 08:00}\n"
        "  - {email: bump, send: 08:00, follow_up: true}\n"
        "  - {email: bump, send: 18:00, follow_up: true}\n"
        "- day: 2\n"
        "  steps:\n"
        "  - {email: bump, send: task, follow_up: true, notes: x, priority: high}\n"
        "- day: 365\n"
        "  steps:\n"
        "  - {email: intro, send: same_time}\n"
        "  - {email: intro, send: same_time, follow_up: false}\n"
    )
    assert faults(text) == []


def test_warnings() -> None:
    text = STEPS + (
        "  - {email: prompt, send: task}\n"
        "  - {email: bump, send: same_time, follow_up: true}\n"
        "  - email: {subject: '{{ industry }}', body: 'a {{ companny }} {{ x | default(1) }}'}\n"
        "    send: '10:00'\n"
    )
    assert warnings(text) == [
        "7:25: warning: 'send: same_time' on the first day sends at once, when it is reached",
        "7:47: warning: the email before, templates/prompt.html, has a field prompt: the copy that "
        "is appended leaves the prompt out",
        "8:26: warning: the token 'industry' is no known field and has no default: it must be a "
        "column of the CSV, or be written otherwise (the nearest known one is 'linkedin')",
        "8:52: warning: the token 'companny' is no known field and has no default: it must be a "
        "column of the CSV, or be written otherwise (the nearest known one is 'company')",
    ]
    assert read(text).campaign is not None


def test_a_text_in_the_campaign_file_is_html_where_it_has_a_tag() -> None:
    text = STEPS + (
        "  - {email: {subject: a, body: '<p>b</p>'}, send: choose}\n"
        "  - {email: {subject: a, body: 'b < c'}, send: task}\n"
    )
    campaign = read(text).campaign
    assert campaign is not None
    first, second = campaign.step(1), campaign.step(2)
    assert isinstance(first, EmailStep) and first.template.is_html
    assert isinstance(second, EmailStep) and not second.template.is_html
    assert first.template.attachments == ()
    assert Attachment(path="a/b.pdf", sha256="", size=0).filename == "b.pdf"
