// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

var (
	onlyContext = context.Background()
	noConfig    = &modelconfig.Config{}
	onOneThread = engine.Placement{Kind: modelconfig.KindCPU, Threads: 1}
)

// builders make a model of each kind that is served.
var builders = map[string]func(g *grower){
	"trees": func(g *grower) {
		x := g.values[0]
		f := &randomForest{}
		for range 100 {
			f.plant(g, 12, 1, 6)
		}
		g.domainNode(tables, "TreeEnsembleRegressor", x, tensor.FP32, []int64{rowsExtent, 1}, nil,
			append(f.attributes("target"), onnx.IntAttribute("n_targets", 1))...)
	},
	"tree classifier": func(g *grower) {
		f := &randomForest{}
		for range 30 {
			f.plant(g, 12, 4, 5)
		}
		g.classify("TreeEnsembleClassifier", g.values[0], 4, append(f.attributes("class"),
			onnx.StringsAttribute("classlabels_strings", "a", "b", "c", "d"), onnx.StringAttribute("post_transform", "SOFTMAX"))...)
		g.values[len(g.values)-2].typ = tensor.Bytes
	},
	"pipeline": func(g *grower) {
		words := made{name: g.name("in"), typ: tensor.Bytes, shape: []int64{rowsExtent, 1}}
		g.b.Input(words.name, words.typ, dimsOf(words.shape)...)
		g.inputs, g.values = append(g.inputs, words), append(g.values, words)
		scaled := g.domainNode(tables, "Scaler", g.values[0], tensor.FP32, g.values[0].shape, nil,
			onnx.FloatsAttribute("offset", g.floats(1, 12)...), onnx.FloatsAttribute("scale", g.floats(1, 12)...))
		coded := g.domainNode(tables, "OneHotEncoder", words, tensor.FP32, []int64{rowsExtent, 1, 3}, nil,
			onnx.StringsAttribute("cats_strings", "red", "a", ""), onnx.IntAttribute("zeros", 1))
		flat := g.nodeTo("Reshape", coded, tensor.FP32, []int64{rowsExtent, 3}, []string{g.ints(-1, 3)})
		all := g.nodeTo("Concat", scaled, tensor.FP32, []int64{rowsExtent, 15}, []string{flat.name}, onnx.IntAttribute("axis", 1))
		g.classify("LinearClassifier", all, 3, onnx.IntsAttribute("classlabels_ints", 0, 1, 2),
			onnx.FloatsAttribute("coefficients", g.floats(1, 45)...), onnx.FloatsAttribute("intercepts", g.floats(1, 3)...),
			onnx.StringAttribute("post_transform", "SOFTMAX"))
	},
	"embeddings": func(g *grower) {
		g.input(tensor.Int64, 5)
		x := g.values[1]
		rows := g.nodeTo("Gather", made{name: g.weights(1, 50, 16)}, tensor.FP32, []int64{rowsExtent, 5, 16}, []string{x.name})
		sum := g.nodeTo("ReduceSum", rows, tensor.FP32, []int64{rowsExtent, 16}, []string{g.ints(1)}, onnx.IntAttribute("keepdims", 0))
		both := g.nodeTo("Concat", sum, tensor.FP32, []int64{rowsExtent, 28}, []string{g.values[0].name}, onnx.IntAttribute("axis", 1))
		g.nodeTo("Gemm", both, tensor.FP32, []int64{rowsExtent, 4}, []string{g.weights(1, 28, 4), g.weights(1, 4)})
	},
}

func buildModel(t testing.TB, build func(g *grower)) ([]byte, *grower) {
	t.Helper()
	g := &grower{r: rand.New(rand.NewPCG(7, 7)), b: onnx.NewBuilder("model"), used: map[string]bool{}}
	g.b.Opset(tables, 3)
	g.input(tensor.FP32, 12)
	build(g)
	g.finish()
	model, err := g.b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return model, g
}

// TestServingDoesNotAllocate holds the engine to N2: to bind shapes that were seen before
// and to run allocates nothing, on one thread and on two.
func TestServingDoesNotAllocate(t *testing.T) {
	defer alwaysSplit()()
	for name, build := range builders {
		model, g := buildModel(t, build)
		for _, threads := range []int{1, 2} {
			for _, rows := range []int{1, 7, 256} {
				t.Run(fmt.Sprintf("%s/threads=%d/rows=%d", name, threads, rows), func(t *testing.T) {
					wantNoAllocation(t, instanceOf(t, Backend{}, writeModel(t, model), threads), g.inputsOf(g.r, rows))
				})
			}
		}
	}
	t.Run("mlp", func(t *testing.T) {
		mlp := zoo.SmallMLP()
		model, err := mlp.Model().Marshal()
		if err != nil {
			t.Fatal(err)
		}
		in := instanceOf(t, Backend{}, writeModel(t, model), 1)
		width := in.(*instance).program.signature.Inputs[0].Shape[1]
		x := tensor.Tensor{Datatype: tensor.FP32, Shape: tensor.Shape{8, width}, Data: make([]byte, 32*width)}
		wantNoAllocation(t, in, []tensor.Tensor{x})
	})
}

// TestRandomGraphsDoNotAllocate does the same with all operators that graphs grow.
func TestRandomGraphsDoNotAllocate(t *testing.T) {
	eachGraph(t, func(t *testing.T, model []byte, g *grower, r *rand.Rand) {
		wantNoAllocation(t, instanceOf(t, Backend{}, writeModel(t, model), 1), g.inputsOf(r, 3))
	})
}

func wantNoAllocation(t *testing.T, in engine.Instance, inputs []tensor.Tensor) {
	t.Helper()
	var shapes []tensor.Shape
	for _, x := range inputs {
		shapes = append(shapes, x.Shape)
	}
	serve := func() {
		b, err := in.Bind(shapes)
		if err != nil {
			t.Fatal(err)
		}
		for i := range inputs {
			if inputs[i].Datatype == tensor.Bytes {
				b.Inputs[i].Data = append(b.Inputs[i].Data, inputs[i].Data...)
			} else {
				copy(b.Inputs[i].Data, inputs[i].Data)
			}
		}
		if err := in.Run(onlyContext, b); err != nil {
			t.Fatal(err)
		}
	}
	serve() // grows what is kept
	if n := testing.AllocsPerRun(20, serve); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkDispatch runs chains of operators on a single number, so that what remains is
// the cost of going from one to the next.
//
//	go test -run - -bench Dispatch ./engine/native
func BenchmarkDispatch(b *testing.B) {
	const steps = 100
	for _, name := range []string{"Sin", "Softsign"} {
		model, g := buildModel(b, func(g *grower) {
			x := g.nodeTo("Slice", g.values[0], tensor.FP32, []int64{rowsExtent, 1}, []string{g.ints(0), g.ints(1), g.ints(1)})
			for range steps {
				x = g.node(name, x, nil)
			}
		})
		b.Run("op="+name, func(b *testing.B) {
			in := instanceOf(b, Backend{}, writeModel(b, model), 1)
			bound, err := in.Bind([]tensor.Shape{g.inputsOf(g.r, 1)[0].Shape})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := in.Run(onlyContext, bound); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*steps), "ns/step")
		})
	}
}
