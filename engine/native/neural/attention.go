// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/gemm"
	"github.com/millrace-ml/millrace/kernels/vec"
)

func attentionOperators() []op.Definition {
	return []op.Definition{{Name: "Attention", Since: 23, Build: buildAttention}}
}

// attention is Softmax(Q*K'*scale + mask) * V for each head.
type attention struct {
	scale, softcap float32 // 0: the default, none
	heads, kvHeads int     // of inputs with 3 dimensions
	causal         bool
}

func buildAttention(n *op.Node) (op.Operator, error) {
	if err := n.Arity(3, 7, 1, 4); err != nil {
		return nil, err
	}
	if err := n.Only("is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap", "softmax_precision"); err != nil {
		return nil, err
	}
	for i := 4; i < 7; i++ {
		if n.Has(i) {
			return nil, op.NotCovered("past keys and values, or their lengths")
		}
	}
	for _, name := range n.Outputs[1:] {
		if name != "" {
			return nil, op.NotCovered("more than one output")
		}
	}
	o := &attention{
		scale: n.Float("scale", 0), softcap: n.Float("softcap", 0), causal: n.Int("is_causal", 0) != 0,
		heads: int(n.Int("q_num_heads", 0)), kvHeads: int(n.Int("kv_num_heads", 0)),
	}
	if o.softcap != 0 && (o.causal || n.Has(3)) {
		return nil, op.NotCovered("a softcap with a mask")
	}
	if o.softcap < 0 || o.heads < 0 || o.kvHeads < 0 || o.heads > extentMax || o.kvHeads > extentMax {
		return nil, op.Invalid("softcap %g, %d and %d heads", o.softcap, o.heads, o.kvHeads)
	}
	return o, n.Err()
}

// operand is Q, K, V or the output: rows of size elements for each batch and head.
type operand struct {
	batches, heads, rows, size int
	// batch, head and row are what lies between neighbours.
	batch, head, row int
}

func (o *attention) operand(v *op.Value, what string, heads int) (operand, error) {
	if err := op.Want(v, what, tensor.FP32); err != nil {
		return operand{}, err
	}
	d := make([]int, v.Rank())
	for i := range d {
		d[i] = int(v.Shape[i])
	}
	switch {
	case len(d) == 4:
		return operand{d[0], d[1], d[2], d[3], d[1] * d[2] * d[3], d[2] * d[3], d[3]}, nil
	case len(d) == 3 && heads > 0 && d[2]%heads == 0:
		return operand{d[0], heads, d[1], d[2] / heads, d[1] * d[2], d[2] / heads, d[2]}, nil
	}
	return operand{}, op.Invalid("%s of shape %v with %d heads", what, v.Shape, heads)
}

// heads is an attention on inputs of certain shapes.
type heads struct {
	q, k, v, y operand
	shape      tensor.Shape
	scale      float32
	// mask are the strides of the mask over batches, heads, rows and columns.
	mask [4]int
}

func (o *attention) place(in []*op.Value) (*heads, error) {
	h := &heads{}
	var err error
	if h.q, err = o.operand(in[0], "Q", o.heads); err != nil {
		return nil, err
	}
	if h.k, err = o.operand(in[1], "K", o.kvHeads); err != nil {
		return nil, err
	}
	if h.v, err = o.operand(in[2], "V", o.kvHeads); err != nil {
		return nil, err
	}
	if in[0].Rank() != in[1].Rank() || in[0].Rank() != in[2].Rank() ||
		h.k.batches != h.q.batches || h.v.batches != h.q.batches || h.k.size != h.q.size ||
		h.k.rows != h.v.rows || h.k.heads != h.v.heads || h.k.heads == 0 || h.q.heads%h.k.heads != 0 {
		return nil, op.Invalid("Q, K and V of shapes %v, %v and %v", in[0].Shape, in[1].Shape, in[2].Shape)
	}
	h.y, h.shape = h.q, append(tensor.Shape{}, in[0].Shape...)
	h.y.size = h.v.size
	if len(h.shape) == 4 {
		h.shape[3] = int64(h.v.size)
		h.y.row, h.y.head, h.y.batch = h.v.size, h.q.rows*h.v.size, h.q.heads*h.q.rows*h.v.size
	} else {
		h.shape[2] = int64(h.q.heads * h.v.size)
		h.y.row, h.y.head, h.y.batch = h.q.heads*h.v.size, h.v.size, h.q.rows*h.q.heads*h.v.size
	}
	if h.scale = o.scale; h.scale == 0 {
		h.scale = float32(1 / math.Sqrt(float64(max(1, h.q.size))))
	}
	if _, err := bounded("scores", h.q.rows, h.k.rows); err != nil {
		return nil, err
	}
	return h, h.placeMask(optional(in, 3))
}

// placeMask finds the mask's strides.
func (h *heads) placeMask(v *op.Value) error {
	if v == nil {
		return nil
	}
	if err := op.Want(v, "mask", tensor.FP32, tensor.Bool); err != nil {
		return err
	}
	full := [4]int{h.q.batches, h.q.heads, h.q.rows, h.k.rows}
	if v.Rank() > 4 {
		return op.Invalid("mask of shape %v", v.Shape)
	}
	step := 1
	for i := v.Rank() - 1; i >= 0; i-- {
		axis := i + 4 - v.Rank()
		switch int(v.Shape[i]) {
		case full[axis]:
			h.mask[axis] = step
		case 1:
		default:
			return op.Invalid("mask of shape %v for scores of shape %v", v.Shape, full)
		}
		step *= int(v.Shape[i])
	}
	return nil
}

func (o *attention) Infer(in, out []*op.Value) error {
	h, err := o.place(in)
	if err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, h.shape...)
}

func (o *attention) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	h, err := o.place(in)
	if err != nil || out[0].Len() == 0 {
		return nil, err
	}
	scores := shared(s, 2, h.q.rows*h.k.rows)
	s.Gemm.ReserveMatMul(h.q.rows, h.q.size)
	s.Gemm.ReserveMatMul(h.q.rows, h.k.rows)
	y, mask := op.Floats(out[0]), optional(in, 3)
	if h.k.rows == 0 {
		return func() error { vec.Fill(y, float32(math.NaN())); return nil }, nil
	}
	q, k, v := op.Floats(in[0]), op.Floats(in[1]), op.Floats(in[2])
	group, blind := h.q.heads/h.k.heads, make([]bool, h.q.rows)
	return func() error {
		for b := range h.q.batches {
			for i := range h.q.heads {
				w := scores.data[:h.q.rows*h.k.rows]
				h.score(w, h.q.at(q, b, i), h.k.at(k, b, i/group), &s.Gemm)
				o.modify(w, h, mask, b, i)
				if mask != nil {
					findBlind(blind, w)
				}
				act.Softmax(w, w, h.q.rows, h.k.rows)
				for r, is := range blind {
					if is {
						clear(w[r*h.k.rows:][:h.k.rows])
					}
				}
				gemm.MatMul(h.q.rows, h.v.size, h.k.rows, 1, w, h.k.rows, h.v.at(v, b, i/group), h.v.row, false, h.y.at(y, b, i), h.y.row, &s.Gemm)
			}
		}
		return nil
	}, nil
}

// score multiplies the rows of Q by those of K.
func (h *heads) score(w, q, k []float32, s *gemm.Scratch) {
	if h.q.size == 0 {
		clear(w)
		return
	}
	gemm.MatMul(h.q.rows, h.k.rows, h.q.size, h.scale, q, h.q.row, k, h.k.row, true, w, h.k.rows, s)
}

// findBlind marks the rows of scores that a mask leaves nothing to look at. They give 0
// and not NaN.
func findBlind(blind []bool, scores []float32) {
	cols := len(scores) / len(blind)
	for r := range blind {
		blind[r] = vec.MaxValue(scores[r*cols:][:cols]) == lowest
	}
}

// at is the rows of a batch's head.
func (p *operand) at(x []float32, batch, head int) []float32 {
	return x[batch*p.batch+head*p.head:]
}

// modify is what is done to scores before the softmax.
func (o *attention) modify(scores []float32, h *heads, mask *op.Value, batch, head int) {
	cols := h.k.rows
	if o.softcap != 0 {
		vec.DivScalar(scores, scores, o.softcap)
		act.Tanh(scores, scores)
		vec.MulScalar(scores, scores, o.softcap)
	}
	least := lowest
	for r := range h.q.rows {
		row := scores[r*cols:][:cols]
		if mask != nil {
			at := batch*h.mask[0] + head*h.mask[1] + r*h.mask[2]
			if mask.Type == tensor.Bool {
				for i, bits := 0, op.As[uint8](mask); i < cols; i++ {
					if bits[at+i*h.mask[3]] == 0 {
						row[i] = least
					}
				}
			} else {
				for i, terms := 0, op.Floats(mask); i < cols; i++ {
					row[i] += terms[at+i*h.mask[3]]
				}
			}
		}
		if o.causal && r+1 < cols {
			vec.Fill(row[r+1:], least)
		}
	}
}

// Rowwise implements op.Rowwiser.
func (o *attention) Rowwise(in []*op.Value, carries []bool) bool {
	if !carries[0] || !carries[1] || !carries[2] {
		return false
	}
	mask := optional(in, 3)
	if mask == nil {
		return true
	}
	if carries[3] {
		return mask.Rank() == 4
	}
	return mask.Rank() < 4 || mask.Shape[0] == 1
}

// Cost implements op.Coster.
func (o *attention) Cost(in, _ []*op.Value) float64 {
	h, err := o.place(in)
	if err != nil {
		return 0
	}
	scores := float64(h.q.rows) * float64(h.k.rows)
	one := 4*callNanos + scores + 2*scores*float64(h.q.size+h.v.size)/flopsPerNano
	return float64(h.q.batches*h.q.heads) * one
}

// Describe implements op.Describer.
func (o *attention) Describe(in, _ []*op.Value) string {
	h, err := o.place(in)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("attention of %d heads, %d rows on %d, %s", h.q.heads, h.q.rows, h.k.rows, cpu.Active())
}
