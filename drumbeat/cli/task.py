"""`starter.py task`: the rep's queue."""

from cyclopts import App

commands = App(name="task", help="The rep's queue.")
