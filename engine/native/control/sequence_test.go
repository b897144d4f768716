// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// openDims are the dimensions of what a case gives.
func openDims(name string) []onnx.Dim {
	if name == "stack" {
		return []onnx.Dim{onnx.Unknown(), onnx.Unknown()}
	}
	return []onnx.Dim{onnx.Unknown()}
}

// TestSequences builds lists of x = [1 2], y = [3 4] and z = [5 6] and joins them.
func TestSequences(t *testing.T) {
	construct := func(b *onnx.Builder) { b.Node("SequenceConstruct", list("x", "y", "z"), list("s")) }
	joined := func(b *onnx.Builder) {
		b.Node("ConcatFromSequence", list("s"), list("out"), onnx.IntAttribute("axis", 0))
	}
	for _, c := range []struct {
		name  string
		build func(b *onnx.Builder)
		want  []float32
	}{
		{"construct", func(b *onnx.Builder) { construct(b); joined(b) }, []float32{1, 2, 3, 4, 5, 6}},
		{"stack", func(b *onnx.Builder) {
			construct(b)
			b.Node("ConcatFromSequence", list("s"), list("out"), onnx.IntAttribute("axis", -1), onnx.IntAttribute("new_axis", 1))
		}, []float32{1, 3, 5, 2, 4, 6}},
		{"insert", func(b *onnx.Builder) {
			b.Node("SequenceEmpty", nil, list("s0"))
			b.Node("SequenceInsert", list("s0", "x"), list("s1"))
			b.Node("SequenceInsert", list("s1", "y", "zero"), list("s2"))
			b.Node("SequenceInsert", list("s2", "z", "last"), list("s"))
			joined(b)
		}, []float32{3, 4, 5, 6, 1, 2}},
		{"erase", func(b *onnx.Builder) {
			b.Node("SequenceConstruct", list("x", "y", "z", "x"), list("s0"))
			b.Node("SequenceErase", list("s0"), list("s1"))
			b.Node("SequenceErase", list("s1", "zero"), list("s"))
			joined(b)
		}, []float32{3, 4, 5, 6}},
		{"at", func(b *onnx.Builder) { construct(b); b.Node("SequenceAt", list("s", "last"), list("out")) }, []float32{5, 6}},
		{"length", func(b *onnx.Builder) {
			construct(b)
			b.Node("SequenceLength", list("s"), list("n"))
			b.Node("Cast", list("n"), list("f"), onnx.IntAttribute("to", int64(onnx.ElemFloat)))
			b.Node("Add", list("f", "x"), list("out"))
		}, []float32{4, 5}},
		{"split", func(b *onnx.Builder) {
			b.Node("Concat", list("x", "y", "z"), list("xyz"), onnx.IntAttribute("axis", 0))
			b.Node("SplitToSequence", list("xyz", "two"), list("s0"))
			b.Node("SequenceErase", list("s0", "zero"), list("s"))
			joined(b)
		}, []float32{3, 4, 5, 6}},
		{"split, rest", func(b *onnx.Builder) {
			b.Node("Concat", list("x", "y", "z"), list("xyz"), onnx.IntAttribute("axis", 0))
			b.Node("SplitToSequence", list("xyz", "four"), list("s"))
			b.Node("SequenceAt", list("s", "last"), list("out"))
		}, []float32{5, 6}},
		{"split, sizes", func(b *onnx.Builder) {
			b.Node("Concat", list("x", "y", "z"), list("xyz"), onnx.IntAttribute("axis", 0))
			b.Node("SplitToSequence", list("xyz", "sizes"), list("s0"))
			b.Node("SequenceErase", list("s0", "zero"), list("s"))
			joined(b)
		}, []float32{2, 3, 4, 5, 6}},
		{"split, no axis", func(b *onnx.Builder) {
			b.Node("SplitToSequence", list("x"), list("s"), onnx.IntAttribute("keepdims", 0))
			b.Node("ConcatFromSequence", list("s"), list("out"), onnx.IntAttribute("axis", 0), onnx.IntAttribute("new_axis", 1))
		}, []float32{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := instance(t, func(b *onnx.Builder) {
				for _, name := range list("x", "y", "z") {
					b.Input(name, tensor.FP32, onnx.Extent(2))
				}
				constant(b, "zero", []int64{0})
				constant(b, "last", []int64{-1})
				constant(b, "two", []int64{2})
				constant(b, "four", []int32{4})
				constant(b, "sizes", []int64{1, 0, 5}, 3)
				c.build(b)
				b.Output("out", tensor.FP32, openDims(c.name)...)
			})
			inputs := []value{floats([]float32{1, 2}, 2), floats([]float32{3, 4}, 2), floats([]float32{5, 6}, 2)}
			if got := as[float32](run(t, in, inputs...)[0]); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
