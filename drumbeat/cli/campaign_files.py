"""Campaign files as commands take them: read, or the command is refused with every fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drumbeat.campaign.model import Campaign
from drumbeat.campaign.reading import Fault, read_campaign, warning_line
from drumbeat.cli.errors import CommandRefused
from drumbeat.cli.output import complain


@dataclass(frozen=True, slots=True)
class UsableCampaign:
    """A campaign file without faults."""

    campaign: Campaign
    attachments: Mapping[str, bytes]
    """Their bytes, by their SHA-256."""


def usable_campaign(path: str) -> UsableCampaign:
    """The campaign of a file; its warnings are printed on standard error.

    Args:
        path: As typed: faults name the file so.

    Raises:
        CommandRefused: It has faults; each is a line.
    """
    reading = read_campaign(path)
    if reading.campaign is None:
        raise CommandRefused(*lines_of(reading.faults, reading.warnings))
    for line in lines_of((), reading.warnings):
        complain(line)
    return UsableCampaign(reading.campaign, reading.attachments)


def lines_of(faults: Sequence[Fault], warnings: Sequence[Fault]) -> list[str]:
    """Faults and warnings as they are printed (SPEC section 2)."""
    return [*(str(fault) for fault in faults), *(warning_line(warning) for warning in warnings)]
