// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHistory compares the history of a customer with the rows of a training set.
func TestHistory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 10))
	w := newWorld(r, 150)
	dir := t.TempDir()
	w.write(t, dir, r, 2)
	c := worldCatalog(t, dir)
	_, rows := buildWorld(t, dir, nil, func(o *Options) { o.Labels.Names = nil })
	rows = slices.DeleteFunc(rows, func(x row) bool { return x.customer != "3" })
	log := w.log(t, c)
	for _, o := range []HistoryOptions{
		{Catalog: c, Service: "fraud", Keys: map[string]string{"customer_id": "3"}, Source: "payments"},
		{Catalog: c, Service: "fraud", Keys: map[string]string{"customer_id": "3"}, Source: "payments", Log: log},
	} {
		h, err := ReadHistory(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for i := range h.Rows.Rows {
			got := rowOf(&h.Rows, i)
			at := h.Rows.Column("time").Ints[i]
			if i > 0 && at < h.Rows.Column("time").Ints[i-1] {
				t.Fatal("not in order of time")
			}
			k := slices.IndexFunc(rows, func(x row) bool {
				return x.at == at && x.shop == got.shop
			})
			if k < 0 {
				continue // a row without a shop, which a training set leaves out
			}
			found++
			if math.IsNaN(rows[k].features["amount"]) {
				continue // the row is the event's label, which came before the event itself
			}
			got.id, got.at, got.fraud = rows[k].id, rows[k].at, rows[k].fraud
			if names := differences(&got, &rows[k]); len(names) > 0 {
				t.Errorf("%v differ:\n got %v\nwant %v", names, got, rows[k])
			}
		}
		if found != len(rows) || found == 0 {
			t.Errorf("%d of %d rows found", found, len(rows))
		}
		if len(h.Status) != h.Rows.Rows*19 || len(h.Columns) != 3+19 {
			t.Errorf("%d statuses and %d columns for %d rows", len(h.Status), len(h.Columns), h.Rows.Rows)
		}
	}
}

// TestHistorySteps asks for a view at regular moments.
func TestHistorySteps(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 10))
	w := newWorld(r, 100)
	dir := t.TempDir()
	w.write(t, dir, r, 1)
	from := time.UnixMicro(begin)
	h, err := ReadHistory(t.Context(), HistoryOptions{Catalog: worldCatalog(t, dir), View: "customer", Keys: map[string]string{"customer_id": "2"},
		From: from, To: from.Add(4 * 24 * time.Hour), Step: 3 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ref := reference{world: w, asOf: 1 << 60}
	events := ref.events(12*hour + second)
	for i := range h.Rows.Rows {
		at := begin + int64(i)*3*hour
		in := ref.window(events, at, 0, 12*hour, second, func(p *payment) bool { return p.customer == "2" })
		if got := h.Rows.Column("payments_12h").Numbers[i]; h.Rows.Column("time").Ints[i] != at || got != float64(len(in)) {
			t.Errorf("step %d: %v payments, want %d", i, got, len(in))
		}
	}
	if h.Rows.Rows != 32 {
		t.Errorf("%d steps", h.Rows.Rows)
	}
}

func TestHistoryOptions(t *testing.T) {
	c := worldCatalog(t, t.TempDir())
	at := time.UnixMicro(begin)
	for _, x := range []struct {
		o    HistoryOptions
		want string
	}{
		{HistoryOptions{}, "no catalog"},
		{HistoryOptions{Catalog: c}, "either a service or a view"},
		{HistoryOptions{Catalog: c, View: "nobody"}, `view "nobody" is not defined`},
		{HistoryOptions{Catalog: c, View: "customer", Step: time.Hour, Keys: map[string]string{"customer_id": "1"}}, "from and to are needed"},
		{HistoryOptions{Catalog: c, View: "customer", Step: time.Hour, From: at, To: at.Add(time.Hour)}, "the key customer_id is needed"},
		{HistoryOptions{Catalog: c, View: "customer", Step: time.Second, From: at, To: at.Add(99 * time.Hour), Keys: map[string]string{"customer_id": "1"}}, "more than 100000 moments"},
		{HistoryOptions{Catalog: c, View: "customer", Keys: map[string]string{"customer_id": "one"}}, `customer_id: "one" is no int64`},
		{HistoryOptions{Catalog: c, View: "customer", Keys: map[string]string{"nonsense": "1"}}, "nonsense is neither a key"},
		{HistoryOptions{Catalog: c, Service: "fraud", Source: "nowhere"}, `source "nowhere" is not defined`},
	} {
		_, err := ReadHistory(t.Context(), x.o)
		if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %s", x.o, err, x.want)
		}
	}
}
