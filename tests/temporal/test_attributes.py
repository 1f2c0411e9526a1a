from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from drumbeat.temporal import attributes
from drumbeat.temporal.register import prepare


async def test_a_workflow_starts_with_the_attributes_of_a_server_prepared_twice(
    temporal_client: Client, task_queue: str
) -> None:
    await prepare(temporal_client)
    handle = await temporal_client.start_workflow(
        "Any",
        id=task_queue,
        task_queue=task_queue,
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(attributes.CAMPAIGN, "intro-q4")]
        ),
    )
    described = await handle.describe()
    assert described.typed_search_attributes.get(attributes.CAMPAIGN) == "intro-q4"
    await handle.terminate()


def test_only_keywords_and_moments_are_registered() -> None:
    kinds = {key.name: key.indexed_value_type.name for key in attributes.ALL}
    assert kinds == {
        "Campaign": "KEYWORD",
        "Rep": "KEYWORD",
        "Step": "KEYWORD",
        "State": "KEYWORD",
        "NextActionAt": "DATETIME",
    }
