// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/linear/graphtest"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// mixed draws a table of a task: numbers of several scales, some missing, one without
// values, one that does not vary, one whose values repeat, and a category.
func mixed(r *rand.Rand, task learn.Task, rows int) *learn.Table {
	t := &learn.Table{Task: task, Features: numeric(7)}
	t.Features[4] = learn.Feature{Name: "channel", Type: column.String, Categorical: true, Categories: []string{"web", "pos", "atm"}}
	t.Values = make([][]float32, len(t.Features))
	for range rows {
		x := []float32{
			float32(r.NormFloat64()), float32(math.Exp(2 * r.NormFloat64())), float32(1e4 + 100*r.NormFloat64()),
			nan, float32(r.IntN(3)), 7, float32(max(0, r.IntN(8)-5)),
		}
		score := float64(x[0]) + math.Log(float64(x[1])) + float64(x[4]) - 1 + float64(x[6])
		if r.IntN(5) == 0 {
			x[r.IntN(2)] = nan
		}
		if r.IntN(10) == 0 {
			x[4] = nan
		}
		for f := range x {
			t.Values[f] = append(t.Values[f], x[f])
		}
		switch task {
		case learn.Binary:
			t.Labels = append(t.Labels, truth(r.Float64() < 1/(1+math.Exp(-score))))
		case learn.Multiclass:
			t.Labels = append(t.Labels, float32(min(max(int(score+r.NormFloat64()), 0), 3)))
		default:
			t.Labels = append(t.Labels, float32(100+20*score+r.NormFloat64()))
		}
	}
	if task == learn.Multiclass {
		t.Classes = []string{"a", "b", "c", "d"}
	}
	return t
}

// extremes appends rows that training has not: of nothing, of infinities, of categories
// that are unknown.
func extremes(values [][]float32) [][]float32 {
	all := make([][]float32, len(values))
	for f := range values {
		all[f] = append(slices.Clone(values[f]), nan, inf, -inf, math.MaxFloat32, -math.MaxFloat32, 0, 1e-40, -5, 2.5, 77, nan)
	}
	return all
}

func TestExportedPredicts(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass, learn.Regression} {
		for name, given := range map[string]learn.Values{
			"plain":      {},
			"sparse":     {"l1": 0.05},
			"knots":      {"knots": 5, "log": logSkewed},
			"bins":       {"bins": 4, "missing_indicator": false},
			"logs":       {"log": logAll},
			"everything": {"knots": 3, "bins": 7, "log": logSkewed, "products": true},
		} {
			t.Run(task.String()+"/"+name, func(t *testing.T) {
				r := rand.New(rand.NewPCG(1, uint64(task)))
				m := fitted(t, mixed(r, task, 700), given)
				values := extremes(mixed(r, task, 600).Values)
				want := make([]float32, len(values[0])*m.Outputs())
				m.Predict(values, want)
				answers := graphtest.Run(t, m.recipe.features, m.Outputs(), graphtest.Columns(values), m.Export)
				bounds := m.magnitudes(values)
				for i, p := range want {
					if p-p != 0 {
						t.Fatalf("score %d is %v", i, p)
					}
				}
				graphtest.Equal(t, answers, want, func(i int) float64 { return 1e-6 * bounds[i] })
			})
		}
	}
}

// magnitudes are the sums of the magnitudes of what is added up in a score, with what a
// logarithm or a factor of products may lose: float rounding is relative to it.
func (m *model) magnitudes(values [][]float32) []float64 {
	rows := len(values[0])
	bounds := make([]float64, rows*m.outputs)
	c, column := m.recipe.newChunk(), make([]float32, chunkRows)
	for from := 0; from < rows; from += chunkRows {
		end := min(from+chunkRows, rows)
		c.load(values, from, end)
		for k := range m.outputs {
			for i := from; i < end; i++ {
				bounds[i*m.outputs+k] = 10 + math.Abs(m.intercepts[k])
			}
			for j := range m.recipe.terms {
				term := &m.recipe.terms[j]
				c.write(term, column[:end-from])
				for i, x := range column[:end-from] {
					magnitude := math.Abs(float64(x))
					if term.kind == lineTerm || term.kind == productTerm {
						magnitude += math.Abs(float64(term.mean)) + factorMax
					}
					bounds[(from+i)*m.outputs+k] += math.Abs(m.weights[k][j]) * magnitude
				}
			}
		}
	}
	return bounds
}

// TestGradient holds the gradient to differences of the value, and the value to a plain sum.
func TestGradient(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass, learn.Regression} {
		r := rand.New(rand.NewPCG(2, uint64(task)))
		table := mixed(r, task, 300)
		table.Weights = make([]float32, table.Rows())
		for i := range table.Weights {
			table.Weights[i] = 0.5 + r.Float32()
		}
		trainer := trainerOf(t, task, learn.Values{"knots": 2, "bins": 2, "products": true}).(*trainer)
		recipe, err := trainer.newRecipe(table)
		if err != nil {
			t.Fatal(err)
		}
		d, err := newDesign(t.Context(), recipe, table, 2)
		if err != nil {
			t.Fatal(err)
		}
		p := &problem{design: d, task: task, outputs: table.Outputs(), l2: 0.3}
		p.setLabels(table)
		theta, gradient := make([]float64, p.size()), make([]float64, p.size())
		for i := range theta {
			theta[i] = r.NormFloat64() * 0.3
		}
		p.at(theta, gradient)
		for i := range theta {
			const step = 1e-5
			old := theta[i]
			theta[i] = old + step
			above := p.at(theta, nil)
			theta[i] = old - step
			below := p.at(theta, nil)
			theta[i] = old
			if got, want := gradient[i], (above-below)/(2*step); math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
				t.Errorf("%s: derivative %d is %v, want %v", task, i, got, want)
			}
		}
	}
}

// TestSameBits holds fits to L1, with any number of workers.
func TestSameBits(t *testing.T) {
	table := mixed(rand.New(rand.NewPCG(3, 3)), learn.Binary, 9000)
	for _, given := range []learn.Values{{"knots": 4}, {"l1": 0.01, "bins": 3}} {
		var first []float32
		for _, workers := range []int{1, 2, 5} {
			m, err := trainerOf(t, learn.Binary, given).Fit(t.Context(), table, nil, learn.FitOptions{Workers: workers})
			if err != nil {
				t.Fatal(err)
			}
			scores := make([]float32, table.Rows())
			m.Predict(table.Values, scores)
			if first == nil {
				first = scores
			} else if !slices.Equal(first, scores) {
				t.Errorf("%d workers give another model", workers)
			}
		}
	}
}

// TestSearchesAgree holds the two searches to the same minimum.
func TestSearchesAgree(t *testing.T) {
	table := mixed(rand.New(rand.NewPCG(4, 4)), learn.Binary, 2000)
	trainer := trainerOf(t, learn.Binary, learn.Values{"l2": 0.01, "knots": 3, "tolerance": 1e-8}).(*trainer)
	recipe, err := trainer.newRecipe(table)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDesign(t.Context(), recipe, table, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &problem{design: d, task: learn.Binary, outputs: 1, l2: 0.01}
	p.setLabels(table)
	newSearch := func() *search {
		return &search{problem: p, iterations: 500, tolerance: 1e-8, watch: func(int, []float64, float64) error { return nil }}
	}
	a, converged, err := newSearch().lbfgs(p.start())
	if err != nil || !converged {
		t.Fatal(converged, err)
	}
	b, converged, err := newSearch().owlqn(p.start())
	if err != nil || !converged {
		t.Fatal(converged, err)
	}
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-5 {
			t.Errorf("weight %d is %v and %v", i, a[i], b[i])
		}
	}
}

// TestExpansionsFit shows what expansions are for: a hump that no weighted sum has.
func TestExpansionsFit(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	table := &learn.Table{Task: learn.Regression, Features: numeric(2), Values: make([][]float32, 2)}
	for range 2000 {
		x, y := r.NormFloat64(), r.NormFloat64()
		table.Values[0], table.Values[1] = append(table.Values[0], float32(x)), append(table.Values[1], float32(y))
		table.Labels = append(table.Labels, float32(math.Exp(-x*x)+0.5*x*y))
	}
	loss := func(given learn.Values) float64 {
		given["l2"] = 1e-6
		scores := make([]float32, table.Rows())
		fitted(t, table, given).Predict(table.Values, scores)
		sum := 0.0
		for i, s := range scores {
			sum += math.Pow(float64(s-table.Labels[i]), 2)
		}
		return sum / float64(len(scores))
	}
	plain := loss(learn.Values{})
	bent := loss(learn.Values{"knots": 15})
	stepped := loss(learn.Values{"bins": 30})
	both := loss(learn.Values{"knots": 15, "products": true})
	if !(bent < 0.8*plain && stepped < 0.8*plain && both < 0.05*plain) {
		t.Errorf("mean squares: plain %v, knots %v, bins %v, knots and products %v", plain, bent, stepped, both)
	}
}

func TestProgress(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	train, valid := mixed(r, learn.Binary, 800), mixed(r, learn.Binary, 300)
	for _, l1 := range []float64{0, 0.01} {
		trainer := trainerOf(t, learn.Binary, learn.Values{"l1": l1})
		var losses, steps []float64
		_, err := trainer.Fit(t.Context(), train, valid, learn.FitOptions{Progress: func(step, total int, metrics map[string]float64) error {
			if step > total || !(metrics["valid_loss"] > 0) {
				return fmt.Errorf("step %d of %d has %v", step, total, metrics)
			}
			losses, steps = append(losses, metrics["train_loss"]), append(steps, float64(step))
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSorted(steps) || len(losses) < 3 || !(losses[len(losses)-1] < losses[0]) {
			t.Errorf("l1 %v: losses %v at %v", l1, losses, steps)
		}
		pruned := errors.New("pruned")
		_, err = trainer.Fit(t.Context(), train, nil, learn.FitOptions{Progress: func(int, int, map[string]float64) error { return pruned }})
		if !errors.Is(err, pruned) {
			t.Errorf("l1 %v: error %v", l1, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := trainer.Fit(ctx, train, nil, learn.FitOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("l1 %v: error %v", l1, err)
		}
	}
}

func TestImportance(t *testing.T) {
	m := fitted(t, mixed(rand.New(rand.NewPCG(7, 7)), learn.Binary, 3000), learn.Values{"log": logSkewed})
	importance := m.Importance()
	if importance[3] != 0 || importance[5] != 0 {
		t.Errorf("features without information have importance: %v", importance)
	}
	if slices.Max(importance) != importance[1] || importance[4] == 0 || importance[6] == 0 {
		t.Errorf("importance %v", importance)
	}
	if d := m.Describe(); !strings.Contains(d, "features without values left out: 1") {
		t.Errorf("description %q", d)
	}
}

func TestRefused(t *testing.T) {
	good := func() *learn.Table { return mixed(rand.New(rand.NewPCG(8, 8)), learn.Binary, 50) }
	for name, c := range map[string]struct {
		spoil func(t *learn.Table)
		given learn.Values
		want  error
		text  string
	}{
		"no rows":         {func(t *learn.Table) { *t = *t.Select(nil) }, nil, learn.ErrData, "no rows"},
		"one class":       {func(t *learn.Table) { clear(t.Labels) }, nil, learn.ErrData, "one class"},
		"label of NaN":    {func(t *learn.Table) { t.Labels[3] = nan }, nil, learn.ErrData, "row 3"},
		"label of 2":      {func(t *learn.Table) { t.Labels[3] = 2 }, nil, learn.ErrData, "row 3"},
		"infinite number": {func(t *learn.Table) { t.Values[2][4] = inf }, nil, learn.ErrData, "feature c is infinite in row 4"},
		"monotone":        {func(t *learn.Table) { t.Features[0].Monotone = 1 }, nil, learn.ErrParameters, "feature a"},
	} {
		table := good()
		c.spoil(table)
		_, err := trainerOf(t, learn.Binary, c.given).Fit(t.Context(), table, nil, learn.FitOptions{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	wide := &learn.Table{Task: learn.Regression, Features: make([]learn.Feature, 600), Labels: []float32{1, 2}}
	for range wide.Features {
		wide.Values = append(wide.Values, []float32{1, 2})
	}
	if _, err := trainerOf(t, learn.Regression, learn.Values{"products": true}).Fit(t.Context(), wide, nil, learn.FitOptions{}); !errors.Is(err, learn.ErrParameters) {
		t.Errorf("180,000 products: error %v", err)
	}
}

// TestNothingToLearnFrom has models of intercepts alone, which export too.
func TestNothingToLearnFrom(t *testing.T) {
	table := &learn.Table{Task: learn.Regression, Features: numeric(1), Values: [][]float32{{5, 5, 5, 5}}, Labels: []float32{1, 2, 3, 6}}
	m := fitted(t, table, nil)
	values := [][]float32{{nan, inf, 3}}
	want := make([]float32, 3)
	m.Predict(values, want)
	if !slices.Equal(want, []float32{3, 3, 3}) {
		t.Errorf("predictions %v", want)
	}
	graphtest.Equal(t, graphtest.Run(t, table.Features, 1, graphtest.Columns(values), m.Export), want, func(int) float64 { return 0 })
}

// TestHardRows has tables on which searches go astray easily: every score must be finite.
func TestHardRows(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	apart := &learn.Table{Task: learn.Binary, Features: numeric(1), Values: [][]float32{{1, 2, 3, 4}}, Labels: []float32{0, 0, 1, 1}}
	twins := mixed(r, learn.Regression, 200)
	twins.Values[5] = twins.Values[0]
	light := mixed(r, learn.Binary, 200)
	heavy := mixed(r, learn.Binary, 200)
	for range light.Labels {
		light.Weights, heavy.Weights = append(light.Weights, 1e-30), append(heavy.Weights, 1e30*r.Float32()+1)
	}
	far := mixed(r, learn.Binary, 200)
	for i := range far.Values[2] {
		far.Values[2][i] *= 1e30
	}
	flat := mixed(r, learn.Regression, 100)
	for i := range flat.Labels {
		flat.Labels[i] = 1e6
	}
	lonely := mixed(r, learn.Regression, 1)
	for name, table := range map[string]*learn.Table{"apart": apart, "twins": twins, "light": light, "heavy": heavy, "far": far, "flat": flat, "lonely": lonely} {
		for _, given := range []learn.Values{{"l2": 0.0}, {"l2": 1e6}, {"l1": 1e-3, "l2": 0.0}, {"l1": 1e6}, {"knots": 16, "bins": 32, "products": true}} {
			m, err := trainerOf(t, table.Task, given).Fit(t.Context(), table, nil, learn.FitOptions{})
			if err != nil {
				t.Errorf("%s, %v: %v", name, given, err)
				continue
			}
			values := extremes(table.Values)
			scores := make([]float32, len(values[0]))
			m.Predict(values, scores)
			for i, s := range scores {
				if s-s != 0 {
					t.Errorf("%s, %v: score %v of row %d", name, given, s, i)
					break
				}
			}
		}
	}
}

func TestEdges(t *testing.T) {
	if got := edges([]float32{0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6}, 3); !slices.IsSorted(got) || len(got) < 2 || got[0] <= 0 || got[len(got)-1] >= 6 {
		t.Errorf("edges %v", got)
	}
	if got := edges([]float32{1, 1, 2, 2}, 4); len(got) != 0 {
		t.Errorf("edges %v of two values", got)
	}
}
