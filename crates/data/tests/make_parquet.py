"""Makes pyarrow.parquet: what Hugging Face's tools write, for containers.rs. Needs pyarrow.

Each column has another codec; rows are in several row groups; a column is all null, and one of a
type that JSON has not."""

import datetime
import pyarrow as pa
import pyarrow.parquet as pq

turn = pa.struct([("content", pa.string()), ("role", pa.string())])
schema = pa.schema([
    ("prompt", pa.list_(turn)),
    ("chosen", pa.list_(turn)),
    ("rejected", pa.list_(turn)),
    ("margin", pa.float64()),
    ("note", pa.large_string()),
    ("nothing", pa.null()),
    ("when", pa.timestamp("us")),
    ("tags", pa.list_(pa.string())),
])
said = lambda role, content: {"role": role, "content": content}
rows = [
    {
        "prompt": [said("system", "Be kind."), said("user", f"Question {i}?")][i % 2:],
        "chosen": [said("assistant", f"Good {i} é")],
        "rejected": [said("assistant", f"Bad {i}")],
        "margin": None if i % 3 == 0 else i / 4,
        "note": None if i % 4 == 0 else f"note {i}",
        "nothing": None,
        "when": datetime.datetime(2024, 1, 1 + i),
        "tags": [None, [], ["a"], ["a", None, "b"]][i % 4],
    }
    for i in range(10)
]
codecs = {
    "prompt.list.element.content": "snappy", "prompt.list.element.role": "zstd",
    "chosen.list.element.content": "gzip", "chosen.list.element.role": "lz4",
    "rejected.list.element.content": "none", "rejected.list.element.role": "snappy",
    "margin": "zstd", "note": "gzip", "nothing": "none", "when": "lz4",
    "tags.list.element": "snappy",
}
pq.write_table(pa.Table.from_pylist(rows, schema), "pyarrow.parquet", row_group_size=4, compression=codecs)
