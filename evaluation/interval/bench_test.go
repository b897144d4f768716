// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/metric"
)

// BenchmarkCounts is what a draw costs before any statistic. A row of no cluster costs a
// byte of randomness, a load of the table and a byte written.
//
//	go test -run '^$' -bench Counts ./evaluation/interval
func BenchmarkCounts(b *testing.B) {
	const rows = 1 << 20
	for _, clusters := range []int{0, rows / 10} {
		b.Run(fmt.Sprintf("rows=%d/clusters=%d", rows, clusters), func(b *testing.B) {
			d := Design{Rows: rows}
			for row := range rows * min(clusters, 1) {
				d.Clusters = append(d.Clusters, int32(row*7919%clusters))
			}
			s, err := newSampler(&d)
			if err != nil {
				b.Fatal(err)
			}
			buffers, draw := s.newBuffers(), 0
			b.ReportAllocs()
			for b.Loop() {
				s.draw(buffers, 1, draw)
				draw++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}

// BenchmarkBootstrap is the evaluation of a million rows, of which 3 % are positive, by
// 1000 draws of ROC AUC and average precision, with GOMAXPROCS workers. Draws of fewer
// rows and draws take as much for a row and draw (ns/row).
//
//	go test -run '^$' -bench 'Bootstrap/rows=1000000' -benchtime 1x ./evaluation/interval
func BenchmarkBootstrap(b *testing.B) {
	for _, size := range []struct{ rows, draws int }{{10_000, 1000}, {1_000_000, 1000}} {
		b.Run(fmt.Sprintf("rows=%d/draws=%d/metrics=auc+ap", size.rows, size.draws), func(b *testing.B) {
			if testing.Short() && size.rows > 10_000 {
				b.Skip("takes seconds")
			}
			statistics := benchStatistics(b, size.rows, "roc_auc", "average_precision")
			sum := 0.0
			for b.Loop() {
				draws, err := Bootstrap(context.Background(), statistics, Design{Rows: size.rows}, Options{Draws: size.draws})
				if err != nil {
					b.Fatal(err)
				}
				sum = draws.Interval(0).Low + draws.Interval(1).High
			}
			if math.IsNaN(sum) {
				b.Fatal("no interval")
			}
			b.ReportMetric(sum, "checksum")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size.rows)/float64(size.draws), "ns/row")
		})
	}
}

// BenchmarkDeLong is mostly sorting, twice.
func BenchmarkDeLong(b *testing.B) {
	const rows = 1_000_000
	labels, first, second := scored(rand.New(rand.NewPCG(2, 2)), rows, 0.03)
	for b.Loop() {
		if c, err := DeLong(labels, first, second, nil); err != nil || !(c.SE > 0) {
			b.Fatal(c, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

func benchStatistics(b testing.TB, rows int, names ...string) []metric.Statistic {
	b.Helper()
	sample := benchSample(rows)
	var metrics []metric.Metric
	for _, name := range names {
		m, err := metric.Parse(name)
		if err != nil {
			b.Fatal(err)
		}
		metrics = append(metrics, m)
	}
	statistics, err := metric.PrepareAll(sample, metrics)
	if err != nil {
		b.Fatal(err)
	}
	return statistics
}

func benchSample(rows int) *metric.Sample {
	random := rand.New(rand.NewPCG(1, 1))
	sample := &metric.Sample{Task: metric.Binary, Outputs: 1, Labels: make([]float64, rows), Scores: make([]float64, rows)}
	for i := range rows {
		if random.Float64() < 0.03 {
			sample.Labels[i] = 1
		}
		sample.Scores[i] = 1 / (1 + math.Exp(3.5-2*sample.Labels[i]-random.NormFloat64()))
	}
	return sample
}
