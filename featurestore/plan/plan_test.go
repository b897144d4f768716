// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const cards = `
entities:
  customer: {key: customer_id, type: int64}
  shop: {key: shop_id, type: string}
sources:
  payments:
    push: true
    id: payment_id
    timestamp: at
    fields:
      payment_id: int64
      at: timestamp
      customer_id: int64
      shop_id: string
      amount: {type: float64, min: 0}
      channel: string
      is_fraud: {type: bool, late: true, known_after: 7d}
  profiles:
    push: true
    id: customer_id
    timestamp: at
    fields: {customer_id: int64, at: timestamp, country: string, age: int64}
views:
  customer_payments:
    entity: customer
    source: payments
    hop: 1s
    windows: [1d, 7d]
    features:
      payments: {function: count}
      mean_amount: {function: mean, field: amount}
      web: {function: count, filter: channel == "web"}
  shop_risk:
    entity: shop
    source: payments
    hop: 1s
    delay: 7d
    features:
      risk: {function: mean, field: is_fraud, window: 7d, default: 0}
lookups:
  profile: {entity: customer, source: profiles, fields: [country, age], ttl: 30d}
services:
  fraud:
    request: {amount: {type: float64, required: true}, at: timestamp}
    time: at
    features:
      - amount
      - customer_payments.payments_1d
      - customer_payments.mean_amount_7d
      - {name: risk, from: shop_risk.risk}
      - {name: country, from: profile.country, default: unknown}
      - {name: age, from: profile.age}
      - {name: ratio, expression: "amount / customer_payments__mean_amount_7d", default: 1}
      - {name: abroad, expression: 'country != "NL"'}
`

const (
	second = int64(1_000_000)
	day    = 86_400 * second
	noon   = 17_000*day + 12*3600*second
)

func parse(t *testing.T) *definition.Catalog {
	t.Helper()
	c, err := definition.Parse("features.yaml", []byte(cards))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func payment(id string, number, at, customer int64, shop string, amount float64, channel string) *offline.Record {
	return &offline.Record{ID: id, EventTime: at, ArrivalTime: at, Values: []offline.Value{
		offline.Int64(number), offline.Timestamp(at), offline.Int64(customer), offline.String(shop),
		offline.Float64(amount), offline.String(channel), {},
	}}
}

func TestRoute(t *testing.T) {
	c := parse(t)
	sc := NewRouter(c, c.Source("payments")).NewScratch()
	updates, err := sc.Route(payment("7", 7, noon, 42, "s1", 12.5, "pos"))
	if err != nil || len(updates) != 2 {
		t.Fatalf("%d updates, %v; want one for each view", len(updates), err)
	}
	if got := FormatKey(c.Views[0].Entities, updates[0].Key); got != "42" {
		t.Errorf("key of the customer is %q", got)
	}
	if got := FormatKey(c.Views[1].Entities, updates[1].Key); got != "s1" {
		t.Errorf("key of the shop is %q", got)
	}
	if updates[0].Event.ID != window.KeyOf("7") || updates[0].Event.Time != noon {
		t.Errorf("event %+v", updates[0].Event)
	}
	names := c.Views[0].Window.Definition().Columns
	for i, name := range names {
		x := updates[0].Event.Values[i]
		if name == "amount" && x != 12.5 {
			t.Errorf("amount is %v", x)
		}
		if name != "amount" && !math.IsNaN(x) {
			t.Errorf("column %s of a payment at a counter is %v, want null", name, x)
		}
	}
}

func TestRouteAmendment(t *testing.T) {
	c := parse(t)
	sc := NewRouter(c, c.Source("payments")).NewScratch()
	r := payment("7", 7, noon, 42, "s1", 0, "")
	r.Values[4], r.Values[5], r.Values[6] = offline.Value{}, offline.Value{}, offline.Bool(true)
	updates, err := sc.Route(r)
	if err != nil || len(updates) != 1 {
		t.Fatalf("%d updates, %v; want one, of the view that reads the label", len(updates), err)
	}
	if u := updates[0]; u.Table != 1 || len(u.Amend) != 1 || u.Amend[0].Value != 1 {
		t.Errorf("update %+v", u)
	}
	whole := payment("8", 8, noon, 42, "s1", 3, "pos")
	whole.Values[6] = offline.Bool(false)
	if updates, err = sc.Route(whole); err != nil || len(updates) != 2 || len(updates[1].Amend) != 0 || len(updates[1].Late) != 1 {
		t.Errorf("a whole event with its label: %+v, %v", updates, err)
	}
}

func TestRouteRefusesWhatNoFloatHolds(t *testing.T) {
	c := parse(t)
	sc := NewRouter(c, c.Source("profiles")).NewScratch()
	_, err := sc.Route(&offline.Record{ID: "1", Values: []offline.Value{
		offline.Int64(1 << 60), offline.Timestamp(noon), offline.String("NL"), offline.Int64(1<<53 + 1)}})
	field, ok := err.(*FieldError)
	if !ok || field.Field != "age" {
		t.Errorf("got %v, want a refusal of age, and none of the key", err)
	}
}

func TestRouteKeepsNoMemory(t *testing.T) {
	c := parse(t)
	sc := NewRouter(c, c.Source("payments")).NewScratch()
	r := payment("7", 7, noon, 42, "s1", 12.5, "web")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := sc.Route(r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// states is a Reader over states in a map.
type states struct {
	tables []Table
	states map[string]*window.State
	rows   map[string][]byte
	times  map[string]int64
	refs   []Ref
}

func newStates(c *definition.Catalog) *states {
	return &states{tables: Tables(c), states: map[string]*window.State{}, rows: map[string][]byte{}, times: map[string]int64{}}
}

func stateKey(table int, key []byte) string { return string(rune(table)) + string(key) }

func (s *states) apply(t *testing.T, updates []Update) {
	t.Helper()
	for _, u := range updates {
		k := stateKey(u.Table, u.Key)
		if v := s.tables[u.Table].View; v != nil {
			if s.states[k] == nil {
				s.states[k] = new(window.State)
			}
			if _, err := v.Window.NewAggregator().Update(s.states[k], &u.Event); err != nil {
				t.Fatal(err)
			}
		} else {
			s.rows[k] = append([]byte(nil), u.Row...)
		}
		s.times[k] = u.Event.Time
	}
}

func (s *states) Fetch(_ context.Context, refs []Ref) error { s.refs = refs; return nil }

func (s *states) View(i int, at int64, into []float64, status []window.Status) (Seen, error) {
	k, v := stateKey(s.refs[i].Table, s.refs[i].Key), s.tables[s.refs[i].Table].View
	state := s.states[k]
	if state == nil {
		state = new(window.State)
	}
	missed, err := v.Window.NewAggregator().Read(state, at, into, status)
	return Seen{EventTime: s.times[k], Sequence: uint64(i + 1), Missed: missed}, err
}

func (s *states) Lookup(i int, _ int64) ([]byte, Seen, error) {
	k := stateKey(s.refs[i].Table, s.refs[i].Key)
	return s.rows[k], Seen{EventTime: s.times[k], Sequence: uint64(i + 1)}, nil
}

func (s *states) Release() {}

func TestAssemble(t *testing.T) {
	c := parse(t)
	world := newStates(c)
	route := func(source string, r *offline.Record) {
		updates, err := NewRouter(c, c.Source(source)).NewScratch().Route(r)
		if err != nil {
			t.Fatal(err)
		}
		world.apply(t, updates)
	}
	route("payments", payment("1", 1, noon-3*day, 42, "s1", 10, "pos"))
	route("payments", payment("2", 2, noon, 42, "s1", 30, "web"))
	route("profiles", &offline.Record{ID: "42", EventTime: noon - day, ArrivalTime: noon - day, Values: []offline.Value{
		offline.Int64(42), offline.Timestamp(noon - day), offline.String("NL"), {}}})

	a := NewAssembler(c, c.Service("fraud"))
	in := &Inputs{Rows: 2, Now: noon,
		Keys: []column.Column{
			{Type: column.Int64, Ints: []int64{42, 1 << 60}},
			{Type: column.String, Texts: []string{"s1", "?"}},
		},
		Request: []column.Column{
			{Type: column.Float64, Numbers: []float64{40, 5}},
			{Type: column.Timestamp, Ints: []int64{noon, 0}, Nulls: []bool{false, true}},
		},
	}
	if c.Service("fraud").Entities[0].Name != "customer" {
		in.Keys[0], in.Keys[1] = in.Keys[1], in.Keys[0]
	}
	out := &Vectors{WantEventTimes: true, WantSequences: true}
	if err := a.Assemble(context.Background(), world, in, out); err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	want := [][]float64{{40, 1, 20, 0, nan, nan, 2, 0}, {5, 0, nan, 0, nan, nan, 1, 1}}
	present, null, missing := window.Present, window.Null, window.NotFound
	status := [][]window.Status{
		{present, present, present, null, present, null, present, present},
		{present, missing, missing, missing, missing, missing, null, present},
	}
	for row := range want {
		for i, x := range out.Row(row) {
			if math.Float64bits(x) != math.Float64bits(want[row][i]) && !(math.IsNaN(x) && math.IsNaN(want[row][i])) {
				t.Errorf("row %d, feature %s: %v, want %v", row, c.Service("fraud").Features[i].Name, x, want[row][i])
			}
			if got := out.StatusRow(row)[i]; got != status[row][i] {
				t.Errorf("row %d, feature %s: status %v, want %v", row, c.Service("fraud").Features[i].Name, got, status[row][i])
			}
		}
	}
	if out.TextRow(0)[0] != "NL" || out.TextRow(1)[0] != "unknown" {
		t.Errorf("texts %q", out.Texts)
	}
	if got := out.EventTimes[1]; got != noon {
		t.Errorf("event time of the customer's payments is %d, want %d", got, noon)
	}
	testVectorLog(t, a, in, out)
}

// testVectorLog writes both rows as the log would and reads them back.
func testVectorLog(t *testing.T, a *Assembler, in *Inputs, out *Vectors) {
	l := a.NewVectorLog()
	for row := range out.Rows {
		var v LoggedVector
		if err := DecodeVector(l.Values(in, out, row), &v); err != nil {
			t.Fatal(err)
		}
		if v.Service != "fraud" || len(v.Keys) != out.Tables || v.At != noon {
			t.Errorf("row %d: %+v", row, v)
		}
		for i, x := range out.Row(row) {
			if math.Float64bits(x) != math.Float64bits(v.Numbers[i]) || v.Status[i] != out.StatusRow(row)[i] {
				t.Errorf("row %d, feature %d: %v %v", row, i, v.Numbers[i], v.Status[i])
			}
		}
		if v.Texts[0] != out.TextRow(row)[0] || v.Sequences[0] != out.Sequences[row*out.Tables] {
			t.Errorf("row %d: texts %q, sequences %v", row, v.Texts, v.Sequences)
		}
		var again Inputs
		if err := v.Inputs(a.Service(), &again); err != nil {
			t.Fatal(err)
		}
		for i := range again.Keys {
			if k := &again.Keys[i]; k.Type == column.Int64 && k.Ints[0] != in.Keys[i].Ints[row] {
				t.Errorf("row %d: key %v, want %v", row, k.Ints[0], in.Keys[i].Ints[row])
			}
		}
	}
}
