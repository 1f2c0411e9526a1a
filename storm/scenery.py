"""The campaign, the reps and the people of a storm."""

from collections.abc import Iterable

CAMPAIGN = "storm"
REPS = ("grace@example.com", "alan@example.com")
LIMIT, SPAN = 25, 12
"""The second rep's mailbox: so many emails in any so many seconds."""
REPS_FILE = f"""\
reps:
  - email: {REPS[0]}
    name: Grace Hopper
    timezone: UTC
    mailbox: {{batch: none, daily: none}}
  - email: {REPS[1]}
    name: Alan Turing
    timezone: UTC
    mailbox: {{batch: {LIMIT} in {SPAN}s, daily: none}}
"""
EMAIL_STEPS = (1, 3, 4)
LAST_STEP = 6
"""A task on a day far off: who has got everything waits for it, and can be compared."""
CAMPAIGN_FILE = f"""\
campaign: {CAMPAIGN}
name: Storm
settings:
  timezone: UTC
days:
  - day: 1
    steps:
      - email: {{subject: "A question, {{{{ first_name }}}}", body: "<p>Hello, one.</p>"}}
        send: choose
      - call: Introduce yourself
      - email: {{subject: "A case study", body: "<p>See how others did it.</p>"}}
        send: same_time
      - email: {{body: "<p>Is this of interest, {{{{ first_name }}}}?</p>"}}
        send: same_time
        follow_up: true
      - call: Ask what they think
  - day: 60
    steps:
      - custom: Look back
"""


def address(number: int) -> str:
    """A person's."""
    return f"person{number}@example.org"


def number_of(whose: str) -> int:
    """The person's number, from the address."""
    return int(whose.removeprefix("person").partition("@")[0])


def people_csv(numbers: Iterable[int]) -> str:
    """So many people, as a CSV file."""
    rows = [f"{address(number)},Person{number}" for number in numbers]
    return "\n".join(["email,first_name", *rows, ""])
