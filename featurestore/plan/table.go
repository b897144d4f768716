// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
)

// Table is the memory of one view or one lookup: a state for each entity.
type Table struct {
	Name string
	// View or Lookup is what the table holds; the other is nil.
	View   *definition.View
	Lookup *definition.Lookup
}

// Tables are the tables of a catalogue: its views, then its lookups. Refs and updates
// name a table by its place in this list.
func Tables(c *definition.Catalog) []Table {
	tables := make([]Table, 0, len(c.Views)+len(c.Lookups))
	for _, v := range c.Views {
		tables = append(tables, Table{Name: v.Name, View: v})
	}
	for _, l := range c.Lookups {
		tables = append(tables, Table{Name: l.Name, Lookup: l})
	}
	return tables
}

// AppendIntKey appends the key of an Int64 entity to a table key: eight bytes, in the
// order of the numbers.
func AppendIntKey(key []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(key, uint64(v)^1<<63)
}

// AppendTextKey appends the key of a String entity: its length and its bytes, so that
// keys of several entities cannot be taken for one another.
func AppendTextKey(key []byte, v string) []byte {
	key = binary.AppendUvarint(key, uint64(len(v)))
	return append(key, v...)
}

// FormatKey is a table key for people, the keys of its entities joined by a comma, of
// each 64 characters at most.
func FormatKey(entities []*definition.Entity, key []byte) string {
	text := ""
	for i, e := range entities {
		if i > 0 {
			text += ","
		}
		if e.Type == column.Int64 && len(key) >= 8 {
			text += fmt.Sprint(int64(binary.BigEndian.Uint64(key) ^ 1<<63))
			key = key[8:]
			continue
		}
		n, size := binary.Uvarint(key)
		if size <= 0 || n > uint64(len(key)-size) {
			return fmt.Sprintf("%x", key)
		}
		text += fmt.Sprintf("%.64s", key[size:size+int(n)])
		key = key[size+int(n):]
	}
	return text
}

// StreamPrefix begins the name of the log's streams that hold events of sources.
const StreamPrefix = "source."

// Schema is the stream of the event log that holds a source's events: every field but
// the arrival, which every record has. A record that only fills in late fields has
// nulls elsewhere, but for id, time and keys.
func Schema(s *definition.Source) offline.Schema {
	schema := offline.Schema{Stream: StreamPrefix + s.Name}
	for i, f := range s.Fields {
		if i == s.Arrival {
			continue
		}
		schema.Columns = append(schema.Columns, offline.Column{Name: f.Name, Type: LogType(f.Type)})
	}
	return schema
}

// LogType is the type that the event log has for values of a column.
func LogType(t column.Type) offline.Type { return logTypes[t] }

var logTypes = map[column.Type]offline.Type{
	column.Bool: offline.TypeBool, column.Int64: offline.TypeInt64, column.Float64: offline.TypeFloat64,
	column.String: offline.TypeString, column.Timestamp: offline.TypeTimestamp,
}

// Micros is a time in microseconds since 1970 UTC.
func Micros(t time.Time) int64 { return t.UnixMicro() }
