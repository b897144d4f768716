// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"fmt"
	"testing"
)

// The hot path must stay far below the cost of a request. Each benchmark runs alone
// and from all processors at once, which shows contention.
//
//	go test -run '^$' -bench . -cpu 1,2 ./serving/stats

func BenchmarkRecordRequest(b *testing.B) {
	forEachOption(b, func(m *Model, i int64) { m.RecordRequest(120_000+i&0xffff, 30_000+i&0xfff) })
}

func BenchmarkRecordBatch(b *testing.B) {
	forEachOption(b, func(m *Model, i int64) {
		m.RecordBatch(Batch{Requests: 8, Rows: 8, InputNanos: 900, InferNanos: 40_000 + i&0xfff, OutputNanos: 1100})
	})
}

func BenchmarkRecordFailure(b *testing.B) {
	forEachOption(b, func(m *Model, i int64) { m.RecordFailure(Rejected, 1000) })
}

func forEachOption(b *testing.B, record func(m *Model, i int64)) {
	for _, histograms := range []bool{false, true} {
		b.Run(fmt.Sprintf("histograms=%t", histograms), func(b *testing.B) {
			m := NewRegistry(Options{Histograms: histograms}).Open(ID{Model: "m", Version: 1})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := int64(0); pb.Next(); i++ {
					record(m, i)
				}
			})
		})
	}
}

// BenchmarkSnapshot is what a scrape costs per model before it is encoded.
func BenchmarkSnapshot(b *testing.B) {
	r := NewRegistry(Options{Histograms: true})
	m := r.Open(ID{Model: "m", Version: 1})
	for rows := range 64 {
		m.RecordBatch(Batch{Requests: 1, Rows: rows, InferNanos: 4000})
	}
	for b.Loop() {
		if len(r.Snapshot("m")) != 1 {
			b.Fatal("no snapshot")
		}
	}
}
