"""Drumbeat: sales campaigns as durable workflows."""
