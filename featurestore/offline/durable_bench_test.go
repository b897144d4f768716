// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// percentile of durations, which it sorts.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[min(int(p*float64(len(d))), len(d)-1)]
}

// bareSyncs appends 4 KiB to a file and syncs it, again and again.
func bareSyncs(b *testing.B, n int) []time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	must(b, err)
	block := make([]byte, 4<<10)
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		_, err := f.Write(block)
		must(b, err)
		must(b, f.Sync())
		took[i] = time.Since(began)
	}
	must(b, f.Close())
	return took
}

// go test ./featurestore/offline -run '^$' -bench WaitDurable -benchtime 10x
//
// Each appender appends a batch and waits until it is durable, so it is slowed by the
// disk alone; beside it the disk's bare write and fsync, in turn with it.
func BenchmarkWaitDurable(b *testing.B) {
	for _, appenders := range []int{1, 8} {
		for _, batch := range []int{1, 100} {
			b.Run(fmt.Sprintf("appenders=%d/batch=%d", appenders, batch), func(b *testing.B) {
				const each = 100
				var bare, waited []time.Duration
				for b.Loop() {
					bare = append(bare, bareSyncs(b, 200)...)
					waited = append(waited, waitDurable(b, appenders, batch, each)...)
				}
				elapsed := b.Elapsed() - sum(bare)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(sum(waited))/float64(len(waited))/(float64(sum(bare))/float64(len(bare))), "wait/fsync-mean")
				b.ReportMetric(float64(len(waited)*batch)/elapsed.Seconds(), "records/s")
				b.ReportMetric(us(percentile(bare, 0.5)), "fsync-p50-us")
				b.ReportMetric(us(percentile(bare, 0.99)), "fsync-p99-us")
				b.ReportMetric(us(percentile(waited, 0.5)), "wait-p50-us")
				b.ReportMetric(us(percentile(waited, 0.99)), "wait-p99-us")
			})
		}
	}
}

func us(d time.Duration) float64 { return float64(d.Microseconds()) }

func sum(all []time.Duration) (total time.Duration) {
	for _, d := range all {
		total += d
	}
	return total
}

func waitDurable(b *testing.B, appenders, batch, each int) []time.Duration {
	b.Helper()
	l := openLog(b, quiet(Options{WaitWhenFull: -1, GroupWait: 5 * time.Millisecond}))
	s := declare(b, l, smallSchema)
	took := make([]time.Duration, appenders*each)
	var group sync.WaitGroup
	for a := range appenders {
		group.Go(func() {
			records := make([]Record, batch)
			for i := range records {
				records[i] = small(a*batch + i)
			}
			for i := range each {
				began := time.Now()
				first, err := s.AppendBatch(b.Context(), records)
				if err == nil {
					err = l.WaitDurable(b.Context(), first+uint64(batch)-1)
				}
				if err != nil {
					b.Error(err)
				}
				took[a*each+i] = time.Since(began)
			}
		})
	}
	group.Wait()
	must(b, l.Close())
	return took
}
