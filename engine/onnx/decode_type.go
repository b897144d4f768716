// SPDX-License-Identifier: Apache-2.0

package onnx

func decodeValueInfo(c *cursor, v *ValueInfo) {
	c.named(&v.Name)
	for c.next() {
		switch c.number {
		case 1:
			v.Name = c.string("name")
		case 2:
			nested(c, "type", &v.Type, decodeType)
		}
	}
}

// decodeType reads a choice of one: where a file gives several, the last one wins.
func decodeType(c *cursor, t *Type) {
	for c.next() {
		switch c.number {
		case 1:
			t.become(KindTensor)
			nested(c, "tensor_type", t, decodeTensorType)
		case 4:
			t.become(KindSequence)
			nested(c, "sequence_type", t, decodeElemType)
		case 5:
			t.become(KindMap)
			nested(c, "map_type", t, decodeMapType)
		case 7:
			t.become(KindOpaque)
			nested(c, "opaque_type", t, decodeOpaqueType)
		case 8:
			t.become(KindSparseTensor)
			nested(c, "sparse_tensor_type", t, decodeTensorType)
		case 9:
			t.become(KindOptional)
			nested(c, "optional_type", t, decodeElemType)
		}
	}
}

func (t *Type) become(kind Kind) {
	if t.Kind != kind {
		*t = Type{Kind: kind}
	}
}

func decodeTensorType(c *cursor, t *Type) {
	for c.next() {
		switch c.number {
		case 1:
			t.Elem = ElemType(c.int("elem_type"))
		case 2:
			t.Ranked = true
			nested(c, "shape", t, decodeShape)
		}
	}
}

func decodeShape(c *cursor, t *Type) {
	for c.next() {
		if c.number == 1 {
			repeated(c, "dim", &t.Dims, decodeDim)
		}
	}
}

// decodeDim takes a negative extent, which some exporters write, for an unknown one.
func decodeDim(c *cursor, d *Dim) {
	*d = Unknown()
	for c.next() {
		switch c.number {
		case 1:
			*d = Extent(max(c.int("dim_value"), -1))
		case 2:
			*d = Symbol(c.string("dim_param"))
		}
	}
}

// decodeElemType reads what a sequence or an optional holds.
func decodeElemType(c *cursor, t *Type) {
	for c.next() {
		if c.number == 1 {
			optional(c, "elem_type", &t.Of, decodeType)
		}
	}
}

func decodeMapType(c *cursor, t *Type) {
	for c.next() {
		switch c.number {
		case 1:
			t.Elem = ElemType(c.int("key_type"))
		case 2:
			optional(c, "value_type", &t.Of, decodeType)
		}
	}
}

func decodeOpaqueType(c *cursor, t *Type) {
	domain, name := "", ""
	for c.next() {
		switch c.number {
		case 1:
			domain = c.string("domain")
		case 2:
			name = c.string("name")
		}
	}
	t.Opaque = name
	if domain != "" {
		t.Opaque = domain + "." + name
	}
}
