"""Measures Drumbeat against the floor: what Temporal alone costs on the same machine."""
