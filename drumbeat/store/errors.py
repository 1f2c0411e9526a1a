"""What the database can refuse; each text is one clear line without secrets."""


class StoreError(Exception):
    """The database cannot be used as it is; the text says what to do."""


class DatabaseUnreachable(StoreError):
    """No database answers at the address, or it refuses the user."""


class DatabaseTooNew(StoreError):
    """A newer Drumbeat has changed the database."""


class DatabaseTooOld(StoreError):
    """The database lacks migrations."""


class RowMissing(LookupError):
    """The tables lack what a workflow knows: the database is older than the workflow."""
