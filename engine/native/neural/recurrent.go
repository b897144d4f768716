// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

func recurrentOperators() []op.Definition {
	return []op.Definition{
		{Name: "RNN", Since: 7, Build: buildRecurrent(plainCell)},
		{Name: "GRU", Since: 7, Build: buildRecurrent(gruCell)},
		{Name: "LSTM", Since: 7, Build: buildRecurrent(lstmCell)},
	}
}

// cellKind is what a recurrent layer does in a step.
type cellKind uint8

const (
	plainCell cellKind = iota
	gruCell
	lstmCell
)

// gates is how many products of the input and of the state a cell has.
func (k cellKind) gates() int { return [...]int{1, 3, 4}[k] }

func (k cellKind) String() string { return [...]string{"RNN", "GRU", "LSTM"}[k] }

// mapping is an activation of a gate.
type mapping func(dst, src []float32)

// direction is one pass over the sequence, with weights of its own.
type direction struct {
	reverse bool
	// input is I x gates*hidden and state hidden x gates*hidden, for GRU without the
	// last gate, whose weights are candidate.
	input, state, candidate *gemm.Packed
	// bias is added to the input's products; a GRU's candidate may have another that
	// is added to those of the state.
	bias, candidateBias []float32
	peepholes           []float32 // of LSTM, nil where there are none
	activations         [3]mapping
}

// recurrent is RNN, GRU or LSTM.
type recurrent struct {
	kind              cellKind
	inputs, hidden    int
	rowsFirst         bool // layout 1
	linearBeforeReset bool
	directions        []*direction
}

func buildRecurrent(kind cellKind) func(n *op.Node) (op.Operator, error) {
	return func(n *op.Node) (op.Operator, error) {
		most := 6
		if kind == lstmCell {
			most = 8
		}
		if err := n.Arity(3, most, 1, 3); err != nil {
			return nil, err
		}
		o := &recurrent{
			kind: kind, rowsFirst: n.Int("layout", 0) != 0,
			linearBeforeReset: n.Int("linear_before_reset", 0) != 0,
		}
		if n.Int("input_forget", 0) != 0 {
			return nil, op.NotCovered("coupled input and forget gates")
		}
		names, err := directionsOf(n)
		if err != nil {
			return nil, err
		}
		if err := o.checkWeights(n, len(names)); err != nil {
			return nil, err
		}
		activations, err := o.activations(n, len(names))
		if err != nil {
			return nil, err
		}
		for i, reverse := range names {
			d := o.pack(n, i)
			d.reverse, d.activations = reverse, activations[i]
			o.directions = append(o.directions, d)
		}
		return o, n.Err()
	}
}

// directionsOf says of each direction whether it is from the end.
func directionsOf(n *op.Node) ([]bool, error) {
	switch text := n.Text("direction", "forward"); text {
	case "forward":
		return []bool{false}, nil
	case "reverse":
		return []bool{true}, nil
	case "bidirectional":
		return []bool{false, true}, nil
	default:
		return nil, op.Invalid("direction %q", text)
	}
}

// checkWeights reports weights that are not constant or do not fit together.
func (o *recurrent) checkWeights(n *op.Node, directions int) error {
	w, r := n.In(1), n.In(2)
	if w == nil || r == nil || w.Type != tensor.FP32 || r.Type != tensor.FP32 {
		return op.NotCovered("weights that are not constants of FP32")
	}
	if w.Rank() != 3 || r.Rank() != 3 {
		return op.Invalid("weights of shapes %v and %v", w.Shape, r.Shape)
	}
	o.inputs, o.hidden = int(w.Shape[2]), int(r.Shape[2])
	if size := n.Int("hidden_size", int64(o.hidden)); size != int64(o.hidden) || size < 1 {
		return op.Invalid("hidden_size %d for weights of shape %v", size, r.Shape)
	}
	d, all := int64(directions), int64(o.kind.gates()*o.hidden)
	want := map[int]tensor.Shape{1: {d, all, int64(o.inputs)}, 2: {d, all, int64(o.hidden)}, 3: {d, 2 * all}}
	if o.kind == lstmCell {
		want[7] = tensor.Shape{d, int64(3 * o.hidden)}
	}
	for i, shape := range want {
		if !n.Has(i) {
			continue
		}
		v := n.In(i)
		if v == nil || v.Type != tensor.FP32 {
			return op.NotCovered("input %d that is not a constant of FP32", i)
		}
		if v.Shape.String() != shape.String() {
			return op.Invalid("input %d of shape %v, want %v", i, v.Shape, shape)
		}
	}
	return nil
}

// defaultActivations are those that the standard names for a direction.
var defaultActivations = [...][]string{
	plainCell: {"Tanh"}, gruCell: {"Sigmoid", "Tanh"}, lstmCell: {"Sigmoid", "Tanh", "Tanh"},
}

var gateActivations = map[string]mapping{
	"Relu": act.Relu, "Tanh": act.Tanh, "Sigmoid": act.Sigmoid, "Softsign": act.Softsign, "Softplus": act.Softplus,
	"LeakyRelu":   func(dst, src []float32) { act.LeakyRelu(dst, src, 0.01) },
	"HardSigmoid": func(dst, src []float32) { act.HardSigmoid(dst, src, 0.2, 0.5) },
	"Elu":         func(dst, src []float32) { act.Elu(dst, src, 1) },
}

func (o *recurrent) activations(n *op.Node, directions int) ([][3]mapping, error) {
	if len(n.Floats("activation_alpha"))+len(n.Floats("activation_beta")) > 0 {
		return nil, op.NotCovered("parameters of activations")
	}
	names, each := n.Texts("activations"), defaultActivations[o.kind]
	if names != nil && len(names) != directions*len(each) {
		return nil, op.Invalid("%d activations, want %d for each direction", len(names), len(each))
	}
	limit := n.Float("clip", 0)
	list := make([][3]mapping, directions)
	for d := range list {
		for i, name := range each {
			if names != nil {
				name = string(names[d*len(each)+i])
			}
			f := gateActivations[name]
			if f == nil {
				return nil, op.NotCovered("activation %q", name)
			}
			list[d][i] = f
			if limit > 0 {
				list[d][i] = func(dst, src []float32) {
					act.Clip(dst, src, -limit, limit)
					f(dst, dst)
				}
			}
		}
	}
	return list, nil
}

// pack packs the weights of a direction.
func (o *recurrent) pack(n *op.Node, number int) *direction {
	h, all := o.hidden, o.kind.gates()*o.hidden
	w := op.Floats(n.In(1))[number*all*o.inputs:]
	r := op.Floats(n.In(2))[number*all*h:]
	d := &direction{input: gemm.Pack(o.inputs, all, w, o.inputs, true), bias: make([]float32, all)}
	stateGates := all
	if o.kind == gruCell {
		stateGates = 2 * h
		d.candidate = gemm.Pack(h, h, r[2*h*h:], h, true)
	}
	d.state = gemm.Pack(h, stateGates, r, h, true)
	if o.kind == gruCell && o.linearBeforeReset {
		d.candidateBias = make([]float32, h)
	}
	if b := n.In(3); b != nil {
		ofInput := op.Floats(b)[number*2*all:][:all]
		ofState := op.Floats(b)[number*2*all+all:][:all]
		for i := range d.bias {
			d.bias[i] = ofInput[i]
			if d.candidateBias != nil && i >= 2*h {
				d.candidateBias[i-2*h] = ofState[i]
				continue
			}
			d.bias[i] += ofState[i]
		}
	}
	if p := n.In(7); p != nil {
		d.peepholes = op.Floats(p)[number*3*h:][:3*h]
	}
	return d
}

// sizes are the steps and rows of an input.
func (o *recurrent) sizes(in []*op.Value) (steps, rows int) {
	steps, rows = int(in[0].Shape[0]), int(in[0].Shape[1])
	if o.rowsFirst {
		steps, rows = rows, steps
	}
	return steps, rows
}

func (o *recurrent) Infer(in, out []*op.Value) error {
	x := in[0]
	if err := op.Want(x, "input", tensor.FP32); err != nil {
		return err
	}
	if x.Rank() != 3 || x.Shape[2] != int64(o.inputs) {
		return op.Invalid("input of shape %v for weights of %d inputs", x.Shape, o.inputs)
	}
	steps, rows := o.sizes(in)
	if err := checkLengths(optional(in, 4), steps, rows); err != nil {
		return err
	}
	d, t, n, h := int64(len(o.directions)), int64(steps), int64(rows), int64(o.hidden)
	all, last := tensor.Shape{t, d, n, h}, tensor.Shape{d, n, h}
	if o.rowsFirst {
		all, last = tensor.Shape{n, t, d, h}, tensor.Shape{n, d, h}
	}
	for i := 5; i <= 6; i++ {
		if v := optional(in, i); v != nil && (v.Type != tensor.FP32 || v.Shape.String() != last.String()) {
			return op.Invalid("initial state %s %v, want %v", v.Type, v.Shape, last)
		}
	}
	if _, err := bounded("products of the input", steps, rows, o.kind.gates()*o.hidden); err != nil {
		return err
	}
	if err := out[0].Set(tensor.FP32, all...); err != nil {
		return err
	}
	for _, v := range out[1:] {
		if err := v.Set(tensor.FP32, last...); err != nil {
			return err
		}
	}
	return nil
}

// checkLengths takes lengths of sequences only where they say nothing new.
func checkLengths(v *op.Value, steps, rows int) error {
	if v == nil {
		return nil
	}
	if !v.Const || v.Type != tensor.Int32 {
		return op.NotCovered("sequence_lens that are not known before the run")
	}
	if v.Len() != rows {
		return op.Invalid("sequence_lens of shape %v for %d rows", v.Shape, rows)
	}
	for _, n := range op.As[int32](v) {
		if int(n) != steps {
			return op.NotCovered("sequences of different lengths")
		}
	}
	return nil
}

// Rowwise implements op.Rowwiser. Rows come first in layout 1 only.
func (o *recurrent) Rowwise(in []*op.Value, carries []bool) bool {
	ok := o.rowsFirst && carries[0]
	for i := 4; i < len(in); i++ {
		if in[i] != nil && i < 7 && !carries[i] {
			ok = false
		}
	}
	return ok
}

// Cost implements op.Coster.
func (o *recurrent) Cost(in, _ []*op.Value) float64 {
	steps, rows := o.sizes(in)
	all := float64(o.kind.gates() * o.hidden)
	sums := float64(rows) * all * float64(o.inputs+o.hidden)
	one := 4*callNanos + 2*sums/flopsPerNano + float64(rows)*(2*callNanos+all)
	return float64(len(o.directions)*steps) * one
}

// Describe implements op.Describer.
func (o *recurrent) Describe(_, _ []*op.Value) string {
	return fmt.Sprintf("%s of %d, gemm f32 for all steps' inputs, then %dx%d a step, %s",
		o.kind, o.hidden, o.hidden, o.kind.gates()*o.hidden, cpu.Active())
}
