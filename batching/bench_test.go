// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// countingExecutor does nothing but count.
type countingExecutor struct{ batches, rows atomic.Int64 }

func (e *countingExecutor) Execute(_ int, batch []*Item) {
	rows := 0
	for _, it := range batch {
		rows += it.Rows
	}
	e.batches.Add(1)
	e.rows.Add(int64(rows))
}

// spinningExecutor takes a fixed time on its core, as a small model does.
type spinningExecutor struct {
	countingExecutor
	duration time.Duration
}

func (e *spinningExecutor) Execute(instance int, batch []*Item) {
	e.countingExecutor.Execute(instance, batch)
	for start := time.Now(); time.Since(start) < e.duration; {
	}
}

func newBench(b *testing.B, o Options, e Executor) *Batcher {
	b.Helper()
	batcher, err := New(o, e, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(batcher.Close)
	return batcher
}

// BenchmarkDo measures what a request pays beside its run.
//
//	go test -bench Do -cpu 2 -count 6 ./batching
func BenchmarkDo(b *testing.B) {
	b.Run("lone", func(b *testing.B) {
		benchmarkLone(b, context.Background())
	})
	b.Run("lone/deadline", func(b *testing.B) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		benchmarkLone(b, ctx)
	})
	b.Run("contended/run=0us", func(b *testing.B) {
		benchmarkContended(b, &countingExecutor{})
	})
	b.Run("contended/run=4us", func(b *testing.B) {
		benchmarkContended(b, &spinningExecutor{duration: 4 * time.Microsecond})
	})
}

func benchmarkLone(b *testing.B, ctx context.Context) {
	e := &countingExecutor{}
	batcher := newBench(b, Options{MaxRows: 32}, e)
	it := &Item{Rows: 1}
	b.ReportAllocs()
	for b.Loop() {
		if err := batcher.Do(ctx, it); err != nil {
			b.Fatal(err)
		}
	}
	if got := e.rows.Load(); got < int64(b.N) {
		b.Fatalf("%d rows were run in %d rounds", got, b.N)
	}
}

func benchmarkContended(b *testing.B, e interface {
	Executor
	total() (batches, rows int64)
}) {
	batcher := newBench(b, Options{MaxRows: 32}, e)
	b.ReportAllocs()
	b.SetParallelism(16) // times GOMAXPROCS
	b.RunParallel(func(pb *testing.PB) {
		it := &Item{Rows: 1}
		for pb.Next() {
			if err := batcher.Do(context.Background(), it); err != nil {
				b.Error(err)
			}
		}
	})
	batches, rows := e.total()
	b.ReportMetric(float64(rows)/float64(batches), "rows/batch")
}

func (e *countingExecutor) total() (batches, rows int64) { return e.batches.Load(), e.rows.Load() }

// BenchmarkSubmit keeps a pipeline of items in flight, as one stream does.
func BenchmarkSubmit(b *testing.B) {
	e := &countingExecutor{}
	batcher := newBench(b, Options{MaxRows: 32}, e)
	free := make(pipeline, 64)
	for range cap(free) {
		free <- &Item{Rows: 1, Owner: free}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := batcher.Submit(<-free); err != nil {
			b.Fatal(err)
		}
	}
	for range cap(free) {
		<-free
	}
	b.ReportMetric(float64(e.rows.Load())/float64(e.batches.Load()), "rows/batch")
}

// pipeline is the items that are not in flight.
type pipeline chan *Item

func (p pipeline) ItemDone(it *Item) { p <- it }
