// SPDX-License-Identifier: Apache-2.0

package onnxrttest

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// ExactInt8 reports whether the library's products of 8-bit integers are exact on this
// machine. Without VNNI they are not: it adds pairs of products in 16 bits, which
// saturate, and a model quantised to the full 8 bits loses far more in it than the
// format costs (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html,
// "When and why do I need to try U8U8"). It asks the library, not the CPU. It skips the
// test where there is none.
func ExactInt8(t testing.TB) bool {
	t.Helper()
	sum, err := extremeSum(t.Context(), Backend(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return sum == extremeWant
}

// The product of the largest numbers of 8 bits, over a length that fills the vectors.
const (
	extremeLength = 256
	extremeWant   = extremeLength * 255 * 127
)

func extremeSum(ctx context.Context, backend *onnxrt.Backend, folder string) (sum int32, err error) {
	b := onnx.NewBuilder("extreme")
	b.Input("x", tensor.Uint8, onnx.Extent(1), onnx.Extent(extremeLength))
	b.Initializer(onnx.TensorOf("w", slices.Repeat([]int8{127}, extremeLength*16), extremeLength, 16))
	b.Node("MatMulInteger", []string{"x", "w"}, []string{"y"})
	b.Output("y", tensor.Int32, onnx.Extent(1), onnx.Extent(16))
	content, err := b.Marshal()
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(folder, "model.onnx"), content, 0o600); err != nil {
		return 0, err
	}
	model, err := backend.Load(ctx, folder, &modelconfig.Config{Name: "extreme"})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	instance, err := model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, instance.Close()) }()
	binding, err := instance.Bind([]tensor.Shape{{1, extremeLength}})
	if err != nil {
		return 0, err
	}
	copy(binding.Inputs[0].Data, slices.Repeat([]byte{255}, extremeLength))
	if err := instance.Run(ctx, binding); err != nil {
		return 0, err
	}
	return int32(binary.LittleEndian.Uint32(binding.Outputs[0].Data)), nil
}
