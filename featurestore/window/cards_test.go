// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

// cardsFolder holds the published card payments; tests that need them skip without it.
const cardsFolder = "../../../shared/data/card-transactions"

// payment is a row of the published data.
type payment struct {
	ID       int32     `parquet:"transaction_id"`
	Time     time.Time `parquet:"event_timestamp"`
	Customer int32     `parquet:"customer_id"`
	Terminal int32     `parquet:"terminal_id"`
	Amount   float64   `parquet:"amount"`
	Fraud    bool      `parquet:"is_fraud"`
}

func (p *payment) event(values []float64) Event {
	return Event{Time: p.Time.UnixMicro(), ID: uint64(p.ID), Values: values}
}

func (p *payment) fraud() float64 {
	if p.Fraud {
		return 1
	}
	return 0
}

var readPayments = sync.OnceValues(func() ([]payment, error) {
	return parquet.ReadFile[payment](filepath.Join(cardsFolder, "transactions.parquet"))
})

func payments(t testing.TB) []payment {
	if _, err := os.Stat(filepath.Join(cardsFolder, "transactions.parquet")); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	all, err := readPayments()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// customerView and terminalView are the published features, but for the three of the payment itself.
func customerView(t testing.TB) *View {
	d := Definition{Columns: []string{"amount"}}
	for _, days := range []int{1, 7, 30} {
		w := Feature{Column: "amount", Window: time.Duration(days) * day, Hop: time.Second}
		d.Features = append(d.Features, named(w, Count, days), named(w, Mean, days))
	}
	return mustView(t, d)
}

func terminalView(t testing.TB) *View {
	d := Definition{Columns: []string{"fraud"}}
	for _, days := range []int{1, 7, 30} {
		w := Feature{Window: time.Duration(days) * day, Hop: time.Second, Delay: 7 * day}
		count := named(w, Count, days)
		w.Column = "fraud"
		d.Features = append(d.Features, count, named(w, Mean, days))
	}
	return mustView(t, d)
}

func named(f Feature, fn Func, days int) Feature {
	f.Func, f.Name = fn, fn.String()+"_"+strconv.Itoa(days)+"d"
	return f
}

func mustView(t testing.TB, d Definition) *View {
	v, err := NewView(d)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// expected reads the published features by payment: 6 of the customer, then 6 of the terminal.
func expected(t *testing.T) map[int32][]float64 {
	f, err := os.Open(filepath.Join(cardsFolder, "features-expected.csv"))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := map[int32][]float64{}
	for _, row := range rows[1:] {
		id, _ := strconv.Atoi(row[0])
		for _, cell := range row[4:] {
			x, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatal(err)
			}
			all[int32(id)] = append(all[int32(id)], x)
		}
	}
	return all
}

func compare(t *testing.T, what string, id int32, got, want []float64) {
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-6*max(1, math.Abs(want[i])) {
			t.Errorf("%s: payment %d, feature %d: %v, want %v", what, id, i, got[i], want[i])
		}
	}
}

// TestCardPayments replays all payments through states, labels arriving 7 days after their
// payment, and computes the same by Series.
func TestCardPayments(t *testing.T) {
	all, want := payments(t), expected(t)
	customers, terminals := customerView(t).NewAggregator(), terminalView(t).NewAggregator()
	byCustomer, byTerminal := map[int32]*State{}, map[int32]*State{}
	into, status, due, checked := make([]float64, 12), make([]Status, 12), 0, 0
	online := map[int32][]float64{}
	for i := range all {
		p := &all[i]
		now := p.Time.UnixMicro()
		for ; all[due].Time.UnixMicro()+micros(7*day) <= now; due++ {
			q := &all[due]
			at := q.Time.UnixMicro()
			o, err := terminals.Amend(byTerminal[q.Terminal], at, uint64(q.ID), "fraud", q.fraud(), at+micros(7*day))
			if err != nil || o != Applied {
				t.Fatalf("label of payment %d: %v, %v", q.ID, o, err)
			}
		}
		replay(t, customers, state(byCustomer, p.Customer), p, p.Amount)
		replay(t, terminals, state(byTerminal, p.Terminal), p, math.NaN())
		if want[p.ID] == nil {
			continue
		}
		checked++
		for k, err := range []error{second2(customers.Read(byCustomer[p.Customer], now, into[:6], status[:6])),
			second2(terminals.Read(byTerminal[p.Terminal], now, into[6:], status[6:]))} {
			if err != nil {
				t.Fatal(k, err)
			}
		}
		compare(t, "state", p.ID, into, want[p.ID])
		online[p.ID] = slices.Clone(into)
	}
	if checked != len(want) || checked < 500 {
		t.Fatalf("%d of %d payments found", checked, len(want))
	}
	series(t, all, want, online, 0, customers, func(p *payment) (int32, float64) { return p.Customer, p.Amount })
	series(t, all, want, online, 6, terminals, func(p *payment) (int32, float64) { return p.Terminal, p.fraud() })
}

func second2(_ time.Duration, err error) error { return err }

func state(states map[int32]*State, id int32) *State {
	if states[id] == nil {
		states[id] = new(State)
	}
	return states[id]
}

func replay(t testing.TB, a *Aggregator, s *State, p *payment, value float64) {
	e := p.event([]float64{value})
	if o, err := a.Update(s, &e); err != nil || o != Applied {
		t.Fatalf("payment %d: %v, %v", p.ID, o, err)
	}
}

// series computes the features of one kind of entity from its events and compares them with
// the published ones, and bit for bit with what the states gave.
func series(t *testing.T, all []payment, want, online map[int32][]float64, first int, a *Aggregator,
	entity func(*payment) (int32, float64)) {
	events, rows := map[int32][]Event{}, map[int32][]int32{}
	for i := range all {
		if want[all[i].ID] != nil {
			id, _ := entity(&all[i])
			rows[id] = append(rows[id], all[i].ID)
		}
	}
	for i := range all {
		if id, value := entity(&all[i]); rows[id] != nil {
			events[id] = append(events[id], all[i].event([]float64{value}))
		}
	}
	for id, ids := range rows {
		var queries []Query
		for _, e := range events[id] {
			if slices.Contains(ids, int32(e.ID)) {
				queries = append(queries, Query{At: e.Time})
			}
		}
		into, status := make([]float64, 6*len(queries)), make([]Status, 6*len(queries))
		if err := a.Series(events[id], queries, into, status); err != nil {
			t.Fatal(err)
		}
		for i, payment := range ids {
			got := into[6*i : 6*i+6]
			compare(t, "series", payment, got, want[payment][first:first+6])
			if !slices.Equal(got, online[payment][first:first+6]) {
				t.Errorf("payment %d: series %v, state %v", payment, got, online[payment][first:first+6])
			}
		}
	}
}

// TestBytesPerEntity measures what windows of 1, 7 and 30 days of 4 aggregations keep per customer.
func TestBytesPerEntity(t *testing.T) {
	all := payments(t)
	d := Definition{Columns: []string{"amount"}}
	for _, days := range []int{1, 7, 30} {
		w := Feature{Column: "amount", Window: time.Duration(days) * day, Hop: time.Second}
		d.Features = append(d.Features, named(w, Count, days), named(w, Mean, days), named(w, Max, days), named(w, StdDev, days))
	}
	a := mustView(t, d).NewAggregator()
	states := make([]State, 5000)
	before := heapBytes()
	for i := range all {
		replay(t, a, &states[all[i].Customer], &all[i], all[i].Amount)
	}
	heap := heapBytes() - before
	var bytes, largest, entries, entities int
	for i := range states {
		if states[i].Len() > 0 {
			entities++
			bytes += states[i].Bytes()
			largest = max(largest, states[i].Bytes())
			entries += states[i].Len()
		}
	}
	t.Logf("%d customers: %d bytes each (%d measured beside the struct), the largest %d, %d events kept each",
		entities, bytes/entities, heap/entities, largest, entries/entities)
	if bytes/entities > 2048 {
		t.Errorf("%d bytes per customer, want at most 2048", bytes/entities)
	}
}

func heapBytes() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
