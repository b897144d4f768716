// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the only random graph to run; 0 is all")
	graphFlag = flag.Int("graphs", 60, "how many random graphs to run")
)

// eachGraph runs a test on random graphs, each under the name of its seed.
func eachGraph(t *testing.T, test func(t *testing.T, model []byte, g *grower, r *rand.Rand)) {
	first, count := uint64(1), *graphFlag
	if *seedFlag != 0 {
		first, count = *seedFlag, 1
	}
	for seed := first; seed < first+uint64(count); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			model, g := growGraph(t, seed, 3+int(seed%10))
			test(t, model, g, rand.New(rand.NewPCG(seed, 2)))
			if t.Failed() {
				t.Logf("the graph: %s", g.describe())
			}
		})
	}
}

// TestRandomGraphsAgainstONNXRuntime compares answers at every CPU level.
func TestRandomGraphsAgainstONNXRuntime(t *testing.T) {
	other := onnxrttest.Backend(t)
	eachGraph(t, func(t *testing.T, model []byte, g *grower, r *rand.Rand) {
		folder := writeModel(t, model)
		reference := instanceOf(t, other, folder, 1)
		for _, rows := range []int{1, 2 + r.IntN(20), 70 + r.IntN(80)} {
			inputs := g.inputsOf(r, rows)
			want := answers(t, reference, inputs)
			for _, level := range cpu.Available() {
				undo := cpu.Limit(level)
				got := answers(t, instanceOf(t, Backend{}, folder, 1), inputs)
				undo()
				compareAnswers(t, fmt.Sprintf("%d rows, %s", rows, level), got, want)
			}
		}
	})
}

// TestRandomGraphsAgainstThemselves holds the engine to N3: an answer does not depend on
// how many threads there are, on what was bound before, or on the rows beside its own.
func TestRandomGraphsAgainstThemselves(t *testing.T) {
	split := 0
	eachGraph(t, func(t *testing.T, model []byte, g *grower, r *rand.Rand) {
		folder := writeModel(t, model)
		one := instanceOf(t, Backend{}, folder, 1)
		two := instanceOf(t, Backend{}, folder, 2)
		defer alwaysSplit()()
		for range 4 {
			inputs := g.inputsOf(r, []int{1, 64, 129, 200}[r.IntN(4)])
			want := answers(t, one, inputs)
			identical(t, "on two threads", answers(t, two, inputs), want)
			identical(t, "in a new instance", answers(t, instanceOf(t, Backend{}, folder, 1), inputs), want)
			if parts := two.(*instance).latest.parts; parts != nil {
				split++
			}
			if g.mixes {
				continue
			}
			alone := r.IntN(int(inputs[0].Shape[0]))
			row := answers(t, one, rowOf(t, inputs, alone))
			identical(t, fmt.Sprintf("row %d alone", alone), row, rowOf(t, want, alone))
		}
	})
	if split == 0 && *seedFlag == 0 {
		t.Error("no run was split over threads")
	}
}

func writeModel(t testing.TB, model []byte) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "model.onnx"), model, 0o644); err != nil {
		t.Fatal(err)
	}
	return folder
}

func instanceOf(t testing.TB, backend engine.Backend, folder string, threads int) engine.Instance {
	t.Helper()
	m, err := backend.Load(context.Background(), folder, &modelconfig.Config{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return in
}

// inputsOf makes up inputs of so many rows.
func (g *grower) inputsOf(r *rand.Rand, rows int) []tensor.Tensor {
	var inputs []tensor.Tensor
	for _, v := range g.inputs {
		in := tensor.Tensor{Name: v.name, Datatype: v.typ, Shape: slices.Clone(tensor.Shape(v.shape))}
		in.Shape[0] = int64(rows)
		elements, _ := in.Shape.Elements()
		in.Data = make([]byte, int(elements)*v.typ.Size())
		inputs = append(inputs, in)
	}
	fillRandom(r, inputs)
	return inputs
}

// answers runs an instance and copies what it gives.
func answers(t testing.TB, in engine.Instance, inputs []tensor.Tensor) []tensor.Tensor {
	t.Helper()
	outputs, err := ask(in, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}

func ask(in engine.Instance, inputs []tensor.Tensor) ([]tensor.Tensor, error) {
	var shapes []tensor.Shape
	for _, x := range inputs {
		shapes = append(shapes, x.Shape)
	}
	b, err := in.Bind(shapes)
	if err != nil {
		return nil, err
	}
	for i, x := range inputs {
		if x.Datatype == tensor.Bytes {
			b.Inputs[i].Data = append(b.Inputs[i].Data, x.Data...)
		} else {
			copy(b.Inputs[i].Data, x.Data)
		}
	}
	if err := in.Run(context.Background(), b); err != nil {
		return nil, err
	}
	var outputs []tensor.Tensor
	for _, out := range b.Outputs {
		out.Data, out.Shape = slices.Clone(out.Data), slices.Clone(out.Shape)
		outputs = append(outputs, out)
	}
	return outputs, nil
}

// compareAnswers allows floats 1e-5 of themselves and 3e-6 of the largest beside them.
func compareAnswers(t *testing.T, what string, got, want []tensor.Tensor) {
	t.Helper()
	for i, x := range got {
		y := want[i]
		if x.Name != y.Name || x.Datatype != y.Datatype || !slices.Equal(x.Shape, y.Shape) {
			t.Errorf("%s: %s %s%v, want %s %s%v", what, x.Name, x.Datatype, x.Shape, y.Name, y.Datatype, y.Shape)
			continue
		}
		if x.Datatype != tensor.FP32 {
			if !bytes.Equal(x.Data, y.Data) {
				t.Errorf("%s: %s%v holds %.60q, want %.60q", what, x.Name, x.Shape, x.Data, y.Data)
			}
			continue
		}
		largest := 1.0
		for k := 0; k < len(y.Data); k += 4 {
			if v := math.Abs(floatOf(y.Data[k:])); !math.IsInf(v, 0) {
				largest = max(largest, v)
			}
		}
		for k := 0; k < len(y.Data); k += 4 {
			a, b := floatOf(x.Data[k:]), floatOf(y.Data[k:])
			if a != b && !(math.IsNaN(a) && math.IsNaN(b)) && !(math.Abs(a-b) <= 1e-5*math.Abs(b)+3e-6*largest) {
				t.Errorf("%s: element %d of %s%v is %.9g, want %.9g", what, k/4, x.Name, x.Shape, a, b)
				break
			}
		}
	}
}

func floatOf(data []byte) float64 {
	return float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
}

// identical wants the same bits.
func identical(t *testing.T, what string, got, want []tensor.Tensor) {
	t.Helper()
	for i := range got {
		if !slices.Equal(got[i].Shape, want[i].Shape) || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("%s: %s%v differs from %s%v", what, got[i].Name, got[i].Shape, want[i].Name, want[i].Shape)
		}
	}
}

// rowOf is one row of every tensor.
func rowOf(t *testing.T, list []tensor.Tensor, row int) []tensor.Tensor {
	t.Helper()
	var cut []tensor.Tensor
	for _, x := range list {
		rows := int(x.Shape[0])
		x.Shape = slices.Clone(x.Shape)
		x.Shape[0] = 1
		if x.Datatype != tensor.Bytes {
			size := len(x.Data) / rows
			x.Data = x.Data[row*size : (row+1)*size]
			cut = append(cut, x)
			continue
		}
		elements, _ := x.Shape.Elements()
		rest, data := x.Data, []byte(nil)
		for i := range rows * int(elements) {
			element, after, err := tensor.NextBytes(rest)
			if err != nil {
				t.Fatal(err)
			}
			if rest = after; i/int(elements) == row {
				data = tensor.AppendBytes(data, element)
			}
		}
		x.Data = data
		cut = append(cut, x)
	}
	return cut
}

// alwaysSplit splits runs over cores however little there is to do, and gives the
// function that undoes it.
func alwaysSplit() (undo func()) {
	before := partNanosMin
	partNanosMin = 1e-3
	return func() { partNanosMin = before }
}

// describe lists the nodes of a graph, for what a failing test says.
func (g *grower) describe() string {
	m, err := g.b.Model()
	if err != nil {
		return err.Error()
	}
	var text bytes.Buffer
	for i := range m.Graph.Nodes {
		n := &m.Graph.Nodes[i]
		fmt.Fprintf(&text, "\n%s %v -> %v", n.OpType, n.Inputs, n.Outputs)
		for _, a := range n.Attributes {
			if len(a.Floats)+len(a.Ints)+len(a.Strings) < 9 {
				fmt.Fprintf(&text, " %s=%g%v%d%g%s%s", a.Name, a.Floats, a.Ints, a.Int, a.Float, a.String, a.Strings)
			}
		}
	}
	return text.String()
}
