// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"fmt"
	"math"
	"strconv"
	"unsafe"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// cast converts between datatypes. Floats become integers by rounding towards zero,
// integers become narrower by dropping bits, anything but 0 is true, as the standard
// says; what does not fit an integer is as the kernels have it (see kernels/vec).
type cast struct {
	to   tensor.Datatype
	like bool
}

func castOperators() []op.Definition {
	return []op.Definition{
		{Name: "Cast", Since: 6, Build: buildCast},
		{Name: "CastLike", Since: 15, Build: buildCastLike},
	}
}

func buildCast(n *op.Node) (op.Operator, error) {
	to := onnx.ElemType(n.Int("to", 0))
	if to.Datatype() == tensor.Invalid {
		return nil, op.NotCovered("to %s", to)
	}
	return &cast{to: to.Datatype()}, n.Arity(1, 1, 1, 1)
}

func buildCastLike(n *op.Node) (op.Operator, error) {
	return &cast{like: true}, n.Arity(2, 2, 1, 1)
}

func (o *cast) Infer(in, out []*op.Value) error {
	to := o.to
	if o.like {
		to = in[1].Type
	}
	return out[0].Set(to, in[0].Shape...)
}

func (o *cast) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	return bindCast(out[0], in[0])
}

func (o *cast) Rowwise(in []*op.Value, carries []bool) bool { return carries[0] && in[0].Rank() > 0 }

// bindCast makes the function that converts src to dst.
func bindCast(dst, src *op.Value) (op.Run, error) {
	if run := castFast(dst, src); run != nil {
		return run, nil
	}
	switch src.Type {
	case tensor.Bytes:
		return castFromText(dst, src)
	case tensor.FP16, tensor.BF16:
		return castVia(dst, src, tensor.FP32)
	case tensor.Bool:
		return castTo(dst, op.As[uint8](src))
	case tensor.Uint8:
		return castTo(dst, op.As[uint8](src))
	case tensor.Uint16:
		return castTo(dst, op.As[uint16](src))
	case tensor.Uint32:
		return castTo(dst, op.As[uint32](src))
	case tensor.Uint64:
		return castTo(dst, op.As[uint64](src))
	case tensor.Int8:
		return castTo(dst, op.As[int8](src))
	case tensor.Int16:
		return castTo(dst, op.As[int16](src))
	case tensor.Int32:
		return castTo(dst, op.As[int32](src))
	case tensor.Int64:
		return castTo(dst, op.As[int64](src))
	case tensor.FP32:
		return castTo(dst, op.As[float32](src))
	case tensor.FP64:
		return castTo(dst, op.As[float64](src))
	}
	return nil, op.NotCovered("from %s", src.Type)
}

// castFast finds a kernel for the conversions that matter.
func castFast(dst, src *op.Value) op.Run {
	type pair struct{ to, from tensor.Datatype }
	var convert func()
	switch (pair{dst.Type, src.Type}) {
	case pair{src.Type, src.Type}:
		return func() error {
			copy(dst.Data, src.Data)
			copy(dst.Strings, src.Strings)
			return nil
		}
	case pair{tensor.FP16, tensor.FP32}:
		convert = func() { vec.F32ToF16(op.As[uint16](dst), op.Floats(src)) }
	case pair{tensor.FP32, tensor.FP16}:
		convert = func() { vec.F16ToF32(op.Floats(dst), op.As[uint16](src)) }
	case pair{tensor.BF16, tensor.FP32}:
		convert = func() { vec.F32ToBF16(op.As[uint16](dst), op.Floats(src)) }
	case pair{tensor.FP32, tensor.BF16}:
		convert = func() { vec.BF16ToF32(op.Floats(dst), op.As[uint16](src)) }
	case pair{tensor.FP32, tensor.Int64}:
		convert = func() { vec.Int64ToF32(op.Floats(dst), op.As[int64](src)) }
	case pair{tensor.FP32, tensor.Int32}:
		convert = func() { vec.Int32ToF32(op.Floats(dst), op.As[int32](src)) }
	case pair{tensor.FP32, tensor.Uint8}:
		convert = func() { vec.Uint8ToF32(op.Floats(dst), op.As[uint8](src)) }
	case pair{tensor.FP32, tensor.Int8}:
		convert = func() { vec.Int8ToF32(op.Floats(dst), op.As[int8](src)) }
	case pair{tensor.FP32, tensor.Bool}:
		convert = func() { vec.BoolToF32(op.Floats(dst), op.As[uint8](src)) }
	case pair{tensor.Bool, tensor.FP32}:
		convert = func() { vec.F32ToBool(op.As[uint8](dst), op.Floats(src)) }
	case pair{tensor.Int32, tensor.Int64}:
		convert = func() { vec.Int64ToInt32(op.As[int32](dst), op.As[int64](src)) }
	case pair{tensor.Int64, tensor.Int32}:
		convert = func() { vec.Int32ToInt64(op.As[int64](dst), op.As[int32](src)) }
	case pair{tensor.FP32, tensor.FP64}:
		convert = func() { vec.F64ToF32(op.Floats(dst), op.As[float64](src)) }
	case pair{tensor.FP64, tensor.FP32}:
		convert = func() { vec.F32ToF64(op.As[float64](dst), op.Floats(src)) }
	case pair{tensor.Int64, tensor.FP32}:
		convert = func() { vec.F32ToInt64(op.As[int64](dst), op.Floats(src)) }
	case pair{tensor.Int32, tensor.FP32}:
		convert = func() { vec.F32ToInt32(op.As[int32](dst), op.Floats(src)) }
	default:
		return nil
	}
	return func() error {
		convert()
		return nil
	}
}

type number interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

func castTo[S number](dst *op.Value, src []S) (op.Run, error) {
	switch dst.Type {
	case tensor.Bytes:
		return castToText(dst, src), nil
	case tensor.FP16, tensor.BF16:
		wide := &op.Value{Type: tensor.FP32, Shape: dst.Shape}
		wide.Allocate()
		return castThrough(dst, wide, castNumbers(op.Floats(wide), src))
	case tensor.Bool:
		to := op.As[bool](dst)
		return func() error {
			for i, x := range src {
				to[i] = x != 0
			}
			return nil
		}, nil
	case tensor.Uint8:
		return castNumbers(op.As[uint8](dst), src), nil
	case tensor.Uint16:
		return castNumbers(op.As[uint16](dst), src), nil
	case tensor.Uint32:
		return castNumbers(op.As[uint32](dst), src), nil
	case tensor.Uint64:
		return castNumbers(op.As[uint64](dst), src), nil
	case tensor.Int8:
		return castNumbers(op.As[int8](dst), src), nil
	case tensor.Int16:
		return castNumbers(op.As[int16](dst), src), nil
	case tensor.Int32:
		return castNumbers(op.As[int32](dst), src), nil
	case tensor.Int64:
		return castNumbers(op.As[int64](dst), src), nil
	case tensor.FP32:
		return castNumbers(op.As[float32](dst), src), nil
	case tensor.FP64:
		return castNumbers(op.As[float64](dst), src), nil
	}
	return nil, op.NotCovered("to %s", dst.Type)
}

func castNumbers[D, S number](dst []D, src []S) op.Run {
	return func() error {
		for i, x := range src {
			dst[i] = D(x)
		}
		return nil
	}
}

// castVia converts through another datatype.
func castVia(dst, src *op.Value, via tensor.Datatype) (op.Run, error) {
	wide := &op.Value{Type: via, Shape: src.Shape}
	wide.Allocate()
	first, err := bindCast(wide, src)
	if err != nil {
		return nil, err
	}
	return castThrough(dst, wide, first)
}

func castThrough(dst, wide *op.Value, first op.Run) (op.Run, error) {
	second, err := bindCast(dst, wide)
	if err != nil {
		return nil, err
	}
	return all([]op.Run{first, second}), nil
}

// castFromText reads numbers as the standard has them: plain or scientific notation,
// INF, +INF, -INF and NaN in any case.
func castFromText(dst, src *op.Value) (op.Run, error) {
	wide := &op.Value{Type: tensor.FP64, Shape: src.Shape}
	exact := dst.Type != tensor.FP32 && dst.Type != tensor.FP64 && dst.Type != tensor.FP16 && dst.Type != tensor.BF16
	if exact {
		wide.Type = tensor.Int64
	}
	wide.Allocate()
	first := func() error { return parseTexts(wide, src, exact) }
	return castThrough(dst, wide, first)
}

func parseTexts(wide, src *op.Value, exact bool) error {
	for i, text := range src.Strings {
		plain := unsafe.String(unsafe.SliceData(text), len(text)) // no copy: nobody keeps it
		if exact {
			if n, err := strconv.ParseInt(plain, 10, 64); err == nil {
				op.As[int64](wide)[i] = n
				continue
			}
		}
		x, err := strconv.ParseFloat(plain, 64)
		if err != nil && !math.IsInf(x, 0) {
			return fmt.Errorf("element %d is %.40q, not a number", i, text)
		}
		if exact {
			op.As[int64](wide)[i] = int64(x)
		} else {
			op.As[float64](wide)[i] = x
		}
	}
	return nil
}

// castToText writes numbers in the fewest digits that tell them apart, in memory that
// is reused by the next run.
func castToText[S number](dst *op.Value, src []S) op.Run {
	var memory []byte
	return func() error {
		memory = memory[:0]
		for i, x := range src {
			from := len(memory)
			memory = appendNumber(memory, x)
			dst.Strings[i] = memory[from:len(memory):len(memory)]
		}
		return nil
	}
}

func appendNumber[S number](text []byte, x S) []byte {
	switch v := any(x).(type) {
	case float32:
		return appendFloat(text, float64(v), 32)
	case float64:
		return appendFloat(text, v, 64)
	case uint64:
		return strconv.AppendUint(text, v, 10)
	}
	return strconv.AppendInt(text, int64(x), 10)
}

func appendFloat(text []byte, x float64, bits int) []byte {
	switch {
	case math.IsNaN(x):
		return append(text, "NaN"...)
	case math.IsInf(x, 0):
		if x < 0 {
			text = append(text, '-')
		}
		return append(text, "INF"...)
	}
	return strconv.AppendFloat(text, x, 'g', -1, bits)
}
