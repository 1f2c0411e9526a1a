"""Emails as the outside world sees them: bytes, mail servers, limits."""
