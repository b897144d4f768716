// SPDX-License-Identifier: Apache-2.0

package native

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
)

// fuzzBytesMax bounds what one model of a fuzzer may allocate in all: constants that are
// computed while it is opened, and a run that exerciseBytesMax lets through.
const fuzzBytesMax = 3 * constBytesMax

// checkExercise runs a model and reports memory without bound; panics report themselves.
func checkExercise(t *testing.T, model []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := exercise(model, 1)
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; taken > fuzzBytesMax {
		t.Errorf("%d bytes were allocated: %v", taken, err)
	}
}

// FuzzLoad opens and runs what is left of small models after their bytes were changed.
func FuzzLoad(f *testing.F) {
	for seed := range uint64(40) {
		model, _ := growGraph(f, seed+1, 1+int(seed%5))
		f.Add(model)
	}
	for _, m := range []*onnx.Model{zoo.NewMLP("mlp", 1, 2, 3, 1).Model(), zoo.NonZero("nonzero")} {
		model, err := m.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(model)
	}
	for _, list := range [][]badModel{badShapes, badSizes, badTypes, badTrees, badTrees5, badTables} {
		for i := range list {
			if model := list[i].marshal(); model != nil {
				f.Add(model)
			}
		}
	}
	f.Fuzz(checkExercise)
}

// FuzzStructure changes attributes, extents and constants of a random graph in ways that
// its format survives.
func FuzzStructure(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed+1, seed, uint8(1+seed%4))
	}
	f.Fuzz(func(t *testing.T, seed, change uint64, changes uint8) {
		model, _ := growGraph(t, seed, 1+int(seed%7))
		m, err := onnx.Parse(model, onnx.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(change, 4))
		for range 1 + changes%8 {
			mutateGraph(r, m.Graph)
		}
		if model, err = m.Marshal(); err != nil {
			t.Fatal(err)
		}
		checkExercise(t, model)
	})
}

// TestManyStructures is FuzzStructure on some seeds, for runs without a fuzzer.
func TestManyStructures(t *testing.T) {
	r := rand.New(rand.NewPCG(*seedFlag, 5))
	for range 400 {
		seed := r.Uint64N(1 << 40)
		model, _ := growGraph(t, seed, 1+int(seed%7))
		m, err := onnx.Parse(model, onnx.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + r.IntN(6) {
			mutateGraph(r, m.Graph)
		}
		if model, err = m.Marshal(); err != nil {
			t.Fatal(err)
		}
		checkExercise(t, model)
	}
}

// awkward are numbers that break things.
var awkward = []int64{0, 1, -1, 2, -2, 3, 7, 64, 1 << 16, 1<<31 - 1, -1 << 31, 1 << 32, 1 << 40, 1<<63 - 1, -1 << 63}

// mutateGraph changes one thing in a graph.
func mutateGraph(r *rand.Rand, g *onnx.Graph) {
	number := func() int64 { return awkward[r.IntN(len(awkward))] }
	if len(g.Nodes) == 0 {
		return
	}
	n := &g.Nodes[r.IntN(len(g.Nodes))]
	switch r.IntN(10) {
	case 0:
		if len(n.Attributes) > 0 {
			mutateAttribute(r, &n.Attributes[r.IntN(len(n.Attributes))], number)
		}
	case 1:
		if i := len(n.Attributes); i > 0 {
			at := r.IntN(i)
			n.Attributes = slices.Delete(n.Attributes, at, at+1)
		}
	case 2, 3:
		if len(g.Initializers) > 0 {
			mutateConstant(r, &g.Initializers[r.IntN(len(g.Initializers))], number)
		}
	case 4:
		in := &g.Inputs[r.IntN(len(g.Inputs))]
		if d := in.Type.Dims; len(d) > 0 {
			d[r.IntN(len(d))] = onnx.Dim{Value: []int64{-1, 0, 1, 2, 5, 1 << 20, 1 << 40}[r.IntN(7)]}
		}
	case 5:
		in := &g.Inputs[r.IntN(len(g.Inputs))]
		in.Type.Elem = onnx.ElemType(1 + r.IntN(16))
	case 6:
		other := &g.Nodes[r.IntN(len(g.Nodes))]
		if len(n.Inputs) > 0 && len(other.Inputs) > 0 {
			n.Inputs[r.IntN(len(n.Inputs))] = other.Inputs[r.IntN(len(other.Inputs))]
		}
	case 7:
		if len(n.Inputs) > 0 {
			n.Inputs[r.IntN(len(n.Inputs))] = ""
		}
	case 8:
		n.OpType, n.Domain = g.Nodes[r.IntN(len(g.Nodes))].OpType, g.Nodes[r.IntN(len(g.Nodes))].Domain
	default:
		if len(n.Outputs) > 0 {
			n.Outputs[r.IntN(len(n.Outputs))] = ""
		}
	}
}

func mutateAttribute(r *rand.Rand, a *onnx.Attribute, number func() int64) {
	switch {
	case r.IntN(8) == 0:
		a.Type = onnx.AttributeType(1 + r.IntN(9))
	case len(a.Ints) > 0 && r.IntN(3) == 0:
		a.Ints = a.Ints[:r.IntN(len(a.Ints))]
	case len(a.Ints) > 0:
		a.Ints[r.IntN(len(a.Ints))] = number()
	case len(a.Floats) > 0:
		a.Floats = a.Floats[:r.IntN(len(a.Floats))]
	case len(a.Strings) > 0:
		a.Strings[r.IntN(len(a.Strings))] = []byte("BRANCH_GTE")
	case a.Type == onnx.AttributeString:
		a.String = []byte("edge")
	default:
		a.Int = number()
	}
}

func mutateConstant(r *rand.Rand, t *onnx.Tensor, number func() int64) {
	switch {
	case t.Elem == onnx.ElemInt64 && len(t.Raw) >= 8 && r.IntN(3) > 0:
		v, at := number(), 8*r.IntN(len(t.Raw)/8)
		for i := range 8 {
			t.Raw[at+i] = byte(v >> (8 * i))
		}
	case r.IntN(2) == 0:
		t.Dims, t.Raw = []int64{0, number() & (1<<40 - 1)}, []byte{}
	case len(t.Dims) == 1:
		t.Dims = append(t.Dims, 1)
	default:
		t.Elem = onnx.ElemInt32
		if n, err := t.Elements(); err == nil {
			t.Raw = make([]byte, 4*n)
		}
	}
}
