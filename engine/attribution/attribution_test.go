// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// plain is a tree to compare with.
type plain struct {
	feature     int // -1 for a leaf
	mode        string
	threshold   float32
	missingTrue bool
	yes, no     *plain
	hits        float32
	values      []float32 // by output
}

func (p *plain) goes(x float32) bool {
	if x != x && p.missingTrue {
		return true
	}
	switch p.mode {
	case "BRANCH_LEQ":
		return x <= p.threshold
	case "BRANCH_LT":
		return x < p.threshold
	case "BRANCH_GTE":
		return x >= p.threshold
	case "BRANCH_GT":
		return x > p.threshold
	case "BRANCH_EQ":
		return x == p.threshold
	}
	return x != p.threshold
}

// expected is the score where the features of a set are known.
func (p *plain) expected(row []float32, known uint, output int, feature func(column int) int) float64 {
	if p.feature < 0 {
		return float64(p.values[output])
	}
	yes, no := p.yes.expected(row, known, output, feature), p.no.expected(row, known, output, feature)
	if known>>feature(p.feature)&1 == 1 {
		if p.goes(row[p.feature]) {
			return yes
		}
		return no
	}
	share := float64(p.yes.hits) / (float64(p.yes.hits) + float64(p.no.hits))
	return share*yes + (1-share)*no
}

func grow(r *rand.Rand, features, depth, outputs int, hits float32) *plain {
	if depth == 0 || r.IntN(6) == 0 || hits < 2 {
		p := &plain{feature: -1, hits: hits}
		for range outputs {
			p.values = append(p.values, float32(r.NormFloat64()))
		}
		return p
	}
	all := []string{"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"}
	left := float32(math.Round(float64(hits) * r.Float64()))
	left = min(max(left, 1), hits-1)
	return &plain{
		feature: r.IntN(features), mode: all[r.IntN(len(all))], threshold: float32(r.IntN(5) - 2), missingTrue: r.IntN(2) == 0, hits: hits,
		yes: grow(r, features, depth-1, outputs, left), no: grow(r, features, depth-1, outputs, hits-left),
	}
}

// writer lists the nodes of trees as ONNX does.
type writer struct {
	trees, ids, features, yes, no, missing []int64
	modes                                  []string
	thresholds, hits                       []float32
	leafTrees, leafIDs, leafTargets        []int64
	weights                                []float32
}

func (w *writer) add(tree int64, next *int64, p *plain) int64 {
	id := *next
	*next++
	at := len(w.ids)
	w.trees, w.ids, w.hits = append(w.trees, tree), append(w.ids, id), append(w.hits, p.hits)
	w.features, w.yes, w.no, w.missing = append(w.features, 0), append(w.yes, 0), append(w.no, 0), append(w.missing, 0)
	w.modes, w.thresholds = append(w.modes, "LEAF"), append(w.thresholds, 0)
	if p.feature < 0 {
		for k, v := range p.values {
			w.leafTrees, w.leafIDs = append(w.leafTrees, tree), append(w.leafIDs, id)
			w.leafTargets, w.weights = append(w.leafTargets, int64(k)), append(w.weights, v)
		}
		return id
	}
	w.features[at], w.modes[at], w.thresholds[at] = int64(p.feature), p.mode, p.threshold
	if p.missingTrue {
		w.missing[at] = 1
	}
	yes := w.add(tree, next, p.yes)
	no := w.add(tree, next, p.no)
	w.yes[at], w.no[at] = yes, no
	return id
}

func (w *writer) attributes(outputs int, base []float32) []onnx.Attribute {
	return []onnx.Attribute{
		onnx.IntAttribute("n_targets", int64(outputs)), onnx.FloatsAttribute("base_values", base...),
		onnx.IntsAttribute("nodes_treeids", w.trees...), onnx.IntsAttribute("nodes_nodeids", w.ids...),
		onnx.IntsAttribute("nodes_featureids", w.features...), onnx.StringsAttribute("nodes_modes", w.modes...),
		onnx.FloatsAttribute("nodes_values", w.thresholds...), onnx.FloatsAttribute("nodes_hitrates", w.hits...),
		onnx.IntsAttribute("nodes_truenodeids", w.yes...), onnx.IntsAttribute("nodes_falsenodeids", w.no...),
		onnx.IntsAttribute("nodes_missing_value_tracks_true", w.missing...),
		onnx.IntsAttribute("target_treeids", w.leafTrees...), onnx.IntsAttribute("target_nodeids", w.leafIDs...),
		onnx.IntsAttribute("target_ids", w.leafTargets...), onnx.FloatsAttribute("target_weights", w.weights...),
	}
}

func builderOf(features int) *onnx.Builder {
	b := onnx.NewBuilder("scores")
	b.Opset("ai.onnx.ml", 3)
	b.Input("input", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(features)))
	b.Output("scores", tensor.FP32, onnx.Symbol("rows"), onnx.Unknown())
	return b
}

func open(t testing.TB, b *onnx.Builder) *Explainer {
	t.Helper()
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(m)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func forestOf(features, outputs int, base []float32, forest []*plain) *onnx.Builder {
	b, w := builderOf(features), &writer{}
	for i, p := range forest {
		next := int64(0)
		w.add(int64(i), &next, p)
	}
	b.DomainNode("ai.onnx.ml", "TreeEnsembleRegressor", []string{"input"}, []string{"scores"}, w.attributes(outputs, base)...)
	return b
}

func randomRow(r *rand.Rand, features int) []float32 {
	row := make([]float32, features)
	for i := range row {
		row[i] = float32(r.IntN(7)-3) / float32(1+r.IntN(2))
		if r.IntN(8) == 0 {
			row[i] = float32(math.NaN())
		}
	}
	return row
}

// shapley adds up all subsets.
func shapley(features int, value func(known uint) float64) []float64 {
	parts := make([]float64, features)
	for j := range parts {
		for known := range uint(1) << features {
			if known>>j&1 == 1 {
				continue
			}
			k := bits.OnesCount(known)
			weight := math.Gamma(float64(k+1)) * math.Gamma(float64(features-k)) / math.Gamma(float64(features+1))
			parts[j] += weight * (value(known|1<<j) - value(known))
		}
	}
	return parts
}

func TestTreesAgainstAllSubsets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for trial := range 60 {
		features, outputs := 1+r.IntN(7), 1+r.IntN(2)
		forest, base := make([]*plain, 1+r.IntN(4)), make([]float32, outputs)
		for i := range forest {
			forest[i] = grow(r, features, r.IntN(9), outputs, 1000)
		}
		for k := range base {
			base[k] = float32(r.NormFloat64())
		}
		e := open(t, forestOf(features, outputs, base, forest))
		for range 5 {
			row, got := randomRow(r, features), make([]float64, features)
			for output := range outputs {
				value := func(known uint) float64 {
					sum := float64(base[output])
					for _, p := range forest {
						sum += p.expected(row, known, output, func(c int) int { return c })
					}
					return sum
				}
				from := e.ExplainOutput(row, output, got)
				if math.Abs(from-value(0)) > 1e-9 {
					t.Errorf("trial %d: base %v, want %v", trial, from, value(0))
				}
				for j, want := range shapley(features, value) {
					if math.Abs(got[j]-want) > 1e-9 {
						t.Fatalf("trial %d: feature %d of output %d adds %v, by all subsets %v", trial, j, output, got[j], want)
					}
				}
			}
		}
	}
}

// Columns made of one feature count as that feature, also where it has several.
func TestColumnsOfOneFeature(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 9))
	const features, columns = 4, 7
	feature := func(c int) int { return [columns]int{0, 1, 2, 3, 2, 2, 1}[c] }
	for trial := range 30 {
		p := grow(r, columns, 7, 1, 1000)
		b, w, next := builderOf(features), &writer{}, int64(0)
		w.add(0, &next, p)
		b.DomainNode("ai.onnx.ml", "Scaler", []string{"input"}, []string{"scaled"}, onnx.FloatsAttribute("offset", 0.5, 0, 0, 1), onnx.FloatsAttribute("scale", 2))
		b.Initializer(onnx.TensorOf("two", []int64{2}))
		b.Initializer(onnx.TensorOf("sets", []float32{0, -1, 1, 2, 0, 1}, 3, 2))
		b.Initializer(onnx.TensorOf("one", []int64{1}, 1))
		b.Initializer(onnx.TensorOf("fill", []float32{1.5}, 1, 1))
		b.Node("Gather", []string{"input", "two"}, []string{"code"}, onnx.IntAttribute("axis", 1))
		b.DomainNode("ai.onnx.ml", "LabelEncoder", []string{"code"}, []string{"at"}, onnx.FloatsAttribute("keys_floats", 1, 2), onnx.IntsAttribute("values_int64s", 1, 2), onnx.IntAttribute("default_int64", 0))
		b.Node("Gather", []string{"sets", "at"}, []string{"in"}, onnx.IntAttribute("axis", 0))
		b.Node("Gather", []string{"input", "one"}, []string{"first"}, onnx.IntAttribute("axis", 1))
		b.Node("IsNaN", []string{"first"}, []string{"absent"})
		b.Node("Where", []string{"absent", "fill", "first"}, []string{"filled"})
		b.Node("Concat", []string{"scaled", "in", "filled"}, []string{"columns"}, onnx.IntAttribute("axis", 1))
		b.DomainNode("ai.onnx.ml", "TreeEnsembleRegressor", []string{"columns"}, []string{"scores"}, w.attributes(1, nil)...)
		e := open(t, b)
		row, got := randomRow(r, features), make([]float64, features)
		inside := []float32{(row[0] - 0.5) * 2, row[1] * 2, row[2] * 2, (row[3] - 1) * 2, 0, -1, row[1]}
		switch row[2] {
		case 1:
			inside[4], inside[5] = 1, 2
		case 2:
			inside[4], inside[5] = 0, 1
		}
		if row[1] != row[1] {
			inside[6] = 1.5
		}
		value := func(known uint) float64 { return p.expected(inside, known, 0, feature) }
		e.Explain(row, got)
		for j, want := range shapley(features, value) {
			if math.Abs(got[j]-want) > 1e-9 {
				t.Fatalf("trial %d, row %v: feature %d adds %v, by all subsets %v", trial, row, j, got[j], want)
			}
		}
	}
}

func TestAgainstXGBoost(t *testing.T) {
	content, err := os.ReadFile("testdata/xgboost_contributions.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Nodes []struct {
			Tree, ID, Feature, Yes, No int64
			Leaf                       bool
			MissingYes                 bool `json:"missing_yes"`
			Value, Cover               float32
		}
		Rows          [][]*float32
		Contributions [][]float64
	}
	if err := json.Unmarshal(content, &golden); err != nil {
		t.Fatal(err)
	}
	w := &writer{}
	for _, n := range golden.Nodes {
		mode, missing := "BRANCH_LT", int64(0)
		if n.Leaf {
			mode = "LEAF"
			w.leafTrees, w.leafIDs = append(w.leafTrees, n.Tree), append(w.leafIDs, n.ID)
			w.leafTargets, w.weights = append(w.leafTargets, 0), append(w.weights, n.Value)
		}
		if n.MissingYes {
			missing = 1
		}
		w.trees, w.ids, w.hits = append(w.trees, n.Tree), append(w.ids, n.ID), append(w.hits, n.Cover)
		w.features, w.yes, w.no, w.missing = append(w.features, n.Feature), append(w.yes, n.Yes), append(w.no, n.No), append(w.missing, missing)
		w.modes, w.thresholds = append(w.modes, mode), append(w.thresholds, n.Value)
	}
	b := builderOf(5)
	b.DomainNode("ai.onnx.ml", "TreeEnsembleRegressor", []string{"input"}, []string{"scores"}, w.attributes(1, nil)...)
	e := open(t, b)
	for i, cells := range golden.Rows {
		row, got := make([]float32, 5), make([]float64, 5)
		for k, cell := range cells {
			if row[k] = float32(math.NaN()); cell != nil {
				row[k] = *cell
			}
		}
		got = append(got, e.Explain(row, got))
		for k, want := range golden.Contributions[i] {
			if math.Abs(got[k]-want) > 2e-5 {
				t.Errorf("row %d: contribution %d is %v, XGBoost has %v", i, k, got[k], want)
			}
		}
	}
}

func TestLinear(t *testing.T) {
	weights := []float32{1, -2, 0.5, 3, 0, 1} // by column: two outputs
	for name, finish := range map[string]func(b *onnx.Builder){
		"Gemm": func(b *onnx.Builder) {
			b.Initializer(onnx.TensorOf("w", weights, 3, 2))
			b.Initializer(onnx.TensorOf("b", []float32{7, 8}, 2))
			b.Node("Gemm", []string{"scaled", "w", "b"}, []string{"scores"})
		},
		"MatMul": func(b *onnx.Builder) {
			b.Initializer(onnx.TensorOf("w", weights, 3, 2))
			b.Initializer(onnx.TensorOf("b", []float32{7, 8}, 2))
			b.Node("MatMul", []string{"scaled", "w"}, []string{"product"})
			b.Node("Add", []string{"b", "product"}, []string{"scores"})
		},
		"LinearRegressor": func(b *onnx.Builder) {
			b.DomainNode("ai.onnx.ml", "LinearRegressor", []string{"scaled"}, []string{"scores"}, onnx.IntAttribute("targets", 2),
				onnx.FloatsAttribute("coefficients", 1, 0.5, 0, -2, 3, 1), onnx.FloatsAttribute("intercepts", 7, 8))
		},
	} {
		b := builderOf(3)
		b.DomainNode("ai.onnx.ml", "Scaler", []string{"input"}, []string{"scaled"}, onnx.FloatsAttribute("offset", 1, 2, 3), onnx.FloatsAttribute("scale", 1, 0.5, 2))
		finish(b)
		e, to := open(t, b), make([]float64, 3)
		if base := e.ExplainOutput([]float32{2, 4, 6}, 1, to); base != 8 || to[0] != -2 || to[1] != 3 || to[2] != 6 {
			t.Errorf("%s: base %v, parts %v", name, base, to)
		}
		all := make([]float64, 6)
		if base := e.Explain([]float32{2, 4, 6}, all); base != 7 || e.Base(1) != 8 || !slices.Equal(all[3:], to) || all[0] != 1 {
			t.Errorf("%s: base %v, parts of both %v", name, base, all)
		}
	}
}

// A product of features counts half for each.
func TestLinearProduct(t *testing.T) {
	b := builderOf(2)
	for i := range int64(2) {
		b.Initializer(onnx.TensorOf(fmt.Sprint("i", i), []int64{i}, 1))
		b.Node("Gather", []string{"input", fmt.Sprint("i", i)}, []string{fmt.Sprint("x", i)}, onnx.IntAttribute("axis", 1))
	}
	b.Node("Mul", []string{"x0", "x1"}, []string{"product"})
	b.Node("Concat", []string{"input", "product"}, []string{"terms"}, onnx.IntAttribute("axis", 1))
	b.Initializer(onnx.TensorOf("w", []float32{1, 1, 10}, 3, 1))
	b.Node("MatMul", []string{"terms", "w"}, []string{"scores"})
	e, to := open(t, b), make([]float64, 2)
	if base := e.Explain([]float32{2, 3}, to); base != 0 || to[0] != 32 || to[1] != 33 {
		t.Errorf("base %v, parts %v", base, to)
	}
}

func TestRefused(t *testing.T) {
	tree := func(change func(w *writer)) *onnx.Builder {
		b, w, next := builderOf(2), &writer{}, int64(0)
		w.add(0, &next, grow(rand.New(rand.NewPCG(4, 4)), 2, 3, 1, 100))
		change(w)
		b.DomainNode("ai.onnx.ml", "TreeEnsembleRegressor", []string{"input"}, []string{"scores"}, w.attributes(1, nil)...)
		return b
	}
	network := builderOf(2)
	network.Initializer(onnx.TensorOf("w", []float32{1, 2, 3, 4}, 2, 2))
	network.Node("MatMul", []string{"input", "w"}, []string{"hidden"})
	network.Node("Sigmoid", []string{"hidden"}, []string{"active"})
	network.Node("MatMul", []string{"active", "w"}, []string{"scores"})
	nothing := builderOf(2)
	nothing.Node("Identity", []string{"input"}, []string{"scores"})
	before := builderOf(2)
	before.Initializer(onnx.TensorOf("w", []float32{1, 2}, 2, 1))
	before.Node("Softmax", []string{"input"}, []string{"odd"})
	before.Node("MatMul", []string{"odd", "w"}, []string{"scores"})
	for name, b := range map[string]*onnx.Builder{
		"no hit rates":  tree(func(w *writer) { w.hits = nil }),
		"zero hits":     tree(func(w *writer) { clear(w.hits) }),
		"cycle":         tree(func(w *writer) { w.yes[0] = 0 }),
		"shared child":  tree(func(w *writer) { w.yes[0] = w.no[0] }),
		"no child":      tree(func(w *writer) { w.no[0] = 99 }),
		"column":        tree(func(w *writer) { w.features[0] = 2 }),
		"mode":          tree(func(w *writer) { w.modes[0] = "BRANCH_ODD" }),
		"short list":    tree(func(w *writer) { w.yes = w.yes[1:] }),
		"two of a node": tree(func(w *writer) { w.ids[1] = w.ids[0] }),
		"network":       network,
		"nothing":       nothing,
		"odd operator":  before,
	} {
		m, err := b.Model()
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := Open(m); !errors.Is(err, ErrNoAttribution) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Open(nil); !errors.Is(err, ErrNoAttribution) {
		t.Errorf("no model: error %v", err)
	}
}

// A model with an input for each feature has them side by side in a value "features".
func TestInputForEachFeature(t *testing.T) {
	b := onnx.NewBuilder("scores")
	b.Opset("ai.onnx.ml", 3)
	b.Input("amount", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	b.Input("place", tensor.Bytes, onnx.Symbol("rows"), onnx.Extent(1))
	b.Output("scores", tensor.FP32, onnx.Symbol("rows"), onnx.Unknown())
	b.DomainNode("ai.onnx.ml", "LabelEncoder", []string{"place"}, []string{"code"}, onnx.StringsAttribute("keys_strings", "x", "y"), onnx.FloatsAttribute("values_floats", 0, 1))
	b.Node("Concat", []string{"amount", "code"}, []string{"features"}, onnx.IntAttribute("axis", 1))
	for name, n := range map[string]int64{"start": 1, "end": math.MaxInt64, "axis": 1} {
		b.Initializer(onnx.TensorOf(name, []int64{n}, 1))
	}
	b.Node("Slice", []string{"features", "start", "end", "axis"}, []string{"last"})
	b.Node("Concat", []string{"features", "last"}, []string{"terms"}, onnx.IntAttribute("axis", 1))
	b.Initializer(onnx.TensorOf("w", []float32{1, 10, 100}, 3, 1))
	b.Node("MatMul", []string{"terms", "w"}, []string{"scores"})
	e, to := open(t, b), make([]float64, 2)
	if e.Explain([]float32{2, 1}, to); e.Matrix() != "features" || e.Features() != 2 || to[0] != 2 || to[1] != 110 {
		t.Errorf("parts of %s: %v", e.Matrix(), to)
	}
}

// full makes trees whose leaves are all at one depth.
func full(r *rand.Rand, features, depth int, hits float32) *plain {
	if depth == 0 {
		return &plain{feature: -1, hits: hits, values: []float32{float32(r.NormFloat64())}}
	}
	return &plain{feature: r.IntN(features), mode: "BRANCH_LEQ", threshold: float32(r.NormFloat64()), hits: hits,
		yes: full(r, features, depth-1, hits/2), no: full(r, features, depth-1, hits/2)}
}

func many(depth int) *onnx.Builder {
	r, forest := rand.New(rand.NewPCG(3, 3)), make([]*plain, 100)
	for i := range forest {
		forest[i] = full(r, 28, depth, 4096)
	}
	return forestOf(28, 1, nil, forest)
}

func TestDoesNotAllocate(t *testing.T) {
	e, row, to := open(t, many(3)), make([]float32, 28), make([]float64, 28)
	if n := testing.AllocsPerRun(100, func() { e.Explain(row, to) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// go test -run=- -bench=Explain ./engine/attribution
func BenchmarkExplain(b *testing.B) {
	for _, depth := range []int{6, 8} {
		b.Run(fmt.Sprintf("trees=100/features=28/depth=%d", depth), func(b *testing.B) {
			e, r, to := open(b, many(depth)), rand.New(rand.NewPCG(1, 1)), make([]float64, 28)
			rows := make([][]float32, 64)
			for i := range rows {
				rows[i] = make([]float32, 28)
				for k := range rows[i] {
					rows[i][k] = float32(r.NormFloat64())
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e.Explain(rows[i%64], to)
				i++
			}
		})
	}
}
