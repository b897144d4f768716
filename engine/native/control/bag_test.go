// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

const tableRows, tableCols = 20, 6

// bagLoop writes the loop that PyTorch's exporter makes of nn.EmbeddingBag, with the
// begins and ends of the bags in two values.
func bagLoop(b *onnx.Builder, turns, begins, ends string, table []float32) {
	constant(b, "table", table, tableRows, tableCols)
	constant(b, "axis", []int64{0}, 1)
	constant(b, "true", []bool{true})
	body := &onnx.Graph{Name: "body", Inputs: names("i", "on"), Outputs: names("go", "row"), Nodes: []onnx.Node{
		node("Gather", list(begins, "i"), list("b0")),
		node("Gather", list(ends, "i"), list("e0")),
		node("Unsqueeze", list("b0", "axis"), list("b1")),
		node("Unsqueeze", list("e0", "axis"), list("e1")),
		node("Slice", list("ids", "b1", "e1", "axis"), list("bag")),
		node("Gather", list("table", "bag"), list("rows")),
		node("ReduceSum", list("rows", "axis"), list("row"), onnx.IntAttribute("keepdims", 0)),
		node("Identity", list("true"), list("go")),
	}}
	b.Node("Loop", list(turns, "true"), list("y"), onnx.GraphAttribute("body", body))
	b.Output("y", tensor.FP32, onnx.Unknown(), onnx.Unknown())
}

func randomTable(random *rand.Rand) []float32 {
	table := make([]float32, tableRows*tableCols)
	for i := range table {
		table[i] = float32(random.IntN(64)) / 8
	}
	return table
}

// sums is what the loop gives.
func sums(table []float32, ids, begins, ends []int64) []float32 {
	var y []float32
	place := func(at int64) int {
		if at < 0 {
			at = max(at+int64(len(ids)), 0)
		}
		return int(min(at, int64(len(ids))))
	}
	for i := range begins {
		row := make([]float32, tableCols)
		for at := place(begins[i]); at < place(ends[i]); at++ {
			id := ids[at]
			if id < 0 {
				id += tableRows
			}
			for k := range row {
				row[k] += table[int(id)*tableCols+k]
			}
		}
		y = append(y, row...)
	}
	return y
}

func ids(random *rand.Rand, n int) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = random.Int64N(2*tableRows) - tableRows
	}
	return list
}

// TestBagsOfKnownLengths has bags that are known when the model is loaded: as many in
// each, which makes the loop one operator on a matrix, or not.
func TestBagsOfKnownLengths(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(5, 5))
		for _, c := range []struct{ begins, ends []int64 }{
			{[]int64{0, 3, 6}, []int64{3, 6, 9}},
			{[]int64{0, 3, 5}, []int64{3, 5, 9}},
			{[]int64{4, 0, -2}, []int64{2, 1 << 40, -1}},
			{[]int64{0}, []int64{9}},
		} {
			table := randomTable(random)
			in := instance(t, func(b *onnx.Builder) {
				b.Input("ids", tensor.Int64, onnx.Extent(9))
				constant(b, "turns", []int64{int64(len(c.begins))})
				constant(b, "begins", c.begins, int64(len(c.begins)))
				constant(b, "ends", c.ends, int64(len(c.ends)))
				bagLoop(b, "turns", "begins", "ends", table)
			})
			x := ids(random, 9)
			got, want := as[float32](run(t, in, ints(x, 9))[0]), sums(table, x, c.begins, c.ends)
			if !slices.Equal(got, want) {
				t.Errorf("bags %v: %v, want %v", c, got, want)
			}
		}
	})
}

// TestBagsOfTheRequest has bags that come with the indices.
func TestBagsOfTheRequest(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	table := randomTable(random)
	in := instance(t, func(b *onnx.Builder) {
		b.Input("ids", tensor.Int64, onnx.Unknown())
		b.Input("begins", tensor.Int64, onnx.Unknown())
		b.Input("ends", tensor.Int64, onnx.Unknown())
		b.Node("Size", list("begins"), list("turns"))
		bagLoop(b, "turns", "begins", "ends", table)
	})
	for i := range 50 {
		n, bags := random.IntN(12), random.IntN(5)
		x, begins, ends := ids(random, n), make([]int64, bags), make([]int64, bags)
		for k := range begins {
			begins[k], ends[k] = random.Int64N(30)-15, random.Int64N(30)-15
		}
		got := as[float32](run(t, in, ints(x, int64(n)), ints(begins, int64(bags)), ints(ends, int64(bags)))[0])
		if want := sums(table, x, begins, ends); !slices.Equal(got, want) {
			t.Fatalf("case %d, bags %v to %v of %v: %v, want %v", i, begins, ends, x, got, want)
		}
	}
	_, err := try(t, in, ints([]int64{1, tableRows}, 2), ints([]int64{0}, 1), ints([]int64{2}, 1))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("index %d of a table of %d rows", tableRows, tableRows)) {
		t.Errorf("error %v", err)
	}
	b, err := try(t, in, ints([]int64{1, 2}, 2), ints([]int64{0}, 1), ints([]int64{2}, 1))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { mustRun(t, in, b) }); n != 0 {
		t.Errorf("%g allocations a run", n)
	}
}

func mustRun(t *testing.T, in engine.Instance, b *engine.Binding) {
	if err := in.Run(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}
