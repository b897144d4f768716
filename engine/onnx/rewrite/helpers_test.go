// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// apply rewrites what was built. It holds the rewrite to what is true of every one:
// the model given stays as it is, and what comes out can be written and rewritten
// again without a change.
func apply(t testing.TB, b *onnx.Builder, o rewrite.Options) (*onnx.Model, rewrite.Report) {
	t.Helper()
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return applyModel(t, m, o)
}

func applyModel(t testing.TB, m *onnx.Model, o rewrite.Options) (*onnx.Model, rewrite.Report) {
	t.Helper()
	before := marshal(t, m)
	result, report, err := rewrite.Apply(m, o)
	if err != nil {
		t.Fatal(err)
	}
	if string(marshal(t, m)) != string(before) {
		t.Fatal("the model given was changed")
	}
	if again, _, err := rewrite.Apply(result, o); err != nil {
		t.Fatalf("rewriting again: %v", err)
	} else if string(marshal(t, again)) != string(marshal(t, result)) {
		t.Errorf("rewriting again makes %v of %v", ops(again), ops(result))
	}
	return result, report
}

func marshal(t testing.TB, m *onnx.Model) []byte {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ops lists the operators of a model's outermost graph in order.
func ops(m *onnx.Model) []string {
	var list []string
	for _, n := range m.Graph.Nodes {
		name := n.OpType
		if n.Domain != "" {
			name = n.Domain + "." + n.OpType
		}
		list = append(list, strings.Replace(name, rewrite.Domain+".", "*", 1))
	}
	return list
}

// wantOps compares the operators with a list in one string; "*" marks internal ones.
func wantOps(t testing.TB, m *onnx.Model, want string) {
	t.Helper()
	if got := strings.Join(ops(m), " "); got != want {
		t.Errorf("operators are %q, want %q", got, want)
	}
}

// initializer finds a constant of a model by name.
func initializer(t testing.TB, m *onnx.Model, name string) *onnx.Tensor {
	t.Helper()
	for i := range m.Graph.Initializers {
		if m.Graph.Initializers[i].Name == name {
			return &m.Graph.Initializers[i]
		}
	}
	t.Fatalf("there is no initializer %q", name)
	return nil
}

func floatsOf(t testing.TB, c *onnx.Tensor) []float32 {
	t.Helper()
	v, err := c.Value()
	if err != nil {
		t.Fatal(err)
	}
	return floats(v.Data)
}

func floats(data []byte) []float32 {
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values
}

// input makes a tensor for a request.
func input[T onnx.Element](values []T, shape ...int64) tensor.Tensor {
	c := onnx.TensorOf("", values, shape...)
	v, err := c.Value()
	if err != nil {
		panic(err)
	}
	return v
}

// run gives the outputs of a model on ONNX Runtime, in memory of their own.
func run(t testing.TB, m *onnx.Model, inputs ...tensor.Tensor) []tensor.Tensor {
	t.Helper()
	outputs, err := tryRun(t, m, inputs...)
	if err != nil {
		t.Fatalf("%v: %v", ops(m), err)
	}
	return outputs
}

func tryRun(t testing.TB, m *onnx.Model, inputs ...tensor.Tensor) ([]tensor.Tensor, error) {
	t.Helper()
	backend := onnxrttest.Backend(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), marshal(t, m), 0o644); err != nil {
		t.Fatal(err)
	}
	model, err := backend.Load(t.Context(), dir, &modelconfig.Config{Name: "m"})
	if err != nil {
		return nil, err
	}
	instance, err := model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		return nil, errors.Join(err, model.Close())
	}
	outputs, err := runInstance(t, instance, inputs)
	return outputs, errors.Join(err, instance.Close(), model.Close())
}

func runInstance(t testing.TB, instance engine.Instance, inputs []tensor.Tensor) ([]tensor.Tensor, error) {
	shapes := make([]tensor.Shape, len(inputs))
	for i := range inputs {
		shapes[i] = inputs[i].Shape
	}
	b, err := instance.Bind(shapes)
	if err != nil {
		return nil, err
	}
	for i := range inputs {
		copy(b.Inputs[i].Data, inputs[i].Data)
	}
	if err := instance.Run(t.Context(), b); err != nil {
		return nil, err
	}
	outputs := slices.Clone(b.Outputs)
	for i := range outputs {
		outputs[i].Data = slices.Clone(outputs[i].Data)
		outputs[i].Shape = slices.Clone(outputs[i].Shape)
	}
	return outputs, nil
}

// sameAnswers runs two models on the same inputs and compares what they give.
func sameAnswers(t testing.TB, want, got *onnx.Model, inputs ...tensor.Tensor) {
	t.Helper()
	compare(t, run(t, want, inputs...), run(t, got, inputs...))
}

// relativeMax is how far answers may be apart, relative to the largest of a tensor.
const relativeMax = 1e-5

func compare(t testing.TB, want, got []tensor.Tensor) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d outputs, want %d", len(got), len(want))
	}
	for i := range want {
		w, g := want[i], got[i]
		if g.Name != w.Name || g.Datatype != w.Datatype || !slices.Equal(g.Shape, w.Shape) {
			t.Fatalf("output %d is %s %v %v, want %s %v %v", i, g.Name, g.Datatype, g.Shape, w.Name, w.Datatype, w.Shape)
		}
		if w.Datatype != tensor.FP32 {
			if string(g.Data) != string(w.Data) {
				t.Errorf("output %s is %v, want %v", w.Name, g.Data, w.Data)
			}
			continue
		}
		compareFloats(t, w.Name, floats(w.Data), floats(g.Data))
	}
}

func compareFloats(t testing.TB, name string, want, got []float32) {
	t.Helper()
	largest := 1e-3
	for _, x := range want {
		if a := math.Abs(float64(x)); !math.IsInf(a, 0) && !math.IsNaN(a) {
			largest = max(largest, a)
		}
	}
	for k := range want {
		a, b := float64(want[k]), float64(got[k])
		if a == b || math.IsNaN(a) && math.IsNaN(b) {
			continue
		}
		if !(math.Abs(a-b) <= relativeMax*largest) {
			t.Errorf("output %s[%d] = %v, want %v (the largest is %v)", name, k, b, a, largest)
			return
		}
	}
}

// ramp makes n values around zero that differ from each other.
func ramp(n int, scale float32) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = scale * float32((i*37+11)%101-50) / 50
	}
	return values
}

func list(names ...string) []string { return names }
