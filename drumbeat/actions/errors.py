"""What an action refuses. The command line prints the message, the web shows it."""


class ActionError(Exception):
    """It cannot be done; the message says in one line what is wrong and what would be right."""


class NotFound(ActionError):
    """There is no such person, campaign, hold or the like."""
