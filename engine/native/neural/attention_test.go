// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// attend is a random attention. Q is [batch, heads, rows, size] or, flat, [batch, rows,
// heads*size].
type attend struct {
	batch, heads, kvHeads, rows, cols, size, sizeV int
	flat, causal                                   bool
	scale, softcap                                 float64
	mask                                           []int64
	boolean                                        bool
	in                                             []*op.Value
}

func (a *attend) shape(heads, rows, size int) []int64 {
	if a.flat {
		return ints([]int{a.batch, rows, heads * size})
	}
	return ints([]int{a.batch, heads, rows, size})
}

// index is where element k of a row is.
func (a *attend) index(b, h, row, k, heads, rows, size int) int {
	if a.flat {
		return ((b*rows+row)*heads+h)*size + k
	}
	return ((b*heads+h)*rows+row)*size + k
}

func (a *attend) masked(b, h, row, col int, score float64) float64 {
	if a.causal && col > row {
		return math.Inf(-1)
	}
	if a.mask == nil {
		return score
	}
	at, full := 0, []int{b, h, row, col}
	for i, d := range a.mask {
		k := full[4-len(a.mask)+i]
		if d == 1 {
			k = 0
		}
		at = at*int(d) + k
	}
	if !a.boolean {
		return score + float64(op.Floats(a.in[3])[at])
	}
	if op.As[uint8](a.in[3])[at] == 0 {
		return math.Inf(-1)
	}
	return score
}

func (a *attend) run() []float64 {
	y := make([]float64, a.batch*a.heads*a.rows*a.sizeV)
	q, k, v := op.Floats(a.in[0]), op.Floats(a.in[1]), op.Floats(a.in[2])
	scale := a.scale
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(a.size))
	}
	each([]int{a.batch, a.heads, a.rows}, func(at []int) {
		b, h, row := at[0], at[1], at[2]
		shared := h / (a.heads / a.kvHeads)
		weights, total, largest := make([]float64, a.cols), 0.0, math.Inf(-1)
		for col := range weights {
			for i := range a.size {
				weights[col] += float64(q[a.index(b, h, row, i, a.heads, a.rows, a.size)]) * float64(k[a.index(b, shared, col, i, a.kvHeads, a.cols, a.size)])
			}
			weights[col] *= scale
			if a.softcap > 0 {
				weights[col] = a.softcap * math.Tanh(weights[col]/a.softcap)
			}
			weights[col] = a.masked(b, h, row, col, weights[col])
			largest = max(largest, weights[col])
		}
		if math.IsInf(largest, -1) {
			return // nothing to look at: 0
		}
		for col := range weights {
			weights[col] = math.Exp(weights[col] - largest)
			total += weights[col]
		}
		for i := range a.sizeV {
			sum := 0.0
			for col, w := range weights {
				sum += w / total * float64(v[a.index(b, shared, col, i, a.kvHeads, a.cols, a.sizeV)])
			}
			y[a.index(b, h, row, i, a.heads, a.rows, a.sizeV)] = sum
		}
	})
	return y
}

func randomAttend(r *rand.Rand) *attend {
	a := &attend{
		batch: r.IntN(4), kvHeads: 1 + r.IntN(3), rows: 1 + r.IntN(9), cols: 1 + r.IntN(40), size: 1 + r.IntN(20), sizeV: 1 + r.IntN(20),
		flat: r.IntN(2) == 0, causal: r.IntN(4) == 0,
	}
	a.heads = a.kvHeads * (1 + r.IntN(2))
	if r.IntN(3) == 0 {
		a.scale = 0.5
	}
	a.in = []*op.Value{
		random(r, false, a.shape(a.heads, a.rows, a.size)...),
		random(r, false, a.shape(a.kvHeads, a.cols, a.size)...), random(r, false, a.shape(a.kvHeads, a.cols, a.sizeV)...),
	}
	switch r.IntN(4) {
	case 0:
		if !a.causal {
			a.softcap = 0.75
		}
	case 1, 2:
		full := ints([]int{a.batch, a.heads, a.rows, a.cols})
		a.mask = full[r.IntN(3):]
		for i := range a.mask {
			if r.IntN(4) == 0 {
				a.mask[i] = 1
			}
		}
		mask := random(r, false, a.mask...)
		if a.boolean = r.IntN(2) == 0; a.boolean {
			mask.Type = tensor.Bool
			mask.Allocate()
			for i := range mask.Data {
				mask.Data[i] = byte(r.IntN(2))
			}
		}
		a.in = append(a.in, mask)
	}
	return a
}

func (a *attend) node() *op.Node {
	var list []onnx.Attribute
	if a.flat {
		list = append(list, onnx.IntAttribute("q_num_heads", int64(a.heads)), onnx.IntAttribute("kv_num_heads", int64(a.kvHeads)))
	}
	if a.causal {
		list = append(list, onnx.IntAttribute("is_causal", 1))
	}
	if a.scale != 0 {
		list = append(list, onnx.FloatAttribute("scale", float32(a.scale)))
	}
	if a.softcap != 0 {
		list = append(list, onnx.FloatAttribute("softcap", float32(a.softcap)))
	}
	return nodeOf("Attention", 23, a.in, 1, list...)
}

func TestAttention(t *testing.T) {
	levels(t, 21, func(t *testing.T, r *rand.Rand) {
		for range 200 {
			a := randomAttend(r)
			near(t, mustRun(t, a.node(), a.in)[0], a.run(), 1e-5)
		}
	})
}

func TestAttentionErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	q, k := random(r, false, 2, 3, 4, 5), random(r, false, 2, 3, 6, 5)
	past := random(r, false, 2, 3, 1, 5)
	for name, c := range map[string]struct {
		in      []*op.Value
		outputs int
		want    error
		with    []onnx.Attribute
	}{
		"past":          {[]*op.Value{q, k, k, nil, past, past}, 1, op.ErrNotCovered, nil},
		"more outputs":  {[]*op.Value{q, k, k}, 2, op.ErrNotCovered, nil},
		"other heads":   {[]*op.Value{q, random(r, false, 2, 2, 6, 5), random(r, false, 2, 2, 6, 5)}, 1, op.ErrInvalid, nil},
		"other size":    {[]*op.Value{q, random(r, false, 2, 3, 6, 4), k}, 1, op.ErrInvalid, nil},
		"other rows":    {[]*op.Value{q, k, random(r, false, 2, 3, 7, 5)}, 1, op.ErrInvalid, nil},
		"no heads":      {[]*op.Value{random(r, false, 2, 4, 6), random(r, false, 2, 4, 6), random(r, false, 2, 4, 6)}, 1, op.ErrInvalid, nil},
		"mask":          {[]*op.Value{q, k, k, random(r, false, 4, 5)}, 1, op.ErrInvalid, nil},
		"softcap":       {[]*op.Value{q, k, k, random(r, false, 4, 6)}, 1, op.ErrNotCovered, []onnx.Attribute{onnx.FloatAttribute("softcap", 1)}},
		"what is later": {[]*op.Value{q, k, k}, 1, op.ErrNotCovered, []onnx.Attribute{onnx.IntAttribute("window", 1)}},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, nodeOf("Attention", 23, c.in, c.outputs, c.with...), c.in, c.want) })
	}
}
