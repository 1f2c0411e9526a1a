"""The pages of the Command Center: one module each, with a `router`."""

from fastapi import APIRouter

from drumbeat.web.pages import compose, emails, feed, tasks

ROUTERS: tuple[APIRouter, ...] = (
    compose.router,
    tasks.router,
    emails.router,
    feed.router,
)
"""All of them; every change that they take is checked for where it comes from."""
