// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// sequence is a random recurrent layer, computed by the standard's equations.
type sequence struct {
	kind                        cellKind
	steps, rows, inputs, hidden int
	direction                   string
	layout, linear              bool
	clip                        float64
	in                          []*op.Value
}

func (s *sequence) directions() int {
	if s.direction == "bidirectional" {
		return 2
	}
	return 1
}

// at reads in[i] at (direction, row, column) of rows x cols each; 0 where it is left out.
func (s *sequence) at(i, direction, row, col, rows, cols int) float64 {
	if i >= len(s.in) || s.in[i] == nil {
		return 0
	}
	return float64(op.Floats(s.in[i])[(direction*rows+row)*cols+col])
}

// initial reads a first state.
func (s *sequence) initial(i, direction, row, col int) float64 {
	if s.layout {
		return s.at(i, row, direction, col, s.directions(), s.hidden)
	}
	return s.at(i, direction, row, col, s.rows, s.hidden)
}

func (s *sequence) limit(x float64) float64 {
	if s.clip > 0 {
		return min(max(x, -s.clip), s.clip)
	}
	return x
}

// gate is the sum of a gate before its activation, without the state's part where
// stateScale is nil.
func (s *sequence) gate(d, g, col int, x, h []float64) (input, state float64) {
	n, all := s.hidden, s.kind.gates()*s.hidden
	for k := range x {
		input += x[k] * s.at(1, d, g*n+col, k, all, s.inputs)
	}
	input += s.at(3, d, 0, g*n+col, 1, 2*all)
	for k := range h {
		state += h[k] * s.at(2, d, g*n+col, k, all, n)
	}
	return input, state + s.at(3, d, 0, all+g*n+col, 1, 2*all)
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// step is one step of one row: h and c are what it carries on.
func (s *sequence) step(d int, x, h, c []float64) (nextH, nextC []float64) {
	n := s.hidden
	sum := func(g, col int) float64 {
		a, b := s.gate(d, g, col, x, h)
		return a + b
	}
	nextH, nextC = make([]float64, n), make([]float64, n)
	peephole := func(i, col int) float64 { return s.at(7, d, 0, i*n+col, 1, 3*n) }
	reset := make([]float64, n)
	if s.kind == gruCell {
		for col := range n {
			reset[col] = logistic(s.limit(sum(1, col)))
		}
	}
	for col := range n {
		switch s.kind {
		case plainCell:
			nextH[col] = math.Tanh(s.limit(sum(0, col)))
		case lstmCell:
			i := logistic(s.limit(sum(0, col) + peephole(0, col)*c[col]))
			f := logistic(s.limit(sum(2, col) + peephole(2, col)*c[col]))
			nextC[col] = f*c[col] + i*math.Tanh(s.limit(sum(3, col)))
			o := logistic(s.limit(sum(1, col) + peephole(1, col)*nextC[col]))
			nextH[col] = o * math.Tanh(s.limit(nextC[col]))
		case gruCell:
			z := logistic(s.limit(sum(0, col)))
			input, state := s.gate(d, 2, col, x, h)
			state *= reset[col]
			if !s.linear {
				passed := make([]float64, n)
				for k := range h {
					passed[k] = reset[k] * h[k]
				}
				_, state = s.gate(d, 2, col, x, passed)
			}
			nextH[col] = (1-z)*math.Tanh(s.limit(input+state)) + z*h[col]
		}
	}
	return nextH, nextC
}

// run gives the outputs Y, Y_h and Y_c.
func (s *sequence) run() (y, lastH, lastC []float64) {
	d, n := s.directions(), s.hidden
	y = make([]float64, s.steps*d*s.rows*n)
	lastH, lastC = make([]float64, d*s.rows*n), make([]float64, d*s.rows*n)
	for i := range d {
		for row := range s.rows {
			h, c := make([]float64, n), make([]float64, n)
			for col := range n {
				h[col], c[col] = s.initial(5, i, row, col), s.initial(6, i, row, col)
			}
			for k := range s.steps {
				t := k
				if s.direction == "reverse" || i == 1 {
					t = s.steps - 1 - k
				}
				at, place := t*s.rows+row, (t*d+i)*s.rows+row
				if s.layout {
					at, place = row*s.steps+t, (row*s.steps+t)*d+i
				}
				x := make([]float64, s.inputs)
				for j := range x {
					x[j] = float64(op.Floats(s.in[0])[at*s.inputs+j])
				}
				h, c = s.step(i, x, h, c)
				copy(y[place*n:], h)
			}
			place := i*s.rows + row
			if s.layout {
				place = row*d + i
			}
			copy(lastH[place*n:], h)
			copy(lastC[place*n:], c)
		}
	}
	return y, lastH, lastC
}

func randomSequence(r *rand.Rand) *sequence {
	s := &sequence{
		kind: cellKind(r.IntN(3)), steps: r.IntN(6), rows: r.IntN(5), inputs: 1 + r.IntN(9), hidden: 1 + r.IntN(20),
		direction: []string{"forward", "reverse", "bidirectional"}[r.IntN(3)], layout: r.IntN(2) == 0, linear: r.IntN(2) == 0,
	}
	if r.IntN(4) == 0 {
		s.clip = 0.5
	}
	d, all := int64(s.directions()), int64(s.kind.gates()*s.hidden)
	x, state := []int64{int64(s.steps), int64(s.rows), int64(s.inputs)}, []int64{d, int64(s.rows), int64(s.hidden)}
	if s.layout {
		x[0], x[1] = x[1], x[0]
		state[0], state[1] = state[1], state[0]
	}
	s.in = []*op.Value{random(r, false, x...), random(r, true, d, all, int64(s.inputs)), random(r, true, d, all, int64(s.hidden)), nil, nil, nil}
	if r.IntN(3) > 0 {
		s.in[3] = random(r, true, d, 2*all)
	}
	if r.IntN(2) == 0 {
		s.in[5] = random(r, false, state...)
	}
	if s.kind == lstmCell {
		s.in = append(s.in, nil, nil)
		if r.IntN(2) == 0 {
			s.in[6] = random(r, false, state...)
		}
		if r.IntN(3) == 0 {
			s.in[7] = random(r, true, d, int64(3*s.hidden))
		}
	}
	return s
}

func (s *sequence) node() *op.Node {
	layout, linear, outputs := int64(0), int64(0), 2
	if s.layout {
		layout = 1
	}
	if s.linear {
		linear = 1
	}
	if s.kind == lstmCell {
		outputs = 3
	}
	attributes := []onnx.Attribute{
		onnx.IntAttribute("hidden_size", int64(s.hidden)), onnx.StringAttribute("direction", s.direction), onnx.IntAttribute("layout", layout),
	}
	if s.kind == gruCell {
		attributes = append(attributes, onnx.IntAttribute("linear_before_reset", linear))
	}
	if s.clip > 0 {
		attributes = append(attributes, onnx.FloatAttribute("clip", float32(s.clip)))
	}
	return nodeOf(s.kind.String(), 14, s.in, outputs, attributes...)
}

func TestRecurrent(t *testing.T) {
	levels(t, 11, func(t *testing.T, r *rand.Rand) {
		for range 150 {
			s := randomSequence(r)
			out := mustRun(t, s.node(), s.in)
			y, h, c := s.run()
			for i, want := range [][]float64{y, h, c}[:len(out)] {
				near(t, out[i], want, 5e-5)
			}
		}
	})
}

func TestRecurrentErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x, w, state := random(r, false, 3, 2, 4), random(r, true, 1, 5, 4), random(r, true, 1, 5, 5)
	lengths := func(constant bool, list ...int32) *op.Value {
		v := &op.Value{Type: tensor.Int32, Shape: tensor.Shape{int64(len(list))}, Const: constant}
		v.Allocate()
		copy(op.As[int32](v), list)
		return v
	}
	for i, c := range []struct {
		in   []*op.Value
		want error
		with []onnx.Attribute
	}{
		{[]*op.Value{x, random(r, false, 1, 5, 4), state}, op.ErrNotCovered, nil},
		{[]*op.Value{x, w, random(r, true, 1, 5, 6)}, op.ErrInvalid, nil},
		{[]*op.Value{x, w, random(r, true, 5, 5)}, op.ErrInvalid, nil},
		{[]*op.Value{random(r, false, 3, 2, 7), w, state}, op.ErrInvalid, nil},
		{[]*op.Value{x, w, state, random(r, true, 1, 5)}, op.ErrInvalid, nil},
		{[]*op.Value{x, w, state, nil, lengths(true, 3, 2)}, op.ErrNotCovered, nil},
		{[]*op.Value{x, w, state, nil, lengths(false, 3, 3)}, op.ErrNotCovered, nil},
		{[]*op.Value{x, w, state, nil, lengths(true, 3)}, op.ErrInvalid, nil},
		{[]*op.Value{x, w, state, nil, nil, random(r, false, 2, 1, 5)}, op.ErrInvalid, nil},
		{[]*op.Value{x, w, state}, op.ErrInvalid, []onnx.Attribute{onnx.StringAttribute("direction", "sideways")}},
		{[]*op.Value{x, w, state}, op.ErrInvalid, []onnx.Attribute{onnx.StringAttribute("direction", "bidirectional")}},
		{[]*op.Value{x, w, state}, op.ErrInvalid, []onnx.Attribute{onnx.IntAttribute("hidden_size", 7)}},
		{[]*op.Value{x, w, state}, op.ErrNotCovered, []onnx.Attribute{onnx.StringsAttribute("activations", "Affine")}},
		{[]*op.Value{x, w, state}, op.ErrInvalid, []onnx.Attribute{onnx.StringsAttribute("activations", "Tanh", "Tanh")}},
		{[]*op.Value{x, w, state}, op.ErrNotCovered, []onnx.Attribute{onnx.FloatsAttribute("activation_alpha", 1)}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) { wantError(t, nodeOf("RNN", 14, c.in, 1, c.with...), c.in, c.want) })
	}
	// Lengths that say what is so anyway change nothing.
	plain := mustRun(t, nodeOf("RNN", 14, []*op.Value{x, w, state}, 1), []*op.Value{x, w, state})
	in := []*op.Value{x, w, state, nil, lengths(true, 3, 3)}
	if got := mustRun(t, nodeOf("RNN", 14, in, 1), in); string(got[0].Data) != string(plain[0].Data) {
		t.Error("full lengths change the result")
	}
}
