// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millrace-ml/millrace/training/learn"
)

// rowsMax bounds a table, so that a packed derivative keeps at least four bits.
const rowsMax = 1 << 27

// fit is the state of one Fit.
type fit struct {
	*options
	table     *learn.Table
	objective objective
	grow      grower
	random    *rand.Rand
	workers   int
	// scores and pairs are by output, then by row.
	scores [][]float32
	pairs  [][]pair
	// valid is nil where there is none.
	valid *watched
	model *model
	// least is the least gain of a split, without gamma.
	least float64
	// sides are the bins of the model's sets of categories.
	sides []*sides
}

// watched is a table that the model is judged on after each round.
type watched struct {
	table  *learn.Table
	data   *binned
	scores [][]float32
}

// Fit implements learn.Trainer.
func (t *trainer) Fit(ctx context.Context, train, valid *learn.Table, o learn.FitOptions) (learn.Model, error) {
	if err := check(train, "training"); err != nil {
		return nil, err
	}
	if valid != nil && valid.Rows() == 0 {
		return nil, fmt.Errorf("%w: the validation table has no rows: give none at all, or a larger share", learn.ErrData)
	}
	if valid != nil {
		if err := check(valid, "validation"); err != nil {
			return nil, err
		}
		if len(valid.Features) != len(train.Features) || valid.Outputs() != train.Outputs() {
			return nil, fmt.Errorf("%w: the validation table has other features or classes than the training table", learn.ErrData)
		}
	}
	if err := checkClasses(train); err != nil {
		return nil, err
	}
	f := newFit(&t.options, train, valid, o)
	return f.run(ctx, o.Progress)
}

// check refuses what no loss can be computed of.
func check(t *learn.Table, what string) error {
	switch {
	case t.Rows() == 0:
		return fmt.Errorf("%w: the %s table has no rows", learn.ErrData, what)
	case t.Rows() > rowsMax:
		return fmt.Errorf("%w: the %s table has %d rows, more than %d: take a sample", learn.ErrData, what, t.Rows(), rowsMax)
	case len(t.Features) == 0:
		return fmt.Errorf("%w: the %s table has no features", learn.ErrData, what)
	}
	for i, y := range t.Labels {
		switch {
		case !finite(y):
			return fmt.Errorf("%w: the label of %s row %d is %v", learn.ErrData, what, i, y)
		case t.Task != learn.Regression && (y < 0 || y >= float32(classesOf(t)) || y != float32(int(y))):
			return fmt.Errorf("%w: the label of %s row %d is %v, which is no class: there are %d", learn.ErrData, what, i, y, classesOf(t))
		}
		if w := t.Weight(i); !(w > 0) || !finite(w) {
			return fmt.Errorf("%w: the weight of %s row %d is %v: weights are above 0", learn.ErrData, what, i, w)
		}
	}
	for i, f := range t.Features {
		if f.Categorical && len(f.Categories) > learn.CategoriesMax {
			return fmt.Errorf("%w: feature %q has %d categories, more than %d", learn.ErrData, f.Name, len(f.Categories), learn.CategoriesMax)
		}
		if f.Categorical && f.Monotone != 0 {
			return fmt.Errorf("%w: feature %q is categorical, which has no order to be monotone in", learn.ErrData, f.Name)
		}
		if len(t.Values[i]) != t.Rows() {
			return fmt.Errorf("%w: feature %q has %d values for %d rows", learn.ErrData, f.Name, len(t.Values[i]), t.Rows())
		}
	}
	return nil
}

func classesOf(t *learn.Table) int {
	if t.Task == learn.Binary {
		return 2
	}
	return len(t.Classes)
}

// checkClasses refuses labels of one class.
func checkClasses(t *learn.Table) error {
	if t.Task == learn.Regression {
		return nil
	}
	for _, y := range t.Labels {
		if y != t.Labels[0] {
			return nil
		}
	}
	name := fmt.Sprint(t.Labels[0])
	if i := int(t.Labels[0]); i < len(t.Classes) {
		name = t.Classes[i]
	}
	return fmt.Errorf("%w: all %d labels are of class %s: there is nothing to tell apart", learn.ErrData, t.Rows(), name)
}

func newFit(o *options, train, valid *learn.Table, fo learn.FitOptions) *fit {
	n, outputs := train.Rows(), train.Outputs()
	f := &fit{options: o, table: train, objective: objectiveOf(train.Task, o), workers: workersOf(fo.Workers)}
	f.random = rand.New(rand.NewPCG(fo.Seed, 0x7265657374726565))
	data := newBinned(train, o.bins, f.workers)
	f.grow = grower{
		options: o, features: train.Features, data: data, workers: f.workers, histogramBytes: histogramBytesMax,
		packed: make([]uint64, n), used: make([]bool, len(train.Features)),
		order: make([]int32, n), spare: make([]int32, n), ordered: make([]uint64, n),
	}
	f.model = newModel(train.Features, f.objective.base(train))
	start := f.model.base
	if train.Task == learn.Regression {
		f.table, valid = centred(train, start[0]), centred(valid, start[0])
		start = []float32{0}
	}
	f.least = leastGain(f.table)
	f.scores = scoresOf(start, n)
	f.pairs = make([][]pair, outputs)
	for k := range f.pairs {
		f.pairs[k] = make([]pair, n)
	}
	if valid != nil {
		f.valid = &watched{valid, data.like(valid, f.workers), scoresOf(start, valid.Rows())}
	}
	return f
}

// centred is a table with labels less a constant, so that scores are near zero while they
// are summed: near ten million they could not grow by less than one.
func centred(t *learn.Table, base float32) *learn.Table {
	if t == nil {
		return nil
	}
	c := *t
	c.Labels = make([]float32, len(t.Labels))
	for i, y := range t.Labels {
		c.Labels[i] = y - base
	}
	return &c
}

func scoresOf(base []float32, rows int) [][]float32 {
	scores := make([][]float32, len(base))
	for k := range scores {
		scores[k] = make([]float32, rows)
		for i := range scores[k] {
			scores[k][i] = base[k]
		}
	}
	return scores
}

// run boosts until the rounds or the patience are at their end.
func (f *fit) run(ctx context.Context, progress learn.Progress) (learn.Model, error) {
	best, bestRound := math.Inf(1), 0
	for round := 1; round <= f.trees; round++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := f.round(); err != nil {
			return nil, err
		}
		metrics := map[string]float64{}
		if f.valid != nil {
			loss := f.loss(f.valid.table, f.valid.scores)
			metrics["valid_loss"] = loss
			if loss < best {
				best, bestRound = loss, round
			}
		}
		if progress != nil {
			metrics["train_loss"] = f.loss(f.table, f.scores)
			if err := progress(round, f.trees, metrics); err != nil {
				return nil, err
			}
		}
		if f.valid != nil && f.patience > 0 && round-bestRound >= f.patience {
			break
		}
	}
	if f.valid != nil && f.patience > 0 {
		f.model.trees = f.model.trees[:bestRound*len(f.scores)]
	}
	f.model.finish()
	return f.model, nil
}

// loss is the mean over the weighted rows.
func (f *fit) loss(t *learn.Table, scores [][]float32) float64 {
	blocks := blocksOf(t.Rows())
	sums, weights := make([]float64, blocks), make([]float64, blocks)
	parallel(f.workers, blocks, func(b int) {
		lo, hi := block(b, t.Rows())
		sums[b] = f.objective.loss(t, scores, lo, hi)
		for i := lo; i < hi; i++ {
			weights[b] += float64(t.Weight(i))
		}
	})
	return sum(sums) / sum(weights)
}

func sum(values []float64) (s float64) {
	for _, v := range values {
		s += v
	}
	return s
}

// round adds a tree for each output.
func (f *fit) round() error {
	n := f.table.Rows()
	parallel(f.workers, blocksOf(n), func(b int) {
		lo, hi := block(b, n)
		f.objective.gradients(f.table, f.scores, lo, hi, f.pairs)
	})
	in, out := f.sample()
	f.chooseFeatures()
	for k := range f.scores {
		f.grow.order = append(f.grow.order[:0], in...)
		if err := f.prepare(k); err != nil {
			return err
		}
		root := f.grow.grow()
		f.settle(root, k)
		t := f.flatten(root)
		f.model.trees = append(f.model.trees, t)
		parallel(f.workers, blocksOf(len(out)), func(b int) {
			lo, hi := block(b, len(out))
			f.walk(t, f.grow.data, out[lo:hi], f.scores[k])
		})
		if f.valid != nil {
			f.watch(t, k)
		}
	}
	return nil
}

// sample draws the rows of a round; the rest is out.
func (f *fit) sample() (in, out []int32) {
	n := f.table.Rows()
	in = make([]int32, 0, n)
	for row := range int32(n) {
		if f.subsample >= 1 || f.random.Float64() < f.subsample {
			in = append(in, row)
		} else {
			out = append(out, row)
		}
	}
	if len(in) == 0 {
		return out, nil
	}
	return in, out
}

// chooseFeatures draws the features of a round: at least one.
func (f *fit) chooseFeatures() {
	used := f.grow.used
	if f.featureFraction >= 1 {
		for i := range used {
			used[i] = true
		}
		return
	}
	clear(used)
	wanted := max(1, int(math.Round(f.featureFraction*float64(len(used)))))
	for _, i := range f.random.Perm(len(used))[:wanted] {
		used[i] = true
	}
}

// prepare packs the derivatives of an output.
func (f *fit) prepare(k int) error {
	pairs := f.pairs[k]
	blocks := blocksOf(len(pairs))
	gs, hs := make([]float64, blocks), make([]float64, blocks)
	parallel(f.workers, blocks, func(b int) {
		lo, hi := block(b, len(pairs))
		g, h := 0.0, 0.0
		for _, p := range pairs[lo:hi] {
			g += math.Abs(float64(p.g))
			h += float64(p.h)
		}
		gs[b], hs[b] = g, h
	})
	absG, h := sum(gs), sum(hs)
	if math.IsNaN(absG+h) || math.IsInf(absG+h, 0) {
		return fmt.Errorf("%w: labels or weights are so large that derivatives of the loss overflow: scale them down", learn.ErrData)
	}
	s := scaleOf(absG, h, len(pairs))
	parallel(f.workers, blocks, func(b int) {
		lo, hi := block(b, len(pairs))
		s.pack(pairs[lo:hi], f.grow.packed[lo:hi])
	})
	bounded := false
	for _, feature := range f.table.Features {
		bounded = bounded || feature.Monotone != 0
	}
	f.grow.rules = rulesOf(s, f.options, f.least, bounded)
	return nil
}

// walk adds a tree's values to the scores of rows, by their bins.
func (f *fit) walk(t tree, data *binned, rows []int32, scores []float32) {
	for _, row := range rows {
		scores[row] += f.leafOf(t, data, int(row))
	}
}

func (f *fit) leafOf(t tree, data *binned, row int) float32 {
	n := &t[0]
	for n.feature >= 0 {
		bin := data.column(n.feature)[row*groupMax]
		left := bin <= n.bin
		if n.set >= 0 {
			left = f.sides[n.set][bin] == 1
		} else if bin == missingBin {
			left = n.missingLeft
		}
		if left {
			n = &t[n.left]
		} else {
			n = &t[n.left+1]
		}
	}
	return n.value
}

// watch adds a tree to the scores of the validation rows.
func (f *fit) watch(t tree, k int) {
	rows := f.valid.table.Rows()
	parallel(f.workers, blocksOf(rows), func(b int) {
		lo, hi := block(b, rows)
		for row := lo; row < hi; row++ {
			f.valid.scores[k][row] += f.leafOf(t, f.valid.data, row)
		}
	})
}
