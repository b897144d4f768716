// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"testing"
)

// BenchmarkCards builds the 15 published features of 1.75 million payments, from one Parquet
// file to another. Some 120 MB go through the shuffle of events and 80 MB through that of
// queries; the windows take most of the time, about 0.3 µs for each row and view.
//
//	go test ./featurestore/dataset -run '^$' -bench Cards -benchtime 3x
func BenchmarkCards(b *testing.B) {
	c := cards(b)
	output := filepath.Join(b.TempDir(), "cards.parquet")
	for b.Loop() {
		m, err := Build(b.Context(), cardOptions(c, output))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(m.Rows.Out)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	}
	report(b)
}

// BenchmarkJoin joins labels with rows by time, Parquet to Parquet. A row is read (24
// bytes), spread (32), loaded, marked (16), put in order, and looked at once.
//
//	go test ./featurestore/dataset -run '^$' -bench Join -benchtime 3x
func BenchmarkJoin(b *testing.B) {
	for _, sorted := range []bool{true, false} {
		b.Run(fmt.Sprintf("labels=1000000/rows=5000000/keys=100000/sorted=%v", sorted), func(b *testing.B) {
			rows, labels := 5_000_000, 1_000_000
			if testing.Short() {
				rows, labels = 50_000, 10_000
			}
			w := newJoinWorld(rand.New(rand.NewPCG(1, 14)), rows, labels, 100_000, sorted)
			o := w.options(b, b.TempDir())
			*w = joinWorld{}
			for b.Loop() {
				if _, err := Join(b.Context(), o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			report(b)
		})
	}
}

// report adds the memory of the process: what it has of the system now, and the most it
// ever had, where that is known.
func report(b *testing.B) {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	b.ReportMetric(float64(sample[0].Value.Uint64())/(1<<20), "MiB")
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(status)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f", &kib); n == 1 {
			b.ReportMetric(kib/1024, "peak-MiB")
		}
	}
}
