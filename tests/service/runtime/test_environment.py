"""The environment file: read as systemd reads it, or refused by file and line; never a value in a refusal."""

from pathlib import Path

import pytest

from service.runtime.environment import (
    FILE_VARIABLE,
    EnvironmentFileRefused,
    read_environment_file,
    with_environment_file,
)

# label, line, what it sets
READ = [
    ("plain", "A=b", {"A": "b"}),
    ("nothing", "A=", {"A": ""}),
    ("blanks around", "  A=b c\t", {"A": "b c"}),
    ("a line end of Windows", "A=b\r", {"A": "b"}),
    ("a comment", "# A=b", {}),
    ("a comment of the other kind", ";A=b", {}),
    ("no comment behind a value", "A=b # c", {"A": "b # c"}),
    ("equals in the value", "A=whsec_ab==", {"A": "whsec_ab=="}),
    ("single quotes", r"A='b\c $d \"'", {"A": r"b\c $d \""}),
    ("double quotes", "A=\"b 'c'\"", {"A": "b 'c'"}),
    ("nothing in quotes", 'A=""', {"A": ""}),
    ("no expansion", "A=$HOME", {"A": "$HOME"}),
    ("Vietnamese", "A=mật khẩu", {"A": "mật khẩu"}),
]
# label, line, part of the sentence
REFUSED = [
    ("no assignment", "hunter2", "NAME=value"),
    ("export", "export A=hunter2", "NAME=value"),
    ("a name with a hyphen", "A-B=hunter2", "NAME=value"),
    ("a name with a blank", "A =hunter2", "NAME=value"),
    ("twice", "FIRST=hunter2", "twice"),
    ("itself", f"{FILE_VARIABLE}=hunter2", "where the service is started"),
    ("an open quote", "A='hunter2", "not closed"),
    ("a quote alone", "A='", "not closed"),
    ("text behind a quote", "A='hunter2' x", "not closed"),
    ("a quote within", 'A=hunter"2', "a quote within"),
    ("its own quote within", "A='hunter'2'", "a quote within"),
    ("a backslash", r"A=hunter\2", "single quotes"),
    ("a backslash in double quotes", r'A="hunter\2"', "single quotes"),
    ("a line that goes on", "A=hunter2\\", "single quotes"),
    ("a NUL", "A=hunter\0two", "NUL"),
]


@pytest.mark.parametrize(("line", "found"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_line_is_read(tmp_path: Path, line: str, found: dict[str, str]) -> None:
    path = tmp_path / "env"
    path.write_text(f"FIRST=1\n\n{line}\nLAST=2", encoding="utf-8", newline="")
    assert read_environment_file(str(path)) == {"FIRST": "1", **found, "LAST": "2"}


@pytest.mark.parametrize(("line", "part"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_line_is_refused_by_its_number_and_without_its_value(tmp_path: Path, line: str, part: str) -> None:
    path = tmp_path / "env"
    path.write_text(f"FIRST=1\n{line}\n", encoding="utf-8")
    with pytest.raises(EnvironmentFileRefused) as refused:
        read_environment_file(str(path))
    assert str(refused.value).startswith(f"{path}, line 2: ")
    assert part in str(refused.value)
    assert "hunter" not in str(refused.value)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_bytes(b"A=\xff")
    with pytest.raises(EnvironmentFileRefused, match="UTF-8"):
        read_environment_file(str(path))


def test_the_file_counts_before_the_environment_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text("A=file\n", encoding="utf-8")
    assert with_environment_file({"A": "process", "B": "process"}) == {"A": "process", "B": "process"}
    with pytest.raises(EnvironmentFileRefused, match="names nothing"):
        with_environment_file({FILE_VARIABLE: ""})
    named = {"A": "process", "B": "process", FILE_VARIABLE: str(path)}
    assert with_environment_file(named) == named | {"A": "file"}
