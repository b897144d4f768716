// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// Bounds of inlining, so that functions which call each other several times each
// cannot make a graph out of proportion to the file.
const (
	inlineDepthMax = 32
	inlinedMax     = 1 << 17
)

// functionKey tells functions apart.
type functionKey struct{ domain, name, overload string }

func keyOf(n *node) functionKey {
	return functionKey{plainDomain(n.domain), n.opType, n.overload}
}

// callee is a function that nodes may call.
type callee struct {
	function *onnx.Function
	// body is the function as a graph, nil where it cannot be inlined: it uses a
	// version of operators other than the model's. Calls that give it a graph as an
	// attribute stay as well.
	body *onnx.Graph
}

// inlineFunctions replaces calls of the model's functions by their nodes.
func (r *rewriter) inlineFunctions() error {
	if len(r.model.Functions) == 0 {
		return nil
	}
	for i := range r.model.Functions {
		f := &r.model.Functions[i]
		body, err := r.functionBody(f)
		if err != nil {
			return fmt.Errorf("function %.100q: %w", f.Name, err)
		}
		r.calls[functionKey{plainDomain(f.Domain), f.Name, f.Overload}] = &callee{f, body}
	}
	left := inlinedMax
	return r.inlineIn(r.top, 0, &left)
}

// functionBody checks a function and gives it the form of a graph.
func (r *rewriter) functionBody(f *onnx.Function) (*onnx.Graph, error) {
	for _, o := range f.Opsets {
		if have := r.opset(o.Domain); have != 0 && have != o.Version {
			return nil, nil
		}
	}
	g := &onnx.Graph{Name: f.Name, Nodes: f.Nodes}
	for _, name := range f.Inputs {
		g.Inputs = append(g.Inputs, onnx.ValueInfo{Name: name})
	}
	for _, name := range f.Outputs {
		g.Outputs = append(g.Outputs, onnx.ValueInfo{Name: name})
	}
	return g, g.Check()
}

// inlineIn replaces the calls in a graph and in the graphs inside it.
func (r *rewriter) inlineIn(g *graph, depth int, left *int) error {
	for n := g.first; n != nil; {
		next := n.next
		for _, inner := range n.graphs {
			if err := r.inlineIn(inner, depth, left); err != nil {
				return err
			}
		}
		if c := r.calls[keyOf(n)]; c != nil {
			if c.body == nil || len(n.graphs) > 0 {
				n.opaque, n.op = true, "function:"+n.op // no rule knows it
			} else if err := r.inlineCall(n, c, depth, left); err != nil {
				return fmt.Errorf("node %.100q calls function %.100q: %w", n.name, n.opType, err)
			}
		}
		n = next
	}
	return nil
}

// inlineCall puts the body of a function in the place of a call. Calls within it are
// inlined before it is.
func (r *rewriter) inlineCall(call *node, c *callee, depth int, left *int) error {
	if *left -= len(c.function.Nodes) + 1; *left < 0 {
		return fmt.Errorf("functions take more than %d nodes when inlined", inlinedMax)
	}
	if depth >= inlineDepthMax {
		return fmt.Errorf("functions call each other deeper than %d levels", inlineDepthMax)
	}
	if len(call.inputs) > len(c.body.Inputs) || len(call.outputs) > len(c.body.Outputs) {
		return fmt.Errorf("%d inputs and %d outputs given, the function has %d and %d",
			len(call.inputs), len(call.outputs), len(c.body.Inputs), len(c.body.Outputs))
	}
	g, err := r.buildGraph(bind(c, call), call, nil)
	if err != nil {
		return err
	}
	if err := r.inlineIn(g, depth+1, left); err != nil {
		return err
	}
	for _, o := range c.function.Opsets {
		if r.opset(o.Domain) == 0 {
			r.opsets[plainDomain(o.Domain)] = o.Version
			r.added = append(r.added, o)
		}
	}
	for i, in := range g.inputs {
		r.pass(in, call.in(i))
	}
	r.report.Inlined++
	r.splice(call, g)
	return nil
}

// pass makes a function's readers of an input read what the call gives, nil where it
// leaves the input out.
func (r *rewriter) pass(in, given *value) {
	if given != nil {
		r.substitute(in, given, &r.report.Removed)
		return
	}
	for n := range in.users {
		for i := range n.inputs {
			if n.inputs[i] == in {
				n.inputs[i] = nil
			}
		}
	}
	in.users = nil
}

// splice moves the nodes of a graph before the node that holds it, which they replace.
func (r *rewriter) splice(holder *node, g *graph) {
	for n := g.first; n != nil; n = g.first {
		next := n.next
		g.unlink(n)
		holder.home.insert(n, holder)
		g.first = next
	}
	g.last = nil
	for i, v := range g.outputs {
		v.slots = slices.DeleteFunc(v.slots, func(s slot) bool { return s == slot{g, i} })
		if out := holder.out(i); out != nil {
			r.substitute(out, v, new(int))
		}
	}
	if !holder.gone {
		r.remove(holder, new(int))
	}
}
