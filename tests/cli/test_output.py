import sys

import pytest

from drumbeat.cli.output import print_table

ROW = ("e45ca29fcc1c838b-2", "Introduce yourself", "adele.goldstine@example.com", "intro-q4")
COLUMNS = ("id", "subject", "person", "campaign")


@pytest.mark.parametrize("width", [50, 60])
def test_a_narrow_terminal_breaks_no_id(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(COLUMNS, [ROW])
    _heading, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= width
    assert any(line.startswith("e45ca29fcc1c838b-2 ") for line in lines)


def test_where_no_terminal_reads_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [ROW])
    assert len(capsys.readouterr().out.splitlines()) == 2
