// SPDX-License-Identifier: Apache-2.0

package native

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// stump is a tree of one test and two leaves, in the attributes of the older operators.
func stump() []onnx.Attribute {
	return []onnx.Attribute{
		onnx.IntsAttribute("nodes_treeids", 0, 0, 0), onnx.IntsAttribute("nodes_nodeids", 0, 1, 2),
		onnx.IntsAttribute("nodes_featureids", 1, 0, 0), onnx.StringsAttribute("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAF"),
		onnx.FloatsAttribute("nodes_values", 0.5, 0, 0), onnx.IntsAttribute("nodes_truenodeids", 1, 0, 0),
		onnx.IntsAttribute("nodes_falsenodeids", 2, 0, 0), onnx.IntsAttribute("target_treeids", 0, 0),
		onnx.IntsAttribute("target_nodeids", 1, 2), onnx.IntsAttribute("target_ids", 0, 0),
		onnx.FloatsAttribute("target_weights", 1, 2), onnx.IntAttribute("n_targets", 1),
	}
}

// with puts attributes in the place of others of their names.
func with(list []onnx.Attribute, changes ...onnx.Attribute) []onnx.Attribute {
	for _, change := range changes {
		list = slices.DeleteFunc(list, func(a onnx.Attribute) bool { return a.Name == change.Name })
		list = append(list, change)
	}
	return list
}

func badStump(name, want string, changes ...onnx.Attribute) badModel {
	return badModel{name, want, of("ml.TreeEnsembleRegressor", nil, with(stump(), changes...)...)}
}

var badTrees = []badModel{
	badStump("circle", "circle", onnx.IntsAttribute("nodes_truenodeids", 0, 0, 0), onnx.StringsAttribute("nodes_modes", "BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LEQ"),
		onnx.IntsAttribute("nodes_truenodeids", 1, 2, 0), onnx.IntsAttribute("nodes_falsenodeids", 1, 2, 0),
		onnx.IntsAttribute("target_treeids"), onnx.IntsAttribute("target_nodeids"), onnx.IntsAttribute("target_ids"), onnx.FloatsAttribute("target_weights")),
	badStump("own child", "", onnx.IntsAttribute("nodes_truenodeids", 0, 0, 0)),
	badStump("shared child", "", onnx.IntsAttribute("nodes_truenodeids", 2, 0, 0)),
	badStump("no such child", "child 7", onnx.IntsAttribute("nodes_truenodeids", 7, 0, 0)),
	badStump("negative child", "child -1", onnx.IntsAttribute("nodes_falsenodeids", -1, 0, 0)),
	badStump("two roots", "second root", onnx.StringsAttribute("nodes_modes", "LEAF", "LEAF", "LEAF")),
	badStump("twice the same node", "twice", onnx.IntsAttribute("nodes_nodeids", 0, 1, 1)),
	badStump("threshold NaN", "NaN", onnx.FloatsAttribute("nodes_values", float32(math.NaN()), 0, 0)),
	badStump("negative feature", "feature", onnx.IntsAttribute("nodes_featureids", -1, 0, 0)),
	badStump("feature beyond the input", "features", onnx.IntsAttribute("nodes_featureids", 3, 0, 0)),
	badStump("feature out of reach", "feature", onnx.IntsAttribute("nodes_featureids", 1<<30, 0, 0)),
	badStump("absurd feature", "feature", onnx.IntsAttribute("nodes_featureids", 1<<40, 0, 0)),
	badStump("unknown mode", "BRANCH_IF", onnx.StringsAttribute("nodes_modes", "BRANCH_IF", "LEAF", "LEAF")),
	badStump("short modes", "nodes_modes", onnx.StringsAttribute("nodes_modes", "BRANCH_LEQ", "LEAF")),
	badStump("short values", "nodes_values", onnx.FloatsAttribute("nodes_values", 1)),
	badStump("values of another type", "nodes_values", onnx.IntsAttribute("nodes_values", 1, 0, 0)),
	badStump("modes of another type", "nodes_modes", onnx.IntsAttribute("nodes_modes", 1, 0, 0)),
	badStump("long missing", "missing", onnx.IntsAttribute("nodes_missing_value_tracks_true", 1, 0, 0, 0)),
	badStump("weight of no leaf", "no leaf", onnx.IntsAttribute("target_nodeids", 0, 2)),
	badStump("weight of another tree", "no leaf", onnx.IntsAttribute("target_treeids", 1, 0)),
	badStump("weight for no target", "target", onnx.IntsAttribute("target_ids", 1, 0)),
	badStump("weight for a negative target", "target", onnx.IntsAttribute("target_ids", -1, 0)),
	badStump("short weights", "weights", onnx.FloatsAttribute("target_weights", 1)),
	badStump("no targets", "n_targets", onnx.IntAttribute("n_targets", 0)),
	badStump("too many targets", "", onnx.IntAttribute("n_targets", 1<<40)),
	badStump("many targets", "", onnx.IntAttribute("n_targets", 1<<19)),
	badStump("base values", "base_values", onnx.FloatsAttribute("base_values", 1, 2)),
	badStump("aggregate", "aggregate", onnx.StringAttribute("aggregate_function", "MEDIAN")),
	badStump("transform", "post_transform", onnx.StringAttribute("post_transform", "SQUARE")),
	{"no nodes", "no nodes", of("ml.TreeEnsembleRegressor", nil)},
	{"no labels", "label", of("ml.TreeEnsembleClassifier", nil, stump()...)},
}

func bytesTensor(values ...uint8) onnx.Tensor {
	return onnx.TensorOf("", values, int64(len(values)))
}

func floatsTensor(values ...float32) onnx.Tensor {
	return onnx.TensorOf("", values, int64(len(values)))
}

// stump5 is the same tree in the attributes of TreeEnsemble.
func stump5() []onnx.Attribute {
	return []onnx.Attribute{
		onnx.IntsAttribute("tree_roots", 0), onnx.IntsAttribute("nodes_featureids", 1),
		onnx.TensorAttribute("nodes_modes", bytesTensor(0)), onnx.TensorAttribute("nodes_splits", floatsTensor(0.5)),
		onnx.IntsAttribute("nodes_truenodeids", 0), onnx.IntsAttribute("nodes_trueleafs", 1),
		onnx.IntsAttribute("nodes_falsenodeids", 1), onnx.IntsAttribute("nodes_falseleafs", 1),
		onnx.IntsAttribute("leaf_targetids", 0, 0), onnx.TensorAttribute("leaf_weights", floatsTensor(1, 2)),
		onnx.IntAttribute("n_targets", 1),
	}
}

func badStump5(name, want string, changes ...onnx.Attribute) badModel {
	return badModel{name, want, of("ml.TreeEnsemble", nil, with(stump5(), changes...)...)}
}

var badTrees5 = []badModel{
	badStump5("own child 5", "", onnx.IntsAttribute("nodes_trueleafs", 0)),
	badStump5("no such child 5", "child 4", onnx.IntsAttribute("nodes_trueleafs", 0), onnx.IntsAttribute("nodes_truenodeids", 4)),
	badStump5("no such leaf", "leaf 2", onnx.IntsAttribute("nodes_falsenodeids", 2)),
	badStump5("negative leaf", "leaf -1", onnx.IntsAttribute("nodes_falsenodeids", -1)),
	badStump5("no such root", "root 1", onnx.IntsAttribute("tree_roots", 1)),
	badStump5("negative root", "root -1", onnx.IntsAttribute("tree_roots", -1)),
	badStump5("the same root twice", "", onnx.IntsAttribute("tree_roots", 0, 0)),
	badStump5("target beyond", "target", onnx.IntsAttribute("leaf_targetids", 0, 1)),
	badStump5("mode beyond", "mode", onnx.TensorAttribute("nodes_modes", bytesTensor(7))),
	badStump5("modes of floats", "nodes_modes", onnx.TensorAttribute("nodes_modes", floatsTensor(0))),
	badStump5("split NaN", "NaN", onnx.TensorAttribute("nodes_splits", floatsTensor(float32(math.NaN())))),
	badStump5("short splits", "length", onnx.TensorAttribute("nodes_splits", floatsTensor())),
	badStump5("set without members", "membership", onnx.TensorAttribute("nodes_modes", bytesTensor(6))),
	badStump5("absurd targets", "", onnx.IntAttribute("n_targets", 1<<40)),
	badStump5("aggregate 5", "aggregate", onnx.IntAttribute("aggregate_function", 4)),
	badStump5("transform 5", "post_transform", onnx.IntAttribute("post_transform", -1)),
}

var badTables = []badModel{
	{"coefficients", "coefficients", of("ml.LinearRegressor", nil, onnx.FloatsAttribute("coefficients", 1, 2, 3), onnx.IntAttribute("targets", 2))},
	{"coefficients for another width", "", of("ml.LinearRegressor", nil, onnx.FloatsAttribute("coefficients", 1, 2))},
	{"intercepts", "intercepts", of("ml.LinearRegressor", nil, onnx.FloatsAttribute("coefficients", 1, 2, 3), onnx.FloatsAttribute("intercepts", 1, 2))},
	{"targets", "targets", of("ml.LinearRegressor", nil, onnx.FloatsAttribute("coefficients", 1, 2, 3), onnx.IntAttribute("targets", 1<<40))},
	{"labels", "label", of("ml.LinearClassifier", nil, onnx.FloatsAttribute("coefficients", 1, 2, 3), onnx.FloatsAttribute("intercepts", 1))},
	{"offsets", "", of("ml.Scaler", nil, onnx.FloatsAttribute("offset", 1, 2))},
	{"imputed values", "", of("ml.Imputer", nil, onnx.FloatsAttribute("imputed_value_floats", 1, 2))},
	{"no imputed values", "", of("ml.Imputer", nil)},
	{"norm", "norm", of("ml.Normalizer", nil, onnx.StringAttribute("norm", "L3"))},
	{"no categories", "cats", of("ml.OneHotEncoder", nil)},
	{"keys and values", "keys", reads("i", "ml.LabelEncoder", nil, onnx.IntsAttribute("keys_int64s", 1, 2), onnx.IntsAttribute("values_int64s", 1))},
	{"no keys", "keys", reads("i", "ml.LabelEncoder", nil, onnx.IntsAttribute("values_int64s", 1))},
	{"empty default", "default", reads("i", "ml.LabelEncoder", nil, onnx.IntsAttribute("keys_int64s", 1), onnx.IntsAttribute("values_int64s", 1),
		onnx.TensorAttribute("default_tensor", onnx.TensorOf("", []int64{}, 0)))},
	{"columns to join", "", of("ml.FeatureVectorizer", nil, onnx.IntsAttribute("inputdimensions", 1<<40))},
}
