// SPDX-License-Identifier: Apache-2.0

package onnx

// attribute writes the field that the attribute's type selects, even where it is
// zero: checkers want it present.
func (e *encoder) attribute(a *Attribute) {
	e.string(1, a.Name)
	if a.Ref == "" {
		e.attributeValue(a)
	}
	e.int(20, int64(a.Type))
	e.nonEmpty(21, a.Ref)
}

func (e *encoder) attributeValue(a *Attribute) {
	switch a.Type {
	case AttributeFloat:
		e.key(2, wireFixed32)
		e.buf = appendFloat(e.buf, a.Float)
	case AttributeInt:
		e.int(3, a.Int)
	case AttributeString:
		e.bytes(4, a.String)
	case AttributeFloats:
		for _, v := range a.Floats {
			e.key(7, wireFixed32)
			e.buf = appendFloat(e.buf, v)
		}
	case AttributeInts:
		e.ints(8, a.Ints)
	case AttributeStrings:
		for _, s := range a.Strings {
			e.bytes(9, s)
		}
	default:
		e.attributeMessages(a)
	}
}

func (e *encoder) attributeMessages(a *Attribute) {
	switch a.Type {
	case AttributeTensor:
		one(e, 5, a.Tensor, e.tensor)
	case AttributeGraph:
		one(e, 6, a.Graph, e.graph)
	case AttributeTensors:
		all(e, 10, a.Tensors, e.tensor)
	case AttributeGraphs:
		all(e, 11, a.Graphs, e.graph)
	case AttributeTypeProto:
		one(e, 14, a.TypeProto, e.typ)
	case AttributeTypeProtos:
		all(e, 15, a.TypeProtos, e.typ)
	case AttributeSparseTensor:
		one(e, 22, a.SparseTensor, e.sparseTensor)
	case AttributeSparseTensors:
		all(e, 23, a.SparseTensors, e.sparseTensor)
	}
}
