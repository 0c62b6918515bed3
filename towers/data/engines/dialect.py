"""Turns DuckDB's SQL into Spark's: sqlglot does most of it, and a named rule each what it does not know.

sqlglot itself turns `EXCLUDE`, `UNNEST` of a list, struct literals, types' names, quotes, and the place of nulls in an
order. Each function in `RULES` turns one node of the tree of a statement, and leaves every other one as it is.
"""

from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp

TWO_TO_63 = "9223372036854775808"
INFINITE_US = "9223372036854775807"
"""Microseconds that stand for an instant without end in DuckDB's files; negative for one without beginning."""


def hash_of_columns(node: exp.Expr) -> exp.Expr:
    """`HASH(a, b)`: `xxhash64` passes over nulls, so whether a value is null is hashed as well, and of a list how long
    it is and which of its entries are null; DuckDB hashes a list that is null as an empty one. A tree of SQL says
    nothing of types, so that a list has to be cast to one where it is hashed: `HASH(a, CAST(b AS VARCHAR[]))`."""
    if not _is_call(node, "HASH"):
        return node
    values: list[exp.Expr] = []
    for value in node.expressions:
        shown = value.sql("spark")
        if isinstance(value, exp.Cast) and value.to.this == exp.DataType.Type.ARRAY:
            told = f"COALESCE(SIZE({shown}), 0), TRANSFORM({shown}, e -> e IS NULL)"
        else:
            told = f"{shown} IS NULL"
        values += [value, *sqlglot.parse_one(f"ARRAY({told})", read="spark").expressions]
    return exp.Anonymous(this="XXHASH64", expressions=values)


def lower_half_of_md5(node: exp.Expr) -> exp.Expr:
    """`MD5_NUMBER_LOWER(a)`: the last eight bytes of the digest as an unsigned number, the lowest byte first."""
    if not _is_call(node, "MD5_NUMBER_LOWER"):
        return node
    digest = f"MD5({node.expressions[0].sql('spark')})"
    pairs = ", ".join(f"SUBSTRING({digest}, {place}, 2)" for place in range(31, 16, -2))
    return sqlglot.parse_one(f"CAST(CONV(CONCAT({pairs}), 16, 10) AS DECIMAL(20, 0))", read="spark")


def microseconds_since_1970(node: exp.Expr) -> exp.Expr:
    """`EPOCH_US(a)`: null where the instant is infinite."""
    if not _is_call(node, "EPOCH_US"):
        return node
    number = f"UNIX_MICROS({node.expressions[0].sql('spark')})"
    return sqlglot.parse_one(f"NULLIF(NULLIF({number}, {INFINITE_US}), -{INFINITE_US})", read="spark")


def finite_number(node: exp.Expr) -> exp.Expr:
    """`ISFINITE(a)`: null for null, though Spark's `ISNAN` says false of it."""
    if not _is_call(node, "ISFINITE"):
        return node
    value = node.expressions[0].sql("spark")
    return sqlglot.parse_one(f"(ABS({value}) < CAST('Infinity' AS DOUBLE))", read="spark")


def whole_number_of_a_float(node: exp.Expr) -> exp.Expr:
    """`TRY_CAST(ROUND_EVEN(a, 0) AS BIGINT)`: Spark makes the largest number of 2^63, which is one too many."""
    if not (isinstance(node, exp.TryCast) and _is_call(node.this, "ROUND_EVEN")):
        return node
    rounded = f"RINT({node.this.expressions[0].sql('spark')})"
    return sqlglot.parse_one(f"TRY_CAST(NULLIF({rounded}, {TWO_TO_63}D) AS BIGINT)", read="spark")


def entry_of_a_list(node: exp.Expr) -> exp.Expr:
    """`LIST_CONTAINS(a, b)`: Spark does not know whether a list has an entry where another one is null."""
    if not isinstance(node, exp.ArrayContains):
        return node
    entries, one = node.this.sql("spark"), node.expression.sql("spark")
    found = f"CASE WHEN {entries} IS NOT NULL AND {one} IS NOT NULL THEN ARRAY_POSITION({entries}, {one}) > 0 END"
    return sqlglot.parse_one(found, read="spark")


RULES: tuple[Callable[[exp.Expr], exp.Expr], ...] = (
    hash_of_columns,
    lower_half_of_md5,
    microseconds_since_1970,
    finite_number,
    whole_number_of_a_float,
    entry_of_a_list,
)


def to_spark(query: exp.Expr) -> str:
    """Returns a query of DuckDB's as Spark's SQL."""
    turned = query
    for rule in RULES:
        turned = turned.transform(rule)
    return turned.sql(dialect="spark")


def parsed(query: str) -> exp.Expr:
    """Returns the tree of a query in DuckDB's SQL."""
    return sqlglot.parse_one(query, read="duckdb")


def statements(text: str) -> Iterator[tuple[str, bool, exp.Expr]]:
    """Yields the name, whether it is a table rather than a view, and the query of each statement of an SQL file.

    Raises:
        ValueError: a statement that is neither `CREATE TABLE ... AS` nor `CREATE VIEW ... AS`.
    """
    for statement in sqlglot.parse(text, read="duckdb"):
        if statement is None:  # a comment behind the last one
            continue
        if not isinstance(statement, exp.Create) or statement.kind not in ("TABLE", "VIEW"):
            raise ValueError(f"only tables and views are made in SQL files: {statement.sql(dialect='duckdb')}")
        yield statement.this.name, statement.kind == "TABLE", statement.expression


def _is_call(node: exp.Expr, name: str) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.upper() == name
