"""The pages of the Command Center in a real browser."""
