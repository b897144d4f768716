// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"io"
	"math"
	"unsafe"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

// Values for strings take a dictionary while it is smaller than this.
const dictionaryBytesMax = 1 << 20

// parquetSchema is the schema of a stream's partitions. Every column of the stream may
// be null.
func parquetSchema(stream string, columns []Column) *parquet.Schema {
	delta := func(n parquet.Node) parquet.Node { return parquet.Encoded(n, &parquet.DeltaBinaryPacked) }
	root := parquet.Group{
		columnID:        parquet.String(),
		columnEventTime: delta(parquet.Timestamp(parquet.Microsecond)),
		columnArrival:   delta(parquet.Timestamp(parquet.Microsecond)),
		columnSequence:  delta(parquet.Int(64)),
	}
	for _, c := range columns {
		root[c.Name] = parquet.Optional(parquetNode(c.Type))
	}
	return parquet.NewSchema(stream, root)
}

func parquetNode(t Type) parquet.Node {
	switch t {
	case TypeInt64:
		return parquet.Int(64)
	case TypeFloat64:
		return parquet.Leaf(parquet.DoubleType)
	case TypeFloat32:
		return parquet.Leaf(parquet.FloatType)
	case TypeBool:
		return parquet.Leaf(parquet.BooleanType)
	case TypeString:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	case TypeBytes:
		return parquet.Leaf(parquet.ByteArrayType)
	case TypeTimestamp:
		return parquet.Timestamp(parquet.Microsecond)
	}
	return parquet.List(parquet.Leaf(parquet.FloatType))
}

// leafPath is the path of the column that has the values.
func leafPath(c Column) []string {
	if c.Type == TypeFloat32List {
		return []string{c.Name, "list", "element"}
	}
	return []string{c.Name}
}

// partWriter writes one partition.
type partWriter struct {
	out     *parquet.GenericWriter[any]
	columns []Column
	leaves  []int // place of each column in a row of the library
	own     [4]int
	row     [1]parquet.Row    // the library copies what it keeps
	places  [][]parquet.Value // of one row, by leaf
	group   struct{ rows, bytes int }
	limit   struct{ rows, bytes int }
	part    part
}

func newPartWriter(w io.Writer, stream string, columns []Column, o *Options) *partWriter {
	schema := parquetSchema(stream, columns)
	var codec compress.Codec = &parquet.Zstd
	if o.Snappy {
		codec = &parquet.Snappy
	}
	p := &partWriter{columns: columns}
	p.out = parquet.NewGenericWriter[any](w, schema, parquet.Compression(codec), parquet.CreatedBy("millrace", "1", ""),
		parquet.DataPageStatistics(true), parquet.DictionaryMaxBytes(dictionaryBytesMax), parquet.MaxRowsPerRowGroup(math.MaxInt64),
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending(columnEventTime))))
	for i, name := range ownColumns {
		p.own[i] = leafIndex(schema, name)
	}
	for _, c := range columns {
		p.leaves = append(p.leaves, leafIndex(schema, leafPath(c)...))
	}
	p.places = make([][]parquet.Value, len(schema.Columns()))
	p.limit.rows, p.limit.bytes = o.RowGroupRows, o.RowGroupBytes
	p.part = part{Stream: stream, MinEvent: math.MaxInt64, MaxEvent: math.MinInt64, MinArrival: math.MaxInt64}
	return p
}

func leafIndex(s *parquet.Schema, path ...string) int {
	leaf, ok := s.Lookup(path...)
	if !ok {
		panic(fmt.Sprintf("offline: column %q is not in its own schema", path))
	}
	return int(leaf.ColumnIndex)
}

// write adds a record and keeps nothing that belongs to it.
func (p *partWriter) write(r *Record) error {
	p.place(r)
	row := p.row[0][:0]
	for _, values := range p.places {
		row = append(row, values...)
	}
	p.row[0] = row
	if _, err := p.out.WriteRows(p.row[:]); err != nil {
		return err
	}
	p.part.Rows++
	p.part.MinEvent = min(p.part.MinEvent, r.EventTime)
	p.part.MaxEvent = max(p.part.MaxEvent, r.EventTime)
	p.part.MinArrival = min(p.part.MinArrival, r.ArrivalTime)
	p.group.rows++
	p.group.bytes += recordSize(r)
	if p.group.rows < p.limit.rows && p.group.bytes < p.limit.bytes {
		return nil
	}
	p.group.rows, p.group.bytes = 0, 0
	return p.out.Flush()
}

// recordSize is about what a record takes in memory.
func recordSize(r *Record) int {
	size := recordHeadBytes + len(r.ID)
	for i := range r.Values {
		size += 8 + len(r.Values[i].text) + 4*len(r.Values[i].list)
	}
	return size
}

func (p *partWriter) place(r *Record) {
	own := [4]parquet.Value{
		parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(r.ID), len(r.ID))),
		parquet.Int64Value(r.EventTime), parquet.Int64Value(r.ArrivalTime), parquet.Int64Value(int64(r.Sequence)),
	}
	for i, leaf := range p.own {
		p.places[leaf] = append(p.places[leaf][:0], own[i].Level(0, 0, leaf))
	}
	for i, leaf := range p.leaves {
		p.places[leaf] = appendLeaf(p.places[leaf][:0], &r.Values[i], leaf)
	}
}

// appendLeaf turns a value into the library's: with the levels that say how much of
// the path to it is there.
func appendLeaf(dst []parquet.Value, v *Value, leaf int) []parquet.Value {
	if v.kind == 0 {
		return append(dst, parquet.NullValue().Level(0, 0, leaf))
	}
	if v.kind != TypeFloat32List {
		return append(dst, scalar(v).Level(0, 1, leaf))
	}
	if len(v.list) == 0 {
		return append(dst, parquet.NullValue().Level(0, 1, leaf))
	}
	for i, f := range v.list {
		dst = append(dst, parquet.FloatValue(f).Level(min(i, 1), 2, leaf))
	}
	return dst
}

func scalar(v *Value) parquet.Value {
	switch v.kind {
	case TypeFloat64:
		return parquet.DoubleValue(v.Float64())
	case TypeFloat32:
		return parquet.FloatValue(v.Float32())
	case TypeBool:
		return parquet.BooleanValue(v.Bool())
	case TypeString, TypeBytes:
		return parquet.ByteArrayValue(v.Bytes())
	}
	return parquet.Int64Value(v.Int64())
}

// close ends the file.
func (p *partWriter) close() error { return p.out.Close() }
