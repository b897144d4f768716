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
	"github.com/millrace-ml/millrace/featurestore/window"
)

// VectorColumns are the columns of a log stream that holds served vectors, for
// streams that log reads. With them a vector can be computed again from the log:
//
//	features_service   the service
//	features_version   the hash of its definition (definition.Service.Hash), short
//	features_at        the moment asked for, in microseconds
//	features_keys      the table keys, each a uvarint length and the bytes, in the
//	                   order of Assembler.Tables
//	features_inputs    keys and request fields as the expressions saw them: per value
//	                   one byte 0 null, 1 float64 (8 bytes), 2 text (uvarint, bytes),
//	                   3 int64 (8 bytes)
//	features_vector    the numbers, eight bytes each, little endian float64
//	features_texts     the text features, each a uvarint length and the bytes
//	features_status    one byte each, window.Status
//	features_sequences uvarints: Seen.Sequence of each table
func VectorColumns() []offline.Column {
	return []offline.Column{
		{Name: "features_service", Type: offline.TypeString},
		{Name: "features_version", Type: offline.TypeString},
		{Name: "features_at", Type: offline.TypeTimestamp},
		{Name: "features_keys", Type: offline.TypeBytes},
		{Name: "features_inputs", Type: offline.TypeBytes},
		{Name: "features_vector", Type: offline.TypeBytes},
		{Name: "features_texts", Type: offline.TypeBytes},
		{Name: "features_status", Type: offline.TypeBytes},
		{Name: "features_sequences", Type: offline.TypeBytes},
	}
}

// VectorWidth is the number of VectorColumns.
const VectorWidth = 9

// ErrCorruptVector says that logged bytes are not a vector.
var ErrCorruptVector = errors.New("corrupt logged vector")

// VectorLog encodes vectors for the log. It is memory for one goroutine; what it
// returns refers to it and is good until the next call.
type VectorLog struct {
	assembler *Assembler
	version   string
	buffer    []byte
	key       []byte
	ends      [6]int
	values    [VectorWidth]offline.Value
}

// NewVectorLog returns the encoder of a service's vectors.
func (a *Assembler) NewVectorLog() *VectorLog {
	return &VectorLog{assembler: a, version: ShortHash(a.service.Hash())}
}

// ShortHash is the beginning of a hash for people and logs: 12 hexadecimal digits.
func ShortHash(h [32]byte) string { return fmt.Sprintf("%x", h[:6]) }

// Values are the values of VectorColumns for one row of an answer. The answer must
// have been read with WantSequences.
func (l *VectorLog) Values(in *Inputs, out *Vectors, row int) []offline.Value {
	a, b := l.assembler, l.buffer[:0]
	for i := range a.tables {
		l.key = a.tables[i].appendKey(l.key[:0], in, row)
		b = append(binary.AppendUvarint(b, uint64(len(l.key))), l.key...)
	}
	l.ends[0] = len(b)
	for i := range in.Keys {
		b = appendInput(b, &in.Keys[i], row)
	}
	for i := range in.Request {
		b = appendInput(b, &in.Request[i], row)
	}
	l.ends[1] = len(b)
	for _, x := range out.Row(row) {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	l.ends[2] = len(b)
	for _, t := range out.TextRow(row) {
		b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
	}
	l.ends[3] = len(b)
	for _, s := range out.StatusRow(row) {
		b = append(b, byte(s))
	}
	l.ends[4] = len(b)
	for _, s := range out.Sequences[row*out.Tables : (row+1)*out.Tables] {
		b = binary.AppendUvarint(b, s)
	}
	l.ends[5] = len(b)
	l.buffer = b
	l.values[0] = offline.String(a.service.Name)
	l.values[1] = offline.String(l.version)
	l.values[2] = offline.Timestamp(a.moment(in, row))
	begin := 0
	for i, end := range l.ends {
		l.values[3+i] = offline.Bytes(b[begin:end:end])
		begin = end
	}
	return l.values[:]
}

// appendInput appends a value of the request: integers as such, since a key may be
// beyond what a float64 holds.
func appendInput(b []byte, c *column.Column, row int) []byte {
	switch {
	case c.Null(row):
		return append(b, inputNull)
	case c.Type == column.String:
		b = binary.AppendUvarint(append(b, inputText), uint64(len(c.Texts[row])))
		return append(b, c.Texts[row]...)
	case c.Type == column.Int64 || c.Type == column.Timestamp:
		return binary.LittleEndian.AppendUint64(append(b, inputInteger), uint64(c.Ints[row]))
	}
	return binary.LittleEndian.AppendUint64(append(b, inputNumber), math.Float64bits(c.Numbers[row]))
}

// How an input is encoded.
const (
	inputNull = iota
	inputNumber
	inputText
	inputInteger
)

// LoggedVector is what VectorLog.Values wrote, read back. Its slices are reused by
// the next DecodeVector into it.
type LoggedVector struct {
	Service, Version string
	// At is the moment asked for, in microseconds.
	At int64
	// Keys are those of Assembler.Tables; an empty one is that of no entity.
	Keys      [][]byte
	Numbers   []float64
	Texts     []string
	Status    []window.Status
	Sequences []uint64
	inputs    []byte
}

// DecodeVector reads VectorColumns back, checked. What it yields refers to the values.
func DecodeVector(values []offline.Value, into *LoggedVector) error {
	if len(values) != VectorWidth {
		return fmt.Errorf("%w: %d columns instead of %d", ErrCorruptVector, len(values), VectorWidth)
	}
	into.Service, into.Version, into.At = values[0].Text(), values[1].Text(), values[2].Int64()
	into.Keys, into.Numbers, into.Texts = into.Keys[:0], into.Numbers[:0], into.Texts[:0]
	into.Status, into.Sequences, into.inputs = into.Status[:0], into.Sequences[:0], values[4].Bytes()
	for b := values[3].Bytes(); len(b) > 0; {
		key, rest, err := cutText(b)
		if err != nil {
			return err
		}
		into.Keys, b = append(into.Keys, key), rest
	}
	numbers := values[5].Bytes()
	for ; len(numbers) >= 8; numbers = numbers[8:] {
		into.Numbers = append(into.Numbers, math.Float64frombits(binary.LittleEndian.Uint64(numbers)))
	}
	for b := values[6].Bytes(); len(b) > 0; {
		text, rest, err := cutText(b)
		if err != nil {
			return err
		}
		into.Texts, b = append(into.Texts, string(text)), rest
	}
	for _, s := range values[7].Bytes() {
		into.Status = append(into.Status, window.Status(s))
	}
	for b := values[8].Bytes(); len(b) > 0; {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			return fmt.Errorf("%w: sequences end early", ErrCorruptVector)
		}
		into.Sequences, b = append(into.Sequences, x), b[n:]
	}
	if len(numbers) != 0 || len(into.Status) != len(into.Numbers) || len(into.Sequences) != len(into.Keys) {
		return fmt.Errorf("%w: %d numbers, %d statuses, %d keys, %d sequences", ErrCorruptVector, len(into.Numbers), len(into.Status), len(into.Keys), len(into.Sequences))
	}
	return nil
}

// Inputs fills one row of inputs with what was asked, columns of the types of the
// service; the columns are reset first.
func (v *LoggedVector) Inputs(s *definition.Service, in *Inputs) error {
	in.Rows, in.At, in.Now = 1, v.At, v.At
	in.Keys, in.Request = in.Keys[:0], in.Request[:0]
	b := v.inputs
	for _, e := range s.Entities {
		c := column.Column{Name: e.Key, Type: e.Type}
		var err error
		if b, err = cutInput(b, &c); err != nil {
			return err
		}
		in.Keys = append(in.Keys, c)
	}
	for _, f := range s.Request {
		c := column.Column{Name: f.Name, Type: f.Type}
		var err error
		if b, err = cutInput(b, &c); err != nil {
			return err
		}
		in.Request = append(in.Request, c)
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: %d bytes of inputs too many", ErrCorruptVector, len(b))
	}
	return nil
}

func cutText(b []byte) (text, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, fmt.Errorf("%w: a text ends early", ErrCorruptVector)
	}
	return b[size : size+int(n)], b[size+int(n):], nil
}

func cutInput(b []byte, c *column.Column) (rest []byte, err error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: inputs end early", ErrCorruptVector)
	}
	kind, b := b[0], b[1:]
	number := c.Type == column.Bool || c.Type == column.Float64
	integer := c.Type == column.Int64 || c.Type == column.Timestamp
	switch {
	case kind == inputNull:
		c.AppendNull()
		return b, nil
	case kind == inputText && c.Type == column.String:
		text, rest, err := cutText(b)
		c.AppendText(string(text))
		return rest, err
	case len(b) >= 8 && kind == inputNumber && number:
		c.AppendNumber(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		return b[8:], nil
	case len(b) >= 8 && kind == inputInteger && integer:
		c.AppendInt(int64(binary.LittleEndian.Uint64(b)))
		return b[8:], nil
	}
	return nil, fmt.Errorf("%w: input %s is not of type %s", ErrCorruptVector, c.Name, c.Type)
}
