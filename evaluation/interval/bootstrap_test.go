// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/metric"
)

// scored makes labels and scores of two models, the second one a little worse.
func scored(random *rand.Rand, n int, rate float64) (labels, a, b []float64) {
	labels, a, b = make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range labels {
		if random.Float64() < rate {
			labels[i] = 1
		}
		shared := random.NormFloat64()
		a[i] = 1.3*labels[i] + 0.7*shared + 0.7*random.NormFloat64()
		b[i] = 1.2*labels[i] + 0.7*shared + 0.7*random.NormFloat64()
	}
	return labels, a, b
}

func bootstrap(t *testing.T, d Design, o Options, statistics ...metric.Statistic) *Draws {
	t.Helper()
	draws, err := Bootstrap(context.Background(), statistics, d, o)
	if err != nil {
		t.Fatal(err)
	}
	return draws
}

// TestReproducible checks that bits depend on the seed alone, not on workers, and that a
// draw does not depend on how many there are.
func TestReproducible(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 1))
	labels, a, b := scored(random, 777, 0.3)
	d := Design{Rows: 777}
	statistics := []metric.Statistic{auc{newRanking(labels, a)}, ap{newRanking(labels, b)}}
	one := bootstrap(t, d, Options{Draws: 60, Seed: 9, Workers: 1}, statistics...)
	for _, workers := range []int{2, 7, 1000} {
		other := bootstrap(t, d, Options{Draws: 60, Seed: 9, Workers: workers}, statistics...)
		for i := range statistics {
			if !slices.Equal(one.Values(i), other.Values(i)) || one.Interval(i) != other.Interval(i) {
				t.Errorf("statistic %d is different with %d workers", i, workers)
			}
		}
	}
	more := bootstrap(t, d, Options{Draws: 100, Seed: 9}, statistics...)
	if !slices.Equal(more.Values(0)[:60], one.Values(0)) {
		t.Error("the first draws change with the number of draws")
	}
	if again := bootstrap(t, d, Options{Draws: 60, Seed: 10}, statistics...); slices.Equal(again.Values(0), one.Values(0)) {
		t.Error("another seed gives the same draws")
	}
}

// TestPinned pins draws: results are compared with those of other machines and of years
// ago.
func TestPinned(t *testing.T) {
	s, err := newSampler(&Design{Rows: 1000})
	if err != nil {
		t.Fatal(err)
	}
	b, sum := s.newBuffers(), sha256.New()
	for draw := range 20 {
		s.draw(b, 42, draw)
		sum.Write(b.rows)
	}
	if got := hex.EncodeToString(sum.Sum(nil)[:8]); got != "aba9c51428846c76" {
		t.Errorf("the draws of seed 42 have changed: %s", got)
	}
}

// TestMetrics checks draws of package metric's statistics against those of the simple ones
// of this test.
func TestMetrics(t *testing.T) {
	statistics := benchStatistics(t, 3000, "roc_auc", "average_precision")
	sample := benchSample(3000)
	order := newRanking(sample.Labels, sample.Scores)
	draws := bootstrap(t, Design{Rows: 3000}, Options{Draws: 50}, statistics[0], auc{order}, statistics[1], ap{order})
	for i := 0; i < 4; i += 2 {
		for b, got := range draws.Values(i) {
			near(t, fmt.Sprintf("draw %d of statistic %d", b, i), got, draws.Values(i + 1)[b], 1e-12)
		}
		if d := draws.Difference(i, i+1); math.Abs(d.Low) > 1e-12 || math.Abs(d.High) > 1e-12 {
			t.Errorf("statistic %d: difference %+v", i, d)
		}
	}
}

// TestAgainstTheory checks the spread of draws of a mean and of a sum, whose variance is
// known: a sum of a constant does not vary, as each draw has as many rows.
func TestAgainstTheory(t *testing.T) {
	const n = 400
	random := rand.New(rand.NewPCG(5, 5))
	values, constant := make([]float64, n), make([]float64, n)
	variance := 0.0
	for i := range values {
		values[i], constant[i] = random.ExpFloat64(), 2
	}
	point := mean(values).Value(nil)
	for _, v := range values {
		variance += (v - point) * (v - point) / n
	}
	draws := bootstrap(t, Design{Rows: n}, Options{Draws: 4000}, mean(values), total(constant))
	i, want := draws.Interval(0), math.Sqrt(variance/n)
	if math.Abs(i.SE/want-1) > 0.05 || math.Abs(i.Bias) > 4*want/math.Sqrt(4000) || i.Value != point {
		t.Errorf("mean: %+v, want SE %v", i, want)
	}
	if !(i.Low < point && point < i.High) || i.High-point < point-i.Low {
		t.Errorf("mean of skewed values: interval %v to %v around %v does not reach further up", i.Low, i.High, point)
	}
	if s := draws.Interval(1); s.Low != 800 || s.High != 800 || s.SE != 0 {
		t.Errorf("sum of a constant: %+v", s)
	}
}

// TestUndefined checks that few draws without a value are left out and told, and that
// with many there is no interval.
func TestUndefined(t *testing.T) {
	labels, scores := make([]float64, 50), make([]float64, 50)
	for i := range scores {
		scores[i] = float64(i * 7 % 50)
	}
	for positives, defined := range []bool{false, false, false, false, true} {
		if positives == 3 { // near the bound: 3 positives are missed by 5 % of draws
			continue
		}
		clear(labels)
		for i := range positives {
			labels[10+i] = 1
		}
		draws := bootstrap(t, Design{Rows: 50}, Options{}, auc{newRanking(labels, scores)}, mean(scores))
		i, missed := draws.Interval(0), math.Pow(1-float64(positives)/50, 50)
		if i.Defined() != defined || math.IsNaN(i.High) == defined || math.IsNaN(i.Value) != (positives == 0) {
			t.Errorf("%d positives: %+v", positives, i)
		}
		if math.Abs(i.Undefined-missed) > 0.05 {
			t.Errorf("%d positives: %v of the draws are undefined, want %v", positives, i.Undefined, missed)
		}
		if p := draws.P(0, 1, 0.1); math.IsNaN(p) == defined {
			t.Errorf("%d positives: p = %v", positives, p)
		}
		if p := draws.PEqual(0, 1); math.IsNaN(p) == defined {
			t.Errorf("%d positives: p of equality = %v", positives, p)
		}
	}
}

func TestInfinite(t *testing.T) {
	draws := bootstrap(t, Design{Rows: 3}, Options{Draws: 50}, mean{1, math.Inf(1), 2}, mean{1, 2, 3})
	if i := draws.Interval(0); i.Defined() || !math.IsNaN(i.Value) {
		t.Errorf("an infinite metric: %+v", i)
	}
	if i := draws.Interval(1); !i.Defined() {
		t.Errorf("the metric beside it: %+v", i)
	}
}

// stopping cancels after some values.
type stopping struct {
	mean
	left   *int
	cancel context.CancelFunc
}

func (s stopping) Clone() metric.Statistic { return s }

func (s stopping) Value(counts []uint8) float64 {
	if *s.left--; *s.left == 0 {
		s.cancel()
	}
	return s.mean.Value(counts)
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := 5
	_, err := Bootstrap(ctx, []metric.Statistic{stopping{mean{1, 2, 3}, &left, cancel}}, Design{Rows: 3}, Options{Workers: 1})
	if !errors.Is(err, context.Canceled) || left != 0 {
		t.Errorf("cancelled after 5 values: %v, %d left", err, left)
	}
}

func TestNothingToDraw(t *testing.T) {
	if _, err := Bootstrap(context.Background(), nil, Design{Rows: 3}, Options{}); !errors.Is(err, ErrDesign) {
		t.Errorf("no statistics: %v", err)
	}
	many := make([]metric.Statistic, ValuesMax/DrawsMax+1)
	if _, err := Bootstrap(context.Background(), many, Design{Rows: 3}, Options{Draws: DrawsMax}); !errors.Is(err, ErrDesign) {
		t.Errorf("too many values: %v", err)
	}
}
