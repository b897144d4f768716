// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// smallSamples are one of each task.
func smallSamples() (list []*Sample) {
	rng := rand.New(rand.NewPCG(11, 12))
	for task := Binary; task <= Ranking; task++ {
		list = append(list, randomSample(rng, task, 12, task == Binary))
	}
	return list
}

func TestValidateRefuses(t *testing.T) {
	nan := math.NaN()
	for says, change := range map[string]func(s *Sample){
		"there are no rows":                      func(s *Sample) { *s = Sample{Outputs: 1} },
		"row 2: the label is NaN":                func(s *Sample) { s.Labels[2] = nan },
		"row 1: the label is +Inf":               func(s *Sample) { s.Labels[1] = math.Inf(1) },
		"row 0: label 2, a binary label is 0":    func(s *Sample) { s.Labels[0] = 2 },
		"row 3: the score is NaN":                func(s *Sample) { s.Scores[3] = nan },
		"row 3: the score is 1.5, a probability": func(s *Sample) { s.Scores[3] = 1.5 },
		"row 3: the score is -Inf":               func(s *Sample) { s.Scores[3], s.Uncalibrated = math.Inf(-1), true },
		"3 scores for 4 rows":                    func(s *Sample) { s.Scores = s.Scores[:3] },
		"5 scores for 4 rows":                    func(s *Sample) { s.Scores = append(s.Scores, 1) },
		"2 weights for 4 rows":                   func(s *Sample) { s.Weights = []float64{1, 2} },
		"row 1: weight 0":                        func(s *Sample) { s.Weights = []float64{1, 0, 1, 1} },
		"row 1: weight NaN":                      func(s *Sample) { s.Weights = []float64{1, nan, 1, 1} },
		"2 outputs, a binary sample has 1":       func(s *Sample) { s.Outputs = 2 },
		"0 outputs":                              func(s *Sample) { s.Outputs = 0 },
		"1 outputs, a multiclass sample":         func(s *Sample) { s.Task = Multiclass },
		"row 1: label 2, a class is numbered 0 to 1": func(s *Sample) {
			s.Task, s.Outputs, s.Scores, s.Labels[1] = Multiclass, 2, []float64{1, 0, 1, 0, 1, 0, 1, 0}, 2
		},
		`row 1: the probabilities sum to 0.9`: func(s *Sample) {
			s.Task, s.Outputs, s.Scores = Multiclass, 2, []float64{1, 0, 0.9, 0, 1, 0, 1, 0}
		},
		`row 1: the score of class "no" is NaN`: func(s *Sample) {
			s.Task, s.Outputs, s.Classes, s.Scores = Multiclass, 2, []string{"yes", "no"}, []float64{1, 0, 1, nan, 1, 0, 1, 0}
		},
		"1 names of classes for 2 outputs": func(s *Sample) {
			s.Task, s.Outputs, s.Classes, s.Scores = Multiclass, 2, []string{"yes"}, make([]float64, 8)
		},
		"0 numbers of queries for 4 rows": func(s *Sample) { s.Task = Ranking },
		"row 2: query -1 is negative":     func(s *Sample) { s.Task, s.Queries = Ranking, []int32{0, 0, -1, 1} },
		"row 0: relevance -1 is negative": func(s *Sample) { s.Task, s.Queries, s.Labels[0] = Ranking, make([]int32, 4), -1 },
		"the columns have 3 rows":         func(s *Sample) { s.Columns = &column.Batch{Rows: 3} },
		`column "x" has 0 values for 4 rows`: func(s *Sample) {
			s.Columns = &column.Batch{Rows: 4, Columns: []column.Column{{Name: "x", Type: column.Int64}}}
		},
		"there is no task 9": func(s *Sample) { s.Task = 9 },
	} {
		s := &Sample{Outputs: 1, Labels: []float64{0, 1, 1, 0}, Scores: []float64{0, 0.5, 1, 0.2}}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		change(s)
		if err := s.Validate(); !errors.Is(err, ErrSample) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, it should say %q", err, says)
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	s := &Sample{Outputs: 1, Labels: []float64{0, 1}, Scores: []float64{-3, 7}, Uncalibrated: true}
	for text, want := range map[string]error{"log_loss": ErrSample, "brier": ErrSample, "ece": ErrSample, "mae": ErrMetric, "roc_auc": nil, "f1@2": nil} {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Prepare(s); !errors.Is(err, want) {
			t.Errorf("%s of uncalibrated scores: %v", text, err)
		}
	}
	classes := smallSamples()[Multiclass]
	m, _ := Parse("recall:bb")
	if _, err := m.Prepare(classes); !errors.Is(err, ErrMetric) || !strings.Contains(err.Error(), `there is no class "bb"; did you mean "b"?`) {
		t.Errorf("a class that there is not: %v", err)
	}
}

// TestTogether prepares all metrics together and computes them at once, by several
// goroutines, as they are computed one by one.
func TestTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, rows := range []int{50, 2 * radixRows} {
		for _, weighted := range []bool{false, true} {
			s := randomSample(rng, Binary, rows, weighted)
			metrics := suiting(t, s)
			stats, err := PrepareAll(s, metrics)
			if err != nil {
				t.Fatal(err)
			}
			counts := randomCounts(rng, rows, nil)
			want := make([]float64, len(stats))
			for i, m := range metrics {
				want[i] = valueOf(t, m, s, counts)
			}
			var group sync.WaitGroup
			for range 3 {
				own := make([]Statistic, len(stats))
				for i := range own {
					own[i] = stats[i].Clone()
				}
				group.Go(func() {
					got := make([]float64, len(own))
					Values(own, counts, got)
					for i, m := range metrics {
						if !closeTo(got[i], want[i], 0) {
							t.Errorf("%s: %v together, %v alone", m.Name(), got[i], want[i])
						}
					}
				})
			}
			group.Wait()
		}
	}
}

// TestFastCountsAreMasses holds the fast ways by counts to the plain ones by mass.
func TestFastCountsAreMasses(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	for round := range 200 {
		s := randomSample(rng, Binary, 1+rng.IntN(900), false)
		counts, p := randomCounts(rng, s.Rows(), nil), newPrepared(s)
		for i := range counts {
			if round%5 == 0 {
				counts[i] = 255
			}
		}
		d := draw{p: p, counts: counts}
		r := p.by(0)
		for _, k := range []kernel{rocAUC{ranked{r}}, averagePrecision{ranked{r}}, decide(p, 0.4, kappa)} {
			fast, plain := k.(counting).valueCounts(d.drawn(k.ranking())), k.value(d.mass(k.ranking()))
			if !closeTo(fast, plain, 1e-13) {
				t.Fatalf("%T: %v by counts, %v by mass", k, fast, plain)
			}
		}
	}
}

func TestSortByScore(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	for _, rows := range []int{1, 100, radixRows, 3 * radixRows} {
		scores := make([]float64, rows)
		for i := range scores {
			scores[i] = math.Ldexp(rng.NormFloat64(), rng.IntN(40)-20)
			if rng.IntN(4) == 0 {
				scores[i] = []float64{0, math.Copysign(0, -1), 1, -1, 5e-324, -5e-324, math.MaxFloat64, -math.MaxFloat64}[rng.IntN(8)]
			}
		}
		order := make([]int32, rows)
		sortByScore(scores, 1, order)
		for i := 1; i < rows; i++ {
			a, b := order[i-1], order[i]
			if scores[a] < scores[b] || scores[a] == scores[b] && a >= b {
				t.Fatalf("%d rows: place %d has %v of row %d, then %v of row %d", rows, i, scores[a], a, scores[b], b)
			}
		}
	}
}
