// SPDX-License-Identifier: Apache-2.0

package onnxrt_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// rowsOf makes rows of small whole numbers, on which float arithmetic is exact, so
// that answers can be compared for equality whatever the order of summation.
func rowsOf(rows, cols, seed int) []float32 {
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32((i*7+seed*13)%11 - 5)
	}
	return values
}

func checkDense(t *testing.T, in engine.Instance, rows, seed int) {
	t.Helper()
	x := rowsOf(rows, 6, seed)
	y := run(t, in, fp32(x, int64(rows), 6))[0]
	if !slices.Equal(y.Shape, tensor.Shape{int64(rows), 3}) || y.Name != "y" || y.Datatype != tensor.FP32 {
		t.Errorf("rows %d: output is %s %v %v", rows, y.Name, y.Datatype, y.Shape)
	}
	got := floats(y.Data)
	for r := range rows {
		if want := dense(x[r*6:(r+1)*6], 3); !slices.Equal(got[r*3:(r+1)*3], want) {
			t.Fatalf("rows %d, row %d: got %v, want %v", rows, r, got[r*3:(r+1)*3], want)
		}
	}
}

func TestRowCountsShareOneArena(t *testing.T) {
	in := instanceOf(t, denseModel(6, 3), 200)
	for seed, rows := range []int{1, 200, 2, 199, 64, 65, 128, 127, 1, 3, 200} {
		checkDense(t, in, rows, seed)
	}
}

func TestRowsBeyondTheTable(t *testing.T) {
	in := instanceOf(t, denseModel(6, 3), 3000)
	for seed := range 40 {
		checkDense(t, in, 1020+seed*49, seed)
	}
	checkDense(t, in, 1020, 0)
}

func TestEmptyBatch(t *testing.T) {
	checkDense(t, instanceOf(t, denseModel(6, 3), 4), 0, 0)
}

func TestInstancesRunAtOnce(t *testing.T) {
	m := loadModel(t, writeModel(t, denseModel(6, 3)), &modelconfig.Config{MaxBatchSize: 32})
	var group sync.WaitGroup
	for worker := range 4 {
		// The last one has a session of its own.
		placement := onCPU(32)
		placement.Threads = 1 + worker/3
		in := newInstance(t, m, placement)
		group.Go(func() {
			for seed := range 50 {
				checkDense(t, in, 1+(seed*5+worker)%32, seed+worker)
			}
		})
	}
	group.Wait()
}

func TestSteadyRunAllocatesNothing(t *testing.T) {
	in := instanceOf(t, denseModel(6, 3), 16)
	shapes := []tensor.Shape{{7, 6}}
	ctx := t.Context()
	allocations := testing.AllocsPerRun(200, func() {
		b, err := in.Bind(shapes)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Run(ctx, b); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("Bind and Run allocate %v times, want 0", allocations)
	}
}

func TestFixedSizeDatatypes(t *testing.T) {
	for d := tensor.Bool; d <= tensor.BF16; d++ {
		if d == tensor.Bytes {
			continue
		}
		t.Run(d.String(), func(t *testing.T) {
			in := instanceOf(t, identityModel(d, onnx.Symbol("batch"), onnx.Extent(3)), 4)
			data := make([]byte, 2*3*d.Size())
			for i := range data {
				data[i] = byte(i % 2)
			}
			y := run(t, in, tensor.Tensor{Datatype: d, Shape: tensor.Shape{2, 3}, Data: data})[0]
			if !bytes.Equal(y.Data, data) || y.Datatype != d {
				t.Errorf("got %v %v, want %v", y.Datatype, y.Data, data)
			}
		})
	}
}

func TestInnerDimensionsVary(t *testing.T) {
	in := instanceOf(t, identityModel(tensor.FP32, onnx.Symbol("batch"), onnx.Symbol("n")), 8)
	// More sets of shapes than are kept, growing and shrinking.
	for _, n := range []int64{1, 1000, 3, 0, 70000, 2, 1000, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 1, 3} {
		x := rowsOf(2, int(n), int(n))
		y := run(t, in, fp32(x, 2, n))[0]
		if !slices.Equal(floats(y.Data), x) || !slices.Equal(y.Shape, tensor.Shape{2, n}) {
			t.Fatalf("n = %d: got %d bytes of shape %v", n, len(y.Data), y.Shape)
		}
	}
}

// nonZeroModel declares its output as [1,n] or [1,?], when it is [1, non-zeros].
func nonZeroModel(last onnx.Dim) *onnx.Builder {
	b := onnx.NewBuilder("nonzero")
	b.Input("x", tensor.FP32, onnx.Symbol("n"))
	b.Node("NonZero", []string{"x"}, []string{"y"})
	b.Output("y", tensor.Int64, onnx.Extent(1), last)
	return b
}

func TestOutputShapeDependsOnData(t *testing.T) {
	for name, last := range map[string]onnx.Dim{"undeclared": onnx.Unknown(), "declared wrong": onnx.Symbol("n")} {
		t.Run(name, func(t *testing.T) {
			m := loadModel(t, writeModel(t, nonZeroModel(last)), &modelconfig.Config{})
			one, other := newInstance(t, m, onCPU(0)), newInstance(t, m, onCPU(0))
			// The other has a layout made before the declaration turned out wrong.
			run(t, other, fp32([]float32{1, 1, 1}, 3))
			for _, in := range []engine.Instance{one, other} {
				for _, x := range [][]float32{{1, 1, 1}, {0, 2, 3}, {0, 0, 0}, {5, 0, 0}} {
					y := run(t, in, fp32(x, 3))[0]
					var want []int64
					for i, v := range x {
						if v != 0 {
							want = append(want, int64(i))
						}
					}
					if got := int64s(y.Data); !slices.Equal(got, want) || !slices.Equal(y.Shape, tensor.Shape{1, int64(len(want))}) {
						t.Errorf("non-zeros of %v: got %v of shape %v, want %v", x, got, y.Shape, want)
					}
				}
			}
		})
	}
}

func TestBytes(t *testing.T) {
	in := instanceOf(t, identityModel(tensor.Bytes, onnx.Symbol("batch"), onnx.Extent(2)), 4)
	for _, elements := range [][]string{{"a", "longer text"}, {"", ""}, {"\xff\xfe", "日本"}, {}} {
		x := text(elements, int64(len(elements)/2), 2)
		y := run(t, in, x)[0]
		if !bytes.Equal(y.Data, x.Data) || !slices.Equal(y.Shape, x.Shape) {
			t.Errorf("%q: got %q of shape %v", elements, y.Data, y.Shape)
		}
	}
}

func TestBytesThatDoNotFit(t *testing.T) {
	in := instanceOf(t, identityModel(tensor.Bytes, onnx.Symbol("batch"), onnx.Extent(2)), 4)
	for _, c := range []struct {
		elements []string
		want     string
	}{
		{[]string{"one"}, "7 bytes cannot hold 2 elements"},
		{[]string{"one, and more"}, "element 1: incomplete string"},
		{[]string{"a", "b", "c"}, "5 bytes follow the last of 2 elements"},
		{[]string{"a", "b\x00c"}, "element 1 holds a zero byte"},
	} {
		x := text(c.elements, 1, 2)
		if _, err := tryRun(t, in, x); err == nil || !strings.Contains(err.Error(), `input "x": `) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got error %v, want %q", c.elements, err, c.want)
		}
	}
	run(t, in, text([]string{"still", "runs"}, 1, 2))
}

func TestScalars(t *testing.T) {
	b := onnx.NewBuilder("scalars")
	b.Input("x", tensor.FP32, onnx.Symbol("n"))
	b.Input("k", tensor.FP32)
	b.Node("Mul", []string{"x", "k"}, []string{"y"})
	b.Node("ReduceSum", []string{"y"}, []string{"sum"}, onnx.IntAttribute("keepdims", 0))
	b.Output("y", tensor.FP32, onnx.Symbol("n"))
	b.Output("sum", tensor.FP32)
	in := instanceOf(t, b, 0)
	for k := range 3 {
		f := float32(k)
		outputs := run(t, in, fp32([]float32{1, 2, 4}, 3), fp32([]float32{f}))
		if got := floats(outputs[0].Data); !slices.Equal(got, []float32{f, 2 * f, 4 * f}) {
			t.Errorf("y = %v for k = %v", got, f)
		}
		if got := floats(outputs[1].Data); !slices.Equal(got, []float32{7 * f}) || len(outputs[1].Shape) != 0 {
			t.Errorf("sum = %v of shape %v for k = %v", got, outputs[1].Shape, f)
		}
	}
}

// biasedModel adds an input with a default.
func biasedModel() *onnx.Builder {
	b := onnx.NewBuilder("biased")
	b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	b.Input("bias", tensor.FP32, onnx.Extent(1))
	b.Initializer(onnx.TensorOf("bias", []float32{10}, 1))
	b.Node("Add", []string{"x", "bias"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	return b
}

func TestOptionalInput(t *testing.T) {
	config := &modelconfig.Config{Input: []modelconfig.Input{{Name: "x"}, {Name: "bias", Optional: true}}}
	in := newInstance(t, loadModel(t, writeModel(t, biasedModel()), config), onCPU(0))
	left := tensor.Tensor{Datatype: tensor.FP32}
	for range 2 {
		if got := floats(run(t, in, fp32([]float32{1}, 1, 1), left)[0].Data); !slices.Equal(got, []float32{11}) {
			t.Errorf("with the default: got %v, want 11", got)
		}
		if got := floats(run(t, in, fp32([]float32{1}, 1, 1), fp32([]float32{5}, 1))[0].Data); !slices.Equal(got, []float32{6}) {
			t.Errorf("with a bias of 5: got %v, want 6", got)
		}
	}
}

func TestDefaultsAreNoInputs(t *testing.T) {
	m := loadModel(t, writeModel(t, biasedModel()), &modelconfig.Config{MaxBatchSize: 2})
	if inputs := m.Signature().Inputs; len(inputs) != 1 || inputs[0].Name != "x" {
		t.Errorf("inputs are %v, want x alone", inputs)
	}
	if got := floats(run(t, newInstance(t, m, onCPU(2)), fp32([]float32{1}, 1, 1))[0].Data); !slices.Equal(got, []float32{11}) {
		t.Errorf("got %v, want 11", got)
	}
}

func TestRunFails(t *testing.T) {
	b := onnx.NewBuilder("gather")
	b.Input("i", tensor.Int64, onnx.Symbol("batch"))
	b.Initializer(onnx.TensorOf("table", []float32{7, 8, 9}, 3))
	b.Node("Gather", []string{"table", "i"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Symbol("batch"))
	in := instanceOf(t, b, 4)
	index := func(i byte) tensor.Tensor {
		return tensor.Tensor{Datatype: tensor.Int64, Shape: tensor.Shape{1}, Data: []byte{i, 0, 0, 0, 0, 0, 0, 0}}
	}
	_, err := tryRun(t, in, index(3))
	if err == nil || !strings.HasPrefix(err.Error(), "onnx runtime error ") || !strings.Contains(err.Error(), "indices element out of data bounds") {
		t.Errorf("index out of range: got error %v", err)
	}
	if got := floats(run(t, in, index(2))[0].Data); !slices.Equal(got, []float32{9}) {
		t.Errorf("after a failed run: got %v, want 9", got)
	}
}

func TestBindRejectsShapes(t *testing.T) {
	in := instanceOf(t, denseModel(6, 3), 4)
	for _, c := range []struct {
		shapes []tensor.Shape
		want   string
	}{
		{nil, "0 input shapes given, the model has 1 inputs"},
		{[]tensor.Shape{{1, 6}, {1}}, "2 input shapes given"},
		{[]tensor.Shape{{1, 7}}, `input "x" has shape [1,7], the model takes [-1,6]`},
		{[]tensor.Shape{nil}, `input "x" has shape []`},
		{[]tensor.Shape{{6}}, `input "x" has shape [6]`},
		{[]tensor.Shape{{-1, 6}}, "not specified"},
		{[]tensor.Shape{{1 << 61, 6}}, "overflows"},
		{[]tensor.Shape{{1 << 40, 6}}, "too large"},
	} {
		if _, err := in.Bind(c.shapes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Bind(%v): got error %v, want %q", c.shapes, err, c.want)
		}
	}
	checkDense(t, in, 4, 1)
}

func TestRunHeedsContextBefore(t *testing.T) {
	in := instanceOf(t, denseModel(6, 3), 4)
	b, err := in.Bind([]tensor.Shape{{1, 6}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.Run(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestStaleBindingDoesNotRun(t *testing.T) {
	in := instanceOf(t, denseModel(6, 3), 4)
	stale, err := in.Bind([]tensor.Shape{{1, 6}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Bind([]tensor.Shape{{2, 6}}); err != nil {
		t.Fatal(err)
	}
	if err := in.Run(t.Context(), stale); err == nil {
		t.Error("a binding ran after the next Bind")
	}
}
