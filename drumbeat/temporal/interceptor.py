"""Keeps a wrong signal from stopping a workflow: whatever its handler raises is remembered there.

A signal with too few or too many arguments raises before any handler of ours is reached, which
would fail the workflow task again and again. Workers and replayers get the same interceptor.
"""

from temporalio import workflow
from temporalio.worker import (
    HandleSignalInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class _Recording(WorkflowInboundInterceptor):
    async def handle_signal(self, input: HandleSignalInput) -> None:
        """Hand a signal to its handler; remember it as refused where that raises."""
        try:
            await super().handle_signal(input)
        except Exception as error:
            refuse = getattr(workflow.instance(), "refuse", None)
            if refuse is None:
                raise
            refuse(input.signal, f"it could not be handled: {type(error).__name__}")


class RecordingInterceptor(Interceptor):
    """Remembers signals that cannot be handled, in the workflow that they were sent to."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """The interceptor of one workflow run."""
        return _Recording
