// SPDX-License-Identifier: Apache-2.0

package onnx

import "strconv"

func (e *encoder) typ(t *Type) {
	switch t.Kind {
	case KindTensor:
		e.message(1, func() { e.tensorType(t) })
	case KindSequence:
		e.message(4, func() { one(e, 1, t.Of, e.typ) })
	case KindMap:
		e.message(5, func() {
			e.int(1, int64(t.Elem))
			one(e, 2, t.Of, e.typ)
		})
	case KindOpaque:
		e.message(7, func() { e.nonEmpty(2, t.Opaque) })
	case KindSparseTensor:
		e.message(8, func() { e.tensorType(t) })
	case KindOptional:
		e.message(9, func() { one(e, 1, t.Of, e.typ) })
	}
}

func (e *encoder) tensorType(t *Type) {
	e.int(1, int64(t.Elem))
	if !t.Ranked {
		return
	}
	e.message(2, func() { all(e, 1, t.Dims, e.dim) })
}

func (e *encoder) dim(d *Dim) {
	if d.Value >= 0 {
		e.int(1, d.Value)
		return
	}
	e.nonEmpty(2, d.Param)
}

func (e *encoder) tensor(t *Tensor) {
	e.ints(1, t.Dims)
	e.nonZero(2, int64(t.Elem))
	packed(e, 4, t.Floats, appendFloat)
	packed(e, 5, t.Int32s, func(b []byte, v int32) []byte { return appendVarint(b, int64(v)) })
	for _, s := range t.Strings {
		e.bytes(6, s)
	}
	packed(e, 7, t.Int64s, appendVarint)
	e.nonEmpty(8, t.Name)
	if t.Raw != nil {
		e.bytes(9, t.Raw)
	}
	packed(e, 10, t.Doubles, appendDouble)
	packed(e, 11, t.Uint64s, appendVarint)
	if t.External != nil {
		e.external(t.External)
	}
}

func (e *encoder) external(x *External) {
	properties := []Property{{"location", x.Location}}
	if x.Offset != 0 {
		properties = append(properties, Property{"offset", strconv.FormatInt(x.Offset, 10)})
	}
	if x.Length >= 0 {
		properties = append(properties, Property{"length", strconv.FormatInt(x.Length, 10)})
	}
	all(e, 13, properties, e.property)
	e.int(14, dataLocationExternal)
}

func (e *encoder) sparseTensor(s *SparseTensor) {
	one(e, 1, &s.Values, e.tensor)
	one(e, 2, &s.Indices, e.tensor)
	e.ints(3, s.Dims)
}
