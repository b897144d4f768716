// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Kind says what sort of value a Type describes.
type Kind uint8

// The kinds of values.
const (
	KindUnknown Kind = iota
	KindTensor
	KindSparseTensor
	KindSequence
	KindMap
	KindOptional
	KindOpaque
)

// Type is the type of a value.
type Type struct {
	Kind Kind
	// Elem is a tensor's element type, or the type of a map's keys.
	Elem ElemType
	// Ranked says that a tensor's number of dimensions is known; then Dims has one
	// entry for each.
	Ranked bool
	Dims   []Dim
	// Of is what a sequence or an optional holds, or the type of a map's values. It
	// may be nil where the file does not say.
	Of *Type
	// Opaque is the domain and name of an opaque type.
	Opaque string
}

// Dim is one dimension: an extent (Value >= 0), a symbolic name that stands for
// the same extent wherever it is used in the graph, or neither.
type Dim struct {
	// Value is -1 where the extent is not fixed.
	Value int64
	Param string
}

// Extent is a dimension of fixed extent.
func Extent(n int64) Dim { return Dim{Value: n} }

// Symbol is a dimension of any extent, known by a name.
func Symbol(name string) Dim { return Dim{Value: -1, Param: name} }

// Unknown is a dimension of any extent without a name.
func Unknown() Dim { return Dim{Value: -1} }

// String is the extent, the name or "?".
func (d Dim) String() string {
	switch {
	case d.Value >= 0:
		return strconv.FormatInt(d.Value, 10)
	case d.Param != "":
		return d.Param
	}
	return "?"
}

// TensorType is the type of a tensor with as many dimensions as dims.
func TensorType(elem ElemType, dims ...Dim) Type {
	return Type{Kind: KindTensor, Elem: elem, Ranked: true, Dims: dims}
}

// Shape is a tensor's shape with -1 for every extent that is not fixed. It
// reports false where the type is not a tensor or its rank is unknown.
func (t *Type) Shape() (tensor.Shape, bool) {
	if t.Kind != KindTensor || !t.Ranked {
		return nil, false
	}
	shape := make(tensor.Shape, len(t.Dims))
	for i, d := range t.Dims {
		shape[i] = d.Value
	}
	return shape, true
}

// String writes the type for error messages: tensor(float)[batch,16],
// seq(map(int64,tensor(float))).
func (t *Type) String() string {
	if t == nil {
		return "unknown"
	}
	switch t.Kind {
	case KindTensor:
		return "tensor(" + t.Elem.String() + ")" + t.dims()
	case KindSparseTensor:
		return "sparse_tensor(" + t.Elem.String() + ")" + t.dims()
	case KindSequence:
		return "seq(" + t.Of.String() + ")"
	case KindMap:
		return "map(" + t.Elem.String() + "," + t.Of.String() + ")"
	case KindOptional:
		return "optional(" + t.Of.String() + ")"
	case KindOpaque:
		return "opaque(" + t.Opaque + ")"
	}
	return "unknown"
}

func (t *Type) dims() string {
	if !t.Ranked {
		return ""
	}
	names := make([]string, len(t.Dims))
	for i, d := range t.Dims {
		names[i] = d.String()
	}
	return "[" + strings.Join(names, ",") + "]"
}
