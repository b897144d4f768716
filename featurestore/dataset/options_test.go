// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// TestBuildErrors asks for what cannot be.
func TestBuildErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 13))
	dir := t.TempDir()
	newWorld(r, 20).write(t, dir, r, 1)
	c := worldCatalog(t, dir)
	save(t, filepath.Join(dir, "labels.csv"), "customer_id,shop,at,amount,y\n1,a,2025-06-16T00:00:00Z,1,true\n")
	file := Labels{Path: filepath.Join(dir, "labels.csv"), Format: definition.CSV, Names: []string{"y"}}
	late, err := definition.Parse("late.yaml", []byte(strings.Replace(worldText(t, dir), "request: {amount: float64, at: timestamp}", "request: {amount: float64, at: timestamp, is_fraud: bool}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := definition.Parse("pushed.yaml", []byte(strings.Replace(worldText(t, dir), "    inputs:\n      - {format: csv, path: \""+filepath.Join(dir, "limits.csv")+"\"}\n", "    push: true\n    id: shop\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Catalog = nil }, "no catalog"},
		{func(o *Options) { o.Service = "nobody" }, `service "nobody" is not defined`},
		{func(o *Options) { o.Labels.Source = "nowhere" }, `source "nowhere" is not defined`},
		{func(o *Options) { o.Labels = Labels{} }, "either a source or a path"},
		{func(o *Options) { o.Output = "" }, "no output file"},
		{func(o *Options) { o.From, o.To = time.UnixMicro(5), time.UnixMicro(5) }, "is not before"},
		{func(o *Options) { o.NoInputs = true }, "without inputs a log is needed"},
		{func(o *Options) { o.Sample.Rate = 1.5 }, "sample rate 1.5"},
		{func(o *Options) { o.Sample.Negatives = math.NaN() }, "share of negatives NaN"},
		{func(o *Options) { o.Sample.Negatives, o.Labels.Names = 0.5, nil }, "negatives are sampled by a label"},
		{func(o *Options) { o.Sample.Negatives, o.Labels.Names = 0.5, []string{"shop"} }, "label shop is a string"},
		{func(o *Options) { o.Workers = -1 }, "workers -1"},
		{func(o *Options) { o.MemoryMax = 5 }, "memory 5"},
		{func(o *Options) { o.Labels.Names = []string{"fraud"} }, "no column fraud (label); there are payment_id, at"},
		{func(o *Options) { o.Labels.Time = "amount" }, "time amount is timestamp, the column is float64"},
		{func(o *Options) { o.Labels.Carry = []string{"amount"} }, "column amount would be there twice"},
		{func(o *Options) { o.Catalog = late }, "request field is_fraud is known only 6h0m0s after the event"},
		{func(o *Options) { o.Catalog = pushed }, "source limits has no inputs"},
		{func(o *Options) { o.Labels = file; o.Labels.Names = []string{"z"} }, "no column z"},
		{func(o *Options) { o.Labels = file; o.Labels.Columns = map[string]string{"shop": "where"} }, "there is no column where"},
	} {
		o := Options{Catalog: c, Service: "fraud", Labels: Labels{Source: "payments", Names: []string{"is_fraud"}}, Output: filepath.Join(t.TempDir(), "out")}
		x.change(&o)
		if _, err := Build(t.Context(), o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %s", err, x.want)
		}
	}
}

// TestLabelFile takes rows from a file with other names and units.
func TestLabelFile(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 13))
	w := newWorld(r, 80)
	dir := t.TempDir()
	w.write(t, dir, r, 1)
	save(t, filepath.Join(dir, "labels.csv"), `who,shop,ms,amount,y,note
1,a,1750060800000,7.5,1,first
,a,1750060800000,7.5,0,no customer
2,b,,7.5,0,no time
3,c,1750100400000,,,no label
3,d,1750100400000,,0.5,last
`)
	output := filepath.Join(t.TempDir(), "out.parquet")
	m, err := Build(t.Context(), Options{Catalog: worldCatalog(t, dir), Service: "fraud", Output: output, Labels: Labels{
		Path: filepath.Join(dir, "labels.csv"), Format: definition.CSV, Columns: map[string]string{"customer_id": "who", "at": "unix_ms(ms)"},
		Names: []string{"y"}, Carry: []string{"note", "customer_id", "shop", "at"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if m.Rows.In != 5 || m.Rows.Out != 2 || m.Rows.Dropped[reasonNames[noKey]] != 1 || m.Rows.Dropped[reasonNames[noTime]] != 1 || m.Rows.Dropped[reasonNames[noLabel]] != 1 {
		t.Errorf("rows %+v", m.Rows)
	}
	ref := reference{world: w, asOf: math.MaxInt64}
	for i, got := range readRows(t, output) {
		p := payment{at: []int64{1750060800, 1750100400}[i] * second, customer: []string{"1", "3"}[i], shop: []string{"a", "d"}[i], amount: []float64{7.5, math.NaN()}[i]}
		want := ref.row(&p)
		want.features["y"] = []float64{1, 0.5}[i]
		got.fraud, got.id = want.fraud, want.id
		if names := differences(&got, &want); len(names) > 0 {
			t.Errorf("%v differ:\n got %v\nwant %v", names, got, want)
		}
	}
}

// TestBadInput meets rows that cannot be read, and events that no table takes.
func TestBadInput(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 13))
	w := newWorld(r, 60)
	dir := t.TempDir()
	w.write(t, dir, r, 1)
	save(t, filepath.Join(dir, "profiles.csv"), "change,at,recorded_at,customer_id,country,age\n"+
		"a,2025-06-16T00:00:00Z,,1,NL,9007199254740993\nb,2025-06-16T00:00:00Z,,1,NL,x\nc,2025-06-16T00:00:00Z,,1,NL,5\n")
	o := Options{Catalog: worldCatalog(t, dir), Service: "fraud", Labels: Labels{Source: "payments"}, Output: filepath.Join(dir, "out.parquet")}
	if _, err := Build(t.Context(), o); !errors.Is(err, source.ErrBadRows) || !strings.Contains(err.Error(), "age") {
		t.Errorf("%v", err)
	}
	o.BadRowsMax = 1
	m, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Refused) != 1 || m.Refused[0].Source != "profiles" || m.Refused[0].Field != "age" || m.Refused[0].Events != 1 {
		t.Errorf("refused %+v", m.Refused)
	}
	for _, s := range m.Sources {
		if s.Source == "profiles" && (s.Rows != 2 || s.BadRows != 1) {
			t.Errorf("%+v", s)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	o.Output = filepath.Join(dir, "nowhere", "out.parquet")
	if _, err := Build(t.Context(), o); err == nil {
		t.Error("a folder that is not there was written to")
	}
}
