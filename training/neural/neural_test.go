// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/linear/graphtest"
)

func fitted(t *testing.T, table, valid *learn.Table, o learn.FitOptions, given learn.Values) *model {
	t.Helper()
	m, err := trainerOf(t, given).Fit(context.Background(), table, valid, o)
	if err != nil {
		t.Fatal(err)
	}
	return m.(*model)
}

func trainerOf(t *testing.T, given learn.Values) learn.Trainer {
	t.Helper()
	method := Method()
	v, err := method.Complete(given)
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := method.New(v)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// rings is a task that no linear model learns: inside or outside of a ring, and a category
// that turns it around; some values are missing.
func rings(rows int, seed uint64) *learn.Table {
	r := rand.New(rand.NewPCG(seed, 9))
	t := &learn.Table{
		Features: []learn.Feature{{Name: "x"}, {Name: "kind", Categorical: true, Categories: []string{"a", "b", "c"}}, {Name: "y"}, {Name: "size"}},
		Values:   make([][]float32, 4), Classes: []string{"0", "1"},
	}
	for range rows {
		x, y, kind := r.NormFloat64(), r.NormFloat64(), r.IntN(4)
		inside := (x*x+y*y < 1.4) != (kind == 1)
		label := float32(0)
		if inside {
			label = 1
		}
		code := float32(kind)
		if kind == 3 {
			code = float32(math.NaN())
		}
		size := float32(math.Exp(3 * r.NormFloat64()))
		if r.IntN(10) == 0 {
			size = float32(math.NaN())
		}
		for i, v := range []float32{float32(x), code, float32(y), size} {
			t.Values[i] = append(t.Values[i], v)
		}
		t.Labels = append(t.Labels, label)
	}
	return t
}

func accuracy(m *model, t *learn.Table) float64 {
	raw := make([]float32, t.Rows()*m.Outputs())
	m.Predict(t.Values, raw)
	right := 0
	for row, label := range t.Labels {
		z := raw[row*m.Outputs() : (row+1)*m.Outputs()]
		guess := float32(0)
		if len(z) > 1 {
			guess = float32(slices.Index(z, slices.Max(z)))
		} else if z[0] > 0 {
			guess = 1
		}
		if guess == label {
			right++
		}
	}
	return float64(right) / float64(t.Rows())
}

// TestLearns also guards the traps of gorgonia: a machine that is not reset learns nothing
// and says nothing.
func TestLearns(t *testing.T) {
	var losses []float64
	progress := func(_, _ int, metrics map[string]float64) error {
		losses = append(losses, metrics["train_loss"])
		return nil
	}
	for _, activation := range []string{"relu", "tanh"} {
		losses = losses[:0]
		m := fitted(t, rings(3000, 1), nil, learn.FitOptions{Seed: 3, Progress: progress},
			learn.Values{"hidden": "24,12", "epochs": 25, "batch": 64, "learning_rate": 0.01, "activation": activation})
		if first, last := losses[0], losses[len(losses)-1]; last > first/2 {
			t.Errorf("%s: the loss fell from %v to %v only", activation, first, last)
		}
		if a := accuracy(m, rings(1000, 2)); a < 0.9 {
			t.Errorf("%s: accuracy %v on rows that were not seen", activation, a)
		}
	}
}

func TestMulticlassAndRegression(t *testing.T) {
	table := rings(2000, 4)
	table.Task, table.Classes = learn.Multiclass, []string{"in", "out", "far"}
	for row := range table.Labels {
		x, y := table.Values[0][row], table.Values[2][row]
		switch d := x*x + y*y; {
		case d < 0.7:
			table.Labels[row] = 0
		case d < 2.2:
			table.Labels[row] = 1
		default:
			table.Labels[row] = 2
		}
	}
	m := fitted(t, table, nil, learn.FitOptions{Seed: 1}, learn.Values{"hidden": "24", "epochs": 30, "batch": 64, "learning_rate": 0.01})
	if a := accuracy(m, table); a < 0.9 {
		t.Errorf("three classes: accuracy %v", a)
	}
	table.Task = learn.Regression
	for row := range table.Labels {
		table.Labels[row] = 1000 + 50*table.Values[0][row]*table.Values[2][row]
	}
	m = fitted(t, table, nil, learn.FitOptions{Seed: 1}, learn.Values{"hidden": "32,16", "epochs": 30, "batch": 64, "learning_rate": 0.01})
	raw := make([]float32, table.Rows())
	m.Predict(table.Values, raw)
	var squares float64
	for row, label := range table.Labels {
		squares += math.Pow(float64(raw[row]-label), 2)
	}
	if rmse := math.Sqrt(squares / float64(len(raw))); rmse > 20 {
		t.Errorf("regression: error %v where the labels deviate by 50", rmse)
	}
}

// TestGradients compares gorgonia's gradients with finite differences of our own forward
// pass, for every kind of parameter.
func TestGradients(t *testing.T) {
	for _, task := range []learn.Task{learn.Binary, learn.Multiclass, learn.Regression} {
		table := rings(40, 5)
		table.Task = task
		if task == learn.Multiclass {
			table.Classes = []string{"0", "1", "2"}
			table.Labels[7] = 2
		}
		table.Weights = make([]float32, 40)
		for i := range table.Weights {
			table.Weights[i] = 0.5 + float32(i%3)
		}
		tr := trainerOf(t, learn.Values{"hidden": "6,5", "batch": 64, "activation": "tanh"}).(*trainer)
		m := &model{task: task, recipe: tr.newRecipe(table), outputs: table.Outputs()}
		m.standardiseTarget(table)
		m.layers, m.tables = tr.newWeights(m.recipe, m.outputs, 11)
		g, err := newGraph(m, 40, false)
		if err != nil {
			t.Fatal(err)
		}
		f := &fit{trainer: tr, model: m, train: table, graph: g, unit: meanWeight(table)}
		order := make([]int, 40)
		for i := range order {
			order[i] = i
		}
		f.load(order, nil)
		loss, err := g.run()
		if err != nil {
			t.Fatal(err)
		}
		if own := m.loss(table); math.Abs(own-loss) > 1e-5*(1+own) {
			t.Errorf("task %v: gorgonia's loss is %v, ours %v", task, loss, own)
		}
		for i, p := range m.parameters() {
			gradient, err := g.gradient(i)
			if err != nil {
				t.Fatal(err)
			}
			gradient = slices.Clone(gradient)
			for _, k := range []int{0, len(p) / 2, len(p) - 1} {
				const h = 1e-2
				was := p[k]
				p[k] = was + h
				up := m.loss(table)
				p[k] = was - h
				down := m.loss(table)
				p[k] = was
				if want := (up - down) / (2 * h); math.Abs(want-float64(gradient[k])) > 2e-3 {
					t.Errorf("task %v, parameter %d[%d]: gradient %v, differences say %v", task, i, k, gradient[k], want)
				}
			}
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestReproducible(t *testing.T) {
	table, valid := rings(500, 1), rings(200, 2)
	values := learn.Values{"hidden": "8", "epochs": 3, "batch": 64, "dropout": 0.3}
	want := fitted(t, table, valid, learn.FitOptions{Seed: 7, Workers: 1}, values).parameters()
	other := fitted(t, table, valid, learn.FitOptions{Seed: 8}, values).parameters()
	if slices.Equal(want[1], other[1]) {
		t.Error("another seed gives the same weights")
	}
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			m, err := trainerOf(t, values).Fit(context.Background(), table, valid, learn.FitOptions{Seed: 7, Workers: 4})
			if err != nil {
				t.Error(err)
				return
			}
			for i, p := range m.(*model).parameters() {
				if !slices.Equal(p, want[i]) {
					t.Errorf("parameter %d differs", i)
				}
			}
		})
	}
	group.Wait()
}

func TestEarlyStopping(t *testing.T) {
	valid := rings(300, 2)
	var losses []float64
	progress := func(_, _ int, metrics map[string]float64) error {
		losses = append(losses, metrics["valid_loss"])
		return nil
	}
	m := fitted(t, rings(60, 1), valid, learn.FitOptions{Progress: progress},
		learn.Values{"hidden": "64", "epochs": 200, "batch": 16, "learning_rate": 0.02, "patience": 4})
	if len(losses) == 200 {
		t.Fatal("it never stopped")
	}
	if got := m.loss(valid); math.Abs(got-slices.Min(losses)) > 1e-9 || m.epochs != slices.Index(losses, slices.Min(losses))+1 {
		t.Errorf("kept the loss %v of epoch %d; the best was %v", got, m.epochs, slices.Min(losses))
	}
}

// TestExport holds the exported graph, on every engine there is, to Predict.
func TestExport(t *testing.T) {
	for name, values := range map[string]learn.Values{
		"relu":   {"hidden": "16,8", "epochs": 2},
		"tanh":   {"hidden": "16", "epochs": 2, "activation": "tanh", "log": "all"},
		"linear": {"hidden": "", "epochs": 2, "log": "none"},
	} {
		for _, task := range []learn.Task{learn.Binary, learn.Multiclass, learn.Regression} {
			t.Run(name+"/"+task.String(), func(t *testing.T) {
				table := rings(300, 3)
				table.Task = task
				m := fitted(t, table, nil, learn.FitOptions{Seed: 2}, values)
				odd := rings(50, 6)
				odd.Values[0][0], odd.Values[3][1], odd.Values[0][2] = float32(math.NaN()), 3e38, -3e38
				want := make([]float32, 50*m.Outputs())
				m.Predict(odd.Values, want)
				answers := graphtest.Run(t, odd.Features, m.Outputs(), graphtest.Columns(odd.Values), m.Export)
				graphtest.Equal(t, answers, want, func(i int) float64 { return 1e-4 * (1 + math.Abs(float64(want[i]))) })
			})
		}
	}
}

func TestRefuses(t *testing.T) {
	one := rings(50, 1)
	clear(one.Labels)
	empty := rings(50, 1)
	for i := range empty.Values {
		for row := range empty.Values[i] {
			empty.Values[i][row] = float32(math.NaN())
		}
	}
	empty.Features, empty.Values = empty.Features[2:], empty.Values[2:]
	infinite := rings(50, 1)
	infinite.Values[2][4] = float32(math.Inf(1))
	far := rings(400, 1)
	far.Task = learn.Multiclass // e^z overflows first
	monotone := rings(50, 1)
	monotone.Features[0].Monotone = 1
	for name, test := range map[string]struct {
		table  *learn.Table
		values learn.Values
		want   error
		text   string
	}{
		"one class": {one, nil, learn.ErrData, "all 50 rows"},
		"no values": {empty, nil, learn.ErrData, "no feature has a value"},
		"infinite":  {infinite, nil, learn.ErrData, "feature y is infinite in row 5"},
		"monotone":  {monotone, nil, learn.ErrParameters, "feature x"},
		"no rows":   {&learn.Table{}, nil, learn.ErrData, "no rows"},
		"diverges":  {far, learn.Values{"learning_rate": 1.0, "clip": 1e6, "hidden": "64,64,64,64", "schedule": "constant", "epochs": 60}, ErrDiverged, "smaller learning_rate than 1"},
	} {
		_, err := trainerOf(t, test.values).Fit(context.Background(), test.table, nil, learn.FitOptions{})
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	method := Method()
	for _, hidden := range []string{"a", "0", "-3", "9999999", "1,1,1,1,1,1,1,1,1"} {
		v, err := method.Complete(learn.Values{"hidden": hidden})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := method.New(v); !errors.Is(err, learn.ErrParameters) {
			t.Errorf("hidden %q: %v", hidden, err)
		}
	}
}

func TestCancelAndPrune(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := errors.New("pruned")
	progress := func(step, _ int, _ map[string]float64) error {
		if step == 2 {
			return stop
		}
		return nil
	}
	tr := trainerOf(t, learn.Values{"hidden": "4", "epochs": 10_000})
	if _, err := tr.Fit(ctx, rings(100, 1), nil, learn.FitOptions{Progress: progress}); !errors.Is(err, stop) {
		t.Errorf("pruned: %v", err)
	}
	progress = func(int, int, map[string]float64) error { cancel(); return nil }
	if _, err := tr.Fit(ctx, rings(100, 1), nil, learn.FitOptions{Progress: progress}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFewRows(t *testing.T) {
	table := rings(3, 1)
	table.Labels[0], table.Labels[1] = 0, 1
	fitted(t, table, table.Select([]int32{0}), learn.FitOptions{}, learn.Values{"batch": 1000, "epochs": 2})
}

// TestWeightsCountInFull: rows of a rare class that weigh as much as the others together
// count as much, though most batches have none of them.
func TestWeightsCountInFull(t *testing.T) {
	const rows, every = 6000, 150
	r := rand.New(rand.NewPCG(5, 6))
	table := &learn.Table{Features: []learn.Feature{{Name: "x"}}, Values: make([][]float32, 1), Classes: []string{"0", "1"}}
	for i := range rows {
		table.Values[0] = append(table.Values[0], float32(r.NormFloat64()))
		label, weight := float32(0), float32(1)
		if i%every == 0 {
			label, weight = 1, every-1
		}
		table.Labels, table.Weights = append(table.Labels, label), append(table.Weights, weight)
	}
	m := fitted(t, table, nil, learn.FitOptions{}, learn.Values{"hidden": "", "batch": 32, "epochs": 20, "clip": 1e6, "learning_rate": 0.01})
	raw, sum := make([]float32, rows), 0.0
	m.Predict(table.Values, raw)
	for _, z := range raw {
		sum += 1 / (1 + math.Exp(-float64(z)))
	}
	if mean := sum / rows; !(math.Abs(mean-0.5) < 0.08) {
		t.Errorf("predicts %v on average, want one half", mean)
	}
}
