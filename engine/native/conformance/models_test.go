// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// way is how much of a case's input is made part of its model.
type way int

const (
	asIs         way = iota
	constantTail     // all inputs but the first are constants
	constantAll      // all are, beside one that nothing reads
)

var ways = [...]string{asIs: "as is", constantTail: "first input only", constantAll: "all constant"}

// idle is the input that is added where a model would have none.
const idle = "millrace_idle"

// form is a case in one of the ways: its sets, and a model for all of them or for each.
type form struct {
	*example
	name   string
	models [][]byte
	sets   []set
}

// in makes the models of a case in one way. It reports false where that way is no
// different from another.
func (e *example) in(w way) (f form, is bool, err error) {
	f = form{example: e, name: e.name + ", " + ways[w]}
	if w == asIs {
		f.models, f.sets = [][]byte{e.model}, e.sets
		return f, true, nil
	}
	for _, s := range e.sets {
		model, left, err := e.fix(w, s)
		if model == nil || err != nil {
			return f, false, err
		}
		f.models, f.sets = append(f.models, model), append(f.sets, left)
	}
	return f, len(f.sets) > 0, nil
}

// fix makes inputs of a set constants of the model, which is nil where there are none.
func (e *example) fix(w way, s set) (model []byte, left set, err error) {
	m, err := onnx.Parse(e.model, onnx.ReadOptions{})
	if err != nil {
		return nil, s, err
	}
	g := m.Graph
	keep := 1
	if w == constantAll {
		keep = 0
	}
	if len(g.Inputs) != len(s.inputs) || len(g.Inputs) <= keep {
		return nil, s, nil
	}
	for i, in := range s.inputs[keep:] {
		t, ok := initializer(g.Inputs[keep+i].Name, in)
		if !ok {
			return nil, s, nil
		}
		g.Initializers = append(g.Initializers, t)
	}
	g.Inputs, s.inputs = g.Inputs[:keep], s.inputs[:keep]
	if keep == 0 {
		g.Inputs = []onnx.ValueInfo{{Name: idle, Type: onnx.TensorType(onnx.ElemFloat, onnx.Dim{Value: 1})}}
		s.inputs = []tensor.Tensor{{Datatype: tensor.FP32, Shape: tensor.Shape{1}, Data: make([]byte, 4)}}
	}
	model, err = m.Marshal()
	return model, s, err
}

// initializer is a tensor as a constant of the graph.
func initializer(name string, in tensor.Tensor) (onnx.Tensor, bool) {
	t := onnx.Tensor{Name: name, Dims: in.Shape, Elem: onnx.ElemTypeOf(in.Datatype), Raw: in.Data}
	if in.Datatype == tensor.Invalid {
		return t, false
	}
	if in.Datatype != tensor.Bytes {
		return t, true
	}
	t.Raw = nil
	for rest := in.Data; len(rest) > 0; {
		element, after, err := tensor.NextBytes(rest)
		if err != nil {
			return t, false
		}
		t.Strings, rest = append(t.Strings, element), after
	}
	return t, true
}

// load opens a model with the native backend. Outputs whose rank the file leaves open
// are those of the case.
func load(t *testing.T, folder string, model []byte, s set) (engine.Model, error) {
	t.Helper()
	file := filepath.Join(folder, "model.onnx")
	if err := os.WriteFile(file, model, 0o644); err != nil {
		t.Fatal(err)
	}
	// A file that is gone soon is never written to a disk. One that is written anew is, at
	// once on some file systems, thousands of times.
	defer os.Remove(file)
	var config modelconfig.Config
	m, err := onnx.Parse(model, onnx.ReadOptions{})
	if err == nil {
		for i, out := range m.Graph.Outputs {
			if i < len(s.outputs) {
				config.Output = append(config.Output, modelconfig.Output{Name: out.Name, Dims: s.outputs[i].Shape})
			}
		}
	}
	return native.Backend{}.Load(t.Context(), folder, &config)
}

// run gives the outputs for a set, in the order of the graph's.
func run(ctx context.Context, m engine.Model, s set) (outputs []tensor.Tensor, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("panic: %v", problem)
		}
	}()
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	var shapes []tensor.Shape
	for _, x := range s.inputs {
		shapes = append(shapes, x.Shape)
	}
	b, err := in.Bind(shapes)
	if err != nil {
		return nil, err
	}
	for i, x := range s.inputs {
		if x.Datatype != b.Inputs[i].Datatype {
			return nil, fmt.Errorf("input %d is %s, the model takes %s", i, x.Datatype, b.Inputs[i].Datatype)
		}
		if x.Datatype == tensor.Bytes {
			b.Inputs[i].Data = append(b.Inputs[i].Data, x.Data...)
		} else {
			copy(b.Inputs[i].Data, x.Data)
		}
	}
	if err := in.Run(ctx, b); err != nil {
		return nil, err
	}
	for _, out := range b.Outputs {
		out.Data = slices.Clone(out.Data)
		outputs = append(outputs, out)
	}
	return outputs, nil
}
