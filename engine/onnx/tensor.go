// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Tensor is a constant array. Its data is in exactly one place: Raw (little-endian
// elements in row-major order), the typed list that suits its type, or External.
type Tensor struct {
	Name string
	Dims []int64
	Elem ElemType
	// Raw aliases the bytes that were parsed.
	Raw     []byte
	Floats  []float32
	Int32s  []int32
	Int64s  []int64
	Doubles []float64
	Uint64s []uint64
	Strings [][]byte
	// External says where the data is when it is not in the model file. LoadExternal
	// moves it to Raw.
	External *External
}

// SparseTensor is an array of mostly zeros: the values that are not, with their
// indices. Its name is that of Values.
type SparseTensor struct {
	Values  Tensor
	Indices Tensor
	Dims    []int64
}

// External is a range of a file beside the model file.
type External struct {
	// Location is the file's path relative to the model file's folder.
	Location string
	Offset   int64
	// Length is in bytes; -1 means up to what the tensor's shape needs.
	Length int64
}

// Element is a Go type whose slices TensorOf turns into a tensor.
type Element interface {
	bool | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// TensorOf makes a tensor of the given extents from its elements in row-major
// order. Without extents it is a scalar.
func TensorOf[T Element](name string, values []T, dims ...int64) Tensor {
	raw := make([]byte, 0, binary.Size(values))
	raw, _ = binary.Append(raw, binary.LittleEndian, values) // fails for types of varying size only
	return Tensor{Name: name, Dims: dims, Elem: elemOf(values), Raw: raw}
}

func elemOf(values any) ElemType {
	switch values.(type) {
	case []bool:
		return ElemBool
	case []int8:
		return ElemInt8
	case []int16:
		return ElemInt16
	case []int32:
		return ElemInt32
	case []int64:
		return ElemInt64
	case []uint8:
		return ElemUint8
	case []uint16:
		return ElemUint16
	case []uint32:
		return ElemUint32
	case []uint64:
		return ElemUint64
	case []float32:
		return ElemFloat
	case []float64:
		return ElemDouble
	}
	return ElemUndefined
}

// Elements is the number of elements by the tensor's extents.
func (t *Tensor) Elements() (int64, error) {
	return tensor.Shape(t.Dims).Elements()
}

// rawSize is the length in bytes that raw data of the tensor's shape has, or an
// error where elements are of no fixed size.
func (t *Tensor) rawSize() (int64, error) {
	elements, err := t.Elements()
	if err != nil {
		return 0, err
	}
	bits := t.Elem.bits()
	if bits == 0 {
		return 0, fmt.Errorf("elements of type %s have no fixed size", t.Elem)
	}
	if elements > (math.MaxInt64-7)/bits {
		return 0, tensor.ErrShapeTooLarge
	}
	return (elements*bits + 7) / 8, nil
}

// checkShape reports extents that no memory could hold, and an element type that
// is not set.
func (t *Tensor) checkShape() error {
	if t.Elem == ElemUndefined {
		return fmt.Errorf("has no element type")
	}
	if t.Elem.bits() != 0 {
		_, err := t.rawSize()
		return err
	}
	_, err := t.Elements()
	return err
}

// checkData reports whether the tensor has as much data as its extents ask for.
// External data is checked where it is read; data of types newer than this package
// is taken as it is.
func (t *Tensor) checkData() error {
	if err := t.checkShape(); err != nil {
		return err
	}
	if t.External != nil || !t.Elem.known() {
		return nil
	}
	if t.Raw != nil {
		return t.checkRawSize(int64(len(t.Raw)))
	}
	want, have := t.typedLen()
	if have != want {
		return fmt.Errorf("has %d entries of typed data, dims %v of %s need %d", have, t.Dims, t.Elem, want)
	}
	return nil
}

func (t *Tensor) checkRawSize(size int64) error {
	if !t.Elem.known() {
		return nil
	}
	want, err := t.rawSize()
	if err != nil {
		return err
	}
	if size != want {
		return fmt.Errorf("has %d bytes of raw data, dims %v of %s need %d", size, t.Dims, t.Elem, want)
	}
	return nil
}

// typedLen is how many entries the typed list of the tensor's type needs and has.
func (t *Tensor) typedLen() (want, have int64) {
	elements, err := t.Elements()
	if err != nil {
		return -1, 0
	}
	switch t.Elem {
	case ElemFloat:
		return elements, int64(len(t.Floats))
	case ElemComplex64:
		return 2 * elements, int64(len(t.Floats))
	case ElemDouble:
		return elements, int64(len(t.Doubles))
	case ElemComplex128:
		return 2 * elements, int64(len(t.Doubles))
	case ElemInt64:
		return elements, int64(len(t.Int64s))
	case ElemUint32, ElemUint64:
		return elements, int64(len(t.Uint64s))
	case ElemString:
		return elements, int64(len(t.Strings))
	case ElemUint4, ElemInt4, ElemFloat4E2M1: // two to an entry
		return elements/2 + elements%2, int64(len(t.Int32s))
	case ElemUint2, ElemInt2: // four to an entry
		return elements/4 + (elements%4+3)/4, int64(len(t.Int32s))
	}
	return elements, int64(len(t.Int32s))
}
