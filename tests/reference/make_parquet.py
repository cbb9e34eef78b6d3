"""Makes tests/reference/parquet: the same five rows as other programs write them, and rows that are wrong.

Needs pyarrow, pandas and polars. Usage: make_parquet.py (writes beside itself), or make_parquet.py --check FILE,
which reads what `gemmule export FILE` wrote and prints it as JSON lines.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).with_name("parquet")
IDS = ["a", "the zebra", "c/2", "ö\n4", "5"]
# Numbers of every form have all of these exactly.
VECTORS = [[1.0, 0.5, -0.25], [0.0, 3.0, 4.0], [-1.0, -2.0, 2.0], [0.125, 0.0, 0.0], [2.0, 2.0, 1.0]]
TEXTS = ["about a", None, "", "two\nlines", "about 5"]
TITLES = ["same", "same", None, "same", "other"]
METAS = ['{"n": 1, "deep": {"x": [1, 2]}}', None, "{}", "", '{"n": 5}']


def table(ids, vectors, **columns):
    return pa.table({"id": ids, "vector": vectors, **columns})


def good():
    texts = {"text": pa.array(TEXTS, pa.large_string()), "title": pa.array(TITLES).dictionary_encode()}
    fixed = pa.array(VECTORS, pa.list_(pa.float32(), 3))
    whole = table(pa.array(IDS).dictionary_encode(), fixed, meta=pa.array(METAS), **texts)
    pq.write_table(whole, FOLDER / "pyarrow.parquet")
    # Lists with 64-bit offsets of doubles, small row groups, the second form of pages, no dictionaries.
    lists = table(pa.array(IDS), pa.array(VECTORS, pa.large_list(pa.float64())), meta=pa.array(METAS), **texts)
    pq.write_table(
        lists, FOLDER / "pages.parquet", row_group_size=2, data_page_version="2.0", use_dictionary=False,
        compression="zstd", write_page_checksum=True, write_page_index=True, version="2.6",
    )
    halves = table(pa.array(IDS), pa.array(VECTORS, pa.list_(pa.float16())), meta=pa.array(METAS), **texts)
    pq.write_table(halves, FOLDER / "halves.parquet", compression="none", use_compliant_nested_type=False)
    frame = pd.DataFrame({"id": IDS, "vector": [np.array(v, np.float32) for v in VECTORS]})
    frame["text"], frame["title"], frame["meta"] = TEXTS, pd.Categorical(TITLES), METAS
    frame.index = [7, 7, 3, 1, 0]
    frame.to_parquet(FOLDER / "pandas.parquet")
    frame = pl.DataFrame(
        {"id": IDS, "vector": VECTORS, "text": TEXTS, "title": TITLES, "meta": METAS},
        schema={"id": pl.String, "vector": pl.Array(pl.Float32, 3), "text": pl.String,
                "title": pl.Categorical, "meta": pl.String},
    )
    frame.write_parquet(FOLDER / "polars.parquet")


def numbers_as_ids():
    vectors = pa.array(VECTORS[:3], pa.list_(pa.float32()))
    for name, kind, ids in [
        ("int64", pa.int64(), [-3, 0, 2**62]), ("uint64", pa.uint64(), [1, 0, 2**64 - 1]),
        ("int8", pa.int8(), [-3, 0, 2]), ("uint32", pa.uint32(), [1, 0, 2**32 - 1]),
    ]:
        pq.write_table(table(pa.array(ids, kind), vectors), FOLDER / f"ids_{name}.parquet")


def bad():
    ids, f32 = pa.array(["a", "b", "c"]), pa.list_(pa.float32())
    vectors = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]

    def write(name, ids=ids, vectors=vectors, kind=f32, **columns):
        pq.write_table(table(ids, pa.array(vectors, kind), **columns), FOLDER / f"bad_{name}.parquet")

    write("id_null", ids=pa.array(["a", None, "c"]))
    write("id_empty", ids=pa.array(["a", "", "c"]))
    write("id_twice", ids=pa.array(["a", "b", "a"]))
    write("id_float", ids=pa.array([1.0, 2.0, 3.0]))
    write("id_time", ids=pa.array([1, 2, 3], pa.timestamp("ms")))
    write("width", vectors=[[1.0, 2.0], [3.0], [5.0, 6.0]])
    write("vector_null", vectors=[[1.0, 2.0], None, [5.0, 6.0]])
    write("vector_empty", vectors=[[1.0, 2.0], [], [5.0, 6.0]])
    write("number_null", vectors=[[1.0, 2.0], [3.0, None], [5.0, 6.0]])
    write("number_nan", vectors=[[1.0, 2.0], [3.0, float("nan")], [5.0, 6.0]])
    write("number_inf", vectors=[[1.0, 2.0], [float("-inf"), 1.0], [5.0, 6.0]])
    write("number_large", vectors=[[1.0, 2.0], [1e300, 1.0], [5.0, 6.0]], kind=pa.list_(pa.float64()))
    write("zeros", vectors=[[1.0, 2.0], [0.0, -0.0], [5.0, 6.0]])
    write("ints", vectors=[[1, 2], [3, 4], [5, 6]], kind=pa.list_(pa.int8()))
    write("matrix", vectors=[[[1.0]], [[2.0]], [[3.0]]], kind=pa.list_(f32))
    write("scalar", vectors=[1.0, 2.0, 3.0], kind=pa.float32())
    write("column", colour=pa.array([1, 2, 3]))
    write("meta_list", meta=pa.array([None, "[1]", None]))
    write("meta_text", meta=pa.array([None, "{'a': 1}", None]))
    write("meta_struct", meta=pa.array([{"a": 1}, None, {"a": 2}]))
    write("no_rows", ids=pa.array([], pa.string()), vectors=[])
    pq.write_table(pa.table({"vector": pa.array(vectors, f32)}), FOLDER / "bad_no_id.parquet")
    pq.write_table(pa.table({"id": ids}), FOLDER / "bad_no_vector.parquet")
    binary = pa.array([b"ok", b"\xff\xfe", b"c"], pa.binary())
    write("id_bytes", ids=binary)


def check(path):
    for row in pq.read_table(path).to_pylist():
        print(json.dumps(row))


if sys.argv[1:2] == ["--check"]:
    check(sys.argv[2])
else:
    FOLDER.mkdir(exist_ok=True)
    good()
    numbers_as_ids()
    bad()
