// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const day = 24 * time.Hour

func load(t testing.TB, files ...string) *Catalog {
	t.Helper()
	c, err := Load(files...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func parse(t testing.TB, text string) *Catalog {
	t.Helper()
	c, err := Parse("features.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func cards(t testing.TB) *Catalog { return load(t, "testdata/card-fraud.yaml") }

func TestEntitiesAndSources(t *testing.T) {
	t.Setenv("PAYMENTS_URL", "postgres://db/payments")
	c := cards(t)
	if e := c.Entity("terminal"); e.Index != 1 || e.Key != "terminal_id" || e.Type != column.Int64 || c.Entity("x") != nil {
		t.Errorf("entity %+v", e)
	}
	s := c.Source("payments")
	if !s.Push || s.ID != 0 || s.Timestamp != 1 || s.FutureMax != 5*time.Second {
		t.Errorf("source %+v", s)
	}
	if f := s.Fields[s.Arrival]; s.Arrival != 7 || f.Name != "recorded_at" || f.Type != column.Timestamp {
		t.Errorf("the arrival is field %d %+v", s.Arrival, f)
	}
	if f := s.Fields[s.Field("amount")]; f.Min != 0 || f.Max == f.Max || !f.Required {
		t.Errorf("amount %+v", f)
	}
	if f := s.Fields[s.Field("channel")]; !slices.Equal(f.Values, []string{"pos", "web", "atm"}) || f.Min == f.Min {
		t.Errorf("channel %+v", f)
	}
	if f := s.Fields[s.Field("is_fraud")]; !f.Late || f.KnownAfter != 7*day {
		t.Errorf("is_fraud %+v", f)
	}
	if in := s.Inputs[0]; in.Format != Parquet || in.Path != filepath.Join("testdata", "data", "transactions.parquet") ||
		in.Columns["amount"] != "TX_AMOUNT" || in.Line != 22 || in.Check() != nil {
		t.Errorf("input %+v", in)
	}
	if in := s.Inputs[1]; in.Format != PostgreSQL || in.URL != "postgres://db/payments" || in.Query != "select * from payments" || in.Check() != nil {
		t.Errorf("input %+v", in)
	}
	if p := c.Source("profiles"); p.ID != -1 || p.Arrival != -1 || p.Push {
		t.Errorf("source %+v", p)
	}
}

// TestVariables: an unset variable is no mistake until the input is read.
func TestVariables(t *testing.T) {
	t.Setenv("PAYMENTS_URL", "")
	os.Unsetenv("PAYMENTS_URL") // Setenv restores it afterwards
	in := cards(t).Source("payments").Inputs[1]
	err := in.Check()
	if err == nil || err.Error() != "testdata/card-fraud.yaml:23: the environment has no PAYMENTS_URL, which the url of this input needs" {
		t.Errorf("%v", err)
	}
	if in.URL != "${PAYMENTS_URL}" || !slices.Equal(in.Unset, []string{"PAYMENTS_URL"}) {
		t.Errorf("input %+v", in)
	}
	t.Setenv("PAYMENTS_URL", "postgres://elsewhere/${X}")
	if got := cards(t).Source("payments").Inputs[1]; got.URL != "postgres://elsewhere/${X}" || got.Unset != nil {
		t.Errorf("input %+v", got)
	}
}

// TestCrossProduct checks names, places and columns of the features of a view.
func TestCrossProduct(t *testing.T) {
	v := cards(t).View("customer_payments")
	d := v.Window.Definition()
	var names []string
	for i, f := range v.Features {
		names = append(names, fmt.Sprintf("%s %d %s %s %q", f.Name, f.Offset, f.Type, FormatDuration(d.Features[i].Window), d.Features[i].Column))
		if v.Window.Offset(f.Name) != f.Offset {
			t.Errorf("%s begins at %d, for the window at %d", f.Name, f.Offset, v.Window.Offset(f.Name))
		}
		if g, k := v.Feature(f.Offset + f.Width - 1); g != &v.Features[i] || k != f.Width-1 {
			t.Errorf("%s is not found by its last place", f.Name)
		}
	}
	want := `payments_1d 0 int64 1d ""
payments_7d 1 int64 7d ""
payments_30d 2 int64 30d ""
mean_amount_1d 3 float64 1d "amount"
mean_amount_7d 4 float64 7d "amount"
mean_amount_30d 5 float64 30d "amount"
web_share 6 float64 7d "(?: (== channel:string \"web\") 1 0)"
big_1d 7 int64 1d "1 if (> amount:float64 100)"
big_7d 8 int64 7d "1 if (> amount:float64 100)"
big_30d 9 int64 30d "1 if (> amount:float64 100)"
terminals_1d 10 int64 1d "terminal_id#"
terminals_7d 11 int64 7d "terminal_id#"
terminals_30d 12 int64 30d "terminal_id#"
p90_1d 13 float64 1d "amount"
p90_7d 14 float64 7d "amount"
p90_30d 15 float64 30d "amount"
recent_1d 16 float64 1d "amount"
recent_7d 21 float64 7d "amount"
recent_30d 26 float64 30d "amount"
heat_1d 31 float64 1d "amount"
heat_7d 32 float64 7d "amount"
heat_30d 33 float64 30d "amount"`
	if got := strings.Join(names, "\n"); got != want {
		t.Errorf("features\n%s\nwant\n%s", got, want)
	}
	if len(v.Columns) != 3 || v.Columns[0].Field != 4 || v.Columns[1].Field != -1 || v.Columns[1].Program == nil || v.Columns[2].Filter == nil {
		t.Errorf("columns %+v", v.Columns)
	}
	if len(v.KeyColumns) != 1 || v.KeyColumns[0].Field != 3 {
		t.Errorf("key columns %+v", v.KeyColumns)
	}
	if v.Filter.String() != "amount > 0" || d.MaxAge != 90*day || d.FutureMax != 5*time.Second || d.Features[0].Hop != time.Second {
		t.Errorf("view %+v", d)
	}
	if f := d.Features[13]; f.Func != window.Quantile || f.Quantile != 0.9 || f.Default == f.Default {
		t.Errorf("p90 %+v", f)
	}
	if f, _ := v.Feature(34); f != nil {
		t.Error("there is a feature behind the row")
	}
	late := cards(t).View("terminal_risk")
	if c := late.Columns[0]; c.Field != 6 || c.LateField != 6 {
		t.Errorf("risk comes from %+v", c)
	}
	if f := late.Window.Definition().Features[3]; f.Delay != 7*day || f.Default != 0 {
		t.Errorf("risk %+v", f)
	}
}

func TestService(t *testing.T) {
	c := cards(t)
	s := c.Service("fraud")
	var lines []string
	for i := range s.Features {
		f := &s.Features[i]
		lines = append(lines, fmt.Sprintf("%s %s %s", f.Name, f.Type, c.Origin(s, f)))
	}
	want := `amount float64 request
during_weekend float64 weekday(event_timestamp) >= 6
customer_payments__payments_1d float64 customer_payments:payments_1d
customer_payments__recent_7d_0 float64 customer_payments:recent_7d[0]
customer_payments__recent_7d_1 float64 customer_payments:recent_7d[1]
customer_payments__recent_7d_2 float64 customer_payments:recent_7d[2]
customer_payments__recent_7d_3 float64 customer_payments:recent_7d[3]
customer_payments__recent_7d_4 float64 customer_payments:recent_7d[4]
last_amount float64 customer_payments:recent_30d[0]
risk_7d float64 terminal_risk:risk_7d
over_mean float64 amount / customer_payments__payments_1d
customer_profile__country string customer_profile:country
age int64 customer_profile:age`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("features\n%s\nwant\n%s", got, want)
	}
	if len(s.Entities) != 2 || s.Entities[0].Name != "customer" || s.Entities[1].Name != "terminal" || s.Time != 1 || s.Model != "fraud" {
		t.Errorf("service %+v", s)
	}
	if f := s.Features[12]; f.Kind != FromLookup || f.Offset != 1 || !f.HasDefault || f.Default != 40 {
		t.Errorf("age %+v", f)
	}
	if f := s.Features[6]; f.Kind != FromView || f.View != 0 || f.Offset != 24 || f.HasDefault {
		t.Errorf("recent %+v", f)
	}
	// places in Env: 2 keys, 2 request fields, then features
	if got := fmt.Sprint(s.Features[10].Expression.Fields()); got != "[4 6]" { // the feature amount, not the request's
		t.Errorf("over_mean reads %s", got)
	}
	if env := s.Env(); env[4].Name != "amount" || env[6].Name != "customer_payments__payments_1d" || env[3].Name != "event_timestamp" {
		t.Errorf("environment %v", env)
	}
}

// base is what the smaller examples below build on.
const base = `
entities:
  customer: {key: customer_id, type: int64}
  shop: {key: shop_id, type: string}
sources:
  sales:
    push: true
    timestamp: at
    fields:
      at: timestamp
      customer_id: int64
      payer: int64
      shop_id: string
      amount: float64
      items: int64
      cash: bool
      colour: string
      returned: {type: bool, late: true, known_after: 14d}
      reason: {type: string, late: true, known_after: 30d}
`

func TestColumns(t *testing.T) {
	c := parse(t, base+`
views:
  v:
    entities: [shop, customer]
    keys: {customer: payer}
    source: sales
    delay: 30d
    features:
      colours: {function: distinct, field: colour, window: 1d}
      red: {function: distinct, field: colour, filter: "colour startsWith 'r'", window: 1d}
      any_colour: {function: count, field: colour, window: 1d}
      amounts: {function: distinct, field: amount, window: 1d}
      parity: {function: distinct, expression: items % 2, window: 1d}
      returned: {function: sum, field: returned, window: 1d}
      lost: {function: count, filter: "reason == 'lost' // or so", window: 1d, delay: 5w}
      reasons: {function: count, field: reason, window: 2d}
      newest: {function: last, field: items, window: 1d}
      latest: {function: max, field: at, window: 1d}
      cash: {function: max, expression: cash, windows: 1w, default: false}
`)
	v := c.View("v")
	d := v.Window.Definition()
	if got := strings.Join(d.Keys, ";"); got != `colour#;colour# if (startsWith colour:string "r")` {
		t.Errorf("keys %s", got)
	}
	if got := strings.Join(d.Columns, ";"); got != `(present colour:string);amount;(% items:int64 2);returned;`+
		`1 if (== reason:string "lost");(present reason:string);items;at;cash` {
		t.Errorf("columns %s", got)
	}
	late := []int{-1, -1, -1, 8, 9, 9, -1, -1, -1}
	types := []column.Type{column.Int64, column.Int64, column.Int64, column.Int64, column.Int64, column.Float64, column.Int64,
		column.Int64, column.Int64, column.Timestamp, column.Bool}
	for i, c := range v.Columns {
		if c.LateField != late[i] {
			t.Errorf("column %s is late by field %d, want %d", d.Columns[i], c.LateField, late[i])
		}
	}
	for i, f := range v.Features {
		if f.Type != types[i] {
			t.Errorf("feature %s is %s, want %s", f.Name, f.Type, types[i])
		}
	}
	if v.Keys[0] != 3 || v.Keys[1] != 2 || v.Entities[0].Name != "shop" {
		t.Errorf("keys %v", v.Keys)
	}
	if f := d.Features[10]; f.Name != "cash_1w" || f.Default != 0 || d.Features[8].Default == d.Features[8].Default {
		t.Errorf("cash %+v", f)
	}
}

func TestServiceForms(t *testing.T) {
	c := parse(t, base+`
views:
  v:
    entity: customer
    source: sales
    windows: 7d
    features:
      n: {function: count}
      cash: {function: last, field: cash, default: null}
      recent: {function: last_k, k: 2, field: items}
lookups:
  l: {entity: shop, source: sales, fields: [colour, at, items]}
services:
  s:
    entities: [shop, customer]
    request: {x: {type: float64, max: 5}, flag: bool, when: timestamp}
    features:
      - {name: x, default: 1.5}
      - {from: flag, type: int64}
      - {name: n, from: v.n_7d, type: int64, default: 0, description: sales of a week}
      - {from: v.cash_7d, type: bool, default: true}
      - {name: recent, from: v.recent_7d, default: 0}
      - l.colour
      - {name: colour, from: l.colour, default: red}
      - {name: opened, from: l.at, type: float64}
      - customer_id
      - {name: shop, from: shop_id}
      - {name: ratio, expression: "x / (n + 1)", default: 0}
      - {name: night, expression: hour(when) < 6}
`)
	s := c.Service("s")
	var lines []string
	for i := range s.Features {
		f := &s.Features[i]
		line := fmt.Sprintf("%s %s %s", f.Name, f.Type, c.Origin(s, f))
		if f.HasDefault {
			line += fmt.Sprintf(" %v %q", f.Default, f.DefaultText)
		}
		lines = append(lines, line)
	}
	want := `x float64 request 1.5 ""
flag int64 request
n int64 v:n_7d 0 ""
v__cash_7d bool v:cash_7d 1 ""
recent_0 float64 v:recent_7d[0] 0 ""
recent_1 float64 v:recent_7d[1] 0 ""
l__colour string l:colour
colour string l:colour NaN "red"
opened float64 l:at
customer_id int64 key
shop string key
ratio float64 x / (n + 1) 0 ""
night bool hour(when) < 6`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("features\n%s\nwant\n%s", got, want)
	}
	if s.Entities[0].Name != "shop" || s.Time != -1 || s.Features[9].Offset != 1 || s.Features[2].Description != "sales of a week" {
		t.Errorf("service %+v", s)
	}
}

// TestYAML checks what of YAML is understood: documents, anchors, notes, blocks.
func TestYAML(t *testing.T) {
	c := parse(t, "\ufeff"+`
x-windows: &w [1d, 7d]
entities: {customer: {key: customer_id, type: int64}}
---
sources:
  s:
    push: true
    timestamp: "at"
    description: >
      all
      of it
    fields: {'at': timestamp, customer_id: int64, amount: {type: float64, min: -1_000, max: 0x10}}
    inputs: [{format: csv, path: /data/*.csv}]
views:
  v:
    entity: customer
    source: s
    windows: &v [1d, 7d]
    features:
      a: {function: sum, field: amount}
      b:
        function: mean
        windows: *v
        expression: |
          amount > 0
            ? amount // what is left
            : 0
`)
	s := c.Source("s")
	if s.Description != "all of it\n" || s.Fields[2].Min != -1000 || s.Fields[2].Max != 16 || s.Inputs[0].Path != "/data/*.csv" {
		t.Errorf("source %+v", s)
	}
	if v := c.View("v"); len(v.Features) != 4 || v.Columns[1].Program.Canonical() != "(?: (> amount:float64 0) amount:float64 0)" {
		t.Errorf("view %+v", v)
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", time.Microsecond: "1us", 1500 * time.Microsecond: "1500us", 2 * time.Millisecond: "2ms",
		90 * time.Second: "90s", time.Hour: "1h", 36 * time.Hour: "36h", 7 * day: "7d"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

func TestDefaultsOfFunctions(t *testing.T) {
	c := parse(t, base+`
views:
  v:
    entity: customer
    source: sales
    windows: [1d]
    features:
      count: {function: count}
      sum: {function: sum, field: amount}
      distinct: {function: distinct, field: items}
      decayed_sum: {function: decayed_sum, field: amount, half_life: 1d}
      mean: {function: mean, field: amount}
      min: {function: min, field: amount}
      max: {function: max, field: amount, default: -1.5}
      variance: {function: variance, field: amount}
      stddev: {function: stddev, field: amount}
      first: {function: first, field: amount}
      last: {function: last, field: cash, default: true}
      nothing: {function: count, default: null}
`)
	want := map[string]float64{"count_1d": 0, "sum_1d": 0, "distinct_1d": 0, "decayed_sum_1d": 0, "max_1d": -1.5, "last_1d": 1}
	for _, f := range c.View("v").Window.Definition().Features {
		w, given := want[f.Name]
		if !given {
			w = math.NaN()
		}
		if f.Default != w && !(f.Default != f.Default && w != w) {
			t.Errorf("the default of %s is %v, want %v", f.Name, f.Default, w)
		}
		if f.Hop != window.DefaultHop(day) {
			t.Errorf("the hop of %s is %v", f.Name, f.Hop)
		}
	}
}

func TestFieldCheck(t *testing.T) {
	fields := parse(t, `
entities: {e: {key: k, type: string}}
sources:
  s:
    push: true
    timestamp: at
    fields:
      number: {type: float64, min: -1, max: 2, required: true}
      text: {type: string, values: [a, b]}
      integer: {type: int64, max: 5}
      any: float64
`).Source("s").Fields
	for _, c := range []struct {
		field int
		value any
		want  string
	}{
		{0, 1.5, ""}, {0, -1.0, ""}, {0, 2.0, ""}, {0, nil, "is required"}, {0, -1.5, "-1.5 is below the minimum of -1"}, {0, 3.0, "3 is above the maximum of 2"},
		{1, "a", ""}, {1, nil, ""}, {1, "c", `"c" is not one of ["a" "b"]`}, {2, int64(5), ""}, {2, int64(6), "6 is above the maximum of 5"}, {2, nil, ""},
		{3, 1e300, ""}, {3, math.Inf(-1), "is infinite"}, {3, nil, ""},
	} {
		f := &fields[c.field]
		column := column.Column{Name: f.Name, Type: f.Type}
		switch v := c.value.(type) {
		case nil:
			column.AppendNull()
		case float64:
			column.AppendNumber(v)
		case int64:
			column.AppendInt(v)
		case string:
			column.AppendText(v)
		}
		if got := f.Check(&column, 0); got != c.want {
			t.Errorf("%s %v: %q, want %q", f.Name, c.value, got, c.want)
		}
	}
	if got := fields[0].Check(&column.Column{Type: column.Float64}, 0); got != "is required" {
		t.Errorf("a column that was not read: %q", got)
	}
}
