// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"maps"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// Modes of nodes: how a value is compared with the threshold.
type mode uint8

const (
	leaf mode = iota
	lessOrEqual
	less
	greaterOrEqual
	greater
	equal
	notEqual
)

var modes = map[string]mode{
	"LEAF": leaf, "BRANCH_LEQ": lessOrEqual, "BRANCH_LT": less, "BRANCH_GTE": greaterOrEqual,
	"BRANCH_GT": greater, "BRANCH_EQ": equal, "BRANCH_NEQ": notEqual,
}

// ensemble is the attributes of a node of trees.
type ensemble struct {
	trees, ids, features, trues, falses, missing []int64
	modes                                        []mode
	thresholds, hits                             []float32
	// leaves are the places of their values by tree and node.
	leaves  map[[2]int64][]int
	targets []int64
	weights []float32
}

func (e *Explainer) readTrees(n *onnx.Node) error {
	t, err := ensembleOf(n)
	if err != nil {
		return err
	}
	base := floatList(n, "base_values")
	switch aggregate := textOf(n, "aggregate_function", "SUM"); aggregate {
	case "SUM":
	default:
		return refuse("scores are the %s of the trees'", aggregate)
	}
	if e.outputs = int(intOf(n, "n_targets", 1)); n.OpType == "TreeEnsembleClassifier" {
		e.outputs = t.classes()
		if e.outputs == 1 && len(base) > 1 {
			return refuse("base values of %d classes, scores of one", len(base))
		}
	}
	if e.outputs < 1 || e.outputs > columnsMax {
		return refuse("%d outputs", e.outputs)
	}
	if e.bases, err = basesOf(base, e.outputs); err != nil {
		return err
	}
	return e.build(t)
}

func ensembleOf(n *onnx.Node) (*ensemble, error) {
	prefix := "target"
	if n.OpType == "TreeEnsembleClassifier" {
		prefix = "class"
	}
	for _, name := range []string{"nodes_values_as_tensor", "nodes_hitrates_as_tensor", prefix + "_weights_as_tensor", "base_values_as_tensor"} {
		if attribute(n, name) != nil {
			return nil, refuse("%s: thresholds and scores of FP64 are not read", name)
		}
	}
	t := &ensemble{
		trees: intList(n, "nodes_treeids"), ids: intList(n, "nodes_nodeids"), features: intList(n, "nodes_featureids"),
		trues: intList(n, "nodes_truenodeids"), falses: intList(n, "nodes_falsenodeids"),
		missing: intList(n, "nodes_missing_value_tracks_true"), thresholds: floatList(n, "nodes_values"),
		hits: floatList(n, "nodes_hitrates"), leaves: map[[2]int64][]int{},
		targets: intList(n, prefix+"_ids"), weights: floatList(n, prefix+"_weights"),
	}
	if a := attribute(n, "nodes_modes"); a != nil {
		for _, text := range a.Strings {
			m, ok := modes[string(text)]
			if !ok {
				return nil, refuse("nodes of mode %q", text)
			}
			t.modes = append(t.modes, m)
		}
	}
	count := len(t.ids)
	if t.missing == nil {
		t.missing = make([]int64, count)
	}
	if len(t.hits) != count || slices.Max(append([]float32{0}, t.hits...)) <= 0 {
		return nil, refuse("nodes_hitrates do not say how many rows came by each node")
	}
	for _, l := range []int{len(t.trees), len(t.features), len(t.trues), len(t.falses), len(t.missing), len(t.modes), len(t.thresholds)} {
		if l != count {
			return nil, refuse("lists of %d and %d nodes", count, l)
		}
	}
	trees, nodes := intList(n, prefix+"_treeids"), intList(n, prefix+"_nodeids")
	if len(trees) != len(nodes) || len(nodes) != len(t.targets) || len(t.targets) != len(t.weights) {
		return nil, refuse("lists of different lengths for the leaves")
	}
	for i := range trees {
		key := [2]int64{trees[i], nodes[i]}
		t.leaves[key] = append(t.leaves[key], i)
	}
	return t, nil
}

// classes counts the outputs of a classifier: scores of one class only are those of a
// binary model.
func (t *ensemble) classes() int {
	if len(t.targets) == 0 {
		return 0
	}
	if least, most := slices.Min(t.targets), slices.Max(t.targets); least != most {
		return int(min(most+1, columnsMax+1))
	}
	for i := range t.targets {
		t.targets[i] = 0
	}
	return 1
}

// build makes the trees, one for each output that a tree has scores of.
func (e *Explainer) build(t *ensemble) error {
	byTree := map[int64]map[int64]int{}
	children := map[[2]int64]bool{}
	for i, id := range t.ids {
		in := byTree[t.trees[i]]
		if in == nil {
			in = map[int64]int{}
			byTree[t.trees[i]] = in
		}
		if _, ok := in[id]; ok {
			return refuse("tree %d has node %d twice", t.trees[i], id)
		}
		in[id] = i
		if t.modes[i] != leaf {
			children[[2]int64{t.trees[i], t.trues[i]}], children[[2]int64{t.trees[i], t.falses[i]}] = true, true
		}
	}
	floats := 0
	for _, id := range slices.Sorted(maps.Keys(byTree)) {
		root := int64(-1)
		for _, node := range slices.Sorted(maps.Keys(byTree[id])) {
			if !children[[2]int64{id, node}] {
				if root >= 0 {
					return refuse("tree %d has several roots", id)
				}
				root = node
			}
		}
		b := &builder{explainer: e, from: t, id: id, nodes: byTree[id]}
		if err := b.tree(root); err != nil {
			return err
		}
		for _, output := range b.outputs() {
			if floats += 8 * b.steps(); floats > floatsMax {
				return refuse("its trees are too deep and many: tables of more than %d numbers", floatsMax)
			}
			made := b.finish(output)
			e.bases[output] += made.expected
			e.nodes = max(e.nodes, len(made.links))
			if len(made.links) > 1 {
				e.trees = append(e.trees, made)
			}
		}
	}
	return nil
}

// floatsMax bounds the tables of an Explainer, together: 512 MiB.
const floatsMax = 1 << 26

// share bounds a child's part of its parent's rows away from 0 and 1: a side that no row
// took has to be divided by.
func share(child, other float32) float64 {
	const least = 1e-9
	sum := float64(child) + float64(other)
	if !(sum > 0) || math.IsInf(sum, 0) {
		return 0.5
	}
	return min(max(float64(child)/sum, least), 1-least)
}
