// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/millrace-ml/millrace/training/learn"
)

// newWeights makes the initial weights. Those of gorgonia's own initialisers depend on
// the time of day.
func (t *trainer) newWeights(r *recipe, outputs int, seed uint64) ([]layer, [][]float32) {
	chance := rand.New(rand.NewPCG(seed, 1))
	var tables [][]float32
	for _, c := range r.categories {
		table := make([]float32, c.size*c.width)
		for i := range table {
			table[i] = float32(chance.NormFloat64() * 0.1)
		}
		tables = append(tables, table)
	}
	var layers []layer
	in := r.width()
	for i := range len(t.hidden) + 1 {
		out := outputs
		if i < len(t.hidden) {
			out = t.hidden[i]
		}
		limit := math.Sqrt(6 / float64(max(1, in+out)))
		if t.relu && i < len(t.hidden) {
			limit = math.Sqrt(6 / float64(max(1, in)))
		}
		l := layer{in: in, out: out, weights: make([]float32, in*out), bias: make([]float32, out)}
		for k := range l.weights {
			l.weights[k] = float32((chance.Float64()*2 - 1) * limit)
		}
		layers = append(layers, l)
		in = out
	}
	return layers, tables
}

// graph is a batch's way through the network, in gorgonia. The tensors behind its inputs
// and parameters are written in place.
type graph struct {
	rows    int
	machine gorgonia.VM
	inputs  []*gorgonia.Node
	backing []tensor.Tensor
	// x, y and w are the numbers, the targets [rows, outputs] and the weights [rows, 1],
	// which add up to 1. Codes are those of each category, masks those of dropout.
	x, y, w []float32
	codes   [][]int
	masks   [][]float32
	// parameters are those of the model, in its order.
	parameters gorgonia.Nodes
	loss       gorgonia.Value
}

// newGraph builds the graph for batches of so many rows, with the weights of the model,
// whose memory it shares.
func newGraph(m *model, rows int, dropout bool) (*graph, error) {
	g := &graph{rows: rows}
	e := gorgonia.NewGraph()
	var parts gorgonia.Nodes
	if width := m.recipe.dense(); width > 0 {
		var x *gorgonia.Node
		x, g.x = g.matrix(e, "x", width)
		parts = append(parts, x)
	}
	for i, c := range m.recipe.categories {
		table := g.parameter(e, fmt.Sprintf("table%d", i), m.tables[i], c.size, c.width)
		codes := make([]int, rows)
		node := gorgonia.NewVector(e, tensor.Int, gorgonia.WithShape(rows), gorgonia.WithName(fmt.Sprintf("codes%d", i)))
		g.input(node, tensor.New(tensor.WithShape(rows), tensor.WithBacking(codes)))
		g.codes = append(g.codes, codes)
		rowsOf, err := gorgonia.ByIndices(table, node, 0)
		if err != nil {
			return nil, err
		}
		parts = append(parts, rowsOf)
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("%w: no feature has a value", learn.ErrData)
	}
	at := parts[0]
	if len(parts) > 1 {
		at = gorgonia.Must(gorgonia.Concat(1, parts...))
	}
	at = g.dense(e, m, at, dropout)
	var y, w *gorgonia.Node
	y, g.y = g.matrix(e, "y", m.outputs)
	w, g.w = g.matrix(e, "w", 1)
	loss := lossOf(m.task, at, y, w)
	gorgonia.Read(loss, &g.loss)
	if _, err := gorgonia.Grad(loss, g.parameters...); err != nil {
		return nil, err
	}
	g.machine = gorgonia.NewTapeMachine(e, gorgonia.BindDualValues(g.parameters...))
	return g, nil
}

// dense adds the layers.
func (g *graph) dense(e *gorgonia.ExprGraph, m *model, at *gorgonia.Node, dropout bool) *gorgonia.Node {
	for i := range m.layers {
		l := &m.layers[i]
		w := g.parameter(e, fmt.Sprintf("w%d", i), l.weights, l.in, l.out)
		b := g.parameter(e, fmt.Sprintf("b%d", i), l.bias, 1, l.out)
		at = gorgonia.Must(gorgonia.BroadcastAdd(gorgonia.Must(gorgonia.Mul(at, w)), b, nil, []byte{0}))
		if i+1 == len(m.layers) {
			break
		}
		if m.relu {
			at = gorgonia.Must(gorgonia.Rectify(at))
		} else {
			at = gorgonia.Must(gorgonia.Tanh(at))
		}
		if dropout {
			mask, values := g.matrix(e, fmt.Sprintf("mask%d", i), l.out)
			g.masks = append(g.masks, values)
			at = gorgonia.Must(gorgonia.HadamardProd(at, mask))
		}
	}
	return at
}

func (g *graph) matrix(e *gorgonia.ExprGraph, name string, width int) (*gorgonia.Node, []float32) {
	values := make([]float32, g.rows*width)
	node := gorgonia.NewMatrix(e, tensor.Float32, gorgonia.WithShape(g.rows, width), gorgonia.WithName(name))
	g.input(node, tensor.New(tensor.WithShape(g.rows, width), tensor.WithBacking(values)))
	return node, values
}

func (g *graph) input(node *gorgonia.Node, t tensor.Tensor) {
	g.inputs, g.backing = append(g.inputs, node), append(g.backing, t)
}

func (g *graph) parameter(e *gorgonia.ExprGraph, name string, values []float32, rows, columns int) *gorgonia.Node {
	node := gorgonia.NewMatrix(e, tensor.Float32, gorgonia.WithShape(rows, columns), gorgonia.WithName(name),
		gorgonia.WithValue(tensor.New(tensor.WithShape(rows, columns), tensor.WithBacking(values))))
	g.parameters = append(g.parameters, node)
	return node
}

// lossOf is the weighted mean of the rows' losses; the weights add up to 1.
func lossOf(task learn.Task, z, y, w *gorgonia.Node) *gorgonia.Node {
	must := gorgonia.Must
	yz := must(gorgonia.HadamardProd(y, z))
	switch task {
	case learn.Binary: // log(1+e^z) - yz, which does not overflow
		row := must(gorgonia.Sub(must(gorgonia.Softplus(z)), yz))
		return must(gorgonia.Sum(must(gorgonia.HadamardProd(row, w))))
	case learn.Multiclass: // log sum e^z - yz
		wide := must(gorgonia.Log(must(gorgonia.Sum(must(gorgonia.Exp(z)), 1))))
		row := must(gorgonia.Sub(wide, must(gorgonia.Sum(yz, 1))))
		return must(gorgonia.Sum(must(gorgonia.HadamardProd(row, must(gorgonia.Reshape(w, tensor.Shape{w.Shape()[0]}))))))
	}
	half := must(gorgonia.HadamardProd(must(gorgonia.Square(must(gorgonia.Sub(z, y)))), w))
	return must(gorgonia.Mul(must(gorgonia.Sum(half)), gorgonia.NewConstant(float32(0.5))))
}

// run computes the loss and the gradients of what the inputs hold.
func (g *graph) run() (float64, error) {
	for i, node := range g.inputs {
		if err := gorgonia.Let(node, g.backing[i]); err != nil {
			return 0, err
		}
	}
	g.machine.Reset() // without it a second run computes nothing, and says nothing
	if err := g.machine.RunAll(); err != nil {
		return 0, err
	}
	return float64(g.loss.Data().(float32)), nil
}

// gradient is that of a parameter, valid until the next run.
func (g *graph) gradient(i int) ([]float32, error) {
	v, err := g.parameters[i].Grad()
	if err != nil {
		return nil, err
	}
	return v.Data().([]float32), nil
}

func (g *graph) Close() error { return g.machine.Close() }
