# SPDX-License-Identifier: Apache-2.0
#
# Writes the files of this folder, which come from programs that are not ours:
#
#   pip install pyarrow==26.0.1 duckdb==2.0.0
#   python make.py
#
# Row i has values that follow from i; interop_test.go knows how.
import datetime
import decimal
import uuid

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 200
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def column(kind, value):
    """Every seventh row, from the third on, is null."""
    return pa.array([None if i % 7 == 3 else value(i) for i in range(ROWS)], kind)


def micros(i):
    return 1_700_000_000_000_000 + i * 86_400_123_457 - (4 * 10**15 if i % 5 == 4 else 0)


def scaled(i, digits):
    return decimal.Decimal(i * 987654321 - 5_000_000_000).scaleb(-digits, decimal.Context(prec=60))


ms = lambda i: micros(i) // 1000
table = pa.table({
    "i8": column(pa.int8(), lambda i: i - 100),
    "i32": column(pa.int32(), lambda i: i * 7_000_001 - 300),
    "i64": column(pa.int64(), lambda i: i * 10_000_000_000_019 - 7),
    "u32": column(pa.uint32(), lambda i: 4_000_000_000 + i),
    "u64": column(pa.uint64(), lambda i: 2**63 + i),
    "f16": column(pa.float16(), lambda i: i / 4 - 20).cast(pa.float16()),
    "f32": column(pa.float32(), lambda i: i / 8 - 5),
    "f64": column(pa.float64(), lambda i: i / 3 - 5),
    "bool": column(pa.bool_(), lambda i: i % 3 == 0),
    "text": column(pa.string(), lambda i: "value %d" % (i % 20)),
    "long": column(pa.string(), lambda i: "prefix of all %d" % (i * i) + "é" * (i % 4)),
    "bytes": column(pa.binary(), lambda i: bytes([i % 256]) * (i % 5)),
    "ms": column(pa.timestamp("ms"), lambda i: ms(i)),
    "us": column(pa.timestamp("us", tz="UTC"), micros),
    "ns": column(pa.timestamp("ns"), lambda i: micros(i) * 1000 + 999),
    "date": column(pa.date32(), lambda i: i * 11 - 500),
    "d9": column(pa.decimal128(9, 2), lambda i: decimal.Decimal(i * 12345 - 99999).scaleb(-2)),
    "d18": column(pa.decimal128(18, 4), lambda i: scaled(i, 4)),
    "d38": column(pa.decimal128(38, 10), lambda i: scaled(i, 10)),
    "time": column(pa.time64("us"), lambda i: i),
    "required": pa.array(range(ROWS), pa.int64()),
    "list": column(pa.list_(pa.int64()), lambda i: [i]),
    "struct": column(pa.struct([("a", pa.int64()), ("b", pa.struct([("c", pa.string())]))]), lambda i: {"a": i, "b": {"c": "x"}}),
    "last": column(pa.int32(), lambda i: i),
})
schema = table.schema.set(table.schema.get_field_index("required"), pa.field("required", pa.int64(), nullable=False))
table = table.cast(schema)


def write(name, **options):
    pq.write_table(table, name + ".parquet", row_group_size=90, data_page_size=256, write_batch_size=16, **options)


plain = [n for n in table.column_names if n not in ("list", "struct")]
delta = {n: "DELTA_BINARY_PACKED" for n in ("i8", "i32", "i64", "u32", "u64", "ms", "us", "ns", "date", "required", "last")}
write("arrow-snappy", compression="snappy", store_schema=False, data_page_version="1.0")
write("arrow-zstd-v2", compression="zstd", store_schema=False, data_page_version="2.0", write_page_checksum=True)
write("arrow-plain", compression="none", store_schema=False, use_dictionary=False)
write("arrow-delta", compression="gzip", store_schema=False, use_dictionary=False, data_page_version="2.0", store_decimal_as_integer=True,
      column_encoding=delta | {"text": "DELTA_LENGTH_BYTE_ARRAY", "long": "DELTA_BYTE_ARRAY", "bytes": "DELTA_BYTE_ARRAY", "bool": "RLE"})
write("arrow-split", compression="lz4", store_schema=False, use_dictionary=False, write_page_index=True,
      column_encoding={n: "BYTE_STREAM_SPLIT" for n in ("i32", "i64", "f16", "f32", "f64", "us", "d38")} | {"d9": "DELTA_BYTE_ARRAY"})
write("arrow-int96", compression="brotli", store_schema=False, use_deprecated_int96_timestamps=True)

flat = table.select(["i32", "i64", "u32", "u64", "f32", "f64", "bool", "text", "long", "ms", "us", "date", "d9", "d18", "d38", "last"])
uuids = pa.array([None if i % 7 == 3 else str(uuid.UUID(int=i * 10**36 + i)) for i in range(ROWS)])
flat = flat.append_column("uuid_text", uuids)
db = duckdb.connect()
db.sql("create table t as select * exclude (uuid_text), uuid_text::uuid as uuid from flat")
for name, options in {"duckdb": "", "duckdb-v2": ", parquet_version v2, compression zstd, row_group_size 64"}.items():
    db.sql(f"copy t to '{name}.parquet' (format parquet{options})")
