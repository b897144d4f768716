// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// TextWriter writes the same columns as text: JSON lines, in which what is null is left
// out, or CSV with a header, in which it is an empty cell. Times are RFC 3339, bytes
// base64. It is a groundtruth.RowWriter, used by one goroutine.
type TextWriter struct {
	fields []field
	extra  []offline.Column
	names  []string
	lines  *bufio.Writer // JSON lines
	csv    *csv.Writer
	cells  []string
	line   []byte
}

// NewJSONLines writes an object a line to w.
func NewJSONLines(w io.Writer, extra []offline.Column) (*TextWriter, error) {
	t, err := newText(extra)
	if err != nil {
		return nil, err
	}
	t.lines = bufio.NewWriterSize(w, 64<<10)
	return t, nil
}

// NewCSV writes CSV to w. Columns of bytes and lists are refused.
func NewCSV(w io.Writer, extra []offline.Column) (*TextWriter, error) {
	t, err := newText(extra)
	if err != nil {
		return nil, err
	}
	for _, c := range extra {
		if c.Type == offline.TypeBytes || c.Type == offline.TypeFloat32List {
			return nil, fmt.Errorf("%w: column %s: is a %v, which a cell of CSV does not hold", groundtruth.ErrInvalid, c.Name, c.Type)
		}
	}
	t.csv = csv.NewWriter(w)
	return t, t.csv.Write(t.names)
}

func newText(extra []offline.Column) (*TextWriter, error) {
	t := &TextWriter{fields: fields(), extra: extra}
	seen := map[string]bool{}
	add := func(name string) bool {
		twice := seen[name]
		seen[name] = true
		t.names = append(t.names, name)
		return !twice
	}
	for _, f := range t.fields {
		add(f.name)
	}
	for _, c := range extra {
		if !add(c.Name) {
			return nil, fmt.Errorf("%w: column %s: is there twice", groundtruth.ErrInvalid, c.Name)
		}
	}
	t.cells = make([]string, len(t.names))
	return t, nil
}

// WriteRow adds a row. It keeps nothing that belongs to it.
func (t *TextWriter) WriteRow(r *groundtruth.Row) error {
	if len(r.Extra) != len(t.extra) {
		return fmt.Errorf("%w: row has %d further columns, and the table %d", groundtruth.ErrInvalid, len(r.Extra), len(t.extra))
	}
	for i := range t.cells {
		if i < len(t.fields) {
			t.cells[i] = t.fields[i].cell(r, t.csv == nil)
		} else {
			t.cells[i] = extraCell(r.Extra[i-len(t.fields)], t.csv == nil)
		}
	}
	if t.csv != nil {
		return t.csv.Write(t.cells)
	}
	t.line = append(t.line[:0], '{')
	for i, cell := range t.cells {
		if cell == "" {
			continue
		}
		if len(t.line) > 1 {
			t.line = append(t.line, ',')
		}
		t.line = append(append(append(t.line, quoted(t.names[i])...), ':'), cell...)
	}
	_, err := t.lines.Write(append(t.line, '}', '\n'))
	return err
}

// cell is a value as text, empty if it is null; as JSON if asked.
func (f *field) cell(r *groundtruth.Row, asJSON bool) string {
	v := f.of(r)
	switch {
	case v.IsNull():
		return ""
	case f.time:
		return text(moment(v.Int64()), asJSON)
	}
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.FormatBool(v.Boolean())
	case parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10)
	case parquet.Double:
		return number(v.Double(), 64, asJSON)
	}
	return text(string(v.ByteArray()), asJSON)
}

func extraCell(v offline.Value, asJSON bool) string {
	switch v.Type() {
	case offline.TypeInt64:
		return strconv.FormatInt(v.Int64(), 10)
	case offline.TypeTimestamp:
		return text(moment(v.Int64()), asJSON)
	case offline.TypeFloat64:
		return number(v.Float64(), 64, asJSON)
	case offline.TypeFloat32:
		return number(float64(v.Float32()), 32, asJSON)
	case offline.TypeBool:
		return strconv.FormatBool(v.Bool())
	case offline.TypeString:
		return text(v.Text(), asJSON)
	case offline.TypeBytes:
		return text(base64.StdEncoding.EncodeToString(v.Bytes()), asJSON)
	case offline.TypeFloat32List:
		list := []byte{'['}
		for i, x := range v.Float32List() {
			if i > 0 {
				list = append(list, ',')
			}
			list = append(list, number(float64(x), 32, true)...)
		}
		return string(append(list, ']'))
	}
	return ""
}

func moment(t int64) string { return time.UnixMicro(t).UTC().Format(time.RFC3339Nano) }

// number writes what JSON has no number for as null; in CSV it is as Go reads it.
func number(x float64, bits int, asJSON bool) string {
	if asJSON && (math.IsNaN(x) || math.IsInf(x, 0)) {
		return "null"
	}
	return strconv.FormatFloat(x, 'g', -1, bits)
}

func text(s string, asJSON bool) string {
	if asJSON {
		return quoted(s)
	}
	return s
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // a text always marshals
	}
	return string(b)
}

// Close writes what is left. What it was written to stays the caller's.
func (t *TextWriter) Close() error {
	if t.csv == nil {
		return t.lines.Flush()
	}
	t.csv.Flush()
	return t.csv.Error()
}

var _ groundtruth.RowWriter = (*TextWriter)(nil)
