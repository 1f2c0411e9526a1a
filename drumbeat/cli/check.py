"""`check`: the tables compared with the workflows, and mended."""

from cyclopts import App
from pydantic_core import to_jsonable_python

from drumbeat.actions import checking
from drumbeat.actions.checking import Difference, Mailboxes, Report
from drumbeat.cli.context import Context
from drumbeat.cli.output import print_json, say
from drumbeat.cli.parameters import Json, example

commands = App(name="check", help_epilogue=example("starter.py check"))

_MAILBOXES = {
    Mailboxes.RELEASED: "the mailboxes that waited since the database was restored are released",
    Mailboxes.HELD: "all mailboxes wait, as the database was restored: settle what is left, and "
    "check again",
}


@commands.default
async def check(*, json: Json = False) -> int:
    """Compare the tables with the workflows, and mend the tables.

    Prints every difference. The exit status is 0 when nothing is left wrong, else 1. After a
    database was restored from a backup all mailboxes wait; this releases them when nothing is left.
    """
    async with Context() as context:
        desk = await context.desk()
        report = await checking.check(desk, context.settings.task_queue)
    if json:
        print_json(
            {
                "checked": report.checked,
                "left": report.left,
                "mailboxes": report.mailboxes,
                "differences": [to_jsonable_python(each) for each in report.differences],
            }
        )
    else:
        for each in report.differences:
            say(_line(each))
        say(_sum(report))
        if report.mailboxes is not Mailboxes.FREE:
            say(_MAILBOXES[report.mailboxes])
    return 1 if report.left else 0


def _line(one: Difference) -> str:
    who = one.person or one.workflow_id
    where = f" in {one.campaign}" if one.campaign else ""
    kind = one.kind.replace("_", " ")
    said = f"the tables say {one.tables}, the workflow {one.workflow}"
    return f"{who}{where}: {kind}: {said}: {one.text}"


def _sum(report: Report) -> str:
    number, found = report.checked, len(report.differences)
    text = f"checked {number} running enrollment{'' if number == 1 else 's'}"
    if not found:
        return f"{text}: nothing is different"
    return f"{text}: {found} different, {found - report.left} settled, {report.left} left"
