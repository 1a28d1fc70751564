"""How a table is spelled is found out from its beginning, unless a person says."""

import pytest

from pipelines import AugmentError, UsageError
from pipelines.tables.texts.dialect import MISSING, Dialect, ReadOptions, compression_of, sniff


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\n1\t2\n", "\t"),
        ("a|b|c\n1|2,3|4\n", "|"),
        ("a\n1\n2\n", ","),
        ('name,text\nx,"a; b; c"\ny,"d; e; f"\n', ","),
        ('name;text\nx;"a, b"\ny;"c, d"\n', ";"),
        ("a;b;c\n1;2;3\n1;2\n", ";"),
        ("date time,b\n2020-01-01 10:00,1\n", ","),
    ],
)
def test_the_delimiter_splits_rows_like_the_header(text, delimiter):
    assert sniff(text.encode()).delimiter == delimiter


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("a;b\n1,5;2\n", ","),
        ("a;b\n1.5;2\n", "."),
        ("a;b\n1;2\n", "."),
        ("a;b\n18.00.00;2,5\n", ","),
        ('a,b\n"1,5",2\n"2,75",3\n', ","),
        # Thousands, not decimals.
        ('a,b\n"1,500",2\n"2,750",3\n', "."),
        ('a,b\n"1,5",2.5\n', "."),
        ("a\tb\n-1,5\t,5\n", ","),
        ("town\tpopulation\tarea\na\t12,345\t17.63\nb\t9,870\t8.10\n", "."),
        ("town\tpopulation\na\t12,345\nb\t9,870\n", "."),
        ("town|population\na|12,345\nb|9,870\n", "."),
        ("town;population;area\na;12,345;17.63\nb;9,870;8.10\n", "."),
        ("a;b\n12,345;2\n1,500;3\n", ","),
        ("a\tb\n12,345\t2\n0,500\t3\n", ","),
        ("a;b\n1.234;5,4\n2.790;0\n3.456;0\n", ","),
        ("flow;n\n" + "0;1\n" * 250 + "5,40;1\n" * 3, ","),
    ],
)
def test_the_decimal_mark(text, decimal):
    assert sniff(text.encode()).decimal == decimal


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_end_of_line_is_that_of_most_lines(end):
    assert sniff(f"a,b{end}1,2{end}3,4{end}".encode()).end_of_line == end


@pytest.mark.parametrize(
    ("text", "has_header"),
    [
        ("a,b\n1,2\n", True),
        ("1,2\n3,4\n", True),  # numbered columns
        ("1.0,2.0\n3,4\n", False),
        ("5,1\n3,4\n", False),
        ("country,2019,2020\nFrance,1.5,2\n", True),  # years
        (",0,1\n0,1.5,2\n", True),  # an index without a name, and numbered columns
        ("39,State-gov,77516\n50,Private,83311\n", False),
        ("x,y\nred,blue\n", True),
        ("1,2\n", True),
    ],
)
def test_a_first_record_of_numbers_is_no_header(text, has_header):
    assert sniff(text.encode()).has_header == has_header


@pytest.mark.parametrize(
    ("text", "has_space"),
    [
        ("a, b\n39, M\n40, \n", True),
        ("a,b,c\n39, M, 2\n", True),
        ("a, b\n39, M\n40,F\n", False),
        ("a, b\n39,  7\n40, 12\n", False),  # on the right
        ('a, b\n39, "M"\n', False),
        ("a\n 1\n", False),
    ],
)
def test_a_blank_stands_before_all_fields_or_belongs_to_some(text, has_space):
    assert sniff(text.encode()).has_space == has_space


def test_what_a_person_says_counts():
    options = ReadOptions(delimiter="tab", encoding="latin-1", decimal=",", null_values=("-200",), header=False)
    found = sniff(b"a;b\n1.5;2\n", options)
    assert (found.delimiter, found.encoding, found.decimal, found.has_header) == ("\t", "iso8859-1", ",", False)
    assert found.null_values == (*MISSING, "-200")
    assert sniff(b"a\nNA\n", ReadOptions(null_values=(" - ",), default_nulls=False)).null_values == ("", "-")


@pytest.mark.parametrize(
    ("option", "value"), [("delimiter", ";;"), ("delimiter", '"'), ("decimal", "x"), ("encoding", "klingon")]
)
def test_what_cannot_be_is_wrong_usage(option, value):
    with pytest.raises(UsageError, match=value):
        ReadOptions(**{option: value})


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(AugmentError, match=r"t\.csv holds NUL bytes"):
        sniff(b"abc\x00\x01\x02,x\n" * 3, where="t.csv")


def test_a_character_cut_in_half_at_the_end_is_not_an_error():
    from pipelines.tables.texts.dialect import HEAD_BYTES

    assert sniff(b"a,b\n" + b"x" * (HEAD_BYTES - 5) + b"\xc3").encoding == "utf-8"


def test_compression_is_known_by_the_first_bytes():
    assert compression_of(b"\x1f\x8b\x08\x00") == "gzip"
    assert compression_of(b"\x28\xb5\x2f\xfd") == "zstd"
    assert compression_of(b"a,b\n") is None


def test_a_dialect_goes_to_json_and_back():
    dialect = Dialect("cp949", ";", ",", False, ("", "-"), "\r\n", "gzip", True, ("column_3",), True)
    assert Dialect.from_json(dialect.to_json()) == dialect


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("x\ta\tb\n" + "0.14\t$2,037\t$3,031\n" * 60, "."),  # three digits may be thousands
        ("price;weight\n" + "2.037 €;1,5\n" * 60, ","),
        ("price;name\n" + "1.234,50 €;a\n" * 60, ","),
        ("price\tname\n" + "$1,234.50\ta\n" * 60, "."),
    ],
)
def test_amounts_say_their_decimal_mark_where_they_are_clear(text, decimal):
    assert sniff(text.encode()).decimal == decimal


def test_a_dialect_from_before_there_were_blanks_still_reads():
    value = Dialect().to_json()
    del value["has_space"]
    assert Dialect.from_json(value) == Dialect()
