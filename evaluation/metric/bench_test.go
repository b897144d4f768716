// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchmarkSample is of 0.8 % positives with scores that tell something, tied or not.
func benchmarkSample(rows int, tied bool) *Sample {
	rng := rand.New(rand.NewPCG(3, 4))
	s := &Sample{Outputs: 1, Labels: make([]float64, rows), Scores: make([]float64, rows)}
	for i := range rows {
		s.Scores[i] = rng.Float64() * rng.Float64()
		if rng.Float64() < 0.008+s.Scores[i]*s.Scores[i]/10 {
			s.Labels[i] = 1
		}
		if tied {
			s.Scores[i] = float64(int(s.Scores[i]*300)) / 300
		}
	}
	return s
}

// BenchmarkDraw measures one weighting of a million rows. 1 MB of counts is read in order of
// the scores, with 4 MB of row numbers and 1 MB of flags: bound by the second-level cache.
//
//	go test -run '^$' -bench Draw -benchtime 20x ./evaluation/metric
func BenchmarkDraw(b *testing.B) {
	const rows = 1_000_000
	for _, tied := range []bool{false, true} {
		s := benchmarkSample(rows, tied)
		rng := rand.New(rand.NewPCG(5, 6))
		counts := make([]uint8, rows)
		for range rows {
			counts[rng.IntN(rows)]++
		}
		for _, names := range [][]string{
			{"roc_auc"}, {"average_precision"}, {"roc_auc", "average_precision"},
			{"ece"}, {"log_loss"}, {"f1"}, {"precision@100"}, {"recall@fpr=0.01"}, {"ks"},
		} {
			metrics := make([]Metric, len(names))
			for i, n := range names {
				metrics[i], _ = Parse(n)
			}
			stats, err := PrepareAll(s, metrics)
			if err != nil {
				b.Fatal(err)
			}
			out := make([]float64, len(stats))
			b.Run(fmt.Sprintf("metrics=%v/tied=%t", names, tied), func(b *testing.B) {
				for b.Loop() {
					Values(stats, counts, out)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			})
		}
	}
}

// BenchmarkPrepare sorts a million rows.
func BenchmarkPrepare(b *testing.B) {
	s := benchmarkSample(1_000_000, false)
	m, _ := Parse("roc_auc")
	for b.Loop() {
		if _, err := m.Prepare(s); err != nil {
			b.Fatal(err)
		}
	}
}
