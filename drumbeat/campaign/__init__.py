"""The domain, pure: no Temporal, no database, no network, no current time."""
