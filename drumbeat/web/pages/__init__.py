"""The pages of the Command Center: one module each, with a `router`."""

from fastapi import APIRouter

from drumbeat.web.pages import (
    campaigns,
    compose,
    email_edit,
    emails,
    enroll_emails,
    enrolling,
    feed,
    figures,
    letters,
    people,
    settings,
    tasks,
)

ROUTERS: tuple[APIRouter, ...] = (
    compose.router,
    tasks.router,
    email_edit.router,
    emails.router,
    enroll_emails.router,
    enrolling.router,
    campaigns.router,
    feed.router,
    figures.router,
    people.router,
    letters.router,
    settings.router,
)
"""All of them; every change that they take is checked for where it comes from."""
