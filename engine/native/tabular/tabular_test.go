// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/native/op/optest"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

var (
	definitions = Operators()
	fp32        = optest.Floats
	int64s      = optest.Ints
	strings     = optest.Texts
	nan         = float32(math.NaN())
)

func node(name string, attributes ...onnx.Attribute) optest.Node {
	return optest.Node{Domain: domain, Name: name, Attributes: attributes}
}

func TestTables(t *testing.T) {
	words := onnx.StringsAttribute("cats_strings", "a", "", "b")
	tests := []struct {
		name   string
		node   optest.Node
		want   *op.Value
		inputs []*op.Value
	}{
		{"one-hot of texts", node("OneHotEncoder", words), fp32([]float32{0, 1, 0, 0, 0, 0}, 2, 3), []*op.Value{strings([]string{"", "c"})}},
		{"one-hot of floats", node("OneHotEncoder", onnx.IntsAttribute("cats_int64s", 2, 1)), fp32([]float32{1, 0, 0, 1}, 2, 1, 2), []*op.Value{fp32([]float32{2.9, 1}, 2, 1)}},
		{"one-hot of nothing", node("OneHotEncoder", words), fp32(nil, 0, 3), []*op.Value{strings(nil)}},
		{"texts to numbers", node("LabelEncoder", onnx.StringsAttribute("keys_strings", "a", "a", "b"), onnx.IntsAttribute("values_int64s", 1, 2, 3)),
			int64s([]int64{2, 3, -1}), []*op.Value{strings([]string{"a", "b", "c"})}},
		{"numbers to texts", node("LabelEncoder", onnx.IntsAttribute("keys_int64s", 1), onnx.StringsAttribute("values_strings", "one")),
			strings([]string{"one", "_Unused"}, 2, 1), []*op.Value{int64s([]int64{1, 2}, 2, 1)}},
		{"NaN to a number", node("LabelEncoder", onnx.FloatsAttribute("keys_floats", nan, 0), onnx.FloatsAttribute("values_floats", 7, 8), onnx.FloatAttribute("default_float", 9)),
			fp32([]float32{7, 8, 9}), []*op.Value{fp32([]float32{nan, float32(math.Copysign(0, -1)), 1})}},
		{"old encoder", optest.Node{Domain: domain, Name: "LabelEncoder", Version: 1, Attributes: []onnx.Attribute{onnx.StringsAttribute("classes_strings", "x", "y")}},
			int64s([]int64{1, -1}), []*op.Value{strings([]string{"y", "z"})}},
		{"old encoder, back", optest.Node{Domain: domain, Name: "LabelEncoder", Version: 1, Attributes: []onnx.Attribute{onnx.StringsAttribute("classes_strings", "x", "y")}},
			strings([]string{"y", "_Unused"}), []*op.Value{int64s([]int64{1, 2})}},
		{"a mapping", node("CategoryMapper", onnx.StringsAttribute("cats_strings", "x"), onnx.IntsAttribute("cats_int64s", 5)), int64s([]int64{5}), []*op.Value{strings([]string{"x"})}},
		{"NaN imputed", node("Imputer", onnx.FloatsAttribute("imputed_value_floats", 1, 2), onnx.FloatAttribute("replaced_value_float", nan)),
			fp32([]float32{1, 5, 6, 2}, 2, 2), []*op.Value{fp32([]float32{nan, 5, 6, nan}, 2, 2)}},
		{"a number imputed", node("Imputer", onnx.IntsAttribute("imputed_value_int64s", 7), onnx.IntAttribute("replaced_value_int64", -1)), int64s([]int64{7, 5}, 1, 2), []*op.Value{int64s([]int64{-1, 5}, 1, 2)}},
		{"scaled integers", node("Scaler", onnx.FloatsAttribute("offset", 1), onnx.FloatsAttribute("scale", 2, 3)), fp32([]float32{2, 6}, 1, 2), []*op.Value{int64s([]int64{2, 3}, 1, 2)}},
		{"scaled without scale", node("Scaler"), fp32([]float32{2}, 1, 1), []*op.Value{optest.Of(tensor.FP64, []float64{2}, 1, 1)}},
		{"columns joined", node("FeatureVectorizer", onnx.IntsAttribute("inputdimensions", 1, 2)), fp32([]float32{1, 3, 0, 2, 4, 0}, 2, 3),
			[]*op.Value{int64s([]int64{1, 2}), fp32([]float32{3, 4}, 2, 1)}},
		{"a linear model of integers", node("LinearRegressor", onnx.FloatsAttribute("coefficients", 1, 2, 3, 4), onnx.IntAttribute("targets", 2), onnx.FloatsAttribute("intercepts", 0, 1)),
			fp32([]float32{5, 12}, 1, 2), []*op.Value{int64s([]int64{1, 2}, 1, 2)}},
		{"a linear model of no rows", node("LinearRegressor", onnx.FloatsAttribute("coefficients", 1, 2)), fp32(nil, 0, 1), []*op.Value{fp32(nil, 0, 2)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { optest.Want(t, definitions, test.node, test.want, test.inputs...) })
	}
}

func TestTransforms(t *testing.T) {
	e := math.E
	for _, test := range []struct {
		name     string
		in, want []float64
	}{
		{"NONE", []float64{1, -2}, []float64{1, -2}},
		{"LOGISTIC", []float64{0, -1000, 1000}, []float64{0.5, 0, 1}},
		{"SOFTMAX", []float64{0, 1}, []float64{1 / (1 + e), e / (1 + e)}},
		{"SOFTMAX", []float64{1000, 1000}, []float64{0.5, 0.5}},
		{"SOFTMAX_ZERO", []float64{1, 0, 1}, []float64{0.5, 0, 0.5}},
		{"PROBIT", []float64{0.5, 0.8413447}, []float64{0, 1}},
	} {
		n := &op.Node{Node: &onnx.Node{Attributes: []onnx.Attribute{onnx.StringAttribute("post_transform", test.name)}}}
		transform, err := transformOf(n)
		if err != nil {
			t.Fatal(err)
		}
		scores := make([]float32, len(test.in))
		for i, x := range test.in {
			scores[i] = float32(x)
		}
		transform.apply(scores)
		for i, x := range scores {
			if math.Abs(float64(x)-test.want[i]) > 2e-6 {
				t.Errorf("%s of %v: %v, want %v", test.name, test.in, scores, test.want)
			}
		}
	}
}

// tree is a node or a leaf of a tree for a slow and obvious walk.
type tree struct {
	mode        string
	feature     int
	threshold   float32
	missing     bool
	yes, no     *tree
	weights     map[int]float32
	tree, place int64
}

func (n *tree) walk(row []float32) *tree {
	if n.yes == nil {
		return n
	}
	x := row[n.feature]
	holds := map[string]bool{
		"BRANCH_LEQ": x <= n.threshold, "BRANCH_LT": x < n.threshold, "BRANCH_GTE": x >= n.threshold,
		"BRANCH_GT": x > n.threshold, "BRANCH_EQ": x == n.threshold, "BRANCH_NEQ": x != n.threshold,
	}[n.mode]
	if x != x {
		holds = n.missing
	}
	if holds {
		return n.yes.walk(row)
	}
	return n.no.walk(row)
}

func growTree(r *rand.Rand, id int64, next *int64, depth, features, targets int) *tree {
	n := &tree{tree: id, place: *next, threshold: float32(r.IntN(5) - 2), feature: r.IntN(features), missing: r.IntN(2) == 0, mode: "LEAF"}
	*next++
	if depth == 0 {
		n.weights = map[int]float32{}
		for target := range targets {
			n.weights[target] = float32(r.IntN(64)) / 8
		}
		return n
	}
	n.mode = []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}[r.IntN(6)]
	n.yes = growTree(r, id, next, r.IntN(depth), features, targets)
	n.no = growTree(r, id, next, depth-1, features, targets)
	return n
}

func (n *tree) each(visit func(n *tree)) {
	visit(n)
	if n.yes != nil {
		n.yes.each(visit)
		n.no.each(visit)
	}
}

func attributesOf(roots []*tree, targets int) []onnx.Attribute {
	var ids, places, features, yes, no, missing, leafTrees, leaves, leafTargets []int64
	var modes []string
	var thresholds, weights []float32
	for _, root := range roots {
		root.each(func(n *tree) {
			ids, places, features = append(ids, n.tree), append(places, n.place), append(features, int64(n.feature))
			modes, thresholds = append(modes, n.mode), append(thresholds, n.threshold)
			missing = append(missing, int64(map[bool]int{true: 1}[n.missing]))
			if n.yes == nil {
				yes, no = append(yes, 0), append(no, 0)
			} else {
				yes, no = append(yes, n.yes.place), append(no, n.no.place)
			}
			for target := range targets {
				if w, ok := n.weights[target]; ok {
					leafTrees, leaves, leafTargets, weights = append(leafTrees, n.tree), append(leaves, n.place), append(leafTargets, int64(target)), append(weights, w)
				}
			}
		})
	}
	return []onnx.Attribute{
		onnx.IntsAttribute("nodes_treeids", ids...), onnx.IntsAttribute("nodes_nodeids", places...), onnx.IntsAttribute("nodes_featureids", features...),
		onnx.StringsAttribute("nodes_modes", modes...), onnx.FloatsAttribute("nodes_values", thresholds...),
		onnx.IntsAttribute("nodes_missing_value_tracks_true", missing...), onnx.IntsAttribute("nodes_truenodeids", yes...), onnx.IntsAttribute("nodes_falsenodeids", no...),
		onnx.IntsAttribute("target_treeids", leafTrees...), onnx.IntsAttribute("target_nodeids", leaves...),
		onnx.IntsAttribute("target_ids", leafTargets...), onnx.FloatsAttribute("target_weights", weights...), onnx.IntAttribute("n_targets", int64(targets)),
	}
}

// TestTreesAgainstWalk compares forests, at every CPU level, on whole numbers that hit the
// thresholds and on NaN, with a walk of each tree. Weights are multiples of 1/8, whose
// sums are exact.
func TestTreesAgainstWalk(t *testing.T) {
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 1))
		features, targets, rows := 1+r.IntN(9), 1+r.IntN(3), []int{1, 2, 63, 64, 65, 300}[r.IntN(6)]
		var roots []*tree
		for id := range 1 + r.IntN(40) {
			next := int64(0)
			roots = append(roots, growTree(r, int64(id), &next, r.IntN(8), features, targets))
		}
		x, want := make([]float32, rows*features), make([]float32, rows*targets)
		for i := range x {
			if x[i] = float32(r.IntN(6) - 3); r.IntN(7) == 0 {
				x[i] = nan
			}
		}
		for i := range rows {
			for _, root := range roots {
				for target, w := range root.walk(x[i*features:]).weights {
					want[i*targets+target] += w
				}
			}
		}
		n := node("TreeEnsembleRegressor", attributesOf(roots, targets)...)
		in, sums := fp32(x, int64(rows), int64(features)), fp32(want, int64(rows), int64(targets))
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			for _, level := range cpu.Available() {
				undo := cpu.Limit(level)
				optest.Want(t, definitions, n, sums, in)
				undo()
			}
			optest.Want(t, definitions, n, sums, widen(in))
		})
	}
}

func widen(v *op.Value) *op.Value {
	list := make([]float64, v.Len())
	for i, x := range op.Floats(v) {
		list[i] = float64(x)
	}
	return optest.Of(tensor.FP64, list, v.Shape...)
}

// TestCategoryChains checks the chains of tests for one value each that LightGBM writes,
// with a child that several share at the end of the chain by value only.
func TestCategoryChains(t *testing.T) {
	leaf := func(id int64, w float32) *tree {
		return &tree{mode: "LEAF", place: id, weights: map[int]float32{0: w}}
	}
	third := &tree{mode: "BRANCH_EQ", threshold: 2, place: 2, yes: leaf(5, 1), no: leaf(6, 0)}
	second := &tree{mode: "BRANCH_EQ", threshold: 5, place: 1, yes: leaf(4, 1), no: third}
	first := &tree{mode: "BRANCH_EQ", threshold: 3, place: 0, yes: leaf(3, 1), no: second}
	optest.Want(t, definitions, node("TreeEnsembleRegressor", attributesOf([]*tree{first}, 1)...),
		fp32([]float32{1, 1, 1, 0, 0}, 5, 1), fp32([]float32{2, 3, 5, 4, nan}, 5, 1))
}

func TestRowwise(t *testing.T) {
	scaler := node("Scaler")
	if !optest.Rowwise(t, definitions, scaler, []bool{true}, fp32(make([]float32, 4), 2, 2)) {
		t.Error("rows of a matrix hang together")
	}
	if optest.Rowwise(t, definitions, scaler, []bool{true}, fp32(make([]float32, 4))) {
		t.Error("a single dimension is one row")
	}
	both := slices.Repeat([]bool{true}, 2)
	join := node("FeatureVectorizer")
	if !optest.Rowwise(t, definitions, join, both, fp32(make([]float32, 4)), fp32(make([]float32, 4), 4, 1)) {
		t.Error("columns hang together")
	}
	if optest.Rowwise(t, definitions, join, []bool{true, false}, fp32(make([]float32, 4)), fp32(make([]float32, 4), 4, 1)) {
		t.Error("a column that has no rows of the batch goes unnoticed")
	}
}
