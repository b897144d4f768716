// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"encoding/binary"
	"fmt"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Value is the tensor in the engine's layout. Where the data is raw, the result
// aliases it. External data must have been loaded before.
func (t *Tensor) Value() (tensor.Tensor, error) {
	v := tensor.Tensor{Name: t.Name, Datatype: t.Elem.Datatype(), Shape: t.Dims}
	if v.Datatype == tensor.Invalid {
		return tensor.Tensor{}, fmt.Errorf("tensor %q: no datatype for elements of type %s", t.Name, t.Elem)
	}
	if t.External != nil {
		return tensor.Tensor{}, fmt.Errorf("tensor %q: %w: not loaded", t.Name, ErrExternalData)
	}
	if err := t.checkData(); err != nil {
		return tensor.Tensor{}, fmt.Errorf("tensor %q: %w: %w", t.Name, ErrCorrupt, err)
	}
	v.Data = t.Raw
	if v.Data == nil {
		v.Data = t.encodeTyped()
	}
	return v, nil
}

// encodeTyped turns the typed list of the tensor's type into the engine's layout.
func (t *Tensor) encodeTyped() []byte {
	switch t.Elem {
	case ElemString:
		return encodeStrings(t.Strings)
	case ElemUint32:
		return convert(t.Uint64s, binary.LittleEndian.AppendUint32)
	case ElemUint64:
		return littleEndian(t.Uint64s)
	case ElemInt64:
		return littleEndian(t.Int64s)
	case ElemFloat:
		return littleEndian(t.Floats)
	case ElemDouble:
		return littleEndian(t.Doubles)
	case ElemInt32:
		return littleEndian(t.Int32s)
	case ElemInt16, ElemUint16, ElemFloat16, ElemBFloat16: // the low half of each entry
		return convert(t.Int32s, binary.LittleEndian.AppendUint16)
	}
	return convert(t.Int32s, func(b []byte, v uint8) []byte { return append(b, v) })
}

func encodeStrings(elements [][]byte) []byte {
	size := 0
	for _, e := range elements {
		size += 4 + len(e)
	}
	data := make([]byte, 0, size)
	for _, e := range elements {
		data = tensor.AppendBytes(data, e)
	}
	return data
}

func littleEndian[T Element](values []T) []byte {
	return TensorOf("", values).Raw
}

// convert keeps the low bits of each entry that fit the narrower type.
func convert[From int32 | uint64, To uint8 | uint16 | uint32](entries []From, add func([]byte, To) []byte) []byte {
	data := make([]byte, 0, len(entries)*binary.Size(To(0)))
	for _, e := range entries {
		data = add(data, To(e))
	}
	return data
}
