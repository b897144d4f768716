// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const benchEntities = 10_000

func benchPayment(i int, r *rand.Rand) payment {
	return payment{id: uint64(i + 1), time: begin + int64(i)*1e5, customer: int64(r.IntN(benchEntities)), terminal: int64(r.IntN(benchEntities)), amount: 12.5}
}

// go test -bench Push -run '^$' ./featurestore/online/redis
//
// A push updates two entities. Redis, the log in memory and the store share the machine.
func BenchmarkPush(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b, options(b, serve(b).address))
			var next atomic.Int64
			b.SetParallelism(callers / 2)
			b.RunParallel(func(p *testing.PB) {
				r := rand.New(rand.NewPCG(uint64(next.Add(1)), 1))
				outcomes := make([]window.Outcome, 2)
				for p.Next() {
					pay := benchPayment(int(next.Add(1)), r)
					if err := s.Apply(context.Background(), pay.updates(), 0, nil, outcomes); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
			report(b, s)
		})
	}
	b.Run("batch=256", func(b *testing.B) {
		s := open(b, options(b, serve(b).address))
		r := rand.New(rand.NewPCG(1, 1))
		events := make([]Event, 256)
		i := 0
		for b.Loop() {
			for k := range events {
				pay := benchPayment(i, r)
				events[k] = Event{Updates: pay.updates(), Outcomes: make([]window.Outcome, 2)}
				i++
			}
			if s.ApplyBatch(context.Background(), events); events[0].Err != nil {
				b.Fatal(events[0].Err)
			}
		}
		b.ReportMetric(float64(i)/b.Elapsed().Seconds(), "pushes/s")
		report(b, s)
	})
}

func report(b *testing.B, s *Store) {
	c := s.Counters()
	b.ReportMetric(float64(c.Events)/float64(max(c.Calls, 1)), "events/call")
	b.ReportMetric(float64(c.Conflicts), "conflicts")
}

// go test -bench Fetch -run '^$' ./featurestore/online/redis
func BenchmarkFetch(b *testing.B) {
	address := serve(b).address
	s := open(b, options(b, address))
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < 100_000; i += 256 {
		events := make([]Event, 256)
		for k := range events {
			pay := benchPayment(i+k, r)
			events[k] = Event{Updates: pay.updates(), Outcomes: make([]window.Outcome, 2)}
		}
		s.ApplyBatch(context.Background(), events)
	}
	for _, span := range []int{200, benchEntities} {
		for _, entities := range []int{1, 5, 100} {
			b.Run(fmt.Sprintf("of=%d/entities=%d", span, entities), func(b *testing.B) {
				reader, refs, n := s.NewReader(), make([]plan.Ref, entities), s.tables[0].view.Width()
				into, status := make([]float64, n), make([]window.Status, n)
				before := s.Counters().Cache
				b.ReportAllocs()
				for b.Loop() {
					for i := range refs {
						refs[i] = plan.Ref{Table: customers, Key: plan.AppendIntKey(refs[i].Key[:0], int64(r.IntN(span)))}
					}
					if err := reader.Fetch(context.Background(), refs); err != nil {
						b.Fatal(err)
					}
					for i := range refs {
						if _, err := reader.View(i, begin+1e11, into, status); err != nil {
							b.Fatal(err)
						}
					}
				}
				after := s.Counters().Cache
				b.ReportMetric(float64(after.Hits-before.Hits)/float64(b.N*entities), "hits/entity")
			})
		}
	}
}

// go test -bench AgainstRedis -run '^$' ./featurestore/online/redis
//
// What the store adds to Redis: 256 pushes in a batch against 512 plain SETs of values as
// large in a pipeline, and a read of 100 entities against an MGET of them; median times of
// turns that alternate.
func BenchmarkAgainstRedis(b *testing.B) {
	ctx, address := context.Background(), serve(b).address
	s := open(b, options(b, address))
	r := rand.New(rand.NewPCG(1, 1))
	plain, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close()
	i, size := 0, 0
	push := func() {
		events := make([]Event, 256)
		for k := range events {
			pay := benchPayment(i, r)
			events[k] = Event{Updates: pay.updates(), Outcomes: make([]window.Outcome, 2)}
			i++
		}
		if s.ApplyBatch(ctx, events); events[0].Err != nil {
			b.Fatal(events[0].Err)
		}
	}
	for range 200 {
		push()
	}
	key := string(s.buckets[0].appendKey(nil, s.buckets[0].record.Load().tables[customers].part, plan.AppendIntKey(nil, 1)))
	if v, err := do(b, address, "GET", key).ToString(); err == nil {
		size = len(v)
	}
	value := strings.Repeat("x", size)
	set := func() {
		commands := make(rueidis.Commands, 512)
		for k := range commands {
			commands[k] = plain.B().Set().Key(fmt.Sprint("plain:", r.IntN(2*benchEntities))).Value(value).PxMilliseconds(1e9).Build()
		}
		for _, a := range plain.DoMulti(ctx, commands...) {
			if a.Error() != nil {
				b.Fatal(a.Error())
			}
		}
	}
	reader, refs := s.NewReader(), make([]plan.Ref, 100)
	n := s.tables[0].view.Width()
	into, status := make([]float64, n), make([]window.Status, n)
	fetch := func(span int) func() {
		return func() {
			for i := range refs {
				refs[i] = plan.Ref{Table: customers, Key: plan.AppendIntKey(refs[i].Key[:0], int64(r.IntN(span)))}
			}
			if err := reader.Fetch(ctx, refs); err != nil {
				b.Fatal(err)
			}
			for i := range refs {
				if _, err := reader.View(i, begin+5e10, into, status); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	get := func() {
		keys := make([]string, 100)
		for k := range keys {
			keys[k] = fmt.Sprint("plain:", r.IntN(2*benchEntities))
		}
		if err := plain.Do(ctx, plain.B().Mget().Key(keys...).Build()).Error(); err != nil {
			b.Fatal(err)
		}
	}
	turns := []func(){push, set, fetch(200), fetch(benchEntities), get}
	times := make([][]float64, len(turns))
	for b.Loop() {
		for k, turn := range turns {
			began := time.Now()
			turn()
			times[k] = append(times[k], float64(time.Since(began).Microseconds()))
		}
	}
	medians := make([]float64, len(turns))
	for k := range times {
		slices.Sort(times[k])
		medians[k] = times[k][len(times[k])/2]
	}
	b.ReportMetric(float64(size), "value-bytes")
	b.ReportMetric(256e6/medians[0], "pushes/s")
	b.ReportMetric(medians[0]/medians[1], "push/SET")
	b.ReportMetric(medians[2]/medians[4], "hot-read/MGET")
	b.ReportMetric(medians[3]/medians[4], "cold-read/MGET")
	b.ReportMetric(medians[2], "hot-us")
	b.ReportMetric(medians[4], "MGET-us")
}
