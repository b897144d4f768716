// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/kernels/gemm"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// pass is one direction of a recurrent layer on bound memory.
type pass struct {
	layer       *recurrent
	d           *direction
	steps, rows int
	// products are those of the input, of all steps; gates those of a step, state and
	// cell what is carried on, and fresh room for rows x hidden.
	products, gates, state, cell, fresh []float32
	scratch                             *gemm.Scratch
	// sum adds a step's products of the input; reset adds the bias of a candidate.
	sum, reset gemm.Epilogue
}

// Bind implements op.Operator.
func (o *recurrent) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	steps, rows := o.sizes(in)
	if rows == 0 {
		return nil, nil
	}
	all := o.kind.gates() * o.hidden
	room := shared(s, 1, rows*(steps*all+all+3*o.hidden))
	x := op.Floats(in[0])
	var passes []*pass
	for _, d := range o.directions {
		s.Gemm.Reserve(steps*rows, d.input)
		s.Gemm.Reserve(rows, d.state)
		if d.candidate != nil {
			s.Gemm.Reserve(rows, d.candidate)
		}
		passes = append(passes, &pass{layer: o, d: d, steps: steps, rows: rows, scratch: &s.Gemm})
	}
	return func() error {
		for i, p := range passes {
			p.take(room.data)
			e := gemm.Epilogue{Bias: p.d.bias}
			gemm.Gemm(steps*rows, x, o.inputs, p.d.input, p.products, all, &e, p.scratch)
			p.start(p.state, optional(in, 5), i)
			p.start(p.cell, optional(in, 6), i)
			p.run(out[0], i)
			p.end(p.state, optional(out, 1), i)
			p.end(p.cell, optional(out, 2), i)
		}
		return nil
	}, nil
}

// take gives the pass its memory.
func (p *pass) take(room []float32) {
	h, all := p.layer.hidden, p.layer.kind.gates()*p.layer.hidden
	for _, part := range []struct {
		to *[]float32
		n  int
	}{
		{&p.products, p.steps * p.rows * all}, {&p.gates, p.rows * all},
		{&p.state, p.rows * h}, {&p.cell, p.rows * h}, {&p.fresh, p.rows * h},
	} {
		*part.to, room = room[:part.n], room[part.n:]
	}
}

// rowOf is where a row of direction i is in an initial or a last state.
func (p *pass) rowOf(row, i int) int {
	if p.layer.rowsFirst {
		return (row*len(p.layer.directions) + i) * p.layer.hidden
	}
	return (i*p.rows + row) * p.layer.hidden
}

func (p *pass) start(state []float32, from *op.Value, i int) {
	if from == nil {
		clear(state)
		return
	}
	h := p.layer.hidden
	for row := range p.rows {
		copy(state[row*h:][:h], op.Floats(from)[p.rowOf(row, i):])
	}
}

func (p *pass) end(state []float32, to *op.Value, i int) {
	if to == nil {
		return
	}
	h := p.layer.hidden
	for row := range p.rows {
		copy(op.Floats(to)[p.rowOf(row, i):][:h], state[row*h:])
	}
}

// run does all steps and writes each one's state to y, which may be nil.
func (p *pass) run(y *op.Value, i int) {
	h, all, n := p.layer.hidden, p.layer.kind.gates()*p.layer.hidden, len(p.layer.directions)
	for k := range p.steps {
		t := k
		if p.d.reverse {
			t = p.steps - 1 - k
		}
		p.sum.Add, p.sum.LdAdd = p.products[t*p.rows*all:], all
		if p.layer.rowsFirst {
			p.sum.Add, p.sum.LdAdd = p.products[t*all:], p.steps*all
		}
		switch p.layer.kind {
		case lstmCell:
			p.lstm()
		case gruCell:
			p.gru()
		default:
			p.plain()
		}
		if y == nil {
			continue
		}
		for row := range p.rows {
			at := (t*n+i)*p.rows + row
			if p.layer.rowsFirst {
				at = (row*p.steps+t)*n + i
			}
			copy(op.Floats(y)[at*h:][:h], p.state[row*h:])
		}
	}
}

// plain is a step of RNN: h = f(x + h*R).
func (p *pass) plain() {
	h := p.layer.hidden
	gemm.Gemm(p.rows, p.state, h, p.d.state, p.fresh, h, &p.sum, p.scratch)
	p.d.activations[0](p.state, p.fresh)
}

// lstm is a step of LSTM. The gates are input, output, forget and cell.
func (p *pass) lstm() {
	h, f := p.layer.hidden, &p.d.activations
	gemm.Gemm(p.rows, p.state, h, p.d.state, p.gates, 4*h, &p.sum, p.scratch)
	for row := range p.rows {
		g := p.gates[row*4*h:][:4*h]
		input, output, forget, fresh := g[:h], g[h:2*h], g[2*h:3*h], g[3*h:]
		cell, state := p.cell[row*h:][:h], p.state[row*h:][:h]
		if w := p.d.peepholes; w != nil {
			vec.MulAdd(input, w[:h], cell, input)
			vec.MulAdd(forget, w[2*h:], cell, forget)
			f[0](input, input)
			f[0](forget, forget)
		} else {
			f[0](g[:3*h], g[:3*h])
		}
		f[1](fresh, fresh)
		vec.Mul(cell, forget, cell)
		vec.MulAdd(cell, input, fresh, cell)
		if w := p.d.peepholes; w != nil {
			vec.MulAdd(output, w[h:2*h], cell, output)
			f[0](output, output)
		}
		f[2](state, cell)
		vec.Mul(state, output, state)
	}
}

// gru is a step of GRU. The gates are update, reset and candidate.
func (p *pass) gru() {
	h, f := p.layer.hidden, &p.d.activations
	gemm.Gemm(p.rows, p.state, h, p.d.state, p.gates, 3*h, &p.sum, p.scratch)
	for row := range p.rows {
		g := p.gates[row*3*h:][:2*h]
		f[0](g, g)
	}
	linear := p.layer.linearBeforeReset
	p.candidates(linear)
	for row := range p.rows {
		g, x := p.gates[row*3*h:][:3*h], p.sum.Add[row*p.sum.LdAdd+2*h:][:h]
		update, reset, fresh := g[:h], g[h:2*h], g[2*h:]
		state := p.state[row*h:][:h]
		if linear {
			vec.MulAdd(fresh, reset, fresh, x)
		}
		f[1](fresh, fresh)
		for i, z := range update {
			state[i] = (1-z)*fresh[i] + z*state[i]
		}
	}
}

// candidates multiplies the state by the weights of the candidate: all of it, or what
// the reset gate lets pass, to which the products of the input are added.
func (p *pass) candidates(linear bool) {
	h := p.layer.hidden
	p.reset = gemm.Epilogue{Bias: p.d.candidateBias}
	from := p.state
	if !linear {
		for row := range p.rows {
			vec.Mul(p.fresh[row*h:][:h], p.gates[row*3*h+h:][:h], p.state[row*h:])
		}
		from = p.fresh
		p.reset = gemm.Epilogue{Add: p.sum.Add[2*h:], LdAdd: p.sum.LdAdd}
	}
	gemm.Gemm(p.rows, from, h, p.d.candidate, p.gates[2*h:], 3*h, &p.reset, p.scratch)
}
