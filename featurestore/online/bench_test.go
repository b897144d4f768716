// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// The numbers of the package are those at a million entities with two events a day:
//
//	export MILLRACE_BENCH_ENTITIES=1000000
//	go test -run '^$' -bench 'Read|Push' -benchtime 300000x ./featurestore/online
//	go test -run '^$' -bench 'Memory|Recovery' -benchtime 2x ./featurestore/online
//
// A read walks 60 events of 17 bytes and misses the caches some six times on the way to
// them: the place in the index, head, mark, state, and the events, which are not next to
// each other.
func benchEntities() int {
	if n, err := strconv.Atoi(os.Getenv("MILLRACE_BENCH_ENTITIES")); err == nil {
		return n
	}
	return 20_000
}

const benchPerDay = 2

// benchTable has 50 features, 5 aggregations over 10 windows of up to 30 days; or 12, 4
// over 1, 7 and 30 days.
func benchTable(b testing.TB, features int) plan.Table {
	d := window.Definition{Columns: []string{"amount"}}
	switch features {
	case 50:
		var windows []time.Duration
		for _, days := range []int{1, 2, 3, 5, 7, 10, 14, 20, 25, 30} {
			windows = append(windows, time.Duration(days)*day)
		}
		d.Features = aggregations([]window.Func{window.Count, window.Sum, window.Mean, window.Max, window.Min}, windows...)
	default:
		d.Features = aggregations([]window.Func{window.Count, window.Sum, window.Mean, window.Max}, day, 7*day, 30*day)
	}
	return viewTable(fmt.Sprintf("customers%d", features), d)
}

func benchKey(dst []byte, i int) []byte { return plan.AppendIntKey(dst, int64(i)) }

// benchEvent is the next event of an entity.
func benchEvent(u *plan.Update, random *rand.Rand, entity int, at int64) {
	u.Key = benchKey(u.Key[:0], entity)
	u.Event = window.Event{Time: at, Arrival: at, ID: random.Uint64(), Values: append(u.Event.Values[:0], float64(random.IntN(20000))/100)}
}

// fillStore puts n entities in a store. Their events are those of one of 500 entities
// that had 31 days, but for the newest, so that memory is held as after so many pushes.
func fillStore(b testing.TB, l *Local, n int) (now int64) {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	v := l.options.Tables[0].View.Window
	a := v.NewAggregator()
	forms := make([][]byte, 500)
	now = start + 31*day.Microseconds()
	for i := range forms {
		var s window.State
		for at := start; at < now; at += second * (1 + random.Int64N(2*86400/benchPerDay)) {
			e := window.Event{Time: at, ID: random.Uint64(), Values: []float64{float64(random.IntN(20000)) / 100}}
			if _, err := a.Update(&s, &e); err != nil {
				b.Fatal(err)
			}
		}
		var err error
		forms[i], err = s.AppendBinary(nil)
		must(b, err)
	}
	var u plan.Update
	outcomes := make([]window.Outcome, 1)
	key := make([]byte, 0, 8)
	for i := range n {
		var e entity
		must(b, v.Decode(&e.state, slices.Clone(forms[i%len(forms)])))
		key = benchKey(key[:0], i)
		hash := l.hashOf(key)
		sh := l.shards[l.shardOf(hash)]
		sh.mu.tables[0].put(hash, key, &e)
		benchEvent(&u, random, i, now)
		must(b, l.Apply(context.Background(), []plan.Update{u}, 0, nil, outcomes))
	}
	return now
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkMemory fills a store; see bytes/entity, in which all of the process is.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		l := openLocal(b, quiet(Options{Tables: []plan.Table{benchTable(b, 12)}, Shards: 256}))
		n := benchEntities()
		fillStore(b, l, n)
		b.ReportMetric(float64(heap()-before)/float64(n), "bytes/entity")
		b.ReportMetric(float64(l.Stats().MemoryBytes)/float64(n), "accounted/entity")
		must(b, l.Close())
	}
}

// BenchmarkRead reads entities at random, alone and while another goroutine pushes
// events.
func BenchmarkRead(b *testing.B) {
	l := openLocal(b, quiet(Options{Tables: []plan.Table{benchTable(b, 50)}, Shards: 256}))
	n := benchEntities()
	now := fillStore(b, l, n)
	runtime.GC()
	for _, pushes := range []bool{false, true} {
		b.Run(fmt.Sprintf("features=50/entities=%d/pushes=%v", n, pushes), func(b *testing.B) {
			stop := make(chan struct{})
			var pushed atomic.Int64
			done := make(chan struct{})
			go func() {
				defer close(done)
				if pushes {
					pushUntil(b, l, n, now, stop, &pushed)
				}
			}()
			began := time.Now()
			latencies := readRandom(b, l, n, now)
			elapsed := time.Since(began)
			close(stop)
			<-done
			reportLatencies(b, latencies)
			b.ReportMetric(float64(pushed.Load())/elapsed.Seconds(), "pushes/s")
		})
	}
}

// pushUntil applies events to entities at random, as fast as it can.
func pushUntil(b *testing.B, l *Local, n int, now int64, stop chan struct{}, pushed *atomic.Int64) {
	random := rand.New(rand.NewPCG(5, 6))
	var u plan.Update
	outcomes := make([]window.Outcome, 1)
	for at := now; ; at++ {
		select {
		case <-stop:
			return
		default:
		}
		benchEvent(&u, random, random.IntN(n), at)
		if err := l.Apply(context.Background(), []plan.Update{u}, 0, nil, outcomes); err != nil {
			b.Error(err)
			return
		}
		pushed.Add(1)
	}
}

func readRandom(b *testing.B, l *Local, n int, now int64) (latencies []time.Duration) {
	random := rand.New(rand.NewPCG(3, 4))
	r := l.NewReader()
	width := l.options.Tables[0].View.Window.Width()
	into, status := make([]float64, width), make([]window.Status, width)
	refs := []plan.Ref{{Key: make([]byte, 0, 8)}}
	latencies = make([]time.Duration, 0, 1<<20)
	check := 0.0
	b.ReportAllocs()
	for b.Loop() {
		refs[0].Key = benchKey(refs[0].Key[:0], random.IntN(n))
		began := time.Now()
		if err := r.Fetch(context.Background(), refs); err != nil {
			b.Fatal(err)
		}
		if _, err := r.View(0, now, into, status); err != nil {
			b.Fatal(err)
		}
		r.Release()
		latencies = append(latencies, time.Since(began))
		check += into[0]
	}
	b.ReportMetric(check/float64(len(latencies)), "events/day")
	return latencies
}

func reportLatencies(b *testing.B, latencies []time.Duration) {
	slices.Sort(latencies)
	at := func(q float64) float64 {
		return float64(latencies[min(len(latencies)-1, int(q*float64(len(latencies))))].Nanoseconds())
	}
	b.ReportMetric(at(0.5), "p50-ns")
	b.ReportMetric(at(0.99), "p99-ns")
	b.ReportMetric(at(0.999), "p99.9-ns")
}

// BenchmarkPush applies events to entities at random.
func BenchmarkPush(b *testing.B) {
	l := openLocal(b, quiet(Options{Tables: []plan.Table{benchTable(b, 12)}, Shards: 256}))
	n := benchEntities()
	now := fillStore(b, l, n)
	random := rand.New(rand.NewPCG(7, 8))
	var u plan.Update
	outcomes := make([]window.Outcome, 1)
	b.Run(fmt.Sprintf("entities=%d", n), func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			benchEvent(&u, random, random.IntN(n), now+int64(i))
			if err := l.Apply(context.Background(), []plan.Update{u}, 0, nil, outcomes); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRecovery checkpoints a store in full and opens it again.
func BenchmarkRecovery(b *testing.B) {
	n := benchEntities()
	o := quiet(Options{Dir: b.TempDir(), Tables: []plan.Table{benchTable(b, 12)}, Shards: 256})
	l := openLocal(b, o)
	fillStore(b, l, n)
	began := time.Now()
	must(b, l.Checkpoint(context.Background()))
	checkpoint := time.Since(began)
	disk := l.Stats().DiskBytes
	must(b, l.Close())
	l = nil
	runtime.GC()
	b.Run(fmt.Sprintf("entities=%d", n), func(b *testing.B) {
		for b.Loop() {
			opened, err := OpenLocal(context.Background(), o)
			must(b, err)
			if got := opened.counts.loaded.Load(); got != int64(n) {
				b.Fatalf("%d entities were loaded, want %d", got, n)
			}
			must(b, opened.Close())
		}
		b.ReportMetric(checkpoint.Seconds(), "checkpoint-s")
		b.ReportMetric(float64(disk)/float64(n), "disk-bytes/entity")
	})
}
