// SPDX-License-Identifier: Apache-2.0

package op

import "github.com/millrace-ml/millrace/engine/onnx"

// Body is a graph inside a node, whose operators are built with the node.
type Body interface {
	Inputs() []onnx.ValueInfo
	Outputs() []onnx.ValueInfo
}

// Expander is an operator that puts others into the plan in its own place: one that
// holds graphs, or one of sequences, which are lists of values while a model is planned
// and nothing in a run. Infer and Bind are not called.
type Expander interface {
	// Expand gives the outputs of the node: values that Plan gave, of in, or new ones
	// that are Const or sequences. Beyond the inputs of the node, in has the values
	// that its bodies read from the graphs around them, so that an operator which runs
	// a body later must be added with all of in as its inputs.
	Expand(in []*Value, p Plan) ([]*Value, error)
}

// Plan is where an Expander puts operators.
type Plan interface {
	// Add adds an operator and gives its outputs. Where all inputs are Const, so are
	// the outputs.
	Add(o Operator, in []*Value, outputs int) ([]*Value, error)
	// Inline adds the operators of a body and gives its outputs. in is what Expand got,
	// args are the body's inputs.
	Inline(b Body, in, args []*Value) ([]*Value, error)
	// Prepare infers a body that an operator runs by itself. Args that are not Const
	// are new values with type and shape, which get memory when the routine is bound.
	Prepare(b Body, in, args []*Value) (Routine, error)
}

// Routine is a body for inputs of certain shapes. It belongs to one operator of a plan.
type Routine interface {
	// Outputs may be among the body's inputs, Const, or values of graphs around it.
	Outputs() []*Value
	// Bytes is the memory that Bind wants, with Alignment.
	Bytes() int
	// Bind gives the body's values their memory, after which inputs can be written and
	// outputs be read, and gives the function that computes.
	Bind(memory []byte, s *Scratch) (Run, error)
	// Cost estimates the nanoseconds that a run takes.
	Cost() float64
	// Steps is how many operators a run has.
	Steps() int
}

// Expanded is embedded in Expanders for the methods that are not called.
type Expanded struct{}

// Infer implements Operator.
func (Expanded) Infer(_, _ []*Value) error {
	return NotCovered("an operator with graphs or sequences on its own")
}

// Bind implements Operator.
func (Expanded) Bind(_, _ []*Value, _ *Scratch) (Run, error) {
	return nil, NotCovered("an operator with graphs or sequences on its own")
}

// Body builds the graph that an attribute of the node holds.
func (n *Node) Body(attribute string) (Body, error) {
	a := n.attribute(attribute, onnx.AttributeGraph)
	if a == nil || a.Graph == nil {
		return nil, Invalid("attribute %q, a graph, is missing", attribute)
	}
	if n.Build == nil {
		return nil, NotCovered("a graph outside a model")
	}
	return n.Build(a.Graph)
}
