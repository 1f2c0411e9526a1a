"""The web application: the start of the Command Center."""
