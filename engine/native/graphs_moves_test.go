// SPDX-License-Identifier: Apache-2.0

package native

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

var growMoves = []func(g *grower){
	growTranspose, growReshape, growSlice, growConcat, growSplit, growGather, growPad, growTile, growUnsqueeze, growCast,
	growOneHot, growEmbedding, growShapeDriven,
}

// move adds an operator that only arranges the elements of x.
func (g *grower) move(name string, x made, shape []int64, more []string, attributes ...onnx.Attribute) {
	g.nodeTo(name, x, x.typ, shape, more, attributes...)
	g.exact(x.exact)
}

func hasColumns(v made) bool { return len(v.shape) > 1 && v.typ != tensor.Bool }

func growTranspose(g *grower) {
	x, ok := g.pick(func(v made) bool { return v.typ != tensor.Bytes && len(v.shape) == 3 })
	if !ok {
		return
	}
	g.move("Transpose", x, []int64{rowsExtent, x.shape[2], x.shape[1]}, nil, onnx.IntsAttribute("perm", 0, 2, 1))
}

func growReshape(g *grower) {
	x, ok := g.pick(hasColumns)
	if !ok {
		return
	}
	cols := elementsOf(x.shape[1:])
	switch g.r.IntN(4) {
	case 0:
		g.move("Flatten", x, []int64{rowsExtent, cols}, nil)
	case 1:
		g.move("Reshape", x, []int64{rowsExtent, cols}, []string{g.ints(0, -1)})
	case 2:
		g.move("Reshape", x, []int64{rowsExtent, 1, cols}, []string{g.ints(-1, 1, cols)})
	default:
		for d := int64(2); d <= cols; d++ {
			if cols%d == 0 {
				g.move("Reshape", x, []int64{rowsExtent, d, cols / d}, []string{g.ints(-1, d, cols/d)})
				return
			}
		}
	}
}

func growSlice(g *grower) {
	x, ok := g.pick(func(v made) bool { return hasColumns(v) && v.shape[1] > 1 })
	if !ok {
		return
	}
	axis := int64(1)
	shape := slices.Clone(x.shape)
	switch first := g.r.Int64N(x.shape[1]); g.r.IntN(3) {
	case 0:
		shape[1] -= first
		g.move("Slice", x, shape, []string{g.ints(first), g.ints(1 << 40), g.ints(axis)})
	case 1:
		shape[1] = first + 1
		g.move("Slice", x, shape, []string{g.ints(first), g.ints(-1 << 40), g.ints(axis - int64(len(shape))), g.ints(-1)})
	default:
		shape[1] = (x.shape[1] + 1) / 2
		g.move("Slice", x, shape, []string{g.ints(0), g.ints(x.shape[1]), g.ints(axis), g.ints(2)})
	}
}

func growConcat(g *grower) {
	x, _ := g.pick(hasColumns)
	y, ok := g.pick(func(v made) bool {
		return v.typ == x.typ && len(v.shape) == len(x.shape) && slices.Equal(v.shape[2:], x.shape[2:])
	})
	if !ok || len(x.shape) < 2 {
		return
	}
	shape := slices.Clone(x.shape)
	shape[1] += y.shape[1]
	g.move("Concat", x, shape, []string{y.name}, onnx.IntAttribute("axis", 1))
	last := &g.values[len(g.values)-1]
	last.exact, last.below = x.exact && y.exact, max(x.below, y.below)
}

func growSplit(g *grower) {
	x, ok := g.pick(func(v made) bool { return hasColumns(v) && v.shape[1] > 1 })
	if !ok {
		return
	}
	first := 1 + g.r.Int64N(x.shape[1]-1)
	a, b := x, x
	a.name, b.name = g.name("v"), g.name("v")
	a.shape, b.shape = slices.Clone(x.shape), slices.Clone(x.shape)
	a.shape[1], b.shape[1] = first, x.shape[1]-first
	g.b.Node("Split", []string{x.name, g.ints(first, x.shape[1]-first)}, []string{a.name, b.name}, onnx.IntAttribute("axis", 1))
	g.read(x.name)
	g.values = append(g.values, a, b)
}

func growGather(g *grower) {
	// Of texts in three dimensions ONNX Runtime gathers the first of each row only.
	x, ok := g.pick(func(v made) bool { return hasColumns(v) && (v.typ != tensor.Bytes || len(v.shape) == 2) })
	if !ok {
		return
	}
	list := make([]int64, 1+g.r.IntN(4))
	for i := range list {
		list[i] = g.r.Int64N(2*x.shape[1]) - x.shape[1]
	}
	shape := slices.Clone(x.shape)
	shape[1] = int64(len(list))
	if g.r.IntN(2) == 0 && len(shape) == 2 && (x.typ == tensor.FP32 || x.typ == tensor.Int64) {
		for i := range list {
			list[i] = (list[i] + x.shape[1]) % x.shape[1]
		}
		g.domainNode("ai.onnx.ml", "ArrayFeatureExtractor", x, x.typ, shape, []string{g.ints(list...)})
		g.exact(x.exact)
		return
	}
	g.move("Gather", x, shape, []string{g.ints(list...)}, onnx.IntAttribute("axis", 1))
}

func growPad(g *grower) {
	x, ok := g.pick(isMatrix)
	if !ok {
		return
	}
	before, after := g.r.Int64N(3), g.r.Int64N(3)
	g.move("Pad", x, []int64{rowsExtent, x.shape[1] + before + after}, []string{g.ints(0, before, 0, after), g.constant([]float32{0.25})})
}

func growTile(g *grower) {
	x, ok := g.pick(func(v made) bool { return isMatrix(v) && v.shape[1] < 20 })
	if !ok {
		return
	}
	g.move("Tile", x, []int64{rowsExtent, 2 * x.shape[1]}, []string{g.ints(1, 2)})
}

func growUnsqueeze(g *grower) {
	x, ok := g.pick(func(v made) bool { return v.typ != tensor.Bool && len(v.shape) < 3 })
	if !ok {
		return
	}
	at := len(x.shape)
	g.move("Unsqueeze", x, slices.Insert(slices.Clone(x.shape), at, 1), []string{g.ints(int64(at))})
	if g.r.IntN(2) == 0 {
		g.move("Squeeze", g.values[len(g.values)-1], x.shape, []string{g.ints(int64(at))})
	}
}

func growCast(g *grower) {
	x, ok := g.pick(func(v made) bool { return v.typ == tensor.Int64 || isExact(v) })
	if !ok {
		return
	}
	to := tensor.FP32
	if x.typ == tensor.FP32 {
		to = []tensor.Datatype{tensor.FP64, tensor.Int32, tensor.FP16}[g.r.IntN(3)]
	}
	y := g.nodeTo("Cast", x, to, x.shape, nil, onnx.IntAttribute("to", int64(onnx.ElemTypeOf(to))))
	g.exact(true)
	if to != tensor.FP32 {
		g.nodeTo("Cast", y, tensor.FP32, x.shape, nil, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
		g.exact(true)
	}
}

func isIndex(v made) bool { return v.typ == tensor.Int64 && v.below > 0 }

func growOneHot(g *grower) {
	x, ok := g.pick(func(v made) bool { return isIndex(v) && len(v.shape) < 3 })
	if !ok {
		return
	}
	depth := g.name("i")
	g.b.Initializer(onnx.TensorOf(depth, []int64{x.below}))
	g.nodeTo("OneHot", x, tensor.FP32, append(slices.Clone(x.shape), x.below), []string{depth, g.constant([]float32{-1, 2}, 2)})
	g.exact(true)
}

// growEmbedding looks rows of a table up, and adds up those of a bag now and then.
func growEmbedding(g *grower) {
	x, ok := g.pick(func(v made) bool { return isIndex(v) && len(v.shape) == 2 })
	if !ok {
		return
	}
	dim := 1 + g.r.Int64N(20)
	table := made{name: g.weights(1, x.below+3, dim)}
	rows := g.nodeTo("Gather", table, tensor.FP32, []int64{rowsExtent, x.shape[1], dim}, []string{x.name})
	if g.r.IntN(2) == 0 {
		g.nodeTo("ReduceSum", rows, tensor.FP32, []int64{rowsExtent, dim}, []string{g.ints(1)}, onnx.IntAttribute("keepdims", 0))
	}
}

// growShapeDriven divides by the number of rows, which is known before the run but is
// another for a part of the batch.
func growShapeDriven(g *grower) {
	x, ok := g.pick(isMatrix)
	if !ok || g.r.IntN(4) != 0 {
		return
	}
	g.mixes = true
	shape := g.name("s")
	g.b.Node("Shape", []string{x.name}, []string{shape})
	g.b.Node("Gather", []string{shape, g.ints(0)}, []string{shape + "n"})
	g.b.Node("Cast", []string{shape + "n"}, []string{shape + "f"}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	g.node("Div", x, []string{shape + "f"})
}
