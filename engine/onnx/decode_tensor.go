// SPDX-License-Identifier: Apache-2.0

package onnx

import "strconv"

// dataLocationExternal says that a tensor's data is in another file.
const dataLocationExternal = 1

// decodeTensor reads a tensor and holds its data against its extents. Data that is
// to be skipped is still walked over, and raw data still measured.
func decodeTensor(c *cursor, t *Tensor) {
	c.named(&t.Name)
	var (
		raw      []byte
		location int64
		external []Property
	)
	for c.next() {
		switch c.number {
		case 1:
			t.Dims = varints(c, "dims", t.Dims)
		case 2:
			t.Elem = ElemType(c.int("data_type"))
		case 3:
			c.d.fail("segment", "tensors in segments are not supported")
		case 8:
			t.Name = c.string("name")
		case 9:
			raw = c.bytes("raw_data")
		case 13:
			repeated(c, "external_data", &external, decodeProperty)
		case 14:
			location = c.int("data_location")
		default:
			if !c.d.options.SkipTensorData {
				decodeTypedData(c, t)
			}
		}
	}
	if location == dataLocationExternal {
		t.External = c.external(external)
	}
	c.finishTensor(t, raw)
}

func decodeTypedData(c *cursor, t *Tensor) {
	switch c.number {
	case 4:
		t.Floats = c.floats("float_data", t.Floats)
	case 5:
		t.Int32s = varints(c, "int32_data", t.Int32s)
	case 6:
		t.Strings = append(t.Strings, c.bytes("string_data"))
	case 7:
		t.Int64s = varints(c, "int64_data", t.Int64s)
	case 10:
		t.Doubles = c.doubles("double_data", t.Doubles)
	case 11:
		t.Uint64s = varints(c, "uint64_data", t.Uint64s)
	}
}

func (c *cursor) finishTensor(t *Tensor, raw []byte) {
	err := t.checkShape()
	if err == nil && raw != nil && t.External == nil {
		err = t.checkRawSize(int64(len(raw)))
	}
	if !c.d.options.SkipTensorData {
		t.Raw = raw
		if err == nil {
			err = t.checkData()
		}
	}
	if err != nil {
		c.d.fail("", "%v", err)
	}
}

// external makes sense of the entries that say where external data is.
func (c *cursor) external(entries []Property) *External {
	x := &External{Length: -1}
	for _, p := range entries {
		switch p.Key {
		case "location":
			x.Location = p.Value
		case "offset":
			x.Offset = c.size("external_data offset", p.Value)
		case "length":
			x.Length = c.size("external_data length", p.Value)
		}
	}
	if x.Location == "" {
		c.d.fail("external_data", "data is external and no location is given")
	}
	return x
}

func (c *cursor) size(field, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		c.d.fail(field, "%.40q is not a number of bytes", text)
		return 0
	}
	return n
}

func decodeSparseTensor(c *cursor, s *SparseTensor) {
	c.named(&s.Values.Name)
	for c.next() {
		switch c.number {
		case 1:
			nested(c, "values", &s.Values, decodeTensor)
		case 2:
			nested(c, "indices", &s.Indices, decodeTensor)
		case 3:
			s.Dims = varints(c, "dims", s.Dims)
		}
	}
	if s.Values.Elem == ElemUndefined || s.Indices.Elem == ElemUndefined {
		c.d.fail("", "values or indices are missing")
	}
}
