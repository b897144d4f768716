// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
)

// mixed makes rows with missing values, few and many different values, infinities and
// categories, some of them missing.
func mixed(task learn.Task, rows int, seed uint64) *learn.Table {
	r := rand.New(rand.NewPCG(seed, 3))
	t := numbers(task, make([]float32, rows), make([]float32, rows), make([]float32, rows), make([]float32, rows), make([]float32, rows), make([]float32, rows))
	t.Features[3] = learn.Feature{Name: "place", Type: column.String, Categorical: true, Categories: make([]string, 40)}
	t.Features[4] = learn.Feature{Name: "number", Type: column.String, Categorical: true, Categories: make([]string, 700)}
	if task == learn.Multiclass {
		t.Classes = []string{"a", "b", "c"}
	}
	nan := float32(math.NaN())
	for i := range rows {
		v := [5]float32{float32(r.NormFloat64()), float32(r.IntN(6)), float32(r.ExpFloat64()), float32(r.IntN(40)), float32(r.IntN(700))}
		z := float64(v[0]) + math.Sin(float64(v[1])) + float64(int(v[3])%3) + float64(int(v[4])%2)
		for f := range v {
			if r.IntN(10) == 0 {
				v[f], z = nan, z+0.3
			}
			t.Values[f][i] = v[f]
		}
		if r.IntN(50) == 0 {
			t.Values[2][i] = float32(math.Inf(r.IntN(2)*2 - 1))
		}
		switch z += r.NormFloat64(); task {
		case learn.Binary:
			t.Labels[i] = float32(min(1, max(0, math.Floor(z/2))))
		case learn.Multiclass:
			t.Labels[i] = float32(min(2, max(0, math.Floor(z))))
		default:
			t.Labels[i] = float32(z)
		}
	}
	return t
}

func TestSameWithAnyNumberOfWorkers(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass, learn.Regression} {
		train, valid := mixed(task, 40_000, 1), mixed(task, 2000, 2)
		for _, v := range []learn.Values{
			{"trees": 3, "max_depth": 7, "subsample": 0.9, "feature_fraction": 0.6},
			{"trees": 3, "max_leaves": 20, "min_child_rows": 30},
		} {
			one := fitted(t, v, train, valid, learn.FitOptions{Seed: 9, Workers: 1})
			for _, workers := range []int{2, 7} {
				two := fitted(t, v, train, valid, learn.FitOptions{Seed: 9, Workers: workers})
				if !reflect.DeepEqual(one.trees, two.trees) || !reflect.DeepEqual(one.sets, two.sets) || !slices.Equal(one.base, two.base) {
					t.Fatalf("%v, %v: the models differ", task, v)
				}
			}
			other := fitted(t, v, train, valid, learn.FitOptions{Seed: 10, Workers: 1})
			if v["subsample"] != nil && reflect.DeepEqual(one.trees, other.trees) {
				t.Errorf("%v, %v: another seed gives the same model", task, v)
			}
		}
	}
}

// Histograms that are made again are those that were given up.
func TestSameWithFewHistograms(t *testing.T) {
	train := mixed(learn.Binary, 5000, 1)
	made, err := newTrainer(complete(t, learn.Values{"trees": 4, "max_leaves": 40, "max_depth": 12, "min_child_rows": 3}))
	if err != nil {
		t.Fatal(err)
	}
	var models [2]*model
	for i, bytes := range []int{histogramBytesMax, 1} {
		f := newFit(&made.(*trainer).options, train, nil, learn.FitOptions{Workers: 2})
		f.grow.histogramBytes = bytes
		if _, err := f.run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		models[i] = f.model
	}
	if !reflect.DeepEqual(models[0].trees, models[1].trees) {
		t.Error("the trees differ")
	}
}

// Training adds leaf values by bin; Predict walks by value.
func TestScoresOfTrainingArePredictions(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass, learn.Regression} {
		train, valid := mixed(task, 3000, 1), mixed(task, 500, 2)
		method := Method()
		v, err := method.Complete(learn.Values{"trees": 20, "subsample": 0.5, "patience": 0})
		if err != nil {
			t.Fatal(err)
		}
		made, err := newTrainer(v)
		if err != nil {
			t.Fatal(err)
		}
		o := made.(*trainer).options
		f := newFit(&o, train, valid, learn.FitOptions{Seed: 4})
		m, err := f.run(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			table  *learn.Table
			scores [][]float32
		}{{train, f.scores}, {valid, f.valid.scores}} {
			got := predict(m, c.table)
			for i, s := range got {
				k, row := i%m.Outputs(), i/m.Outputs()
				want := c.scores[k][row]
				if task == learn.Regression { // which is learnt about its base
					want += f.model.base[k]
				}
				if math.Abs(float64(s-want)) > 1e-5*(1+math.Abs(float64(want))) {
					t.Fatalf("%v: row %d: Predict gives %v, training had %v", task, row, s, c.scores[k][row])
				}
			}
		}
	}
}

func TestPredictIsWalk(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass} {
		train := mixed(task, 3000, 1)
		m := fitted(t, learn.Values{"trees": 15}, train, nil, learn.FitOptions{})
		if m.forest == nil {
			t.Fatal("the kernels refuse the trees")
		}
		fast := predict(m, train)
		m.forest = nil
		if !slices.Equal(fast, predict(m, train)) {
			t.Errorf("%v: the kernels predict other scores", task)
		}
	}
}

func TestLearns(t *testing.T) {
	train, test := Synthetic(20_000, 12, 1), Synthetic(5000, 12, 2)
	for _, v := range []learn.Values{{"trees": 60}, {"trees": 60, "max_leaves": 31, "max_depth": 12}, {"trees": 60, "subsample": 0.6, "feature_fraction": 0.8}, {"trees": 60, "alpha": 0.5, "gamma": 0.2}} {
		var losses []float64
		m := fitted(t, v, train, test, learn.FitOptions{Progress: func(_, _ int, metrics map[string]float64) error {
			losses = append(losses, metrics["train_loss"])
			return nil
		}})
		if v["subsample"] == nil && !slices.IsSortedFunc(losses, func(a, b float64) int { return int(math.Copysign(1, b-a)) }) {
			t.Errorf("%v: the loss of training does not fall: %v", v, losses)
		}
		if auc := areaUnder(predict(m, test), test.Labels); auc < 0.87 {
			t.Errorf("%v: AUC %v", v, auc)
		}
		importance := m.Importance()
		if least, most := slices.Min(importance[:9]), slices.Max(importance[9:]); least < 2*most {
			t.Errorf("%v: importance of noise is %v, of what matters as little as %v", v, most, least)
		}
	}
}

func TestMissingValuesHaveASide(t *testing.T) {
	nan := float32(math.NaN())
	x, y := make([]float32, 400), make([]float32, 400)
	for i := range x {
		// Missing values are like the high ones.
		x[i], y[i] = float32(i%10), float32(i%10/5)
		if i%10 == 9 {
			x[i] = nan
		}
	}
	m := fitted(t, learn.Values{"trees": 10, "learning_rate": 1.0}, numbers(learn.Regression, y, x), nil, learn.FitOptions{})
	to := make([]float32, 3)
	m.Predict([][]float32{{2, 7, nan}}, to)
	if to[0] > 0.05 || to[1] < 0.95 || to[2] < 0.95 {
		t.Errorf("scores %v of low, high, missing", to)
	}
}

func TestMonotone(t *testing.T) {
	train := Synthetic(10_000, 9, 1)
	for _, direction := range []int8{1, -1} {
		// The label falls with feature 8, rises with feature 3 and does neither with 2.
		for _, f := range []int{8, 3, 2} {
			train.Features[f].Monotone = direction
		}
		m := fitted(t, learn.Values{"trees": 40, "max_leaves": 24}, train, nil, learn.FitOptions{})
		r := rand.New(rand.NewPCG(5, 5))
		for _, f := range []int{8, 3, 2} {
			values := make([][]float32, 9)
			const steps = 60
			for k := range values {
				values[k] = slices.Repeat([]float32{float32(r.NormFloat64())}, steps)
			}
			for i := range values[f] {
				values[f][i] = float32(i-steps/2) / 10
			}
			to := make([]float32, steps)
			m.Predict(values, to)
			for i := 1; i < steps; i++ {
				if float64(direction)*float64(to[i]-to[i-1]) < -1e-6 {
					t.Errorf("direction %d, feature %d: %v comes after %v", direction, f, to[i], to[i-1])
				}
			}
		}
	}
}

func TestWeightsAreRepeatedRows(t *testing.T) {
	train := mixed(learn.Binary, 1500, 1)
	train.Weights = make([]float32, train.Rows())
	var rows []int32
	for i := range train.Weights {
		train.Weights[i] = float32(1 + i%3)
		for range 1 + i%3 {
			rows = append(rows, int32(i))
		}
	}
	repeated := train.Select(rows)
	repeated.Weights = nil
	// Cuts are by rows: values are made so few that each has a bin.
	for _, table := range []*learn.Table{train, repeated} {
		for f := range 3 {
			for i, x := range table.Values[f] {
				table.Values[f][i] = float32(math.Floor(float64(x)*4) / 4)
			}
		}
		for i, x := range table.Values[4] {
			table.Values[4][i] = float32(math.Mod(float64(x), 100))
		}
	}
	v := learn.Values{"trees": 10, "max_depth": 4}
	a, b := predict(fitted(t, v, train, nil, learn.FitOptions{}), train), predict(fitted(t, v, repeated, nil, learn.FitOptions{}), train)
	for i := range a {
		if math.Abs(float64(a[i]-b[i])) > 1e-4 {
			t.Fatalf("row %d: %v with weights, %v with repeated rows", i, a[i], b[i])
		}
	}
}

func TestEarlyStopping(t *testing.T) {
	train, valid := Synthetic(600, 9, 1), Synthetic(600, 9, 2)
	var losses []float64
	m := fitted(t, learn.Values{"trees": 400, "learning_rate": 0.3, "patience": 15}, train, valid, learn.FitOptions{
		Progress: func(_, _ int, metrics map[string]float64) error {
			losses = append(losses, metrics["valid_loss"])
			return nil
		}})
	best := slices.Index(losses, slices.Min(losses)) + 1
	if len(m.trees) != best || len(losses) != best+15 || best == 400 {
		t.Errorf("kept %d trees after %d rounds; round %d was best", len(m.trees), len(losses), best)
	}
	scores, loss := predict(m, valid), 0.0
	for i, s := range scores {
		loss += math.Log1p(math.Exp(float64(s))) - float64(valid.Labels[i]*s)
	}
	if loss /= float64(len(scores)); math.Abs(loss-losses[best-1]) > 1e-6 {
		t.Errorf("the loss is %v, it was told as %v", loss, losses[best-1])
	}
}

// A category split parts all categories at once, one-hot columns one at a time.
func TestCategories(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const rows, kinds = 3000, 12
	code, y := make([]float32, rows), make([]float32, rows)
	oneHot := make([][]float32, kinds)
	for k := range oneHot {
		oneHot[k] = make([]float32, rows)
	}
	for i := range code {
		k := r.IntN(kinds)
		code[i], y[i] = float32(k), float32(k*7%kinds%2)
		oneHot[k][i] = 1
	}
	table := numbers(learn.Regression, y, code)
	table.Features[0].Categorical, table.Features[0].Categories = true, make([]string, kinds)
	v := learn.Values{"trees": 1, "learning_rate": 1.0, "max_depth": 1, "lambda": 0.0, "category_smoothing": 0.0}
	m := fitted(t, v, table, nil, learn.FitOptions{})
	for i, s := range predict(m, table) {
		if math.Abs(float64(s-y[i])) > 1e-5 {
			t.Fatalf("one split of categories gives %v for %v", s, y[i])
		}
	}
	v["max_depth"] = kinds
	hot := numbers(learn.Regression, y, oneHot...)
	for i, s := range predict(fitted(t, v, hot, nil, learn.FitOptions{}), hot) {
		if math.Abs(float64(s-y[i])) > 1e-5 {
			t.Fatalf("splits of one-hot columns give %v for %v", s, y[i])
		}
	}
	unseen := make([]float32, 2)
	m.Predict([][]float32{{float32(math.NaN()), 400}}, unseen)
	if unseen[0] != unseen[1] {
		t.Errorf("missing gives %v, out of range %v", unseen[0], unseen[1])
	}
}

func TestLosses(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const rows = 8000
	x, y := make([]float32, rows), make([]float32, rows)
	for i := range x {
		x[i] = float32(r.Float64() * 4)
		y[i] = x[i] + float32(r.ExpFloat64())
	}
	table := numbers(learn.Regression, y, x)
	for _, q := range []float64{0.1, 0.5, 0.9} {
		m := fitted(t, learn.Values{"trees": 60, "loss": "pinball", "quantile": q, "max_depth": 3}, table, nil, learn.FitOptions{})
		below := 0.0
		for i, s := range predict(m, table) {
			if y[i] <= s {
				below++
			}
		}
		if share := below / rows; math.Abs(share-q) > 0.02 {
			t.Errorf("%v of the labels are below the quantile of %v", share, q)
		}
	}
	// Few labels that are far out move the mean, but not the Huber loss's answer.
	for i := 0; i < rows; i += 50 {
		y[i] += 10_000
	}
	m := fitted(t, learn.Values{"trees": 200, "loss": "huber", "max_depth": 3}, table, nil, learn.FitOptions{})
	to := make([]float32, 1)
	m.Predict([][]float32{{2}}, to)
	if to[0] < 2 || to[0] > 4 {
		t.Errorf("the Huber loss gives %v where labels are about 3", to[0])
	}
}

func TestBadData(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	ramp := []float32{1, 2, 3, 4}
	good := numbers(learn.Binary, []float32{0, 1, 0, 1}, ramp)
	empty := numbers(learn.Binary, nil, nil)
	weighted := numbers(learn.Binary, []float32{0, 1, 0, 1}, ramp)
	weighted.Weights = []float32{1, 1, 0, 1}
	huge := numbers(learn.Regression, []float32{1e30, -1e30, -1e30, 1e30}, ramp)
	huge.Weights = []float32{1e30, 1e30, 1e30, 1e30}
	for name, c := range map[string]struct{ train, valid *learn.Table }{
		"one class":      {numbers(learn.Binary, []float32{1, 1, 1, 1}, ramp), nil},
		"no rows":        {empty, nil},
		"empty valid":    {good, empty},
		"no features":    {numbers(learn.Binary, []float32{0, 1}), nil},
		"NaN label":      {numbers(learn.Regression, []float32{0, nan, 2, 3}, ramp), nil},
		"infinite label": {numbers(learn.Regression, []float32{0, inf, 2, 3}, ramp), nil},
		"huge weights":   {huge, nil},
		"no class":       {numbers(learn.Binary, []float32{0, 1, 2, 1}, ramp), nil},
		"weight 0":       {weighted, nil},
		"other features": {good, numbers(learn.Binary, []float32{0, 1, 0, 1}, ramp, ramp)},
		"short column":   {numbers(learn.Binary, []float32{0, 1, 0, 1}, ramp[:3]), nil},
	} {
		if _, err := trainerOf(t, nil).Fit(t.Context(), c.train, c.valid, learn.FitOptions{}); !errors.Is(err, learn.ErrData) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestOddData(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	none := []float32{nan, nan, nan, nan}
	for name, table := range map[string]*learn.Table{
		"all missing":     numbers(learn.Regression, []float32{1, 2, 3, 4}, none),
		"constant":        numbers(learn.Regression, []float32{1, 2, 3, 4}, []float32{7, 7, 7, 7}),
		"infinite values": numbers(learn.Regression, []float32{1, 2, 3, 4}, []float32{-inf, inf, inf, nan}),
		"zeros":           numbers(learn.Regression, []float32{1, 2, 3, 4}, []float32{0, float32(math.Copysign(0, -1)), 1, 1}),
		"one row":         numbers(learn.Regression, []float32{5}, []float32{1}),
		"equal labels":    numbers(learn.Regression, []float32{5, 5, 5, 5}, []float32{1, 2, 3, 4}),
	} {
		m := fitted(t, learn.Values{"trees": 3}, table, nil, learn.FitOptions{})
		mean := float32(weightedMean(table))
		for i, s := range predict(m, table) {
			if !finite(s) || (m.trees[0].leaves() == 1 && math.Abs(float64(s-mean)) > 1e-6) {
				t.Errorf("%s: row %d scores %v", name, i, s)
			}
		}
		t.Log(name, m.Describe())
	}
}

func TestEnds(t *testing.T) {
	train := Synthetic(500, 9, 1)
	ctx, cancel := context.WithCancel(t.Context())
	rounds := 0
	_, err := trainerOf(t, learn.Values{"trees": 50}).Fit(ctx, train, nil, learn.FitOptions{Progress: func(int, int, map[string]float64) error {
		if rounds++; rounds == 5 {
			cancel()
		}
		return nil
	}})
	if !errors.Is(err, context.Canceled) || rounds != 5 {
		t.Errorf("after %d rounds: %v", rounds, err)
	}
	pruned := errors.New("pruned")
	_, err = trainerOf(t, nil).Fit(t.Context(), train, nil, learn.FitOptions{Progress: func(int, int, map[string]float64) error { return pruned }})
	if !errors.Is(err, pruned) {
		t.Errorf("error %v", err)
	}
	if _, err := newTrainer(complete(t, learn.Values{"max_leaves": 1})); !errors.Is(err, learn.ErrParameters) {
		t.Errorf("one leaf: error %v", err)
	}
}

func complete(t *testing.T, v learn.Values) learn.Values {
	t.Helper()
	method := Method()
	c, err := method.Complete(v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSortsAndBins(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n, kinds := 1+r.IntN(3000), 1+r.IntN(1000)
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(r.IntN(kinds)-kinds/2) / 8
			if r.IntN(20) == 0 {
				values[i] = float32(math.NaN())
			}
		}
		table := numbers(learn.Regression, make([]float32, n), values)
		b := newBinned(table, 3+r.IntN(254), 1)
		f, counts := b.features[0], map[uint8]int{}
		if !slices.IsSorted(f.cuts) || len(f.cuts) != f.count || f.count > missingBin {
			t.Fatalf("cuts %v", f.cuts)
		}
		for i, x := range values {
			bin := b.column(0)[i*groupMax]
			counts[bin]++
			if bin != f.bin(x) {
				t.Fatalf("%v is in bin %d, put finds %d", x, bin, f.bin(x))
			}
			if x == x && (x > f.cuts[bin] || bin > 0 && x <= f.cuts[bin-1]) {
				t.Fatalf("%v is in bin %d of %v", x, bin, f.cuts)
			}
		}
		for bin := range f.count {
			if f.count > 1 && counts[uint8(bin)] == 0 {
				t.Errorf("bin %d of %d is empty", bin, f.count)
			}
		}
	}
	if minus := float32(math.Copysign(0, -1)); keyOf(minus) != keyOf(0) {
		t.Error("zeros differ")
	}
}

// TestSmallLabels: a table of other units has trees of the same shape.
func TestSmallLabels(t *testing.T) {
	table := mixed(learn.Regression, 2000, 3)
	small := *table
	small.Labels = make([]float32, table.Rows())
	for i, y := range table.Labels {
		small.Labels[i] = y / (1 << 20) // which is exact
	}
	method := Method()
	v, err := method.Complete(learn.Values{"trees": 5})
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := method.New(v)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, of := range []*learn.Table{table, &small} {
		m, err := trainer.Fit(t.Context(), of, nil, learn.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, m.Describe())
	}
	if said[0] != said[1] {
		t.Errorf("%s; of small labels %s", said[0], said[1])
	}
}

// TestLabelsFarFromZero: what is added to all labels is added to all predictions.
func TestLabelsFarFromZero(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	near := &learn.Table{Task: learn.Regression, Features: []learn.Feature{{Name: "x"}}, Values: make([][]float32, 1)}
	for range 500 {
		x := float32(r.IntN(64))
		near.Values[0], near.Labels = append(near.Values[0], x), append(near.Labels, x/8)
	}
	far := *near
	far.Labels = make([]float32, near.Rows())
	for i, y := range near.Labels {
		far.Labels[i] = y + 1e6 // floats are 1/16 apart there
	}
	method := Method()
	v, err := method.Complete(learn.Values{"trees": 200})
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := method.New(v)
	if err != nil {
		t.Fatal(err)
	}
	m, err := trainer.Fit(t.Context(), &far, nil, learn.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float32, far.Rows())
	m.Predict(far.Values, scores)
	for i, y := range far.Labels {
		if d := math.Abs(float64(scores[i] - y)); d > 0.13 {
			t.Fatalf("row %d: %v is predicted for %v", i, scores[i], y)
		}
	}
}
