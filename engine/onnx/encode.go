// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Marshal writes the model in the form of an ONNX file. Equal models give equal
// bytes.
func (m *Model) Marshal() ([]byte, error) {
	var e encoder
	e.model(m)
	if len(e.buf) > fileBytesMax {
		return nil, fmt.Errorf("model %q takes %d bytes, an ONNX file at most %d", m.Graph.Name, len(e.buf), fileBytesMax)
	}
	return e.buf, nil
}

// encoder appends messages in field order. Scalars that are zero are left out,
// except where a reader could not tell their absence from their value.
type encoder struct{ buf []byte }

func (e *encoder) key(number int, wire uint64) {
	e.buf = binary.AppendUvarint(e.buf, uint64(number)<<3|wire)
}

func (e *encoder) int(number int, v int64) {
	e.key(number, wireVarint)
	e.buf = binary.AppendUvarint(e.buf, uint64(v))
}

func (e *encoder) nonZero(number int, v int64) {
	if v != 0 {
		e.int(number, v)
	}
}

func (e *encoder) bytes(number int, data []byte) {
	e.key(number, wireBytes)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(data)))
	e.buf = append(e.buf, data...)
}

func (e *encoder) string(number int, s string) {
	e.key(number, wireBytes)
	e.buf = binary.AppendUvarint(e.buf, uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) nonEmpty(number int, s string) {
	if s != "" {
		e.string(number, s)
	}
}

func (e *encoder) strings(number int, list []string) {
	for _, s := range list {
		e.string(number, s)
	}
}

// ints writes a list of numbers one field each, as proto2 does by default.
func (e *encoder) ints(number int, list []int64) {
	for _, v := range list {
		e.int(number, v)
	}
}

// message writes what body appends as a sub-message. The length goes in front
// once it is known.
func (e *encoder) message(number int, body func()) {
	start := len(e.buf)
	body()
	var head [2 * binary.MaxVarintLen64]byte
	h := binary.AppendUvarint(head[:0], uint64(number)<<3|wireBytes)
	h = binary.AppendUvarint(h, uint64(len(e.buf)-start))
	e.buf = slices.Insert(e.buf, start, h...)
}

// one writes a sub-message where there is one.
func one[T any](e *encoder, number int, v *T, body func(*T)) {
	if v != nil {
		e.message(number, func() { body(v) })
	}
}

// all writes each entry of a list as a sub-message.
func all[T any](e *encoder, number int, list []T, body func(*T)) {
	for i := range list {
		e.message(number, func() { body(&list[i]) })
	}
}

// packed writes a list of numbers as one field; an empty list is left out.
func packed[T any](e *encoder, number int, list []T, add func([]byte, T) []byte) {
	if len(list) == 0 {
		return
	}
	e.message(number, func() {
		for _, v := range list {
			e.buf = add(e.buf, v)
		}
	})
}

func appendVarint[T int32 | int64 | uint64](b []byte, v T) []byte {
	return binary.AppendUvarint(b, uint64(v))
}

func appendFloat(b []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

func appendDouble(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

func (e *encoder) model(m *Model) {
	e.nonZero(1, m.IRVersion)
	e.nonEmpty(2, m.ProducerName)
	e.nonEmpty(3, m.ProducerVersion)
	e.nonEmpty(4, m.Domain)
	e.nonZero(5, m.ModelVersion)
	e.nonEmpty(6, m.Doc)
	one(e, 7, m.Graph, e.graph)
	all(e, 8, m.Opsets, e.opset)
	all(e, 14, m.Metadata, e.property)
	all(e, 25, m.Functions, e.function)
}

func (e *encoder) opset(o *OpsetImport) {
	e.string(1, o.Domain)
	e.int(2, o.Version)
}

func (e *encoder) property(p *Property) {
	e.string(1, p.Key)
	e.string(2, p.Value)
}

func (e *encoder) graph(g *Graph) {
	all(e, 1, g.Nodes, e.node)
	e.nonEmpty(2, g.Name)
	all(e, 5, g.Initializers, e.tensor)
	e.nonEmpty(10, g.Doc)
	all(e, 11, g.Inputs, e.value)
	all(e, 12, g.Outputs, e.value)
	all(e, 13, g.ValueInfos, e.value)
	all(e, 15, g.SparseInitializers, e.sparseTensor)
}

func (e *encoder) node(n *Node) {
	e.strings(1, n.Inputs)
	e.strings(2, n.Outputs)
	e.nonEmpty(3, n.Name)
	e.nonEmpty(4, n.OpType)
	all(e, 5, n.Attributes, e.attribute)
	e.nonEmpty(7, n.Domain)
	e.nonEmpty(8, n.Overload)
}

func (e *encoder) function(f *Function) {
	e.nonEmpty(1, f.Name)
	e.strings(4, f.Inputs)
	e.strings(5, f.Outputs)
	e.strings(6, f.Attributes)
	all(e, 7, f.Nodes, e.node)
	all(e, 9, f.Opsets, e.opset)
	e.nonEmpty(10, f.Domain)
	all(e, 11, f.Defaults, e.attribute)
	e.nonEmpty(13, f.Overload)
}

func (e *encoder) value(v *ValueInfo) {
	e.string(1, v.Name)
	one(e, 2, &v.Type, e.typ)
}
