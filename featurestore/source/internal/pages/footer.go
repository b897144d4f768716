// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Magic is what a Parquet file begins and ends with.
const Magic = magic

// createdBy does not change with the program's version: equal content is equal bytes.
const createdBy = "millrace version 1 (build 1)"

// Footer gathers what the end of a file says of its row groups.
type Footer struct {
	columns []Column
	groups  []format.RowGroup
	rows    int64
}

// NewFooter returns the footer of a file with these columns.
func NewFooter(columns []Column) *Footer { return &Footer{columns: columns} }

// Groups is how many row groups there are.
func (f *Footer) Groups() int { return len(f.groups) }

// Add adds a row group whose chunks stand one behind the other from an offset on.
func (f *Footer) Add(offset, rows int64, chunks []Encoded) {
	g := format.RowGroup{NumRows: rows, FileOffset: offset, Ordinal: int16(len(f.groups))}
	for i := range chunks {
		meta := chunks[i].meta
		if chunks[i].indexed {
			meta.DictionaryPageOffset = offset
		}
		meta.DataPageOffset += offset
		g.Columns = append(g.Columns, format.ColumnChunk{MetaData: meta})
		g.TotalByteSize += meta.TotalUncompressedSize
		g.TotalCompressedSize += meta.TotalCompressedSize
		offset += int64(len(chunks[i].Bytes))
	}
	f.groups = append(f.groups, g)
	f.rows += rows
}

// KeyValue is a note in a file, for other programs.
type KeyValue struct{ Key, Value string }

// Bytes are the end of the file.
func (f *Footer) Bytes(notes []KeyValue) ([]byte, error) {
	meta := format.FileMetaData{Version: 1, NumRows: f.rows, RowGroups: f.groups, CreatedBy: createdBy}
	meta.Schema = append(meta.Schema, format.SchemaElement{Name: "schema", NumChildren: thrift.New(int32(len(f.columns)))})
	for i := range f.columns {
		meta.Schema = append(meta.Schema, f.columns[i].element())
		meta.ColumnOrders = append(meta.ColumnOrders, format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
	}
	for _, n := range notes {
		meta.KeyValueMetadata = append(meta.KeyValueMetadata, format.KeyValue{Key: n.Key, Value: n.Value})
	}
	b, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	if err != nil {
		return nil, err
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)))
	return append(b, magic...), nil
}

func (c *Column) element() format.SchemaElement {
	e := format.SchemaElement{Name: c.Name, Type: thrift.New(c.physical()), RepetitionType: thrift.New(format.Optional)}
	if c.Required {
		e.RepetitionType = thrift.New(format.Required)
	}
	switch c.Kind {
	case Texts:
		e.ConvertedType = thrift.New(deprecated.UTF8)
		e.LogicalType = format.LogicalType{Value: &format.StringType{}}
	case Times:
		e.ConvertedType = thrift.New(deprecated.TimestampMicros)
		e.LogicalType = format.LogicalType{Value: &format.TimestampType{
			IsAdjustedToUTC: true, Unit: format.TimeUnit{Value: &format.MicroSeconds{}},
		}}
	}
	return e
}
