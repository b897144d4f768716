// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"errors"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// roundsMax bounds how often the rules go over the graph. A round does a whole chain
// of rewrites as long as each is seen from the last node of the one before, so real
// models need three or four.
const roundsMax = 12

// defaultFoldBytesMax is the largest constant that folding makes unless told
// otherwise.
const defaultFoldBytesMax = 64 << 20

// Evaluate computes the outputs of one node whose inputs are all constants. An input
// that is left out has no element type. opset gives the version imported of a domain.
// An error means that it cannot, and the node stays. Constants keep in memory what it
// gives; the names of the tensors do not matter. It must bound the memory it takes by
// itself.
type Evaluate func(node *onnx.Node, opset func(domain string) int64, inputs []onnx.Tensor) ([]onnx.Tensor, error)

// Options choose what Apply does. The zero value applies every rewrite that needs no
// arithmetic of its own, and produces internal operators.
type Options struct {
	// Evaluate does the arithmetic of constant folding. nil: only nodes that move data
	// or tell a shape are folded.
	Evaluate Evaluate
	// FoldBytesMax is the largest constant, in bytes, that folding makes; 0 means 64
	// MiB. Whatever it is, a result of more than 1 MiB that is more than four times as
	// large as its inputs is not folded.
	FoldBytesMax int64
	// Fusions are the groups of rewrites that make one node of several; 0 means All.
	Fusions Set
	// Standard keeps to the operators of the standard domains at the opsets that the
	// model imports.
	Standard bool
	// DropZipMap replaces an output that is a list of maps made by ZipMap by the tensor
	// [N, classes] that entered it, under the same name.
	DropZipMap bool
}

// Report says what was done.
type Report struct {
	// NodesBefore and NodesAfter count the nodes of the graph and the graphs inside it.
	NodesBefore, NodesAfter int
	// Inlined counts calls of functions and If nodes that their content replaced.
	Inlined int
	// Folded counts nodes replaced by constants.
	Folded int
	// Merged counts nodes removed because another computes the same.
	Merged int
	// Removed counts nodes removed because they change nothing or nobody reads them.
	Removed int
	// Fused lists what became one node, in the order in which it was done. A node that
	// took in several others one by one is listed as often.
	Fused []Fusion
}

// Fusion is one node that several became.
type Fusion struct {
	// Kind names the rewrite, as in "linear" or "layer_norm".
	Kind string
	// Nodes are the names of the nodes that are gone; one without a name is given as
	// its operator.
	Nodes []string
}

// rewriter is the state of one Apply.
type rewriter struct {
	options Options
	model   *onnx.Model // what was given; not changed
	opsets  map[string]int64
	// added lists, in order, the domains that inlined functions import on top.
	added  []onnx.OpsetImport
	top    *graph
	report Report
	rules  map[string][]rule
	// changed says that the round under way did something.
	changed bool
	// final says that nothing is gained by keeping weights in their small types.
	final bool
	// budget is how many bytes folding may still make.
	budget int64
	// calls are the bodies of functions, checked.
	calls map[functionKey]*callee
}

// rule looks at one node and rewrites it if it can, by the methods of rewriter, which
// note the change. It must leave the nodes after it in place.
type rule func(r *rewriter, n *node)

// Apply rewrites a model. The result shares tensors with m, whose external data should
// have been loaded: constants without data are left as they are. Errors wrap
// onnx.ErrInvalidGraph.
func Apply(m *onnx.Model, o Options) (*onnx.Model, Report, error) {
	if m == nil {
		return nil, Report{}, errors.Join(onnx.ErrInvalidGraph, errors.New("there is no model"))
	}
	if err := m.Check(); err != nil {
		return nil, Report{}, err
	}
	r := newRewriter(m, o)
	if err := r.build(); err != nil {
		return nil, Report{}, fmt.Errorf("%w: %w", onnx.ErrInvalidGraph, err)
	}
	r.report.NodesBefore = r.top.count()
	if err := r.inlineFunctions(); err != nil {
		return nil, Report{}, fmt.Errorf("%w: %w", onnx.ErrInvalidGraph, err)
	}
	r.setAside(r.top)
	r.run()
	if !o.Standard {
		r.final = true
		r.run()
	}
	r.report.NodesAfter = r.top.count()
	result := r.lower()
	if err := result.Check(); err != nil { // a rule left a broken graph
		return nil, Report{}, fmt.Errorf("rewritten model: %w", err)
	}
	return result, r.report, nil
}

func newRewriter(m *onnx.Model, o Options) *rewriter {
	if o.FoldBytesMax <= 0 {
		o.FoldBytesMax = defaultFoldBytesMax
	}
	if o.Fusions == 0 {
		o.Fusions = All
	}
	r := &rewriter{options: o, model: m, opsets: make(map[string]int64), calls: make(map[functionKey]*callee)}
	r.budget = 4 * min(o.FoldBytesMax, math.MaxInt64/8)
	for _, opset := range m.Opsets {
		if domain := plainDomain(opset.Domain); r.opsets[domain] == 0 {
			r.opsets[domain] = opset.Version
		}
	}
	r.rules = r.chooseRules()
	return r
}

// opset is the version imported of a domain, 0 where there is none.
func (r *rewriter) opset(domain string) int64 { return r.opsets[plainDomain(domain)] }

// run applies the rules until they change nothing.
func (r *rewriter) run() {
	for range roundsMax {
		r.changed = false
		r.round(r.top)
		r.mergeEqual()
		if !r.changed {
			return
		}
	}
}

// round applies the rules to the nodes of a graph and of the graphs inside it, in
// order of execution.
func (r *rewriter) round(g *graph) {
	for n := g.first; n != nil; n = n.next {
		if r.sweep(n) {
			continue
		}
		r.infer(n)
		r.fold(n)
		for _, apply := range r.rules[n.op] {
			if n.gone {
				break
			}
			apply(r, n)
		}
		for i := 0; i < len(n.graphs) && !n.gone; i++ {
			r.round(n.graphs[i])
		}
	}
}
