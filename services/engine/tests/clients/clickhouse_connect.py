"""The Python client `clickhouse-connect` against a running engine: what analysts do with it.

Usage: python clickhouse_connect.py http://HOST:PORT   (with requirements.txt installed)
Exits with status 0 and prints `ok`, or fails with the assertion that did not hold.
"""

import datetime
import sys
import urllib.parse

# This file has the module's own name: look for the module elsewhere.
sys.path = [path for path in sys.path if path not in ("", sys.path[0])]

import clickhouse_connect  # noqa: E402
from clickhouse_connect.driver.exceptions import DatabaseError  # noqa: E402

DATABASE = "client_python"


def connect(host, port, **options):
    return clickhouse_connect.get_client(host=host, port=port, **options)


def fails_with(code, call):
    try:
        call()
    except DatabaseError as error:
        assert f"Code: {code}" in str(error) or f"code {code}" in str(error), error
    else:
        raise AssertionError(f"expected failure {code}")


def tables(client):
    client.command(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    client.command(
        f"CREATE TABLE {DATABASE}.hops (ts DateTime64(6, 'UTC'), code LowCardinality(String), us UInt32, "
        "visitor Nullable(UInt64), tags Array(String)) ENGINE = MergeTree ORDER BY (code, ts)"
    )


def inserts(client):
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
    rows = [[now, f"c{i % 10}", i, i if i % 2 else None, ["a"] * (i % 3)] for i in range(20_000)]
    columns = ["ts", "code", "us", "visitor", "tags"]
    summary = client.insert("hops", rows, column_names=columns, database=DATABASE)
    assert summary.written_rows == 20_000, summary.summary
    raw = client.raw_insert(f"{DATABASE}.hops", ["ts", "code", "us"], "2026-01-01 00:00:00.5,raw,7\n", fmt="CSV")
    assert raw.written_rows == 1, raw.summary
    assert client.command(f"SELECT count() FROM {DATABASE}.hops") == 20_001


def queries(client):
    result = client.query(f"SELECT * FROM {DATABASE}.hops WHERE us = 19999")
    assert result.column_names == ("ts", "code", "us", "visitor", "tags"), result.column_names
    (row,) = result.result_rows
    assert row[1:] == ("c9", 19999, 19999, ["a"]), row
    assert (row[0].microsecond, row[0].year) == (678901, 2026), row
    assert int(result.summary["read_rows"]) > 0
    assert client.query("SELECT 1 WHERE 0").result_rows == []
    assert client.command("SELECT version()").startswith("26.")
    csv = client.raw_query("SELECT 1 AS a, 'x' AS b", fmt="CSVWithNames")
    assert csv == b'"a","b"\n1,"x"\n', csv


def streams(client):
    rows = 0
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(500000)") as blocks:
        for block in blocks:
            rows += len(block)
    assert rows == 500_000, rows


def parameters_and_settings(client):
    query = "SELECT {name:String}, {n:Array(UInt8)}, {at:DateTime}"
    at = datetime.datetime(2026, 1, 2, 3, 4, 5)
    (row,) = client.query(query, parameters={"name": "it's", "n": [1, 2], "at": at}).result_rows
    assert row == ("it's", [1, 2], at), row
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).result_rows == [(1,)]
    fails_with(115, lambda: client.query("SELECT 1", settings={"no_such_setting": 1}))


def sessions(host, port):
    client = connect(host, port, session_id="python-session")
    client.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    client.insert("mine", [[1], [2]], column_names=["a"], column_type_names=["UInt8"])
    assert client.query("SELECT sum(a) FROM mine").result_rows == [(3,)]
    client.close()


def errors(client):
    fails_with(60, lambda: client.query("SELECT * FROM nope"))
    fails_with(62, lambda: client.command("SELEKT 1"))
    fails_with(60, lambda: client.insert("nope", [[1]], column_names=["a"], column_type_names=["UInt8"]))
    fails_with(395, lambda: client.query("SELECT throwIf(number = 3000000), number FROM numbers(5000000)"))


def main(host, port):
    for compress in (True, False, "lz4", "gzip"):
        client = connect(host, port, compress=compress, autogenerate_session_id=False)
        client.command(f"DROP DATABASE IF EXISTS {DATABASE}")
        tables(client)
        inserts(client)
        queries(client)
        streams(client)
        parameters_and_settings(client)
        errors(client)
        client.command(f"DROP DATABASE {DATABASE}")
        client.close()
    sessions(host, port)
    assert connect(host, port).ping()
    print("ok")


if __name__ == "__main__":
    url = urllib.parse.urlsplit(sys.argv[1])
    main(url.hostname, url.port)
