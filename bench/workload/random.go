// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Spec says which requests to make.
type Spec struct {
	Model string `json:"model"`
	// Version is sent with each request. Empty lets the server choose.
	Version string `json:"version,omitempty"`
	// Rows is the number of rows per request. 0 means 1.
	Rows int `json:"rows"`
	// Shapes gives the extents of inputs, by name, that the model leaves open. A
	// shape with one extent fewer than the model's leaves out the batch dimension.
	Shapes map[string]tensor.Shape `json:"shapes,omitempty"`
	// Seed makes the data; the same seed gives the same requests.
	Seed uint64 `json:"seed"`
	// Distinct is the number of different requests to make. 0 means 64. Fewer are
	// made when they would not fit in 256 MiB.
	Distinct int `json:"distinct"`
}

// Input is what a model takes, as its metadata says: -1 stands for any extent.
type Input struct {
	Name     string
	Datatype tensor.Datatype
	Shape    tensor.Shape
}

// Random makes requests of random data for a model with the given inputs: numbers
// between -1 and 1, whole numbers from 0 to 99, and texts of such whole numbers.
func Random(inputs []Input, spec Spec) (*Workload, error) {
	w := New(spec.Model, spec.Version, spec.Rows)
	shapes, bytes, err := concreteShapes(inputs, spec, w.Rows)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(spec.Seed, uint64(len(inputs))))
	for range distinctRequests(spec.Distinct, bytes) {
		tensors := make([]tensor.Tensor, len(inputs))
		for i, in := range inputs {
			tensors[i] = tensor.Tensor{
				Name: in.Name, Datatype: in.Datatype, Shape: shapes[i], Data: RandomData(in.Datatype, shapes[i], random),
			}
		}
		if err := w.Add(tensors); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// distinctRequests is how many requests of a size are made where some are asked for.
func distinctRequests(asked int, bytes int64) int {
	if asked <= 0 {
		asked = 64
	}
	return int(max(1, min(int64(asked), requestBytesMax/bytes)))
}

// concreteShapes settles every extent. It also returns about how many bytes one
// request takes, at least 1.
func concreteShapes(inputs []Input, spec Spec, rows int) ([]tensor.Shape, int64, error) {
	if err := checkShapeNames(inputs, spec); err != nil {
		return nil, 0, err
	}
	bytes := int64(1)
	shapes := make([]tensor.Shape, len(inputs))
	for i, in := range inputs {
		shape, err := concreteShape(in, spec.Shapes[in.Name], rows)
		if err != nil {
			return nil, 0, err
		}
		elements, err := shape.Elements()
		if err != nil || elements > messageBytesMax {
			return nil, 0, fmt.Errorf("%w: input %q of shape %v does not fit in a message; give smaller extents or fewer rows",
				ErrInvalidWorkload, in.Name, shape)
		}
		shapes[i] = shape
		bytes += elements * int64(max(in.Datatype.Size(), 1))
	}
	if bytes > messageBytesMax {
		return nil, 0, fmt.Errorf("%w: a request of %d bytes for model %q does not fit in a message; give smaller extents or fewer rows",
			ErrInvalidWorkload, bytes, spec.Model)
	}
	return shapes, bytes, nil
}

func checkShapeNames(inputs []Input, spec Spec) error {
	for name := range spec.Shapes {
		known := false
		for _, in := range inputs {
			known = known || in.Name == name
		}
		if !known {
			return fmt.Errorf("%w: a shape is given for input %q, which model %q does not have", ErrInvalidWorkload, name, spec.Model)
		}
	}
	return nil
}

// concreteShape settles the extents of one input. A leading -1 is the batch
// dimension unless the given shape fixes it.
func concreteShape(in Input, given tensor.Shape, rows int) (tensor.Shape, error) {
	if in.Datatype == tensor.Invalid {
		return nil, fmt.Errorf("%w: input %q has a datatype this tool does not know", ErrInvalidWorkload, in.Name)
	}
	batched := len(in.Shape) > 0 && in.Shape[0] == -1
	shape := append(tensor.Shape(nil), in.Shape...)
	switch {
	case given == nil:
	case len(given) == len(shape):
		copy(shape, given)
		batched = false
	case batched && len(given) == len(shape)-1:
		copy(shape[1:], given)
	default:
		return nil, fmt.Errorf("%w: input %q has shape %v, but %v was given", ErrInvalidWorkload, in.Name, in.Shape, given)
	}
	if batched {
		shape[0] = int64(rows)
	} else if given == nil && rows > 1 {
		return nil, fmt.Errorf("%w: input %q has shape %v, which has no batch dimension; ask for 1 row per request",
			ErrInvalidWorkload, in.Name, in.Shape)
	}
	if !shape.Known() {
		return nil, fmt.Errorf("%w: input %q has shape %v with an open extent; give it with --shape %s:D1,D2",
			ErrInvalidWorkload, in.Name, in.Shape, in.Name)
	}
	if !in.Shape.Matches(shape) {
		return nil, fmt.Errorf("%w: shape %v given for input %q does not fit the model's %v",
			ErrInvalidWorkload, shape, in.Name, in.Shape)
	}
	return shape, nil
}

// RandomData fills a tensor in the layout of the wire. The shape must be known.
func RandomData(datatype tensor.Datatype, shape tensor.Shape, random *rand.Rand) []byte {
	elements, err := shape.Elements()
	if err != nil {
		return nil
	}
	data := make([]byte, 0, elements*int64(max(datatype.Size(), 1)))
	for range elements {
		data = appendElement(data, datatype, random)
	}
	return data
}

func appendElement(data []byte, datatype tensor.Datatype, random *rand.Rand) []byte {
	order := binary.LittleEndian
	switch datatype {
	case tensor.FP32:
		return order.AppendUint32(data, math.Float32bits(random.Float32()*2-1))
	case tensor.FP64:
		return order.AppendUint64(data, math.Float64bits(random.Float64()*2-1))
	case tensor.FP16: // 0.5 to 1 or -1 to -0.5: one exponent, any sign and fraction
		return order.AppendUint16(data, 0x3800|uint16(random.Uint32())&0x83ff)
	case tensor.BF16:
		return order.AppendUint16(data, 0x3f00|uint16(random.Uint32())&0x807f)
	case tensor.Bool:
		return append(data, byte(random.IntN(2)))
	case tensor.Bytes:
		return tensor.AppendBytes(data, strconv.AppendInt(nil, random.Int64N(100), 10))
	default: // whole numbers: little-endian, as wide as the datatype
		var wide [8]byte
		order.PutUint64(wide[:], random.Uint64N(100))
		return append(data, wide[:datatype.Size()]...)
	}
}
