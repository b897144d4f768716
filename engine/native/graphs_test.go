// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// rowsExtent is the first extent of every value that has the batch's rows.
const rowsExtent = -1

// made is a value of a random graph.
type made struct {
	name  string
	typ   tensor.Datatype
	shape []int64
	// exact says that both engines have the same bits, so that it may be compared with
	// thresholds, ordered or rounded.
	exact bool
	// below bounds the numbers of an INT64 value, which are 0 or more.
	below int64
}

// grower makes a random graph node by node. Floats stay of a size at which rounding does
// not add up.
type grower struct {
	r      *rand.Rand
	b      *onnx.Builder
	values []made
	inputs []made
	used   map[string]bool
	count  int
	// mixes says that an answer may depend on other rows.
	mixes bool
}

// growGraph makes a model of about so many nodes from a seed.
func growGraph(t testing.TB, seed uint64, nodes int) (model []byte, g *grower) {
	t.Helper()
	g = &grower{r: rand.New(rand.NewPCG(seed, 1)), b: onnx.NewBuilder(fmt.Sprintf("seed %d", seed)), used: map[string]bool{}}
	g.b.Opset("ai.onnx.ml", 3)
	g.input(tensor.FP32, 1+g.r.Int64N(12))
	if g.r.IntN(2) == 0 {
		g.input(tensor.FP32, 1+g.r.Int64N(5), 1+g.r.Int64N(6))
	}
	if g.r.IntN(2) == 0 {
		g.input(tensor.Int64, 1+g.r.Int64N(4))
	}
	if g.r.IntN(3) == 0 {
		g.input(tensor.Bytes, 1+g.r.Int64N(3))
	}
	for range nodes {
		grow := growers[g.r.IntN(len(growers))]
		grow(g)
	}
	g.finish()
	model, err := g.b.Marshal()
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	return model, g
}

// growers add nodes to a graph, or none where it has no value that they could read.
var growers []func(g *grower)

func init() {
	growers = append(growers, growMath...)
	growers = append(growers, growMoves...)
	growers = append(growers, growTables...)
}

func (g *grower) name(what string) string {
	g.count++
	return fmt.Sprintf("%s%d", what, g.count)
}

func (g *grower) input(typ tensor.Datatype, shape ...int64) {
	v := made{name: g.name("in"), typ: typ, shape: append([]int64{rowsExtent}, shape...), exact: true, below: 4}
	g.b.Input(v.name, typ, dimsOf(v.shape)...)
	g.inputs = append(g.inputs, v)
	g.values = append(g.values, v)
}

func dimsOf(shape []int64) []onnx.Dim {
	var dims []onnx.Dim
	for _, d := range shape {
		if d < 0 {
			dims = append(dims, onnx.Dim{Value: -1, Param: "N"})
		} else {
			dims = append(dims, onnx.Extent(d))
		}
	}
	return dims
}

// finish names the values that nothing reads as outputs, and the last in any case.
func (g *grower) finish() {
	last := len(g.values) - 1
	for i, v := range g.values {
		if i >= len(g.inputs) && (!g.used[v.name] || i == last || g.r.IntN(8) == 0) {
			g.b.Output(v.name, v.typ, dimsOf(v.shape)...)
		}
	}
	if last < len(g.inputs) {
		out := g.node("Identity", g.values[last], nil)
		g.b.Output(out.name, out.typ, dimsOf(out.shape)...)
	}
}

// pick is a value that a test accepts; false where there is none.
func (g *grower) pick(accept func(v made) bool) (made, bool) {
	var list []made
	for _, v := range g.values {
		if accept(v) {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return made{}, false
	}
	// Later values more often, so that graphs become deep.
	return list[max(g.r.IntN(len(list)), g.r.IntN(len(list)))], true
}

func isFloat(v made) bool  { return v.typ == tensor.FP32 && len(v.shape) > 1 }
func isMatrix(v made) bool { return v.typ == tensor.FP32 && len(v.shape) == 2 }
func isExact(v made) bool  { return v.typ == tensor.FP32 && v.exact }

// node adds an operator with one output of the type and shape of its first input.
func (g *grower) node(name string, x made, more []string, attributes ...onnx.Attribute) made {
	return g.nodeTo(name, x, x.typ, x.shape, more, attributes...)
}

// nodeTo is node with an output of another type and shape.
func (g *grower) nodeTo(name string, x made, typ tensor.Datatype, shape []int64, more []string, attributes ...onnx.Attribute) made {
	return g.domainNode("", name, x, typ, shape, more, attributes...)
}

func (g *grower) domainNode(domain, name string, x made, typ tensor.Datatype, shape []int64, more []string, attributes ...onnx.Attribute) made {
	v := made{name: g.name("v"), typ: typ, shape: shape, below: x.below}
	g.b.DomainNode(domain, name, append([]string{x.name}, more...), []string{v.name}, attributes...)
	g.read(append(more, x.name)...)
	g.values = append(g.values, v)
	return v
}

func (g *grower) read(names ...string) {
	for _, name := range names {
		g.used[name] = true
	}
}

// exact notes that the last value has the same bits everywhere.
func (g *grower) exact(is bool) { g.values[len(g.values)-1].exact = is }

// weights is a constant of small numbers.
func (g *grower) weights(scale float64, shape ...int64) string {
	return g.constant(g.floats(scale, shape...), shape...)
}

func (g *grower) floats(scale float64, shape ...int64) []float32 {
	list := make([]float32, elementsOf(shape))
	for i := range list {
		list[i] = float32(g.r.NormFloat64() * scale)
	}
	return list
}

func (g *grower) constant(list []float32, shape ...int64) string {
	name := g.name("w")
	g.b.Initializer(onnx.TensorOf(name, list, shape...))
	return name
}

func (g *grower) ints(list ...int64) string {
	name := g.name("i")
	g.b.Initializer(onnx.TensorOf(name, list, int64(len(list))))
	return name
}

func elementsOf(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// fillRandom writes what a random graph takes: numbers around 0, whole ones now and
// then; small indices; words.
func fillRandom(r *rand.Rand, inputs []tensor.Tensor) {
	words := []string{"a", "b", "red", "", "nobody"}
	for i := range inputs {
		switch in := &inputs[i]; in.Datatype {
		case tensor.FP32:
			for k := range in.Data {
				if k%4 == 0 {
					x := float32(r.NormFloat64())
					if r.IntN(6) == 0 {
						x = float32(r.IntN(5) - 2)
					}
					putFloat(in.Data[k:], x)
				}
			}
		case tensor.Int64:
			for k := range in.Data {
				in.Data[k] = 0
				if k%8 == 0 {
					in.Data[k] = byte(r.IntN(4))
				}
			}
		case tensor.Bytes:
			elements, _ := in.Shape.Elements()
			in.Data = in.Data[:0]
			for range elements {
				in.Data = tensor.AppendBytes(in.Data, []byte(words[r.IntN(len(words))]))
			}
		}
	}
}

func putFloat(to []byte, x float32) {
	bits := math.Float32bits(x)
	to[0], to[1], to[2], to[3] = byte(bits), byte(bits>>8), byte(bits>>16), byte(bits>>24)
}
