"""Identifiers of new rows: the source's form, no two alike, and the same however the rows come."""

import re
import uuid

import pyarrow as pa
import pytest

from pipelines import AugmentError
from pipelines.tables.kinds.identifiers import make_identifiers
from pipelines.tables.schema import Column

SEQUENCE = {"kind": "sequence", "start": 7, "step": 3, "width": 5, "prefix": "ID-", "suffix": "/x", "count": 100}
UUID = {"kind": "uuid"}
PATTERN = {"kind": "pattern", "pattern": "AA-9999"}
LONG = {"kind": "pattern", "pattern": "aA9" * 14}  # more identifiers than 126 bits can count


def made(how, rows, first=0, seed=0, name="id"):
    return make_identifiers(Column(name, "identifier", identifier=how), first, rows, seed).to_pylist()


def test_a_sequence_goes_on_where_the_source_ended():
    assert made(SEQUENCE, 3) == ["ID-00307/x", "ID-00310/x", "ID-00313/x"]
    assert made({"kind": "sequence", "start": 1, "count": 5000}, 2) == ["5001", "5002"]
    assert made({"kind": "sequence", "start": 2, "step": -1, "width": 3, "count": 1}, 3) == ["001", "000", "-001"]


def test_a_sequence_outgrows_its_width_and_not_64_bits():
    assert made({"kind": "sequence", "start": 998, "width": 3}, 3) == ["998", "999", "1000"]
    with pytest.raises(AugmentError, match="column 'id': its numbers do not go on to 9223372036854775808"):
        made({"kind": "sequence", "start": 2**63 - 2}, 3)


@pytest.mark.parametrize("upper", [False, True])
def test_uuids_are_of_version_4(upper):
    texts = made(UUID | {"upper": upper}, 5000)
    assert len(set(texts)) == 5000
    for text in texts:
        found = uuid.UUID(text)
        assert (found.version, found.variant) == (4, uuid.RFC_4122)
        assert text == (str(found).upper() if upper else str(found))


@pytest.mark.parametrize(
    ("pattern", "form", "capacity"),
    [
        ("AA-99", r"[A-Z]{2}-\d{2}", 67_600),
        ("N9\\A9년", r"N\dA\d년", 100),
        ("a", "[a-z]", 26),
        ("9a9", r"\d[a-z]\d", 2600),
        ("fix", "f[a-z]?ix", 1),
        ("\\\\9", r"\\\d", 10),
    ],
)
def test_a_pattern_gives_each_of_its_identifiers_once(pattern, form, capacity):
    how = {"kind": "pattern", "pattern": pattern}
    texts = made(how, capacity)
    assert len(set(texts)) == capacity
    assert all(re.fullmatch(form, text) for text in texts)
    with pytest.raises(AugmentError, match=rf"has {capacity:,} identifiers, fewer than there are new rows"):
        made(how, 1, first=capacity)


def test_a_pattern_is_in_no_order_and_every_letter_is_as_frequent():
    texts = made(PATTERN, 26_000)
    assert texts != sorted(texts)
    for place in (0, 1):
        counts = [sum(text[place] == letter for text in texts) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
        # Binomial(26,000, 1/26) has a standard deviation of 31; six of them are passed once in 10 million.
        assert all(abs(count - 1000) < 190 for count in counts)


def test_a_long_pattern_varies_in_every_place():
    texts = made(LONG, 2000)
    assert len(set(texts)) == 2000
    for place, symbol in enumerate(LONG["pattern"]):
        assert len({text[place] for text in texts}) == (10 if symbol == "9" else 26)


@pytest.mark.parametrize("how", [SEQUENCE, UUID, PATTERN, LONG])
def test_a_row_has_its_identifier_however_the_rows_come(how):
    rows = 9000  # three blocks of random words
    whole = made(how, rows)
    for size in (1, 7, 4096, 5000):
        starts = range(0, rows, size) if size > 1 else range(4090, 4100)
        for start in starts:
            stop = min(start + size, rows)
            assert made(how, stop - start, start) == whole[start:stop]
    assert made(how, 0, 5) == []


@pytest.mark.parametrize("how", [UUID, PATTERN, LONG])
def test_another_seed_or_column_has_others(how):
    texts = made(how, 100)
    assert made(how, 100, seed=1) != texts
    assert made(how, 100, seed=2**64 - 1) != texts
    assert made(how, 100, name="other") != texts
    assert made(how, 100) == texts


@pytest.mark.parametrize("how", [None, {}, {"kind": "hash"}, {"kind": "pattern"}])
def test_a_column_that_does_not_say_how_is_an_error(how):
    with pytest.raises(AugmentError, match="kinds are sequence, uuid and pattern"):
        made(how, 1)


def test_identifiers_are_text():
    for how in (SEQUENCE, UUID, PATTERN):
        assert make_identifiers(Column("id", "identifier", identifier=how), 0, 3, 0).type == pa.string()
