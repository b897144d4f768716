// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"regexp"
	"slices"
)

// Limits of schemas.
const (
	// StreamsMax is the largest number of streams of a log.
	StreamsMax = 256
	// ColumnsMax is the largest number of columns a stream ever has.
	ColumnsMax = 1024
	// schemasMax bounds the schemas declared while a log is open, over all streams.
	schemasMax = 4096
)

// Type is the type of a column.
type Type uint8

// The types of columns.
const (
	// TypeInt64 is a signed integer.
	TypeInt64 Type = iota + 1
	// TypeFloat64 is a double.
	TypeFloat64
	// TypeFloat32 is a float.
	TypeFloat32
	// TypeBool is a truth value.
	TypeBool
	// TypeString is UTF-8 text.
	TypeString
	// TypeBytes is any bytes.
	TypeBytes
	// TypeTimestamp is microseconds since 1970, UTC.
	TypeTimestamp
	// TypeFloat32List is a list of floats, such as a feature vector.
	TypeFloat32List
	typeEnd
)

var typeNames = [typeEnd]string{"null", "int64", "float64", "float32", "bool", "string", "bytes", "timestamp", "list of float32"}

// String is the name of the type.
func (t Type) String() string {
	if t >= typeEnd {
		return "unknown type"
	}
	return typeNames[t]
}

// Column is a named column.
type Column struct {
	// Name begins with a letter or _ and has at most 128 letters, digits, '_', '.',
	// ':' and '-'.
	Name string `json:"name"`
	// Type is the type of every value that is not null.
	Type Type `json:"type"`
}

// Schema is the columns of a stream, in the order in which records give them.
type Schema struct {
	// Stream names the stream: as a column, with at most 64 characters and no ':'.
	Stream string `json:"stream"`
	// Columns are the columns besides id, times and sequence, which every stream has.
	Columns []Column `json:"columns"`
}

var (
	streamPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)
	columnPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.:-]{0,127}$`)
)

// Columns that every stream has in Parquet.
const (
	columnID        = "id"
	columnEventTime = "event_time"
	columnArrival   = "arrival_time"
	columnSequence  = "sequence"
)

var ownColumns = []string{columnID, columnEventTime, columnArrival, columnSequence}

// validate reports the first thing that is wrong with a schema by itself.
func (s *Schema) validate() error {
	if !streamPattern.MatchString(s.Stream) {
		return fmt.Errorf("%w: stream name %.80q: it must begin with a letter or _ and have at most 64 letters, digits, '_', '.' and '-'", ErrInvalidSchema, s.Stream)
	}
	if len(s.Columns) > ColumnsMax {
		return fmt.Errorf("%w: stream %s has %d columns, at most %d are allowed", ErrInvalidSchema, s.Stream, len(s.Columns), ColumnsMax)
	}
	seen := make(map[string]bool, len(s.Columns))
	for _, c := range s.Columns {
		switch {
		case !columnPattern.MatchString(c.Name):
			return fmt.Errorf("%w: stream %s: column name %.150q: it must begin with a letter or _ and have at most 128 letters, digits, '_', '.', ':' and '-'", ErrInvalidSchema, s.Stream, c.Name)
		case slices.Contains(ownColumns, c.Name):
			return fmt.Errorf("%w: stream %s: column %s is one that every stream has", ErrInvalidSchema, s.Stream, c.Name)
		case c.Type == 0 || c.Type >= typeEnd:
			return fmt.Errorf("%w: stream %s: column %s has no known type", ErrInvalidSchema, s.Stream, c.Name)
		case seen[c.Name]:
			return fmt.Errorf("%w: stream %s: column %s is there twice", ErrInvalidSchema, s.Stream, c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// union is the columns of a stream over all its schemas, in order of appearance. A
// column once there keeps its type for good, so every stored value stays readable.
func union(stream string, columns, more []Column) ([]Column, error) {
	all := slices.Clone(columns)
	for _, c := range more {
		at := slices.IndexFunc(columns, func(old Column) bool { return old.Name == c.Name })
		switch {
		case at < 0:
			all = append(all, c)
		case columns[at].Type != c.Type:
			return nil, fmt.Errorf("%w: stream %s: column %s is %s and cannot become %s; give the new column another name",
				ErrInvalidSchema, stream, c.Name, columns[at].Type, c.Type)
		}
	}
	if len(all) > ColumnsMax {
		return nil, fmt.Errorf("%w: stream %s would have %d columns over all its schemas, at most %d are allowed", ErrInvalidSchema, stream, len(all), ColumnsMax)
	}
	return all, nil
}

// version is one declared schema; its number stands for it in records.
type version struct {
	number uint32
	schema Schema
}

// catalog is the schemas of a log. Its owner guards it.
type catalog struct {
	versions []*version          // in order of declaration in this process
	byNumber map[uint32]*version // all that live segments or callers use
	unions   map[string][]Column
	next     uint32
}

func newCatalog() catalog {
	return catalog{byNumber: map[uint32]*version{}, unions: map[string][]Column{}, next: 1}
}

// declare finds or adds the version that has exactly these columns.
func (c *catalog) declare(s Schema) (*version, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	for _, v := range c.versions {
		if v.schema.Stream == s.Stream && slices.Equal(v.schema.Columns, s.Columns) {
			return v, nil
		}
	}
	if len(c.versions) >= schemasMax {
		return nil, fmt.Errorf("%w: stream %s: %d schemas were declared since the log was opened, the most there can be", ErrInvalidSchema, s.Stream, len(c.versions))
	}
	if err := c.widen(s); err != nil {
		return nil, err
	}
	s.Columns = slices.Clone(s.Columns)
	v := &version{number: c.next, schema: s}
	c.next++
	c.versions = append(c.versions, v)
	c.byNumber[v.number] = v
	return v, nil
}

// widen adds the columns of a schema to its stream.
func (c *catalog) widen(s Schema) error {
	columns, known := c.unions[s.Stream]
	if !known && len(c.unions) >= StreamsMax {
		return fmt.Errorf("%w: stream %s: the log has %d streams, the most there can be", ErrInvalidSchema, s.Stream, len(c.unions))
	}
	all, err := union(s.Stream, columns, s.Columns)
	if err != nil {
		return err
	}
	c.unions[s.Stream] = all
	return nil
}

// restore takes in a schema found in a segment.
func (c *catalog) restore(v *version) error {
	if old := c.byNumber[v.number]; old != nil {
		if old.schema.Stream != v.schema.Stream || !slices.Equal(old.schema.Columns, v.schema.Columns) {
			return fmt.Errorf("%w: number %d stands for two schemas, of streams %s and %s", ErrInvalidSchema, v.number, old.schema.Stream, v.schema.Stream)
		}
		return nil
	}
	if err := c.widen(v.schema); err != nil {
		return err
	}
	c.byNumber[v.number] = v
	c.next = max(c.next, v.number+1)
	return nil
}
