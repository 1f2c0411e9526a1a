"""Reading people from CSV files: SPEC section 7, and the bad input that issue 3 names."""

import csv
from pathlib import Path

import pytest

from drumbeat.campaign.people import (
    MAX_BYTES,
    BadAddress,
    PeopleReading,
    PersonRow,
    Rejected,
    normalise_address,
    read_people,
)


def read(tmp_path: Path, content: str | bytes) -> PeopleReading:
    path = tmp_path / "people.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_people(path)


def fault(tmp_path: Path, content: str | bytes) -> str:
    """The one fault, without the file's name."""
    reading = read(tmp_path, content)
    assert reading.people == ()
    assert reading.rejected == ()
    assert len(reading.faults) == 1
    line = reading.faults[0]
    assert "\n" not in line
    assert line.startswith(str(tmp_path / "people.csv"))
    return line.removeprefix(str(tmp_path / "people.csv")).removeprefix(":").strip()


def test_reads_known_fields_and_makes_every_other_column_a_token(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "email,first_name,id,timezone,Company Size,e-mail\n"
        "Ann@EXAMPLE.com, Ann ,42,Europe/Berlin,200,x\n"
        "bob@example.com,,,,,\n",
    )
    assert reading.faults == ()
    assert reading.columns == (
        "email",
        "first_name",
        "id",
        "timezone",
        "company_size",
        "e_mail",
    )
    assert reading.people == (
        PersonRow(
            line=2,
            email="ann@example.com",
            fields={"first_name": "Ann", "company_size": "200", "e_mail": "x"},
            timezone="Europe/Berlin",
            external_id="42",
        ),
        PersonRow(line=3, email="bob@example.com", fields={}),
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_recognises_encoding_delimiter_and_line_ends(
    tmp_path: Path, delimiter: str, encoding: str, end: str
) -> None:
    rows = [["email", "first_name"], ["ann@example.com", "Änne"], ["bob@example.com", "Bob €"]]
    text = end.join(delimiter.join(row) for row in rows)
    reading = read(tmp_path, text.encode(encoding))
    assert [person.fields["first_name"] for person in reading.people] == ["Änne", "Bob €"]
    assert [person.line for person in reading.people] == [2, 3]


def test_reads_a_file_of_one_column(tmp_path: Path) -> None:
    assert read(tmp_path, "Email\nann@example.com").people[0].email == "ann@example.com"


def test_a_name_that_holds_another_delimiter_does_not_confuse_it(tmp_path: Path) -> None:
    reading = read(tmp_path, 'email;"a|b,c";d\nann@example.com;"1;2";3\n')
    assert reading.columns == ()
    assert "cannot be a token" in reading.faults[0]
    reading = read(tmp_path, 'email;note\nann@example.com;"1;2,3|4"\n')
    assert reading.people[0].fields == {"note": "1;2,3|4"}


def test_names_the_line_on_which_a_row_begins_however_long_its_fields(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        'email,note\n\nann@example.com,"one\ntwo\nthree"\nbroken,x\n',
    )
    assert reading.people[0].line == 3
    assert reading.people[0].fields["note"] == "one\ntwo\nthree"
    assert reading.rejected[0].line == 6


def test_rows_of_the_same_address_merge_and_later_filled_fields_win(tmp_path: Path) -> None:
    reading = read(
        tmp_path,
        "email,first_name,title,timezone,id\n"
        "ann@example.com,Ann,CTO,Europe/Berlin,1\n"
        "bob@example.com,Bob,,,\n"
        "ANN@Example.com,Anna,,,2\n",
    )
    assert [(person.line, person.email) for person in reading.people] == [
        (2, "ann@example.com"),
        (3, "bob@example.com"),
    ]
    ann = reading.people[0]
    assert ann.fields == {"first_name": "Anna", "title": "CTO"}
    assert (ann.timezone, ann.external_id) == ("Europe/Berlin", "2")


def test_blank_rows_and_blank_columns_at_the_end_are_no_rows_and_columns(tmp_path: Path) -> None:
    reading = read(tmp_path, "email,first_name,,\nann@example.com,Ann,,\n,,,\n\n  ,\n")
    assert reading.columns == ("email", "first_name")
    assert len(reading.people) == 1
    assert reading.rejected == ()


def test_a_row_may_be_shorter_than_the_header(tmp_path: Path) -> None:
    assert read(tmp_path, "email,a,b\nann@example.com\n").people[0].fields == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",Ann", "no address"),
        ("ann,Ann", "malformed address: "),
        ("ann@localhost,Ann", "malformed address: "),
        ("ann smith@example.com,Ann", "malformed address: "),
        ("<ann@example.com>,Ann", "malformed address: "),
        ("änne@example.com,Ann", "malformed address: Internationalized characters before"),
        ('"ann@example.com\nBcc: eve@example.com",Ann', "malformed address: "),
        ('"ann\r\n@example.com",Ann', "malformed address: "),
        ("ann@example.com,Ann,Europe/Berlim", "unknown time zone 'Europe/Berlim': "),
        ("ann@example.com,Ann,,more", "it has 4 fields, the header 3: "),
    ],
)
def test_a_bad_row_is_rejected_and_stops_no_other(tmp_path: Path, row: str, reason: str) -> None:
    reading = read(tmp_path, f"email,first_name,timezone\n{row}\nbob@example.com,Bob\n")
    assert reading.faults == ()
    assert [person.email for person in reading.people] == ["bob@example.com"]
    assert len(reading.rejected) == 1
    assert reading.rejected[0].line == 2
    assert reading.rejected[0].reason.startswith(reason)


def test_a_rejected_row_keeps_the_address_as_it_was_written(tmp_path: Path) -> None:
    assert read(tmp_path, "email\nAnn at example\nb@example.com").rejected == (
        Rejected(2, "Ann at example", "malformed address: An email address must have an @-sign."),
    )


def test_formulas_are_text(tmp_path: Path) -> None:
    reading = read(tmp_path, 'email,company\nann@example.com,"=HYPERLINK(""x"")"\n')
    assert reading.people[0].fields["company"] == '=HYPERLINK("x")'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty: "),
        (b"\n \n", "it is empty: "),
        (b"email,first_name\n", "there is nobody below the header: "),
        (b"ann@example.com,Ann\nbob@example.com,Bob\n", "1: there is no header: "),
        (b"name,company\nAnn,Acme\n", "1: no column is called email: there are 'name', "),
        (b"E-Mail,name\nann@example.com,Ann\n", "1: no column is called email: rename 'E-Mail'"),
        (b"email:name\nann@example.com:Ann\n", "1: 'email:name' is one column: "),
        (b"email,name,Name\nann@example.com,a,b\n", "1: the columns 'name' and 'Name' are the"),
        (b"email,,name\nann@example.com,a,b\n", "1: column 2 has no name: "),
        (b"email,my_name\nann@example.com,a\n", "1: the column 'my_name' begins with 'my_'"),
        (b"email,My Car\nann@example.com,a\n", "1: the column 'My Car' begins with 'my_'"),
        (b"email,campaign\nann@example.com,a\n", "1: the column 'campaign' is a token of Drumb"),
        (b"email,Unsubscribe-URL\na@example.com,a\n", "1: the column 'Unsubscribe-URL' is a to"),
        (b"email,2nd\nann@example.com,a\n", "1: the column '2nd' cannot be a token: "),
        (b"email,a.b\nann@example.com,a\n", "1: the column 'a.b' cannot be a token: "),
        (b"email,range\nann@example.com,a\n", "1: the column 'range' cannot be a token: "),
        (b"email,none\nann@example.com,a\n", "1: the column 'none' cannot be a token: "),
        (b"email,name\nann@example.com,A\0nn\n", "2: it holds a NUL byte"),
        (b"\x89PNG\r\n\x1a\n\0\0", "3: it holds a NUL byte"),
        ("email\nann@example.com\n".encode("utf-16"), "it is UTF-16: "),
        (b"email,name\nann@example.com,\x81\x8d\n", "2: it is neither UTF-8 nor cp1252: "),
        (b"\xef\xbb\xbfemail,name\nann@example.com,\xe4\n", "2: it is neither UTF-8 nor cp1252"),
        (b'email,name\nann@example.com,"Ann\nbob@example.com,B\n', '2: a quote (") is opened'),
        (b'email,name\nann@example.com,"A" B\n', "2: a closing quote is followed by text: "),
    ],
)
def test_a_file_that_cannot_be_used_has_one_clear_fault(
    tmp_path: Path, content: bytes, message: str
) -> None:
    assert fault(tmp_path, content).startswith(message)


def test_refuses_300_columns(tmp_path: Path) -> None:
    header = ",".join(["email", *(f"c{number}" for number in range(299))])
    assert fault(tmp_path, f"{header}\nann@example.com\n") == (
        "1: it has 300 columns: at most 200 are read"
    )


def test_refuses_a_field_of_10_kb_as_a_quote_that_was_left_open(tmp_path: Path) -> None:
    content = f"email,note\nbob@example.com,\nann@example.com,{'x' * 10_240}\n"
    assert fault(tmp_path, content).startswith("3: a field has more than 8,000 characters: ")
    content = f'email,note\nann@example.com,"{"x" * 200_000}\n'
    assert fault(tmp_path, content).startswith("2: a field has more than 8,000 characters: ")


def test_refuses_more_than_100_000_rows(tmp_path: Path) -> None:
    rows = "".join(f"{number}@\n" for number in range(100_001))
    assert fault(tmp_path, f"email\n{rows}").startswith("100002: it has more than 100,000 rows")


def test_refuses_more_than_20_mib(tmp_path: Path) -> None:
    assert fault(tmp_path, b"x" * (MAX_BYTES + 1)) == "it is larger than 20 MiB: divide it"


def test_names_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    assert read_people(tmp_path).faults == (f"{tmp_path}: it is a folder: give a CSV file",)
    missing = tmp_path / "no.csv"
    assert read_people(missing).faults == (
        f"{missing}: it cannot be read: no such file or directory",
    )


def test_says_everything_that_is_wrong_with_a_header_at_once(tmp_path: Path) -> None:
    assert len(read(tmp_path, "my_x,campaign,a,A\n1,2,3,4\n").faults) == 4


def test_leaves_the_limits_of_the_csv_module_alone(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    read(tmp_path, "email\nann@example.com\n")
    assert csv.field_size_limit() == before


def test_an_address_is_lower_case_and_its_domain_ascii() -> None:
    assert normalise_address("Ann@EXÄMPLE.org") == "ann@xn--exmple-cua.org"
    with pytest.raises(BadAddress):
        normalise_address("ann@example.com\n")
