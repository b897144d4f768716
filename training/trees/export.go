// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
)

// tableValuesMax bounds the constants that say which categories are in which sets.
const tableValuesMax = 1 << 26

// Export implements learn.Model. The scores are one TreeEnsembleRegressor. A set of
// categories becomes a column of its own, 1 for the categories that are in it, which a
// table gives by category: trees of comparisons with single categories would have to
// repeat what is below a set for each of its members.
func (m *model) Export(g *learn.Graph) (string, error) {
	g.Opset(learn.DomainML, learn.OpsetML)
	columns, matrix, err := m.exportSets(g)
	if err != nil {
		return "", err
	}
	e := ensemble{}
	for i, t := range m.trees {
		e.add(int64(i), int64(i%len(m.base)), t, columns)
	}
	if len(m.trees) == 0 {
		// A model without trees is its base values; an ensemble needs a tree.
		e.add(0, 0, tree{{feature: -1, set: -1}}, nil)
	}
	scores := g.Name("scores")
	g.DomainNode(learn.DomainML, "TreeEnsembleRegressor", []string{matrix}, []string{scores}, e.attributes(m.base)...)
	return scores, nil
}

// exportSets adds a column for each set and returns the columns by set and the matrix
// that has them.
func (m *model) exportSets(g *learn.Graph) (columns []int64, matrix string, err error) {
	columns, matrix = make([]int64, len(m.sets)), g.Matrix
	byFeature := map[int32][]int{}
	for _, t := range m.trees {
		for _, n := range t {
			if n.set >= 0 {
				byFeature[n.feature] = append(byFeature[n.feature], int(n.set))
			}
		}
	}
	parts, width := []string{matrix}, len(m.features)
	for _, feature := range slices.Sorted(maps.Keys(byFeature)) {
		distinct := m.distinct(byFeature[feature], columns, width)
		part, err := m.exportFeature(g, int64(feature), distinct)
		if err != nil {
			return nil, "", fmt.Errorf("feature %q: %w", m.features[feature].Name, err)
		}
		parts = append(parts, part)
		width += len(distinct)
	}
	if len(parts) > 1 {
		matrix = g.Apply("Concat", parts, onnx.IntAttribute("axis", 1))
	}
	return columns, matrix, nil
}

// distinct gives equal sets of a feature one column, from first on.
func (m *model) distinct(sets []int, columns []int64, first int) (distinct []set) {
	at := map[string]int{}
	for _, s := range sets {
		key := fmt.Sprint(m.sets[s])
		if _, ok := at[key]; !ok {
			at[key] = len(distinct)
			distinct = append(distinct, m.sets[s])
		}
		columns[s] = int64(first + at[key])
	}
	return distinct
}

// exportFeature adds the columns for the sets of a feature: its categories are numbered
// again, those in no set as 0, and have a row in a table each.
func (m *model) exportFeature(g *learn.Graph, feature int64, sets []set) (string, error) {
	categories := len(m.features[feature].Categories)
	var keys []float32
	var rows []int64
	table := make([]float32, len(sets))
	for code := range categories {
		in := make([]float32, len(sets))
		any := false
		for i, s := range sets {
			if s.has(float32(code)) {
				in[i], any = 1, true
			}
		}
		if any {
			keys, rows = append(keys, float32(code)), append(rows, int64(len(keys)+1))
			table = append(table, in...)
		}
	}
	if len(table) > tableValuesMax {
		return "", fmt.Errorf("%d sets of categories of %d are too many for an ONNX model: fit fewer trees or smaller ones", len(sets), len(keys))
	}
	column := g.Apply("Gather", []string{g.Matrix, g.Integers("feature", []int64{feature})}, onnx.IntAttribute("axis", 1))
	row := g.Name("category")
	g.DomainNode(learn.DomainML, "LabelEncoder", []string{column}, []string{row},
		onnx.FloatsAttribute("keys_floats", keys...), onnx.IntsAttribute("values_int64s", rows...), onnx.IntAttribute("default_int64", 0))
	return g.Apply("Gather", []string{g.Floats("sets", table, int64(len(keys)+1), int64(len(sets))), row}, onnx.IntAttribute("axis", 0)), nil
}

// ensemble is the attributes of a TreeEnsembleRegressor.
type ensemble struct {
	nodeIDs, treeIDs, features, trues, falses, missing []int64
	modes                                              []string
	values, hits                                       []float32
	leafTrees, leafNodes, leafTargets                  []int64
	weights                                            []float32
}

func (e *ensemble) add(id, target int64, t tree, columns []int64) {
	for i, n := range t {
		mode, feature, threshold, missing := "BRANCH_LEQ", int64(n.feature), n.threshold, int64(0)
		left, right := int64(n.left), int64(n.left)+1
		switch {
		case n.feature < 0:
			mode, feature, threshold, left, right = "LEAF", 0, 0, 0, 0
			e.leafTrees, e.leafNodes = append(e.leafTrees, id), append(e.leafNodes, int64(i))
			e.leafTargets, e.weights = append(e.leafTargets, target), append(e.weights, n.value)
		case n.set >= 0:
			// The column is 1 for the set, which is on the left.
			feature, threshold = columns[n.set], 0.5
			left, right = right, left
		case n.missingLeft:
			missing = 1
		}
		e.nodeIDs, e.treeIDs = append(e.nodeIDs, int64(i)), append(e.treeIDs, id)
		e.features, e.modes = append(e.features, feature), append(e.modes, mode)
		e.values, e.hits = append(e.values, threshold), append(e.hits, n.weight)
		e.trues, e.falses, e.missing = append(e.trues, left), append(e.falses, right), append(e.missing, missing)
	}
}

func (e *ensemble) attributes(base []float32) []onnx.Attribute {
	return []onnx.Attribute{
		onnx.IntAttribute("n_targets", int64(len(base))),
		onnx.FloatsAttribute("base_values", base...),
		onnx.StringAttribute("aggregate_function", "SUM"),
		onnx.StringAttribute("post_transform", "NONE"),
		onnx.IntsAttribute("nodes_treeids", e.treeIDs...),
		onnx.IntsAttribute("nodes_nodeids", e.nodeIDs...),
		onnx.IntsAttribute("nodes_featureids", e.features...),
		onnx.StringsAttribute("nodes_modes", e.modes...),
		onnx.FloatsAttribute("nodes_values", e.values...),
		onnx.FloatsAttribute("nodes_hitrates", e.hits...),
		onnx.IntsAttribute("nodes_truenodeids", e.trues...),
		onnx.IntsAttribute("nodes_falsenodeids", e.falses...),
		onnx.IntsAttribute("nodes_missing_value_tracks_true", e.missing...),
		onnx.IntsAttribute("target_treeids", e.leafTrees...),
		onnx.IntsAttribute("target_nodeids", e.leafNodes...),
		onnx.IntsAttribute("target_ids", e.leafTargets...),
		onnx.FloatsAttribute("target_weights", e.weights...),
	}
}
