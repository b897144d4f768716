// SPDX-License-Identifier: Apache-2.0

// Package table writes the joined table as Parquet: a row for each prediction, with what
// was decided, the label, and the columns of the log that the caller asked for.
//
//	prediction_id, time, arrival_time, decision, answer, model, model_version,
//	policy_version, arm, segment, reasons, degraded, facts, score, propensity,
//	label_status, label_type, label_number, label_text, label_time, label_known,
//	label_source, feedback_id, weight, mature, censored, contradicted, candidates, ...
//
// Times are timestamps in microseconds, UTC. What is not there is null: a label that is
// pending, a score that no model gave, an empty text. label_number is 0 or 1 of a bool.
//
// A Writer is used by one goroutine. It holds a row group: RowGroupRows rows at most.
package table

import (
	"errors"
	"fmt"
	"io"
	"math"
	"unsafe"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// RowGroupRows is how many rows a row group has at most, and RowGroupBytes how many bytes,
// about, before compression.
const (
	RowGroupRows  = 1 << 17
	RowGroupBytes = 32 << 20
)

// field is a column that every table has; of gives a null value for what is not there.
type field struct {
	name string
	time bool // in microseconds
	node parquet.Node
	of   func(*groundtruth.Row) parquet.Value
}

// textField is one whose texts repeat, plainField one whose texts do not.
func textField(name string, of func(*groundtruth.Row) string) field {
	f := plainField(name, of)
	f.node = parquet.Encoded(f.node, &parquet.RLEDictionary)
	return f
}

func plainField(name string, of func(*groundtruth.Row) string) field {
	return field{name, false, parquet.String(), func(r *groundtruth.Row) parquet.Value {
		if text := of(r); text != "" {
			return bytesValue(text)
		}
		return parquet.NullValue()
	}}
}

func timeField(name string, of func(*groundtruth.Row) int64) field {
	return field{name, true, parquet.Timestamp(parquet.Microsecond), func(r *groundtruth.Row) parquet.Value {
		if t := of(r); t != 0 {
			return parquet.Int64Value(t)
		}
		return parquet.NullValue()
	}}
}

func numberField(name string, of func(*groundtruth.Row) float64) field {
	return field{name, false, parquet.Leaf(parquet.DoubleType), func(r *groundtruth.Row) parquet.Value {
		if x := of(r); !math.IsNaN(x) {
			return parquet.DoubleValue(x)
		}
		return parquet.NullValue()
	}}
}

func boolField(name string, of func(*groundtruth.Row) bool) field {
	return field{name, false, parquet.Leaf(parquet.BooleanType), func(r *groundtruth.Row) parquet.Value { return parquet.BooleanValue(of(r)) }}
}

func intField(name string, of func(*groundtruth.Row) int64) field {
	return field{name, false, parquet.Int(64), func(r *groundtruth.Row) parquet.Value { return parquet.Int64Value(of(r)) }}
}

// bytesValue refers to the text, which the library copies when it takes the row.
func bytesValue(text string) parquet.Value {
	return parquet.ByteArrayValue(unsafe.Slice(unsafe.StringData(text), len(text)))
}

func fields() []field {
	type row = groundtruth.Row
	labelled := func(r *row, x float64) float64 {
		if t := r.Label.Value.Type; t == groundtruth.TypeBool || t == groundtruth.TypeNumber {
			return x
		}
		return math.NaN()
	}
	return []field{
		plainField("prediction_id", func(r *row) string { return r.PredictionID }),
		timeField("time", func(r *row) int64 { return r.Time }),
		timeField("arrival_time", func(r *row) int64 { return r.Arrival }),
		textField("decision", func(r *row) string { return r.Decision }),
		textField("answer", func(r *row) string { return r.Answer }),
		textField("model", func(r *row) string { return r.Model }),
		intField("model_version", func(r *row) int64 { return r.ModelVersion }),
		textField("policy_version", func(r *row) string { return r.PolicyVersion }),
		textField("arm", func(r *row) string { return r.Arm }),
		textField("segment", func(r *row) string { return r.Segment }),
		textField("reasons", func(r *row) string { return r.Reason }),
		boolField("degraded", func(r *row) bool { return r.Degraded }),
		plainField("facts", func(r *row) string { return r.Facts }),
		numberField("score", func(r *row) float64 { return r.Score }),
		numberField("propensity", func(r *row) float64 { return r.Propensity }),
		textField("label_status", func(r *row) string { return r.Label.Status.String() }),
		textField("label_type", func(r *row) string { return r.Label.Value.Type.String() }),
		numberField("label_number", func(r *row) float64 { return labelled(r, r.Label.Value.Number) }),
		plainField("label_text", func(r *row) string { return r.Label.Value.Text }),
		timeField("label_time", func(r *row) int64 { return r.Label.Time }),
		timeField("label_known", func(r *row) int64 { return r.Label.Known }),
		textField("label_source", func(r *row) string { return r.Label.Source }),
		plainField("feedback_id", func(r *row) string { return r.Label.FeedbackID }),
		numberField("weight", func(r *row) float64 { return r.Label.Weight }),
		boolField("mature", func(r *row) bool { return r.Label.Mature }),
		boolField("censored", func(r *row) bool { return r.Label.Censored() }),
		boolField("contradicted", func(r *row) bool { return r.Label.Contradicted }),
		intField("candidates", func(r *row) int64 { return int64(r.Label.Candidates) }),
	}
}

// Writer is a groundtruth.RowWriter.
type Writer struct {
	out    *parquet.GenericWriter[any]
	fields []field
	extra  []offline.Column
	leaves []int             // of fields and then extra
	places [][]parquet.Value // of a row, by leaf
	row    [1]parquet.Row
	rows   int
	bytes  int
}

// NewWriter writes to w. extra are the columns of Row.Extra, in their order, as
// groundtruth.ExtraColumns has them.
func NewWriter(w io.Writer, extra []offline.Column) (*Writer, error) {
	t := &Writer{fields: fields(), extra: extra}
	root := parquet.Group{}
	for _, f := range t.fields {
		root[f.name] = parquet.Optional(f.node)
	}
	for _, c := range extra {
		if _, ok := root[c.Name]; ok {
			return nil, fmt.Errorf("%w: column %s: is there twice", groundtruth.ErrInvalid, c.Name)
		}
		node, err := nodeOf(c)
		if err != nil {
			return nil, err
		}
		root[c.Name] = parquet.Optional(node)
	}
	schema := parquet.NewSchema("truth", root)
	for _, f := range t.fields {
		leaf, _ := schema.Lookup(f.name) // it was put there above
		t.leaves = append(t.leaves, int(leaf.ColumnIndex))
	}
	for _, c := range extra {
		path := []string{c.Name}
		if c.Type == offline.TypeFloat32List {
			path = append(path, "list", "element")
		}
		leaf, _ := schema.Lookup(path...) // likewise
		t.leaves = append(t.leaves, int(leaf.ColumnIndex))
	}
	t.places = make([][]parquet.Value, len(schema.Columns()))
	t.out = parquet.NewGenericWriter[any](w, schema, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("millrace", "1", ""), parquet.MaxRowsPerRowGroup(RowGroupRows))
	return t, nil
}

func nodeOf(c offline.Column) (parquet.Node, error) {
	switch c.Type {
	case offline.TypeInt64:
		return parquet.Int(64), nil
	case offline.TypeFloat64:
		return parquet.Leaf(parquet.DoubleType), nil
	case offline.TypeFloat32:
		return parquet.Leaf(parquet.FloatType), nil
	case offline.TypeBool:
		return parquet.Leaf(parquet.BooleanType), nil
	case offline.TypeString:
		return parquet.String(), nil
	case offline.TypeBytes:
		return parquet.Leaf(parquet.ByteArrayType), nil
	case offline.TypeTimestamp:
		return parquet.Timestamp(parquet.Microsecond), nil
	case offline.TypeFloat32List:
		return parquet.List(parquet.Leaf(parquet.FloatType)), nil
	}
	return nil, fmt.Errorf("%w: column %s: has the unknown type %v", groundtruth.ErrInvalid, c.Name, c.Type)
}

// WriteRow adds a row. It keeps nothing that belongs to it.
func (t *Writer) WriteRow(r *groundtruth.Row) error {
	if len(r.Extra) != len(t.extra) {
		return fmt.Errorf("%w: row has %d further columns, and the table %d", groundtruth.ErrInvalid, len(r.Extra), len(t.extra))
	}
	for i := range t.fields {
		leaf := t.leaves[i]
		v := t.fields[i].of(r)
		t.places[leaf] = append(t.places[leaf][:0], optional(v, leaf))
		t.bytes += 8
	}
	for i := range r.Extra {
		v, leaf := r.Extra[i], t.leaves[len(t.fields)+i]
		if !v.IsNull() && v.Type() != t.extra[i].Type {
			return fmt.Errorf("%w: column %s: is a %v instead of a %v", groundtruth.ErrInvalid, t.extra[i].Name, v.Type(), t.extra[i].Type)
		}
		t.places[leaf] = appendExtra(t.places[leaf][:0], v, leaf)
		t.bytes += 8
		switch v.Type() {
		case offline.TypeString, offline.TypeBytes:
			t.bytes += len(v.Text())
		case offline.TypeFloat32List:
			t.bytes += 4 * len(v.Float32List())
		}
	}
	t.bytes += len(r.Facts) + len(r.PredictionID) + len(r.Label.Value.Text)
	row := t.row[0][:0]
	for _, values := range t.places {
		row = append(row, values...)
	}
	t.row[0] = row
	if _, err := t.out.WriteRows(t.row[:]); err != nil {
		return err
	}
	if t.rows++; t.rows < RowGroupRows && t.bytes < RowGroupBytes {
		return nil
	}
	t.rows, t.bytes = 0, 0
	return t.out.Flush()
}

func optional(v parquet.Value, leaf int) parquet.Value {
	if v.IsNull() {
		return v.Level(0, 0, leaf)
	}
	return v.Level(0, 1, leaf)
}

// appendExtra turns a value into the library's, with the levels that say how much of the
// path to it is there.
func appendExtra(to []parquet.Value, v offline.Value, leaf int) []parquet.Value {
	if v.Type() != offline.TypeFloat32List {
		return append(to, optional(scalar(v), leaf))
	}
	list := v.Float32List()
	if len(list) == 0 {
		return append(to, parquet.NullValue().Level(0, 1, leaf))
	}
	for i, x := range list {
		to = append(to, parquet.FloatValue(x).Level(min(i, 1), 2, leaf))
	}
	return to
}

func scalar(v offline.Value) parquet.Value {
	switch v.Type() {
	case offline.TypeInt64, offline.TypeTimestamp:
		return parquet.Int64Value(v.Int64())
	case offline.TypeFloat64:
		return parquet.DoubleValue(v.Float64())
	case offline.TypeFloat32:
		return parquet.FloatValue(v.Float32())
	case offline.TypeBool:
		return parquet.BooleanValue(v.Bool())
	case offline.TypeString, offline.TypeBytes:
		return bytesValue(v.Text())
	}
	return parquet.NullValue()
}

// Close ends the table. What it was written to stays the caller's.
func (t *Writer) Close() error {
	if t.out == nil {
		return fmt.Errorf("table: %w", groundtruth.ErrClosed)
	}
	err := t.out.Close()
	t.out = nil
	if err != nil {
		return errors.Join(errors.New("table: its end is not written"), err)
	}
	return nil
}

var _ groundtruth.RowWriter = (*Writer)(nil)

// Names are the columns that every table has, in their order.
func Names() []string {
	var names []string
	for _, f := range fields() {
		names = append(names, f.name)
	}
	return names
}
