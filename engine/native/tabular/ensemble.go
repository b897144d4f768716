// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/trees"
)

var modes = map[string]trees.Compare{
	"BRANCH_LEQ": trees.LessEqual, "BRANCH_LT": trees.Less, "BRANCH_GTE": trees.GreaterEqual,
	"BRANCH_GT": trees.Greater, "BRANCH_EQ": trees.Equal, "BRANCH_NEQ": trees.NotEqual,
}

var modesByNumber = []trees.Compare{
	trees.LessEqual, trees.Less, trees.GreaterEqual, trees.Greater, trees.Equal, trees.NotEqual, trees.Member,
}

const leafMode = "LEAF"

// numbers reads a list of floats from an attribute, or from the tensor beside it that
// later versions have. double says that the tensor is of FP64.
func numbers(n *op.Node, name string) (list []float64, double bool, err error) {
	if list := n.Floats(name); list != nil {
		return wide(list), false, nil
	}
	return numbersOf(n.TensorValue(name+"_as_tensor"), name)
}

func numbersOf(v *op.Value, name string) (list []float64, double bool, err error) {
	if v == nil {
		return nil, false, nil
	}
	switch v.Type {
	case tensor.FP32:
		return wide(op.Floats(v)), false, nil
	case tensor.FP64:
		return op.As[float64](v), true, nil
	}
	return nil, false, op.NotCovered("%s of type %s", name, v.Type)
}

// treeNodes are the attributes that describe the nodes of the older operators.
type treeNodes struct {
	tree, id, feature, yes, no, missing []int64
	modes                               [][]byte
	values                              []float64
	double                              bool
}

func treeNodesOf(n *op.Node) (*treeNodes, error) {
	t := &treeNodes{
		tree: n.Ints("nodes_treeids"), id: n.Ints("nodes_nodeids"), feature: n.Ints("nodes_featureids"),
		yes: n.Ints("nodes_truenodeids"), no: n.Ints("nodes_falsenodeids"),
		missing: n.Ints("nodes_missing_value_tracks_true"), modes: n.Texts("nodes_modes"),
	}
	var err error
	if t.values, t.double, err = numbers(n, "nodes_values"); err != nil {
		return nil, err
	}
	count := len(t.tree)
	for name, length := range map[string]int{
		"nodes_nodeids": len(t.id), "nodes_featureids": len(t.feature), "nodes_truenodeids": len(t.yes),
		"nodes_falsenodeids": len(t.no), "nodes_modes": len(t.modes), "nodes_values": len(t.values),
	} {
		if length != count {
			return nil, op.Invalid("%s has %d entries, nodes_treeids has %d", name, length, count)
		}
	}
	if len(t.missing) != 0 && len(t.missing) != count {
		return nil, op.Invalid("nodes_missing_value_tracks_true has %d entries for %d nodes", len(t.missing), count)
	}
	if count == 0 {
		return nil, op.Invalid("there are no nodes")
	}
	return t, nil
}

// place is a node of a tree by its numbers in the file.
type place struct{ tree, node int64 }

func (p place) String() string { return fmt.Sprintf("tree %d, node %d", p.tree, p.node) }

// ensembleReader makes an ensemble of the attributes of the older operators.
type ensembleReader struct {
	nodes *treeNodes
	e     *trees.Ensemble
	at    map[place]int // entry in the attributes
	as    []int32       // entry -> node, or complement of a leaf
}

// read lays out nodes and leaves. Trees are in the order in which the file first names
// them, which is the order that scores are summed in.
func (r *ensembleReader) read() error {
	t := r.nodes
	r.at, r.as = make(map[place]int, len(t.tree)), make([]int32, len(t.tree))
	for i := range t.tree {
		p := place{t.tree[i], t.id[i]}
		if _, twice := r.at[p]; twice {
			return op.Invalid("%s is given twice", p)
		}
		r.at[p] = i
		if string(t.modes[i]) == leafMode {
			r.as[i] = ^int32(len(r.e.Leaves))
			r.e.Leaves = append(r.e.Leaves, trees.Leaf{})
			continue
		}
		r.as[i] = int32(len(r.e.Nodes))
		node, err := r.node(i)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		r.e.Nodes = append(r.e.Nodes, node)
	}
	return r.connect()
}

func (r *ensembleReader) node(i int) (trees.Node, error) {
	t := r.nodes
	mode, ok := modes[string(t.modes[i])]
	if !ok {
		return trees.Node{}, op.NotCovered("mode %q", t.modes[i])
	}
	if t.feature[i] < 0 || t.feature[i] > math.MaxInt32-1 {
		return trees.Node{}, op.Invalid("feature %d", t.feature[i])
	}
	r.e.Features = max(r.e.Features, int(t.feature[i])+1)
	return trees.Node{
		Feature: int32(t.feature[i]), Compare: mode, Threshold: t.values[i],
		MissingTrue: len(t.missing) > 0 && t.missing[i] != 0,
	}, nil
}

// connect finds the children of all nodes, and the root of each tree: the one node
// that is nobody's child.
func (r *ensembleReader) connect() error {
	t := r.nodes
	child := make([]bool, len(t.tree))
	for i, as := range r.as {
		if as < 0 {
			continue
		}
		node := &r.e.Nodes[as]
		for _, branch := range []struct {
			id int64
			to *int32
		}{{t.yes[i], &node.True}, {t.no[i], &node.False}} {
			k, ok := r.at[place{t.tree[i], branch.id}]
			if !ok {
				return op.Invalid("%s: child %d does not exist", place{t.tree[i], t.id[i]}, branch.id)
			}
			*branch.to, child[k] = r.as[k], true
		}
	}
	rooted := make(map[int64]bool)
	for i, as := range r.as {
		if child[i] {
			continue
		}
		if rooted[t.tree[i]] {
			return op.Invalid("%s is a second root of its tree", place{t.tree[i], t.id[i]})
		}
		rooted[t.tree[i]] = true
		r.e.Roots = append(r.e.Roots, as)
	}
	for i := range t.tree {
		if !rooted[t.tree[i]] {
			return op.Invalid("tree %d has no root: its nodes form a circle", t.tree[i])
		}
	}
	if err := r.reach(); err != nil {
		return err
	}
	joinMembers(r.e.Nodes)
	return nil
}

// reach reports nodes that no way leads to from the root of their tree: beside the tree
// they form a circle.
func (r *ensembleReader) reach() error {
	reached := make([]bool, len(r.e.Nodes))
	for todo := slices.Clone(r.e.Roots); len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at >= 0 && !reached[at] {
			reached[at] = true
			todo = append(todo, r.e.Nodes[at].True, r.e.Nodes[at].False)
		}
	}
	for i, as := range r.as {
		if as >= 0 && !reached[as] {
			return op.Invalid("%s is part of a circle", place{r.nodes.tree[i], r.nodes.id[i]})
		}
	}
	return nil
}

// joinMembers makes one test of a set of each chain of tests for single values that
// lead to the same place, which is how exporters write categorical splits. Each test of
// such a chain has the one after it as its false branch. The nodes behind the first are
// then reached by nobody.
func joinMembers(nodes []trees.Node) {
	joined := make([]bool, len(nodes))
	for i := range nodes {
		first := &nodes[i]
		for first.Compare == trees.Equal || first.Compare == trees.Member {
			if joined[i] || first.False < 0 || int(first.False) == i || joined[first.False] {
				break
			}
			next := &nodes[first.False]
			if next.Compare != trees.Equal || next.Feature != first.Feature || next.True != first.True {
				break
			}
			joined[first.False] = true
			if first.Compare == trees.Equal {
				first.Compare, first.Members = trees.Member, []float64{first.Threshold}
			}
			first.Members = append(first.Members, next.Threshold)
			first.MissingTrue = first.MissingTrue || next.MissingTrue
			first.False = next.False
		}
	}
}

// weigh gives the leaves their weights. prefix is "target" or "class".
func (r *ensembleReader) weigh(n *op.Node, prefix string) (double bool, err error) {
	treeIDs, nodeIDs, ids := n.Ints(prefix+"_treeids"), n.Ints(prefix+"_nodeids"), n.Ints(prefix+"_ids")
	values, double, err := numbers(n, prefix+"_weights")
	if err != nil {
		return false, err
	}
	if len(nodeIDs) != len(treeIDs) || len(ids) != len(treeIDs) || len(values) != len(treeIDs) {
		return false, op.Invalid("%s_treeids, _nodeids, _ids and _weights have %d, %d, %d and %d entries",
			prefix, len(treeIDs), len(nodeIDs), len(ids), len(values))
	}
	for i := range treeIDs {
		p := place{treeIDs[i], nodeIDs[i]}
		k, ok := r.at[p]
		if !ok || r.as[k] >= 0 {
			return false, op.Invalid("%s has a weight and is no leaf", p)
		}
		if ids[i] < 0 || ids[i] >= int64(r.e.Targets) {
			return false, op.Invalid("%s has a weight for %s %d of %d", p, prefix, ids[i], r.e.Targets)
		}
		leaf := &r.e.Leaves[^r.as[k]]
		// Exporters of decision paths repeat the weight of a leaf once a class; it
		// counts once, as in ONNX Runtime.
		if n := len(leaf.Weights); r.e.Targets == 1 && n > 0 && leaf.Weights[n-1].Value == values[i] {
			continue
		}
		leaf.Weights = append(leaf.Weights, trees.Weight{Target: int32(ids[i]), Value: values[i]})
	}
	return double, nil
}

// ensembleOf reads the trees of an older operator. targets bounds the ids of weights.
func ensembleOf(n *op.Node, prefix string, targets int) (*trees.Ensemble, error) {
	nodes, err := treeNodesOf(n)
	if err != nil {
		return nil, err
	}
	r := ensembleReader{nodes: nodes, e: &trees.Ensemble{Targets: targets}}
	if err := r.read(); err != nil {
		return nil, err
	}
	double, err := r.weigh(n, prefix)
	if err != nil {
		return nil, err
	}
	base, _, err := numbers(n, "base_values")
	if err != nil {
		return nil, err
	}
	r.e.Base, r.e.Double = base, double || nodes.double
	switch a := n.Text("aggregate_function", "SUM"); a {
	case "SUM":
	case "AVERAGE":
		r.e.Aggregate = trees.Average
	case "MIN":
		r.e.Aggregate = trees.Min
	case "MAX":
		r.e.Aggregate = trees.Max
	default:
		return nil, op.Invalid("aggregate_function %q", a)
	}
	return r.e, nil
}

// ensembleOf5 reads the attributes of TreeEnsemble, which came with version 5.
func ensembleOf5(n *op.Node) (*trees.Ensemble, error) {
	feature, yes, no := n.Ints("nodes_featureids"), n.Ints("nodes_truenodeids"), n.Ints("nodes_falsenodeids")
	yesLeaf, noLeaf, missing := n.Ints("nodes_trueleafs"), n.Ints("nodes_falseleafs"), n.Ints("nodes_missing_value_tracks_true")
	modes, splits := n.TensorValue("nodes_modes"), n.TensorValue("nodes_splits")
	targets, weights := n.Ints("leaf_targetids"), n.TensorValue("leaf_weights")
	if modes == nil || splits == nil || weights == nil || modes.Type != tensor.Uint8 {
		return nil, op.Invalid("nodes_modes, nodes_splits or leaf_weights is missing or of a wrong type")
	}
	values, double, err := numbersOf(splits, "nodes_splits")
	if err != nil {
		return nil, err
	}
	leafValues, leafDouble, err := numbersOf(weights, "leaf_weights")
	if err != nil {
		return nil, err
	}
	count := len(feature)
	for _, length := range []int{len(yes), len(no), len(yesLeaf), len(noLeaf), modes.Len(), len(values)} {
		if length != count {
			return nil, op.Invalid("the attributes of the nodes have different lengths: %d and %d", count, length)
		}
	}
	if len(missing) != 0 && len(missing) != count || len(targets) != len(leafValues) {
		return nil, op.Invalid("nodes_missing_value_tracks_true or leaf_targetids has a wrong length")
	}
	sets, err := membersOf(n, op.As[uint8](modes))
	if err != nil {
		return nil, err
	}
	e := &trees.Ensemble{Targets: int(min(max(n.Int("n_targets", 1), 0), math.MaxInt32)), Double: double || leafDouble}
	leaf := func(i int64) (int32, error) {
		if i < 0 || i >= int64(len(leafValues)) || targets[i] < 0 || targets[i] >= int64(e.Targets) {
			return 0, op.Invalid("leaf %d of %d, or its target, is out of range", i, len(leafValues))
		}
		e.Leaves = append(e.Leaves, trees.Leaf{Weights: []trees.Weight{{Target: int32(targets[i]), Value: leafValues[i]}}})
		return ^int32(len(e.Leaves) - 1), nil
	}
	for i := range count {
		mode := op.As[uint8](modes)[i]
		if int(mode) >= len(modesByNumber) || feature[i] < 0 || feature[i] > math.MaxInt32-1 {
			return nil, op.Invalid("node %d has mode %d and feature %d", i, mode, feature[i])
		}
		e.Features = max(e.Features, int(feature[i])+1)
		node := trees.Node{
			Feature: int32(feature[i]), Compare: modesByNumber[mode], Threshold: values[i], Members: sets[i],
			MissingTrue: len(missing) > 0 && missing[i] != 0,
		}
		for _, branch := range []struct {
			id, leaf int64
			to       *int32
		}{{yes[i], yesLeaf[i], &node.True}, {no[i], noLeaf[i], &node.False}} {
			switch {
			case branch.leaf != 0:
				if *branch.to, err = leaf(branch.id); err != nil {
					return nil, err
				}
			case branch.id < 0 || branch.id >= int64(count):
				return nil, op.Invalid("node %d: child %d does not exist", i, branch.id)
			default:
				*branch.to = int32(branch.id)
			}
		}
		e.Nodes = append(e.Nodes, node)
	}
	return e, rootsOf5(n, e)
}

// rootsOf5 reads the roots and the aggregate.
func rootsOf5(n *op.Node, e *trees.Ensemble) error {
	for _, root := range n.Ints("tree_roots") {
		if root < 0 || root >= int64(len(e.Nodes)) {
			return op.Invalid("root %d does not exist", root)
		}
		e.Roots = append(e.Roots, int32(root))
	}
	aggregates := []trees.Aggregate{trees.Average, trees.Sum, trees.Min, trees.Max}
	a := n.Int("aggregate_function", 1)
	if a < 0 || a >= int64(len(aggregates)) {
		return op.Invalid("aggregate_function %d", a)
	}
	e.Aggregate = aggregates[a]
	return nil
}

// membersOf splits membership_values, in which NaN ends the set of one node.
func membersOf(n *op.Node, modes []uint8) ([][]float64, error) {
	values, _, err := numbersOf(n.TensorValue("membership_values"), "membership_values")
	if err != nil {
		return nil, err
	}
	sets := make([][]float64, len(modes))
	for i, mode := range modes {
		if int(mode) >= len(modesByNumber) || modesByNumber[mode] != trees.Member {
			continue
		}
		end := 0
		for end < len(values) && !math.IsNaN(values[end]) {
			end++
		}
		if end == len(values) && end == 0 {
			return nil, op.Invalid("membership_values has no set for node %d", i)
		}
		sets[i], values = values[:end], values[min(end+1, len(values)):]
	}
	return sets, nil
}
