// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/millrace-ml/millrace/labeling/quality"
	"github.com/millrace-ml/millrace/labeling/selection"
)

// Options say how to measure.
type Options struct {
	// Seeds is the number of runs: 0 is 10.
	Seeds int
	// First and Step are the labels to begin with, drawn at random, and those of a round:
	// 0 is 300 and 300.
	First, Step int
	// Labels is how many random selection gets: 0 is 5000, half of banking77. What it
	// reaches with them is the accuracy to reach.
	Labels int
	// Flip is the share of labels that FlippedFound makes wrong: 0 is 0.1.
	Flip float64
	// Top is how many of the first FlippedFound looks at: 0 is 200.
	Top int
	// Folds of the cross-validation of FlippedFound: 0 is 5.
	Folds int
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{{&o.Seeds, 10}, {&o.First, 300}, {&o.Step, 300}, {&o.Labels, 5000}, {&o.Top, 200}, {&o.Folds, 5}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.Flip == 0 {
		o.Flip = 0.1
	}
}

func (o *Options) validate(t *Texts) error {
	if o.Seeds < 2 || o.First < 1 || o.Step < 1 || o.Labels < o.First || o.Labels > len(t.Train) || o.Folds < 2 ||
		o.Top < 1 || o.Top > len(t.Train) || !(o.Flip > 0 && o.Flip < 1) {
		return fmt.Errorf("options %+v: want 2 seeds and folds or more, first <= labels <= %d, top in it, and flip between 0 and 1", *o, len(t.Train))
	}
	return nil
}

// Interval is a mean over seeds with its 95 % interval (Student's t).
type Interval struct {
	Mean, Low, High float64
	// Runs are the numbers of the seeds.
	Runs []float64
}

func interval(runs []float64) Interval {
	mean, deviation := stat.MeanStdDev(runs, nil)
	n := float64(len(runs))
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) * deviation / math.Sqrt(n)
	return Interval{mean, mean - half, mean + half, runs}
}

// Needed is what LabelsNeeded measured.
type Needed struct {
	// Ratio is the labels that margin needs by those that random does: at most 0.7 is the
	// target.
	Ratio Interval
	// Accuracy is what random selection reached with Labels.
	Accuracy Interval
}

// LabelsNeeded measures margin against random selection. A tenth of what margin selection
// chooses is still drawn at random, as it is in use.
func LabelsNeeded(t *Texts, o Options) (Needed, error) {
	o.EnsureDefaults()
	if err := o.validate(t); err != nil {
		return Needed{}, err
	}
	ratio, accuracy := make([]float64, o.Seeds), make([]float64, o.Seeds)
	err := each(o.Seeds, func(seed int) error {
		lots := rand.New(rand.NewPCG(uint64(seed), 1)).Perm(len(t.Train))
		m := fit(t.Train, t.TrainLabels, lots[:o.Labels], t.Words, len(t.Labels), uint64(seed))
		accuracy[seed] = m.accuracy(t.Test, t.TestLabels)
		points, err := curve(t, &o, lots, accuracy[seed], uint64(seed))
		ratio[seed] = reach(points, accuracy[seed]) / float64(o.Labels)
		return err
	})
	return Needed{interval(ratio), interval(accuracy)}, err
}

// point is an accuracy with a number of labels.
type point struct {
	labels   int
	accuracy float64
}

// curve selects by margin, round by round, from the first of lots on, which random
// selection has too. It ends with two rounds at the accuracy to reach, or with as many
// labels as random selection.
func curve(t *Texts, o *Options, lots []int, target float64, seed uint64) ([]point, error) {
	labelled, pool := append([]int(nil), lots[:o.First]...), append([]int(nil), lots[o.First:]...)
	var points []point
	for {
		m := fit(t.Train, t.TrainLabels, labelled, t.Words, len(t.Labels), seed)
		points = append(points, point{len(labelled), m.accuracy(t.Test, t.TestLabels)})
		n := len(points)
		if n > 1 && min(points[n-1].accuracy, points[n-2].accuracy) >= target || len(labelled) >= o.Labels {
			return points, nil
		}
		chosen, err := selection.Select(&selection.Pool{Size: len(pool), Probabilities: m.predict(t.Train, pool)},
			selection.Options{Strategy: selection.Margin, Count: min(o.Step, o.Labels-len(labelled)), Seed: seed<<16 + uint64(n)})
		if err != nil {
			return nil, err
		}
		gone := make([]bool, len(pool))
		for _, c := range chosen {
			labelled = append(labelled, pool[c.Item])
			gone[c.Item] = true
		}
		rest := pool[:0]
		for i, item := range pool {
			if !gone[i] {
				rest = append(rest, item)
			}
		}
		pool = rest
	}
}

// reach is the number of labels at which a curve reaches an accuracy, between the rounds
// in proportion. It must be there for two rounds, so that a lucky one does not count. A
// curve that does not get there counts as its end.
func reach(points []point, target float64) float64 {
	for i := range len(points) - 1 {
		if points[i].accuracy < target || points[i+1].accuracy < target {
			continue
		}
		if i == 0 {
			return float64(points[0].labels)
		}
		before, here := points[i-1], points[i]
		return float64(before.labels) + float64(here.labels-before.labels)*max(0, target-before.accuracy)/max(here.accuracy-before.accuracy, 1e-12)
	}
	return float64(points[len(points)-1].labels)
}

// Found is what FlippedFound measured.
type Found struct {
	// Precision is the share of truly flipped labels among the first Top: at least 0.8 is
	// the target. The data set has wrong labels of its own, which count against it.
	Precision Interval
	// Issues is how many issues were found, and Recall the share of flipped labels that is
	// among them.
	Issues, Recall Interval
}

// FlippedFound flips labels at random and looks for them with confident learning.
func FlippedFound(t *Texts, o Options) (Found, error) {
	o.EnsureDefaults()
	if err := o.validate(t); err != nil {
		return Found{}, err
	}
	precision, issues, recall := make([]float64, o.Seeds), make([]float64, o.Seeds), make([]float64, o.Seeds)
	err := each(o.Seeds, func(seed int) error {
		labels, flipped := flip(t, o.Flip, uint64(seed))
		report, err := quality.Find(labels, outOfSample(t, labels, o.Folds, uint64(seed)), quality.Options{})
		if err != nil {
			return err
		}
		if len(report.Issues) < o.Top {
			return fmt.Errorf("seed %d: only %d issues", seed, len(report.Issues))
		}
		for i, issue := range report.Issues {
			if flipped[issue.Item] {
				recall[seed]++
				if i < o.Top {
					precision[seed] += 1 / float64(o.Top)
				}
			}
		}
		recall[seed] /= float64(len(flipped))
		issues[seed] = float64(len(report.Issues))
		return nil
	})
	return Found{interval(precision), interval(issues), interval(recall)}, err
}

// flip makes a share of the labels wrong, each other label being as likely.
func flip(t *Texts, share float64, seed uint64) (labels []int, flipped map[int]bool) {
	r := rand.New(rand.NewPCG(seed, 2))
	labels, flipped = append([]int(nil), t.TrainLabels...), map[int]bool{}
	for _, i := range r.Perm(len(labels))[:int(share*float64(len(labels)))] {
		labels[i] = (labels[i] + 1 + r.IntN(len(t.Labels)-1)) % len(t.Labels)
		flipped[i] = true
	}
	return labels, flipped
}

// outOfSample is the probabilities of each text by the model of the folds it is not in.
func outOfSample(t *Texts, labels []int, folds int, seed uint64) [][]float64 {
	rows := make([][]float64, len(labels))
	lots := rand.New(rand.NewPCG(seed, 3)).Perm(len(labels))
	for fold := range folds {
		var in, out []int
		for n, i := range lots {
			if n%folds == fold {
				out = append(out, i)
			} else {
				in = append(in, i)
			}
		}
		m := fit(t.Train, labels, in, t.Words, len(t.Labels), seed)
		for n, row := range m.predict(t.Train, out) {
			rows[out[n]] = row
		}
	}
	return rows
}

// each runs the seeds on all processors.
func each(seeds int, run func(int) error) error {
	errs := make([]error, seeds)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(seeds, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for seed := range next {
				errs[seed] = run(seed)
			}
		})
	}
	for seed := range seeds {
		next <- seed
	}
	close(next)
	workers.Wait()
	return errors.Join(errs...)
}
