// SPDX-License-Identifier: Apache-2.0

// Package tensor holds the data that flows through the engine: datatypes, shapes
// and tensors in the layout of the wire.
//
// A tensor's data is what the inference protocol carries as raw contents:
// little-endian elements in row-major order. For BYTES each element is a 4-byte
// little-endian length followed by that many bytes. Because of this layout the
// rows of several tensors are joined, and a batch is split, by copying ranges.
//
// Values of this package hold no locks; callers order access themselves.
package tensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Datatype is the type of a tensor's elements.
type Datatype uint8

// The datatypes of the inference protocol.
const (
	Invalid Datatype = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	FP16
	FP32
	FP64
	Bytes
	BF16
)

var datatypeNames = [...]string{
	Invalid: "INVALID", Bool: "BOOL", Uint8: "UINT8", Uint16: "UINT16", Uint32: "UINT32", Uint64: "UINT64",
	Int8: "INT8", Int16: "INT16", Int32: "INT32", Int64: "INT64",
	FP16: "FP16", FP32: "FP32", FP64: "FP64", Bytes: "BYTES", BF16: "BF16",
}

var datatypeSizes = [...]int{
	Bool: 1, Uint8: 1, Uint16: 2, Uint32: 4, Uint64: 8, Int8: 1, Int16: 2, Int32: 4, Int64: 8,
	FP16: 2, FP32: 4, FP64: 8, Bytes: 0, BF16: 2,
}

// String is the datatype's name on the wire, such as "FP32".
func (d Datatype) String() string {
	if int(d) < len(datatypeNames) {
		return datatypeNames[d]
	}
	return "INVALID"
}

// Size is the number of bytes of one element, 0 for BYTES, whose elements vary.
func (d Datatype) Size() int {
	if int(d) < len(datatypeSizes) {
		return datatypeSizes[d]
	}
	return 0
}

// ParseDatatype reads a datatype's wire name. It reports Invalid for any other text.
func ParseDatatype(name string) Datatype {
	for d := Bool; int(d) < len(datatypeNames); d++ {
		if datatypeNames[d] == name {
			return d
		}
	}
	return Invalid
}

// Shape is the extent of each dimension, outermost first. In a signature -1 stands
// for any extent.
type Shape []int64

// ErrShapeTooLarge reports a shape whose element count does not fit in an int64.
var ErrShapeTooLarge = errors.New("element count overflows")

// Elements is the number of elements of a shape with all extents known. It
// reports an error for a negative extent or an overflow.
func (s Shape) Elements() (int64, error) {
	n := int64(1)
	for _, d := range s {
		if d < 0 {
			return 0, fmt.Errorf("dimension %d is not specified in shape %v", d, s)
		}
		if d != 0 && n > math.MaxInt64/d {
			return 0, ErrShapeTooLarge
		}
		n *= d
	}
	return n, nil
}

// Matches reports whether a concrete shape fits a signature's shape s, in which -1
// stands for any extent.
func (s Shape) Matches(concrete Shape) bool {
	if len(s) != len(concrete) {
		return false
	}
	for i, d := range s {
		if d >= 0 && d != concrete[i] {
			return false
		}
	}
	return true
}

// Known reports whether no extent is -1.
func (s Shape) Known() bool {
	for _, d := range s {
		if d < 0 {
			return false
		}
	}
	return true
}

// String writes the shape as error messages of the protocol do: [-1,16].
func (s Shape) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(d, 10))
	}
	b.WriteByte(']')
	return b.String()
}

// Tensor is a named array. Data aliases memory owned by whoever made the tensor;
// the maker's documentation says until when it is valid.
type Tensor struct {
	Name     string
	Datatype Datatype
	Shape    Shape
	Data     []byte
}

// ErrBytesTruncated reports BYTES data that ends inside an element.
var ErrBytesTruncated = errors.New("incomplete string")

// NextBytes splits the first element off BYTES data.
func NextBytes(data []byte) (element, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, ErrBytesTruncated
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	if uint64(len(data)-4) < n {
		return nil, nil, ErrBytesTruncated
	}
	return data[4 : 4+n], data[4+n:], nil
}

// AppendBytes appends one element to BYTES data.
func AppendBytes(data, element []byte) []byte {
	data = binary.LittleEndian.AppendUint32(data, uint32(len(element)))
	return append(data, element...)
}

// SkipBytes returns the length in bytes of the first n elements of BYTES data.
func SkipBytes(data []byte, n int64) (int, error) {
	rest := data
	for range n {
		var err error
		if _, rest, err = NextBytes(rest); err != nil {
			return 0, err
		}
	}
	return len(data) - len(rest), nil
}
