// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
)

// ErrCorruptRow says that stored bytes are not the row of a lookup.
var ErrCorruptRow = errors.New("corrupt lookup row")

// AppendRow appends the values of a lookup's fields: for each, one byte that is 0 for
// a null, then eight bytes of a float64, or a length and the text. values are those
// of the source, by field.
func AppendRow(dst []byte, l *definition.Lookup, values []offline.Value) []byte {
	for _, field := range l.Fields {
		v := values[field]
		switch {
		case v.IsNull():
			dst = append(dst, 0)
		case l.Source.Fields[field].Type == column.String:
			dst = append(dst, 1)
			dst = binary.AppendUvarint(dst, uint64(len(v.Bytes())))
			dst = append(dst, v.Bytes()...)
		default:
			dst = append(dst, 1)
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(numberOf(v)))
		}
	}
	return dst
}

// RowReader walks over the values of a row.
type RowReader struct{ rest []byte }

// RowOf begins to read a row.
func RowOf(row []byte) RowReader { return RowReader{rest: row} }

// Next returns the next field's value, of the type given.
func (r *RowReader) Next(t column.Type) (number float64, text []byte, null bool, err error) {
	if len(r.rest) == 0 {
		return 0, nil, true, fmt.Errorf("%w: it ends early", ErrCorruptRow)
	}
	present := r.rest[0] != 0
	r.rest = r.rest[1:]
	if !present {
		return math.NaN(), nil, true, nil
	}
	if t == column.String {
		n, size := binary.Uvarint(r.rest)
		if size <= 0 || n > uint64(len(r.rest)-size) {
			return 0, nil, true, fmt.Errorf("%w: a text is longer than the row", ErrCorruptRow)
		}
		text, r.rest = r.rest[size:size+int(n)], r.rest[size+int(n):]
		return math.NaN(), text, false, nil
	}
	if len(r.rest) < 8 {
		return 0, nil, true, fmt.Errorf("%w: it ends early", ErrCorruptRow)
	}
	number = math.Float64frombits(binary.LittleEndian.Uint64(r.rest))
	r.rest = r.rest[8:]
	return number, nil, false, nil
}

// numberOf is a value as expressions and aggregations see it: NaN for null and text.
func numberOf(v offline.Value) float64 {
	switch v.Type() {
	case offline.TypeInt64, offline.TypeTimestamp:
		return float64(v.Int64())
	case offline.TypeFloat64, offline.TypeFloat32:
		return v.Float64()
	case offline.TypeBool:
		if v.Bool() {
			return 1
		}
		return 0
	}
	return math.NaN()
}
