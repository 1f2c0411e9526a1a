"""Who is in the year that the bench measures over: reps, people's names, campaigns."""

from datetime import time
from typing import Any

from drumbeat.campaign.model import Campaign, Day, EmailStep, Send, Settings, TaskStep, Template

ZONES = ("America/New_York", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "UTC")
WORDS_OF_A_BODY = "We met at the fair and spoke of what your plant makes. " * 8
FIRST = [
    "Ada",
    "Alan",
    "Barbara",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Jean",
    "John",
    "Kathleen",
    "Ken",
    "Leslie",
    "Lynn",
    "Margaret",
    "Mary",
    "Niklaus",
    "Radia",
    "Shafi",
    "Sophie",
    "Tim",
    "Vint",
    "Whitfield",
]
LAST = [
    "Lovelace",
    "Turing",
    "Liskov",
    "Knuth",
    "Dijkstra",
    "Allen",
    "Hopper",
    "Bartik",
    "Backus",
    "Booth",
    "Thompson",
    "Lamport",
    "Conway",
    "Hamilton",
    "Shaw",
    "Wirth",
    "Perlman",
    "Goldwasser",
    "Wilson",
    "Lee",
    "Cerf",
    "Diffie",
]


def rep_address(number: int) -> str:
    """The address of a rep."""
    return f"rep{number}@example.com"


def rep_name(number: int) -> str:
    """The name of a rep."""
    return f"{FIRST[number % len(FIRST)]} {LAST[number // len(FIRST) % len(LAST)]}"


def campaign(number: int) -> Campaign:
    """Ten steps in twenty days: every kind of them."""
    body = f"<p>{WORDS_OF_A_BODY}</p>"

    def email(name: str, send: Send, at: time | None = None, *, follow_up: bool = False) -> Any:
        subject = None if follow_up else "A word on {{company}}"
        template = Template(name=name, subject=subject, body=body, is_html=True)
        return EmailStep(template=template, send=send, send_time=at, follow_up=follow_up)

    days = (
        (1, email("Welcome", Send.FIXED, time(9, 30)), TaskStep(kind="call", subject="Introduce")),
        (3, email("Follow-up", Send.SAME_TIME, follow_up=True)),
        (5, TaskStep(kind="inmail", subject="Connect on LinkedIn")),
        (8, email("Offer", Send.TASK)),
        (10, TaskStep(kind="call", subject="Ask for a meeting")),
        (12, email("Case study", Send.FIXED, time(10, 15))),
        (15, TaskStep(kind="custom", subject="Send the brochure")),
        (18, email("Last word", Send.SAME_TIME, follow_up=True)),
        (20, TaskStep(kind="call", subject="Say goodbye")),
    )
    return Campaign(
        slug=f"campaign-{number:02}",
        name=f"Campaign {number}: plants in region {number % 7}",
        category=("Plants", "Fairs", "Renewals", "Partners")[number % 4],
        settings=Settings(
            person_timezone=True,
            skip_weekends=True,
            holiday_countries=("US",),
            call_outcomes=("Connected", "Left voicemail"),
        ),
        days=tuple(Day(day=day, steps=tuple(steps)) for day, *steps in days),
    )
