// SPDX-License-Identifier: Apache-2.0

package boost

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/trees"
)

// Predict is the model's answer to one row.
func (m *Model) Predict(row []float32) float32 {
	sum := float32(0)
	for _, t := range m.Trees {
		at := int32(0)
		for t[at].Feature >= 0 {
			at = next(&t[at], row)
		}
		sum += t[at].Value
	}
	return sum + m.Base
}

// Ensemble is the model as the kernels take it.
func (m *Model) Ensemble() *trees.Ensemble {
	e := &trees.Ensemble{Features: Features, Targets: 1, Base: []float64{float64(m.Base)}}
	for _, t := range m.Trees {
		at := make([]int32, len(t))
		nodes := len(e.Nodes)
		for i, n := range t {
			if n.Feature >= 0 {
				at[i] = int32(nodes)
				nodes++
				continue
			}
			at[i] = ^int32(len(e.Leaves))
			e.Leaves = append(e.Leaves, trees.Leaf{Weights: []trees.Weight{{Target: 0, Value: float64(n.Value)}}})
		}
		for _, n := range t {
			if n.Feature >= 0 {
				e.Nodes = append(e.Nodes, trees.Node{
					Feature: n.Feature, Compare: trees.Less, Threshold: float64(n.Threshold), True: at[n.Left], False: at[n.Right],
				})
			}
		}
		e.Roots = append(e.Roots, at[0])
	}
	return e
}

// Names of the ONNX model's input and output.
const (
	Input  = "x"
	Output = "y"
)

// ONNX is the model as the exporters write it: one TreeEnsembleRegressor.
func (m *Model) ONNX(name string) (*onnx.Model, error) {
	var a attributes
	for tree, nodes := range m.Trees {
		for i, n := range nodes {
			a.add(int64(tree), int64(i), n)
		}
	}
	b := onnx.NewBuilder(name)
	b.Opset("ai.onnx.ml", 3)
	b.Input(Input, tensor.FP32, onnx.Symbol("batch"), onnx.Extent(Features))
	b.DomainNode("ai.onnx.ml", "TreeEnsembleRegressor", []string{Input}, []string{Output},
		onnx.IntAttribute("n_targets", 1), onnx.FloatsAttribute("base_values", m.Base),
		onnx.IntsAttribute("nodes_treeids", a.tree...), onnx.IntsAttribute("nodes_nodeids", a.node...),
		onnx.IntsAttribute("nodes_featureids", a.feature...), onnx.FloatsAttribute("nodes_values", a.value...),
		onnx.StringsAttribute("nodes_modes", a.mode...),
		onnx.IntsAttribute("nodes_truenodeids", a.yes...), onnx.IntsAttribute("nodes_falsenodeids", a.no...),
		onnx.IntsAttribute("target_treeids", a.leafTree...), onnx.IntsAttribute("target_nodeids", a.leafNode...),
		onnx.IntsAttribute("target_ids", make([]int64, len(a.leafNode))...), onnx.FloatsAttribute("target_weights", a.weight...))
	b.Output(Output, tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	return b.Model()
}

// attributes are the lists that the operator has its trees in.
type attributes struct {
	tree, node, feature, yes, no []int64
	value                        []float32
	mode                         []string
	leafTree, leafNode           []int64
	weight                       []float32
}

func (a *attributes) add(tree, node int64, n Node) {
	a.tree, a.node = append(a.tree, tree), append(a.node, node)
	a.feature = append(a.feature, int64(max(n.Feature, 0)))
	a.value = append(a.value, n.Threshold)
	a.yes, a.no = append(a.yes, int64(n.Left)), append(a.no, int64(n.Right))
	if n.Feature >= 0 {
		a.mode = append(a.mode, "BRANCH_LT")
		return
	}
	a.mode = append(a.mode, "LEAF")
	a.leafTree, a.leafNode = append(a.leafTree, tree), append(a.leafNode, node)
	a.weight = append(a.weight, n.Value)
}

// Shape describes the trees of a model.
type Shape struct {
	Trees          int     `json:"trees"`
	LeavesPerTree  float64 `json:"leaves_per_tree"`
	DepthMax       int     `json:"depth_max"`
	PathMean       float64 `json:"path_mean"`
	Comparisons    int     `json:"different_comparisons"`
	ThresholdsMost int     `json:"thresholds_of_a_feature_at_most"`
}

// Shape measures the trees on rows.
func (m *Model) Shape(rows []float32) Shape {
	s := Shape{Trees: len(m.Trees)}
	var thresholds [Features]map[float32]bool
	leaves, steps := 0, 0
	for _, t := range m.Trees {
		depth := make([]int, len(t))
		for i, n := range t { // children come after their parents
			if n.Feature < 0 {
				leaves++
				s.DepthMax = max(s.DepthMax, depth[i])
				continue
			}
			depth[n.Left], depth[n.Right] = depth[i]+1, depth[i]+1
			if thresholds[n.Feature] == nil {
				thresholds[n.Feature] = make(map[float32]bool)
			}
			thresholds[n.Feature][n.Threshold] = true
		}
		for r := 0; r < len(rows); r += Features {
			at := int32(0)
			for t[at].Feature >= 0 {
				at, steps = next(&t[at], rows[r:]), steps+1
			}
		}
	}
	for _, list := range thresholds {
		s.Comparisons += len(list)
		s.ThresholdsMost = max(s.ThresholdsMost, len(list))
	}
	count := float64(max(len(m.Trees), 1))
	s.LeavesPerTree = float64(leaves) / count
	s.PathMean = math.Round(100*float64(steps)/count/float64(max(len(rows)/Features, 1))) / 100
	return s
}

func next(n *Node, row []float32) int32 {
	if row[n.Feature] < n.Threshold {
		return n.Left
	}
	return n.Right
}
