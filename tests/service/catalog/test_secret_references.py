"""Secrets that lie in files: read without the line's end, or missing for a reason that holds no value."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.catalog.secret_references import SecretMissing, fault_of, find, name_of, reference

# label, content, the secret
READ = [
    ("plain", b"s3cret", "s3cret"),
    ("a line's end", b"s3cret\n", "s3cret"),
    ("a line's end of Windows", b"s3cret\r\n", "s3cret"),
    ("one line's end only", b"s3cret\n\n", "s3cret\n"),
    ("blanks", b" s3 cret ", " s3 cret "),
]
# label, what makes it, part of the reason
MISSING: list[tuple[str, Callable[[Path], object], str]] = [
    ("not there", str, "No such file"),
    ("a folder", Path.mkdir, "Is a directory"),
    ("a pipe without a writer", os.mkfifo, "is no file"),
    ("empty", lambda path: path.write_bytes(b"\n"), "is empty"),
    ("too long", lambda path: path.write_bytes(b"x" * 4097), "more than 4096"),
    ("no text", lambda path: path.write_bytes(b"\xff"), "UTF-8"),
]


@pytest.mark.parametrize(("content", "secret"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_file_is_read(tmp_path: Path, content: bytes, secret: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o640)
    found = find({"file": str(path)}, {})
    assert (found.value, found.warning) == (secret, None)
    path.chmod(0o644)
    assert "can be read by everybody" in str(find({"file": str(path)}, {}).warning)


@pytest.mark.parametrize(("make", "reason"), [row[1:] for row in MISSING], ids=[row[0] for row in MISSING])
def test_a_file_that_is_none_is_missing(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    path = tmp_path / "secret"
    make(path)
    with pytest.raises(SecretMissing, match=reason) as missing:
        find({"file": str(path)}, {})
    assert str(missing.value).startswith(f"{path} ")


@pytest.mark.parametrize(
    ("written", "stored", "is_faulty"),
    [
        ("env:NAME", {"env": "NAME"}, False),
        ("env:name", {"env": "name"}, True),
        ("env:PORTAL1400_SECRET_KEY", {"env": "PORTAL1400_SECRET_KEY"}, True),
        ("file:/run/secrets/hub", {"file": "/run/secrets/hub"}, False),
        ("file:hub", {"file": "hub"}, True),
        ("file:", {"file": ""}, True),
        (f"file:/{'x' * 1000}", {"file": f"/{'x' * 1000}"}, True),
        ("whsec_abc", None, False),
        ("environment:x", None, False),
    ],
)
def test_what_is_written_is_a_reference_or_a_literal(
    written: str, stored: dict[str, str] | None, is_faulty: bool
) -> None:
    assert reference(written) == stored
    assert (fault_of(written) is not None) is is_faulty
    assert name_of(stored or {"sealed": "x"}) == (written.partition(":")[2] if stored else None)
