"""Running enrollments outlive a deployment: recorded histories replay, and a slip is caught."""

from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from activities.enrollments import Enrollments
from drumbeat.campaign.calendar import PlannedStep
from drumbeat.temporal.interceptor import RecordingInterceptor
from tests.histories import paths
from tests.histories.record import FOLDER
from workflows.campaign import CampaignWorkflow
from workflows.messages import WORKFLOW_TYPE, CampaignInput, CampaignResult

HISTORIES = sorted(FOLDER.glob("*.json"))


def read(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


def replayer(workflow_class: type, **options: object) -> Replayer:
    return Replayer(
        workflows=[workflow_class],
        data_converter=pydantic_data_converter,
        interceptors=[RecordingInterceptor()],
        **options,  # type: ignore[arg-type]  # of the test's own
    )


def test_every_path_has_a_history_and_every_history_a_path() -> None:
    assert {path.stem for path in HISTORIES} == set(paths.PATHS)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    await replayer(CampaignWorkflow).replay_workflow(read(path))


@workflow.defn(name=WORKFLOW_TYPE)
class _WithOneMoreActivity(CampaignWorkflow):
    @workflow.init
    def __init__(self, start: CampaignInput) -> None:
        super().__init__(start)

    @workflow.run
    async def run(self, start: CampaignInput) -> CampaignResult:
        return await super().run(start)

    async def _walk(self, step: PlannedStep) -> None:
        await workflow.execute_activity_method(
            Enrollments.record,
            self._enrollment.record(),
            start_to_close_timeout=timedelta(minutes=1),
        )
        await super()._walk(step)


async def test_an_activity_added_without_patched_is_caught() -> None:
    changed = replayer(_WithOneMoreActivity, workflow_runner=UnsandboxedWorkflowRunner())
    with pytest.raises(workflow.NondeterminismError):
        await changed.replay_workflow(read(FOLDER / "completed.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_no_history_holds_a_body_an_address_or_a_name(path: Path) -> None:
    history = read(path)
    content = b"".join(event.SerializeToString() for event in history.events)
    assert b'"enrollment_id"' in content  # payloads are read as they are
    assert not [word for word in paths.WORDS if word in content]
