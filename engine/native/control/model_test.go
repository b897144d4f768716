// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

// open loads a model as the server does.
func open(t testing.TB, build func(b *onnx.Builder)) (engine.Model, error) {
	t.Helper()
	b := onnx.NewBuilder("test")
	b.Opset("", 18)
	build(b)
	m, err := b.Marshal()
	if err != nil {
		return nil, err
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "model.onnx"), m, 0o644); err != nil {
		t.Fatal(err)
	}
	return native.Backend{}.Load(t.Context(), folder, &modelconfig.Config{})
}

// instance loads a model that must be in order.
func instance(t testing.TB, build func(b *onnx.Builder)) engine.Instance {
	t.Helper()
	m, err := open(t, build)
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

// value is what is given to an input: elements and their shape.
type value struct {
	data  []byte
	shape tensor.Shape
}

func floats(x []float32, shape ...int64) value { return value{bytesOf(x), shape} }
func ints(x []int64, shape ...int64) value     { return value{bytesOf(x), shape} }

func truth(x bool) value {
	if x {
		return value{[]byte{1}, tensor.Shape{}}
	}
	return value{[]byte{0}, tensor.Shape{}}
}

func bytesOf[T any](x []T) []byte {
	if len(x) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(x[0])))
}

func as[T any](t tensor.Tensor) []T {
	var zero T
	if len(t.Data) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.Data[0])), len(t.Data)/int(unsafe.Sizeof(zero)))
}

// run gives the outputs for inputs, which must not fail.
func run(t testing.TB, in engine.Instance, inputs ...value) []tensor.Tensor {
	t.Helper()
	b, err := try(t, in, inputs...)
	if err != nil {
		t.Fatal(err)
	}
	return b.Outputs
}

func try(t testing.TB, in engine.Instance, inputs ...value) (*engine.Binding, error) {
	t.Helper()
	shapes := make([]tensor.Shape, len(inputs))
	for i, v := range inputs {
		if shapes[i] = v.shape; v.shape == nil {
			shapes[i] = tensor.Shape{}
		}
	}
	b, err := in.Bind(shapes)
	if err != nil {
		return nil, err
	}
	for i, v := range inputs {
		if n := copy(b.Inputs[i].Data, v.data); n != len(v.data) || n != len(b.Inputs[i].Data) {
			t.Fatalf("input %d has %d bytes, %d given", i, len(b.Inputs[i].Data), len(v.data))
		}
	}
	return b, in.Run(t.Context(), b)
}

// everyLevel runs a test at each CPU level.
func everyLevel(t *testing.T, test func(t *testing.T)) {
	for _, level := range cpu.Available() {
		t.Run("isa="+level.String(), func(t *testing.T) {
			defer cpu.Limit(level)()
			test(t)
		})
	}
}

// node writes a node of a body.
func node(operator string, inputs, outputs []string, attributes ...onnx.Attribute) onnx.Node {
	return onnx.Node{Name: operator + " to " + outputs[0], OpType: operator, Inputs: inputs, Outputs: outputs, Attributes: attributes}
}

// names are the inputs or outputs of a body, whose types it leaves open.
func names(list ...string) []onnx.ValueInfo {
	var infos []onnx.ValueInfo
	for _, name := range list {
		infos = append(infos, onnx.ValueInfo{Name: name})
	}
	return infos
}

// constant adds a constant of the outermost graph.
func constant[T onnx.Element](b *onnx.Builder, name string, data []T, dims ...int64) {
	b.Initializer(onnx.TensorOf(name, data, dims...))
}

func list(s ...string) []string { return s }
