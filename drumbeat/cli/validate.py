"""`starter.py validate`: checks a campaign file."""

from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from drumbeat.campaign.reading import read_campaign
from drumbeat.cli.campaign_files import usable_campaign
from drumbeat.cli.output import print_json, say
from drumbeat.cli.parameters import Json, example

commands = App(
    name="validate",
    help_epilogue=example("starter.py validate examples/intro/campaign.yaml"),
)

CampaignFile = Annotated[str, Parameter(name="CAMPAIGN", help="The campaign file, a path.")]


@commands.default
def validate(campaign: CampaignFile, /, *, json: Json = False) -> int | None:
    """Check a campaign file with its templates and attachments.

    Every fault is a line FILE:LINE:COLUMN: what is wrong and what would be right; nothing is
    stored, and nobody enrolled. Warnings are marked so, and leave the status 0.
    """
    if json:
        reading = read_campaign(campaign)
        print_json(
            {
                "ok": reading.campaign is not None,
                "faults": [asdict(fault) for fault in reading.faults],
                "warnings": [asdict(warning) for warning in reading.warnings],
            }
        )
        return None if reading.campaign is not None else 1
    found = usable_campaign(campaign).campaign
    say(f"{found.slug}: {_count(len(found.steps), 'step')} on {_count(len(found.days), 'day')}, ok")
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
