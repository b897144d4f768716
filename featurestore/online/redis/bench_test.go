// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

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
	for _, cached := range []bool{true, false} {
		for _, entities := range []int{1, 5, 100} {
			b.Run(fmt.Sprintf("cached=%t/entities=%d", cached, entities), func(b *testing.B) {
				reader, refs := s.NewReader(), make([]plan.Ref, entities)
				n, span := s.tables[0].view.Width(), benchEntities
				if cached {
					span = 200
				}
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
