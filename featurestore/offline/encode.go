// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Limits of records.
const (
	// RecordBytesMax is the largest encoded record.
	RecordBytesMax = 4 << 20
	// IDBytesMax is the longest id.
	IDBytesMax = 256
	// EventLeadMax is how far an event may lie after its arrival. With the lower
	// bound of 1970 it bounds the dates, and so the partitions, a log can get.
	EventLeadMax = 366 * 24 * time.Hour
)

// recordHeadBytes is what precedes the id: schema, event time, arrival time, id length.
const recordHeadBytes = 4 + 8 + 8 + 2

var le = binary.LittleEndian

// appendRecord encodes a record behind dst, with its length before it. On an error
// dst is returned as it was.
func appendRecord(dst []byte, v *version, r *Record, arrival int64) ([]byte, error) {
	start := len(dst)
	if err := checkRecord(v, r, arrival); err != nil {
		return dst, err
	}
	dst = append(dst, 0, 0, 0, 0)
	dst = le.AppendUint32(dst, v.number)
	dst = le.AppendUint64(dst, uint64(r.EventTime))
	dst = le.AppendUint64(dst, uint64(arrival))
	dst = le.AppendUint16(dst, uint16(len(r.ID)))
	dst = append(dst, r.ID...)
	nulls := len(dst)
	for range (len(r.Values) + 7) / 8 {
		dst = append(dst, 0)
	}
	for i := range r.Values {
		value := &r.Values[i]
		if value.kind == 0 {
			dst[nulls+i/8] |= 1 << (i % 8)
			continue
		}
		var err error
		if dst, err = appendValue(dst, value, v.schema.Columns[i]); err != nil {
			return dst[:start], fmt.Errorf("%w: stream %s: %w", ErrInvalidRecord, v.schema.Stream, err)
		}
		if len(dst)-start > RecordBytesMax {
			return dst[:start], fmt.Errorf("%w: stream %s: with column %s the record has more than %d bytes, the most there can be",
				ErrInvalidRecord, v.schema.Stream, v.schema.Columns[i].Name, RecordBytesMax)
		}
	}
	le.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst, nil
}

// checkRecord looks at what every record has.
func checkRecord(v *version, r *Record, arrival int64) error {
	reject := func(format string, args ...any) error {
		return fmt.Errorf("%w: stream %s: %s", ErrInvalidRecord, v.schema.Stream, fmt.Sprintf(format, args...))
	}
	switch {
	case len(r.ID) == 0 || len(r.ID) > IDBytesMax:
		return reject("id has %d bytes, want 1 to %d", len(r.ID), IDBytesMax)
	case !utf8.ValidString(r.ID):
		return reject("id is not UTF-8")
	case arrival < 0 || arrival > arrivalMax:
		return reject("arrival_time %d is not between 1970 and 9998", arrival)
	case r.EventTime < 0:
		return reject("event_time %d is before 1970", r.EventTime)
	case r.EventTime > arrival+EventLeadMax.Microseconds():
		return reject("event_time %d is more than %d days after arrival_time %d", r.EventTime, EventLeadMax/(24*time.Hour), arrival)
	case len(r.Values) != len(v.schema.Columns):
		return reject("%d values for %d columns", len(r.Values), len(v.schema.Columns))
	}
	return nil
}

// arrivalMax is the end of the year 9998: an event a year later still has a date of
// four digits.
var arrivalMax = time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro()

func appendValue(dst []byte, v *Value, c Column) ([]byte, error) {
	if v.kind != c.Type {
		return dst, fmt.Errorf("column %s is %s and got a %s", c.Name, c.Type, v.kind)
	}
	switch v.kind {
	case TypeInt64, TypeFloat64, TypeTimestamp:
		return le.AppendUint64(dst, v.bits), nil
	case TypeFloat32:
		return le.AppendUint32(dst, uint32(v.bits)), nil
	case TypeBool:
		return append(dst, byte(v.bits)), nil
	case TypeFloat32List:
		if len(v.list) > RecordBytesMax/4 {
			return dst, fmt.Errorf("column %s has %d elements, at most %d are allowed", c.Name, len(v.list), RecordBytesMax/4)
		}
		dst = binary.AppendUvarint(dst, uint64(len(v.list)))
		for _, f := range v.list {
			dst = le.AppendUint32(dst, math.Float32bits(f))
		}
		return dst, nil
	}
	if len(v.text) > RecordBytesMax {
		return dst, fmt.Errorf("column %s has %d bytes, at most %d are allowed", c.Name, len(v.text), RecordBytesMax)
	}
	if v.kind == TypeString && !utf8.ValidString(v.text) {
		return dst, fmt.Errorf("column %s is not UTF-8", c.Name)
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.text)))
	return append(dst, v.text...), nil
}

// recordHead is the fixed part of an encoded record. The id refers to it.
type recordHead struct {
	schema         uint32
	event, arrival int64
	id             string
}

// decodeHead reads the fixed part of a record and returns what follows it.
func decodeHead(raw []byte) (h recordHead, rest []byte, ok bool) {
	if len(raw) < recordHeadBytes {
		return h, nil, false
	}
	h.schema = le.Uint32(raw)
	h.event = int64(le.Uint64(raw[4:]))
	h.arrival = int64(le.Uint64(raw[12:]))
	n := int(le.Uint16(raw[20:]))
	rest = raw[recordHeadBytes:]
	if n == 0 || n > IDBytesMax || n > len(rest) {
		return h, nil, false
	}
	h.id = unsafe.String(&rest[0], n)
	return h, rest[n:], true
}

// decodeValues walks the values of a record and hands on those with a place in
// target: target[i] is where column i goes, or -1. dst is set to null before.
func decodeValues(rest []byte, columns []Column, target []int, dst []Value) bool {
	clearValues(dst)
	size := (len(columns) + 7) / 8
	if len(rest) < size {
		return false
	}
	nulls := rest[:size]
	rest = rest[size:]
	for i, c := range columns {
		if nulls[i/8]&(1<<(i%8)) != 0 {
			continue
		}
		var into *Value
		if target[i] >= 0 {
			into = &dst[target[i]]
		}
		var ok bool
		if rest, ok = decodeValue(rest, c.Type, into); !ok {
			return false
		}
	}
	return len(rest) == 0
}

// clearValues sets values to null and keeps their lists to be filled again.
func clearValues(values []Value) {
	for i := range values {
		values[i] = Value{list: values[i].list[:0]}
	}
}

// decodeValue reads a value into v, or over it when v is nil.
func decodeValue(rest []byte, t Type, v *Value) ([]byte, bool) {
	var bits uint64
	size := 8
	switch t {
	case TypeFloat32:
		size = 4
	case TypeBool:
		size = 1
	case TypeString, TypeBytes, TypeFloat32List:
		return decodeLong(rest, t, v)
	}
	if len(rest) < size {
		return nil, false
	}
	switch size {
	case 8:
		bits = le.Uint64(rest)
	case 4:
		bits = uint64(le.Uint32(rest))
	default:
		bits = uint64(rest[0])
	}
	if v != nil {
		v.kind, v.bits = t, bits
	}
	return rest[size:], true
}

func decodeLong(rest []byte, t Type, v *Value) ([]byte, bool) {
	n, used := binary.Uvarint(rest)
	if used <= 0 || n > RecordBytesMax {
		return nil, false
	}
	rest = rest[used:]
	size := int(n)
	if t == TypeFloat32List {
		size *= 4
	}
	if size > len(rest) {
		return nil, false
	}
	if v != nil {
		v.kind = t
		if t == TypeFloat32List {
			v.list = v.list[:0]
			for i := range int(n) {
				v.list = append(v.list, math.Float32frombits(le.Uint32(rest[4*i:])))
			}
		} else {
			v.text = unsafe.String(unsafe.SliceData(rest), size)
		}
	}
	return rest[size:], true
}
