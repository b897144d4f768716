// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"math"
	"unsafe"
)

// Value is one value of a record; the zero Value is null. It refers to the text,
// bytes or list it was made of, and copies none.
type Value struct {
	kind Type
	bits uint64
	text string
	list []float32
}

// Int64 is a value of TypeInt64.
func Int64(v int64) Value { return Value{kind: TypeInt64, bits: uint64(v)} }

// Float64 is a value of TypeFloat64.
func Float64(v float64) Value { return Value{kind: TypeFloat64, bits: math.Float64bits(v)} }

// Float32 is a value of TypeFloat32.
func Float32(v float32) Value { return Value{kind: TypeFloat32, bits: uint64(math.Float32bits(v))} }

// Bool is a value of TypeBool.
func Bool(v bool) Value {
	if v {
		return Value{kind: TypeBool, bits: 1}
	}
	return Value{kind: TypeBool}
}

// String is a value of TypeString. It must be UTF-8.
func String(v string) Value { return Value{kind: TypeString, text: v} }

// Bytes is a value of TypeBytes. The caller leaves v as it is while the Value is used.
func Bytes(v []byte) Value {
	return Value{kind: TypeBytes, text: unsafe.String(unsafe.SliceData(v), len(v))}
}

// Timestamp is a value of TypeTimestamp, in microseconds since 1970, UTC.
func Timestamp(micros int64) Value { return Value{kind: TypeTimestamp, bits: uint64(micros)} }

// Float32List is a value of TypeFloat32List. The caller leaves v as it is while the
// Value is used.
func Float32List(v []float32) Value { return Value{kind: TypeFloat32List, list: v} }

// Type is the type of the value; 0 is null.
func (v Value) Type() Type { return v.kind }

// IsNull tells whether there is no value.
func (v Value) IsNull() bool { return v.kind == 0 }

// Int64 is the integer, or the microseconds of a timestamp.
func (v Value) Int64() int64 { return int64(v.bits) }

// Float64 is the number of a TypeFloat64 or TypeFloat32.
func (v Value) Float64() float64 {
	if v.kind == TypeFloat32 {
		return float64(math.Float32frombits(uint32(v.bits)))
	}
	return math.Float64frombits(v.bits)
}

// Float32 is the number of a TypeFloat32.
func (v Value) Float32() float32 { return math.Float32frombits(uint32(v.bits)) }

// Bool is the truth value.
func (v Value) Bool() bool { return v.bits != 0 }

// Text is the text of a TypeString or TypeBytes. It lives as long as what it was made
// of: for a scanned record, until the next one.
func (v Value) Text() string { return v.text }

// Bytes is the bytes of a TypeBytes or TypeString, as [Value.Text]; they must not be
// written to.
func (v Value) Bytes() []byte { return unsafe.Slice(unsafe.StringData(v.text), len(v.text)) }

// Float32List is the list, which lives as [Value.Text] and must not be written to.
func (v Value) Float32List() []float32 { return v.list }

// Record is one event of a stream.
type Record struct {
	// ID names the event within its stream: 1 to 256 bytes of UTF-8. A record with
	// the id of an earlier one is a new version of that event.
	ID string
	// EventTime is when it happened, in microseconds since 1970, UTC: not before
	// 1970, and at most EventLeadMax after ArrivalTime.
	EventTime int64
	// ArrivalTime is when the log learned of it. 0, given to an append, is now.
	ArrivalTime int64
	// Sequence is the place of the record in the order of appending. The log gives
	// it; appends ignore it.
	Sequence uint64
	// Values are one for each column of the schema, or of the query.
	Values []Value
}

// Clone copies the record and all it refers to.
func (r *Record) Clone() Record {
	c := *r
	c.ID = string(append([]byte(nil), r.ID...))
	c.Values = make([]Value, len(r.Values))
	for i, v := range r.Values {
		v.text = string(append([]byte(nil), v.text...))
		if v.kind == TypeFloat32List {
			v.list = append(make([]float32, 0, len(v.list)), v.list...)
		}
		c.Values[i] = v
	}
	return c
}
