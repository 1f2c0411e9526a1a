import pytest

from drumbeat.store.lists.searching import spellings


@pytest.mark.parametrize(
    ("word", "expected"),
    [("ADA", ["ada"]), ("émile", ["Émile", "émile"]), ("ÉMILE", ["Émile", "émile"])],
)
def test_a_word_is_looked_for_as_either_database_holds_it_in_lower_case(
    word: str, expected: list[str]
) -> None:
    assert spellings(word) == expected
