// SPDX-License-Identifier: Apache-2.0

package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// fifteen is a view of 15 features, 5 aggregations over 1, 7 and 30 days.
func fifteen(t testing.TB) *View {
	d := Definition{Columns: []string{"amount"}}
	for _, days := range []int{1, 7, 30} {
		w := Feature{Column: "amount", Window: time.Duration(days) * day, Hop: time.Second}
		d.Features = append(d.Features, named(w, Count, days), named(w, Sum, days), named(w, Mean, days),
			named(w, Max, days), named(w, Min, days))
	}
	return mustView(t, d)
}

// customers fills states like those of card customers: perDay payments a day for 40 days.
func customers(t testing.TB, a *Aggregator, n, perDay int) (states []State, now int64) {
	random := rand.New(rand.NewPCG(1, 2))
	states = make([]State, n)
	for i := range states {
		at, id := int64(0), uint64(0)
		for at < 40*micros(day) {
			at += second * (1 + random.Int64N(2*86400/int64(perDay)))
			id++
			e := Event{Time: at, ID: id, Values: []float64{float64(random.IntN(20000)) / 100}}
			if _, err := a.Update(&states[i], &e); err != nil {
				t.Fatal(err)
			}
			now = max(now, at)
		}
	}
	return states, now
}

// go test -run '^$' -bench Read -benchtime 200000x ./featurestore/window
//
// A read looks at each event of 30 days once: 60 at 2 a day, some 12 bytes and 5 results each.
func BenchmarkRead(b *testing.B) {
	for _, perDay := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("features=15/events=%d", 30*perDay), func(b *testing.B) {
			v := fifteen(b)
			a := v.NewAggregator()
			states, now := customers(b, a, 1000, perDay)
			into, status := make([]float64, v.Width()), make([]Status, v.Width())
			b.ReportAllocs()
			check, i := 0.0, 0
			for b.Loop() {
				if _, err := a.Read(&states[i%len(states)], now, into, status); err != nil {
					b.Fatal(err)
				}
				check += into[0]
				i++
			}
			b.ReportMetric(check/float64(i), "payments/read")
		})
	}
}

// BenchmarkReadCards reads the 12 published window features, customer and terminal, of real states.
func BenchmarkReadCards(b *testing.B) {
	all := payments(b)
	customers, terminals := customerView(b).NewAggregator(), terminalView(b).NewAggregator()
	byCustomer, byTerminal := map[int32]*State{}, map[int32]*State{}
	for i := range all[:700_000] {
		replay(b, customers, state(byCustomer, all[i].Customer), &all[i], all[i].Amount)
		replay(b, terminals, state(byTerminal, all[i].Terminal), &all[i], all[i].fraud())
	}
	now := all[700_000].Time.UnixMicro()
	into, status := make([]float64, 12), make([]Status, 12)
	read := func(b *testing.B, a *Aggregator, s *State) {
		if _, err := a.Read(s, now, into[:6], status[:6]); err != nil {
			b.Fatal(err)
		}
	}
	for _, view := range []string{"customer", "terminal"} {
		b.Run("view="+view+"/features=6", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if p := &all[600_000+i%100_000]; view == "customer" {
					read(b, customers, byCustomer[p.Customer])
				} else {
					read(b, terminals, byTerminal[p.Terminal])
				}
			}
		})
	}
}

// BenchmarkUpdate adds events in order and late ones, to states in which as many expire.
func BenchmarkUpdate(b *testing.B) {
	for _, late := range []int64{0, 5} {
		b.Run(fmt.Sprintf("lateEvents=%d", late), func(b *testing.B) {
			v := fifteen(b)
			a := v.NewAggregator()
			states, now := customers(b, a, 1000, 2)
			values := []float64{12.34}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(states) == 0 {
					now += micros(day) / 2
				}
				e := Event{Time: now - late*micros(day)/2 - 1, Arrival: now, ID: uint64(i), Values: values}
				if o, err := a.Update(&states[i%len(states)], &e); err != nil || o != Applied {
					b.Fatal(o, err)
				}
			}
		})
	}
}

// hot is a view for busy entities, in hops of 1 hour to 1 day.
func hot() Definition {
	d := Definition{Columns: []string{"amount"}, HeadEventsMax: 256}
	for _, days := range []int{1, 7, 30} {
		w := Feature{Column: "amount", Window: time.Duration(days) * day}
		d.Features = append(d.Features, named(w, Count, days), named(w, Mean, days), named(w, Max, days), named(w, StdDev, days))
	}
	d.DuplicateHorizon = time.Second
	return d
}

// BenchmarkUpdateHot adds events to an entity that has 100,000 a day.
func BenchmarkUpdateHot(b *testing.B) {
	a := mustView(b, hot()).NewAggregator()
	s, values, now := &State{}, []float64{12.34}, int64(0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now += 864_000
		e := Event{Time: now, ID: uint64(i), Values: values}
		if _, err := a.Update(s, &e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Len()), "entries")
	b.ReportMetric(float64(s.Bytes()), "bytes")
}

// BenchmarkReadHot reads 12 features of an entity that had 10,000 events a day for 31 days.
func BenchmarkReadHot(b *testing.B) {
	a := mustView(b, hot()).NewAggregator()
	s, now := new(State), int64(0)
	e := Event{Values: []float64{12.34}}
	for now < 31*micros(day) {
		now += 8_640_000
		e.Time, e.ID = now, uint64(now)
		if _, err := a.Update(s, &e); err != nil {
			b.Fatal(err)
		}
	}
	into, status := make([]float64, 12), make([]Status, 12)
	b.ReportAllocs()
	for b.Loop() {
		if missed, err := a.Read(s, now, into, status); err != nil || missed != 0 {
			b.Fatal(missed, err)
		}
	}
	b.ReportMetric(float64(s.Len()), "entries")
	b.ReportMetric(float64(s.Bytes()), "bytes")
}

// BenchmarkSeries computes 15 features at every event of an entity.
func BenchmarkSeries(b *testing.B) {
	v := fifteen(b)
	a := v.NewAggregator()
	random := rand.New(rand.NewPCG(3, 4))
	events, queries := make([]Event, 10_000), make([]Query, 10_000)
	for i := range events {
		at := int64(i)*micros(day)/100 + random.Int64N(second)
		events[i] = Event{Time: at, ID: uint64(i), Values: []float64{math.Round(random.ExpFloat64()*1e4) / 100}}
		queries[i] = Query{At: at}
	}
	into, status := make([]float64, len(queries)*v.Width()), make([]Status, len(queries)*v.Width())
	for b.Loop() {
		if err := a.Series(events, queries, into, status); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(queries)), "ns/query")
}
