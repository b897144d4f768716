// SPDX-License-Identifier: Apache-2.0

package native

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

var growTables = []func(g *grower){
	growScaler, growNormalizer, growImputer, growTrees, growTrees, growTreeClassifier, growLinearModel, growLinearClassifier,
	growLabels, growCategories, growBinarizer,
}

const tables = "ai.onnx.ml"

func growScaler(g *grower) {
	x, ok := g.pick(isMatrix)
	if !ok {
		return
	}
	n := x.shape[1]
	if g.r.IntN(3) == 0 {
		n = 1
	}
	g.domainNode(tables, "Scaler", x, tensor.FP32, x.shape, nil,
		onnx.FloatsAttribute("offset", g.floats(1, n)...), onnx.FloatsAttribute("scale", g.floats(1, n)...))
}

func growNormalizer(g *grower) {
	x, ok := g.pick(func(v made) bool { return isMatrix(v) && v.exact })
	if !ok {
		return
	}
	norms := []string{"L1", "L2"}
	g.domainNode(tables, "Normalizer", x, tensor.FP32, x.shape, nil, onnx.StringAttribute("norm", norms[g.r.IntN(2)]))
}

func growImputer(g *grower) {
	x, ok := g.pick(func(v made) bool { return isMatrix(v) && v.exact })
	if !ok {
		return
	}
	g.domainNode(tables, "Imputer", x, tensor.FP32, x.shape, nil,
		onnx.FloatsAttribute("imputed_value_floats", g.floats(1, x.shape[1])...), onnx.FloatAttribute("replaced_value_float", 1))
	g.exact(true)
}

func growBinarizer(g *grower) {
	x, ok := g.pick(func(v made) bool { return isMatrix(v) && v.exact })
	if !ok {
		return
	}
	g.domainNode(tables, "Binarizer", x, tensor.FP32, x.shape, nil, onnx.FloatAttribute("threshold", 0.25))
	g.exact(true)
}

// randomForest is the attributes of a random tree ensemble.
type randomForest struct {
	// sparse leaves out weights of some targets here and there.
	sparse                              bool
	tree, id, feature, yes, no, missing []int64
	modes                               []string
	values, weights                     []float32
	leafTree, leafID, leafTarget        []int64
}

// plant adds a tree of some depth, whose leaves have weights for all targets or for one.
func (f *randomForest) plant(g *grower, features, targets int64, depth int) {
	tree, next := int64(len(f.tree)), int64(0)
	var grow func(depth int) int64
	grow = func(depth int) int64 {
		id, at := next, len(f.id)
		next++
		f.tree, f.id = append(f.tree, tree), append(f.id, id)
		f.feature = append(f.feature, g.r.Int64N(features))
		f.yes, f.no, f.missing = append(f.yes, 0), append(f.no, 0), append(f.missing, g.r.Int64N(2))
		f.values = append(f.values, float32(g.r.NormFloat64()))
		if depth == 0 || g.r.IntN(6) == 0 {
			f.modes = append(f.modes, "LEAF")
			f.bear(g, tree, id, targets)
			return id
		}
		modes := []string{"BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE", "BRANCH_EQ", "BRANCH_NEQ"}
		f.modes = append(f.modes, modes[g.r.IntN(len(modes))])
		if g.r.IntN(4) == 0 { // inputs are whole numbers now and then
			f.values[at] = float32(g.r.IntN(5) - 2)
		}
		f.yes[at] = grow(depth - 1)
		f.no[at] = grow(depth - 1)
		return id
	}
	grow(depth)
}

func (f *randomForest) bear(g *grower, tree, id, targets int64) {
	for target := range targets {
		if f.sparse && g.r.IntN(4) == 0 {
			continue
		}
		f.leafTree, f.leafID, f.leafTarget = append(f.leafTree, tree), append(f.leafID, id), append(f.leafTarget, target)
		f.weights = append(f.weights, float32(g.r.NormFloat64()))
	}
}

func (f *randomForest) attributes(prefix string) []onnx.Attribute {
	return []onnx.Attribute{
		onnx.IntsAttribute("nodes_treeids", f.tree...), onnx.IntsAttribute("nodes_nodeids", f.id...),
		onnx.IntsAttribute("nodes_featureids", f.feature...), onnx.StringsAttribute("nodes_modes", f.modes...),
		onnx.FloatsAttribute("nodes_values", f.values...), onnx.IntsAttribute("nodes_truenodeids", f.yes...),
		onnx.IntsAttribute("nodes_falsenodeids", f.no...), onnx.IntsAttribute("nodes_missing_value_tracks_true", f.missing...),
		onnx.IntsAttribute(prefix+"_treeids", f.leafTree...), onnx.IntsAttribute(prefix+"_nodeids", f.leafID...),
		onnx.IntsAttribute(prefix+"_ids", f.leafTarget...), onnx.FloatsAttribute(prefix+"_weights", f.weights...),
	}
}

func (g *grower) forest(features, targets int64, sparse bool) *randomForest {
	f := &randomForest{sparse: sparse}
	for range 1 + g.r.IntN(12) {
		f.plant(g, features, targets, g.r.IntN(6))
	}
	return f
}

func growTrees(g *grower) {
	x, ok := g.pick(func(v made) bool { return isMatrix(v) && v.exact })
	if !ok {
		return
	}
	targets := 1 + g.r.Int64N(3)
	aggregates := []string{"SUM", "SUM", "AVERAGE", "MIN", "MAX"}
	// ONNX Runtime forgets the base value of a target without weights on a row's way.
	based := g.r.IntN(2) == 0
	f := g.forest(x.shape[1], targets, targets > 1 && !based)
	attributes := append(f.attributes("target"), onnx.IntAttribute("n_targets", targets),
		onnx.StringAttribute("aggregate_function", aggregates[g.r.IntN(len(aggregates))]))
	if based {
		attributes = append(attributes, onnx.FloatsAttribute("base_values", g.floats(1, targets)...))
	}
	if g.r.IntN(3) == 0 {
		x = g.nodeTo("Cast", x, tensor.FP64, x.shape, nil, onnx.IntAttribute("to", int64(onnx.ElemDouble)))
	}
	g.domainNode(tables, "TreeEnsembleRegressor", x, tensor.FP32, []int64{rowsExtent, targets}, nil, attributes...)
}

// classify adds a classifier: labels and scores.
func (g *grower) classify(name string, x made, classes int64, attributes ...onnx.Attribute) {
	labels := made{name: g.name("label"), typ: tensor.Int64, shape: []int64{rowsExtent}, below: 0}
	scores := made{name: g.name("score"), typ: tensor.FP32, shape: []int64{rowsExtent, classes}}
	g.b.DomainNode(tables, name, []string{x.name}, []string{labels.name, scores.name}, attributes...)
	g.read(x.name)
	g.values = append(g.values, labels, scores)
}

func countTo(n int64) []int64 {
	list := make([]int64, n)
	for i := range list {
		list[i] = int64(i)
	}
	return list
}

func growTreeClassifier(g *grower) {
	x, ok := g.pick(func(v made) bool { return isMatrix(v) && v.exact })
	if !ok {
		return
	}
	classes := 3 + g.r.Int64N(3)
	// A class without weights on a row's way scores 0, which ONNX Runtime's label ignores.
	f := g.forest(x.shape[1], classes, false)
	transforms := []string{"NONE", "SOFTMAX", "LOGISTIC"}
	g.classify("TreeEnsembleClassifier", x, classes, append(f.attributes("class"),
		onnx.IntsAttribute("classlabels_int64s", countTo(classes)...), onnx.StringAttribute("post_transform", transforms[g.r.IntN(3)]))...)
}

func growLinearModel(g *grower) {
	x, ok := g.pick(isMatrix)
	if !ok {
		return
	}
	targets := 1 + g.r.Int64N(3)
	g.domainNode(tables, "LinearRegressor", x, tensor.FP32, []int64{rowsExtent, targets}, nil, onnx.IntAttribute("targets", targets),
		onnx.FloatsAttribute("coefficients", g.floats(0.5, targets*x.shape[1])...), onnx.FloatsAttribute("intercepts", g.floats(1, targets)...))
}

func growLinearClassifier(g *grower) {
	x, ok := g.pick(func(v made) bool { return isMatrix(v) && v.exact })
	if !ok {
		return
	}
	classes := 3 + g.r.Int64N(3)
	transforms := []string{"NONE", "SOFTMAX", "LOGISTIC"}
	g.classify("LinearClassifier", x, classes, onnx.IntsAttribute("classlabels_ints", countTo(classes)...),
		onnx.FloatsAttribute("coefficients", g.floats(0.5, classes*x.shape[1])...), onnx.FloatsAttribute("intercepts", g.floats(1, classes)...),
		onnx.StringAttribute("post_transform", transforms[g.r.IntN(3)]))
}

// growLabels maps numbers to numbers, or words to numbers.
func growLabels(g *grower) {
	x, ok := g.pick(func(v made) bool { return v.typ == tensor.Int64 || v.typ == tensor.Bytes })
	if !ok {
		return
	}
	keys := onnx.IntsAttribute("keys_int64s", 0, 2, 3)
	if x.typ == tensor.Bytes {
		keys = onnx.StringsAttribute("keys_strings", "a", "red", "")
	}
	g.domainNode(tables, "LabelEncoder", x, tensor.Int64, x.shape, nil, keys,
		onnx.IntsAttribute("values_int64s", 1, 0, 2), onnx.IntAttribute("default_int64", 1))
	g.values[len(g.values)-1].below = 3
}

func growCategories(g *grower) {
	x, ok := g.pick(func(v made) bool { return (v.typ == tensor.Int64 || v.typ == tensor.Bytes) && len(v.shape) == 2 })
	if !ok {
		return
	}
	categories := onnx.IntsAttribute("cats_int64s", 2, 0, 1)
	if x.typ == tensor.Bytes {
		categories = onnx.StringsAttribute("cats_strings", "red", "a", "")
	}
	g.domainNode(tables, "OneHotEncoder", x, tensor.FP32, append(slices.Clone(x.shape), 3), nil, categories, onnx.IntAttribute("zeros", 1))
	g.exact(true)
}
