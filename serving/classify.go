// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// The classification extension: an output is answered as its n highest values,
// each a string "value:index" or "value:index:label".

// classify replaces a numeric tensor by the strings of its n highest elements, per
// row where the model batches.
func classify(t tensor.Tensor, n int64, batched bool, labels []string) (tensor.Tensor, error) {
	elements, err := t.Shape.Elements()
	if err != nil {
		return t, &Error{codes.Internal, err.Error()}
	}
	rows := int64(1)
	if batched {
		rows = t.Shape[0]
	}
	perRow := elements / max(rows, 1)
	n = min(n, perRow)
	out := tensor.Tensor{Name: t.Name, Datatype: tensor.Bytes, Shape: tensor.Shape{n}}
	if batched {
		out.Shape = tensor.Shape{rows, n}
	}
	size := int64(t.Datatype.Size())
	for row := range rows {
		data := t.Data[row*perRow*size : (row+1)*perRow*size]
		for _, index := range highest(data, t.Datatype, n) {
			text := formatElement(data, t.Datatype, index) + ":" + strconv.Itoa(index)
			if index < len(labels) {
				text += ":" + labels[index]
			}
			out.Data = tensor.AppendBytes(out.Data, []byte(text))
		}
	}
	return out, nil
}

// highest returns the indices of the n highest elements, highest first; equal
// elements keep their order and NaN comes last.
func highest(data []byte, datatype tensor.Datatype, n int64) []int {
	indices := make([]int, len(data)/datatype.Size())
	for i := range indices {
		indices[i] = i
	}
	slices.SortStableFunc(indices, func(a, b int) int {
		return compareElements(data, datatype, b, a)
	})
	return indices[:n]
}

func compareElements(data []byte, datatype tensor.Datatype, a, b int) int {
	switch datatype {
	case tensor.Bool, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		return cmp.Compare(unsignedElement(data, datatype, a), unsignedElement(data, datatype, b))
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		return cmp.Compare(signedElement(data, datatype, a), signedElement(data, datatype, b))
	}
	return cmp.Compare(floatElement(data, datatype, a), floatElement(data, datatype, b))
}

func formatElement(data []byte, datatype tensor.Datatype, i int) string {
	switch datatype {
	case tensor.Bool, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		return strconv.FormatUint(unsignedElement(data, datatype, i), 10)
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		return strconv.FormatInt(signedElement(data, datatype, i), 10)
	}
	return fmt.Sprintf("%f", floatElement(data, datatype, i))
}

func unsignedElement(data []byte, datatype tensor.Datatype, i int) uint64 {
	switch datatype.Size() {
	case 1:
		return uint64(data[i])
	case 2:
		return uint64(binary.LittleEndian.Uint16(data[2*i:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return binary.LittleEndian.Uint64(data[8*i:])
}

func signedElement(data []byte, datatype tensor.Datatype, i int) int64 {
	unused := 64 - 8*datatype.Size()
	return int64(unsignedElement(data, datatype, i)<<unused) >> unused
}

func floatElement(data []byte, datatype tensor.Datatype, i int) float64 {
	bits := unsignedElement(data, datatype, i)
	switch datatype {
	case tensor.FP64:
		return math.Float64frombits(bits)
	case tensor.FP32:
		return float64(math.Float32frombits(uint32(bits)))
	case tensor.BF16:
		return float64(math.Float32frombits(uint32(bits) << 16))
	}
	return float64(tensor.FP16ToFloat32(uint16(bits)))
}
