// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Limits and places of warm-up data.
const (
	warmupFolder   = "warmup" // in the model's folder, holds the data files
	warmupBytesMax = 1 << 30  // of one input
	warmupElemsMax = 1 << 28  // of one input
)

// warmupTensor is one input of a warm-up run. A nil shape leaves the input out.
type warmupTensor struct {
	shape tensor.Shape
	// fill appends the wire form of elements values to data.
	fill func(data []byte, d tensor.Datatype, elements int) []byte
	// file, when not nil, is the wire form itself.
	file []byte
}

// data makes the tensor's wire form.
func (t *warmupTensor) data(d tensor.Datatype) ([]byte, error) {
	elements, err := t.shape.Elements()
	if err != nil {
		return nil, err
	}
	if elements > warmupElemsMax {
		return nil, fmt.Errorf("warm-up input of shape %v has more than %d elements", t.shape, warmupElemsMax)
	}
	if t.file == nil {
		return t.fill(make([]byte, 0, int(elements)*max(4, d.Size())), d, int(elements)), nil
	}
	length := int(elements) * d.Size()
	if d == tensor.Bytes {
		if length, err = tensor.SkipBytes(t.file, elements); err != nil {
			return nil, err
		}
	}
	if length != len(t.file) {
		return nil, fmt.Errorf("data file holds %d bytes, but shape %v of %s takes %d", len(t.file), t.shape, d, length)
	}
	return t.file, nil
}

// fillInto writes the data into an input bound by an instance.
func (t *warmupTensor) fillInto(bound *tensor.Tensor) error {
	data, err := t.data(bound.Datatype)
	if err != nil {
		return err
	}
	if bound.Datatype == tensor.Bytes {
		bound.Data = append(bound.Data[:0], data...)
		return nil
	}
	if copy(bound.Data, data) != len(bound.Data) || len(data) != len(bound.Data) {
		return fmt.Errorf("input '%s' takes %d bytes, warm-up data has %d", bound.Name, len(bound.Data), len(data))
	}
	return nil
}

// one is the value one of each datatype on the wire.
var one = map[tensor.Datatype][]byte{
	tensor.Bool: {1}, tensor.Uint8: {1}, tensor.Int8: {1},
	tensor.Uint16: {1, 0}, tensor.Int16: {1, 0}, tensor.FP16: {0, 0x3c}, tensor.BF16: {0x80, 0x3f},
	tensor.Uint32: {1, 0, 0, 0}, tensor.Int32: {1, 0, 0, 0}, tensor.FP32: {0, 0, 0x80, 0x3f},
	tensor.Uint64: {1, 0, 0, 0, 0, 0, 0, 0}, tensor.Int64: {1, 0, 0, 0, 0, 0, 0, 0}, tensor.FP64: {0, 0, 0, 0, 0, 0, 0xf0, 0x3f},
	tensor.Bytes: {1, 0, 0, 0, '1'},
}

func fillOnes(data []byte, d tensor.Datatype, elements int) []byte {
	for range elements {
		data = append(data, one[d]...)
	}
	return data
}

// fillZeros writes zeros, which for BYTES are empty strings.
func fillZeros(data []byte, d tensor.Datatype, elements int) []byte {
	size := d.Size()
	if d == tensor.Bytes {
		size = 4
	}
	return append(data, make([]byte, elements*size)...)
}

// fillRandom writes numbers from 0 up to 1 for floating point, any bits for integers
// and short words for BYTES, the same ones each time.
func fillRandom(data []byte, d tensor.Datatype, elements int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	for range elements {
		bits := random.Uint64()
		switch d {
		case tensor.Bool:
			data = append(data, byte(bits&1))
		case tensor.FP16:
			data = binary.LittleEndian.AppendUint16(data, uint16(bits%0x3c00)) // below the bits of 1
		case tensor.BF16:
			data = binary.LittleEndian.AppendUint16(data, uint16(bits%0x3f80))
		case tensor.FP32:
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(random.Float32()))
		case tensor.FP64:
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(random.Float64()))
		case tensor.Bytes:
			data = tensor.AppendBytes(data, fmt.Appendf(nil, "%08x", uint32(bits)))
		default:
			data = append(data, binary.LittleEndian.AppendUint64(nil, bits)[:d.Size()]...)
		}
	}
	return data
}

// sampleInputs lays out a sample of the configuration, which is validated, in the
// signature's order.
func (w *warmup) sampleInputs(sample *modelconfig.Warmup) ([]warmupTensor, error) {
	inputs := make([]warmupTensor, len(w.version.Signature.Inputs))
	for i, spec := range w.version.Signature.Inputs {
		given, ok := sample.Inputs[spec.Name]
		if !ok && spec.Optional {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("no data for input '%s'", spec.Name)
		}
		if given.DataType.Datatype != spec.Datatype {
			return nil, fmt.Errorf("input '%s' has data_type %s, the model takes %s", spec.Name, given.DataType, spec.Datatype)
		}
		var err error
		if inputs[i], err = w.sampleInput(spec.Name, given, sample.BatchSize); err != nil {
			return nil, fmt.Errorf("input '%s': %w", spec.Name, err)
		}
	}
	return inputs, nil
}

func (w *warmup) sampleInput(name string, given modelconfig.WarmupInput, rows uint32) (warmupTensor, error) {
	shape := w.modelShape(name, given.Dims)
	if w.version.Config.MaxBatchSize > 0 {
		shape = append(tensor.Shape{int64(rows)}, shape...)
	}
	t := warmupTensor{shape: shape}
	switch {
	case given.InputDataFile != "":
		data, err := w.src.readFile(warmupFolder+"/"+given.InputDataFile, warmupBytesMax)
		if err != nil {
			return t, err
		}
		t.file = data
	case given.RandomData:
		t.fill = fillRandom
	default:
		t.fill = fillZeros
	}
	return t, nil
}

// modelShape is the shape, without rows, that the model itself takes for an input
// that clients send with the given dims.
func (w *warmup) modelShape(name string, dims []int64) tensor.Shape {
	for _, input := range w.version.Config.Input {
		if input.Name == name && input.Reshape != nil {
			return reshaped(dims, input.Reshape.Shape)
		}
	}
	return slices.Clone(tensor.Shape(dims))
}

// reshaped fills the open extents of a reshape, in order, with those extents of dims
// that its known ones do not name.
func reshaped(dims, reshape []int64) tensor.Shape {
	left := slices.Clone(dims)
	for _, extent := range reshape {
		if i := slices.Index(left, extent); i >= 0 {
			left = slices.Delete(left, i, i+1)
		}
	}
	shape := slices.Clone(tensor.Shape(reshape))
	for i, extent := range shape {
		if extent >= 0 {
			continue
		}
		shape[i] = 1
		if len(left) > 0 {
			shape[i], left = left[0], left[1:]
		}
	}
	return shape
}
