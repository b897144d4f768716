// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// mlDomain is where ONNX has trees.
const mlDomain = "ai.onnx.ml"

// Trees is a binary classifier of boosted trees with random splits: input FP32
// [batch, features], outputs label INT64 [batch] and probabilities FP32 [batch, 2]. Its
// trees are grown at random leaves, as unbalanced as those of leaf-wise trainers.
type Trees struct {
	name                    string
	trees, leaves, features int
	seed                    uint64
}

// NewTrees draws an ensemble from a seed. All counts must be positive.
func NewTrees(name string, seed uint64, trees, leaves, features int) *Trees {
	return &Trees{name, trees, leaves, features, seed}
}

// SmallTrees is 100 trees of 31 leaves over 32 features, the shape of a gradient
// boosted model with the defaults of its trainer.
func SmallTrees() *Trees { return NewTrees("trees_small", 4, 100, 31, 32) }

// Features is the number of values of one input row.
func (t *Trees) Features() int { return t.features }

// treeAttributes are the parallel lists that describe the nodes and weights.
type treeAttributes struct {
	tree, id, feature, yes, no, weightTree, weightNode, weightClass []int64
	value, weight                                                   []float32
	mode                                                            []string
}

// Model writes the ensemble as an ONNX model.
func (t *Trees) Model() *onnx.Model {
	b := onnx.NewBuilder(t.name)
	b.Opset(mlDomain, 3)
	b.Input("input", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(t.features)))
	b.Output("label", tensor.Int64, onnx.Symbol("batch"))
	b.Output("probabilities", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(2))
	var a treeAttributes
	source := newWeights(t.seed)
	for tree := range t.trees {
		a.grow(source, int64(tree), t.leaves, t.features)
	}
	b.DomainNode(mlDomain, "TreeEnsembleClassifier", []string{"input"}, []string{"label", "probabilities"},
		onnx.IntsAttribute("nodes_treeids", a.tree...), onnx.IntsAttribute("nodes_nodeids", a.id...),
		onnx.IntsAttribute("nodes_featureids", a.feature...), onnx.FloatsAttribute("nodes_values", a.value...),
		onnx.StringsAttribute("nodes_modes", a.mode...),
		onnx.IntsAttribute("nodes_truenodeids", a.yes...), onnx.IntsAttribute("nodes_falsenodeids", a.no...),
		onnx.IntsAttribute("class_treeids", a.weightTree...), onnx.IntsAttribute("class_nodeids", a.weightNode...),
		onnx.IntsAttribute("class_ids", a.weightClass...), onnx.FloatsAttribute("class_weights", a.weight...),
		onnx.IntsAttribute("classlabels_int64s", 0, 1), onnx.StringAttribute("post_transform", "LOGISTIC"))
	m, err := b.Model()
	if err != nil {
		panic(fmt.Sprintf("zoo: %v", err)) // the builder was used wrongly
	}
	return m
}

// grow adds a tree: from a single leaf, one leaf after the other is split.
func (a *treeAttributes) grow(source weights, tree int64, leaves, features int) {
	first := len(a.tree)
	open := []int{a.add(tree, 0)}
	for len(open) < leaves {
		k := source.below(len(open))
		at := open[k]
		yes, no := a.add(tree, int64(len(a.tree)-first)), a.add(tree, int64(len(a.tree)-first))
		a.mode[at], a.feature[at], a.value[at] = "BRANCH_LEQ", int64(source.below(features)), source.draw(1, 1, 1)[0]
		a.yes[at], a.no[at] = a.id[yes], a.id[no]
		open[k] = yes
		open = append(open, no)
	}
	for _, at := range open {
		a.weightTree, a.weightNode = append(a.weightTree, tree), append(a.weightNode, a.id[at])
		a.weightClass, a.weight = append(a.weightClass, 1), append(a.weight, source.draw(1, 100, 1)[0])
	}
}

// add appends a leaf and gives its place in the lists.
func (a *treeAttributes) add(tree, id int64) int {
	a.tree, a.id, a.feature = append(a.tree, tree), append(a.id, id), append(a.feature, 0)
	a.yes, a.no, a.value, a.mode = append(a.yes, 0), append(a.no, 0), append(a.value, 0), append(a.mode, "LEAF")
	return len(a.tree) - 1
}
