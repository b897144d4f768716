// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/source"
)

const (
	second = int64(1_000_000)
	minute = 60 * second
	hour   = 60 * minute
	begin  = int64(1_750_000_000) * second / hour * hour
)

// payment is a record of the world: an event, or one that only says whether it was a
// fraud. Empty texts and NaN are null.
type payment struct {
	sequence    uint64 // in the log, 0 in a file
	id          int64
	at, arrival int64
	customer    string
	shop        string
	amount      float64
	channel     string
	fraud       float64
	amends      bool
}

// profile is a change of a customer, limit one of a shop.
type profile struct {
	change      string
	at, arrival int64
	customer    int64
	country     string
	age         float64
}

type limit struct {
	at    int64
	shop  string
	limit float64
}

// world is some history, in order of arrival.
type world struct {
	payments []payment
	profiles []profile
	limits   []limit
}

func newWorld(r *rand.Rand, events int) *world {
	w := &world{}
	span := 4 * 24 * hour
	late := func(at int64) int64 {
		switch r.IntN(6) {
		case 0:
			return at + r.Int64N(30*hour)
		case 1:
			return at + r.Int64N(hour)
		}
		return at
	}
	for i := range events {
		p := payment{id: int64(i), at: begin + r.Int64N(span/minute)*minute, customer: strconv.Itoa(r.IntN(6)), shop: string(rune('a' + r.IntN(5))),
			amount: float64(r.IntN(10000)) / 100, channel: []string{"web", "pos", ""}[r.IntN(3)], fraud: math.NaN()}
		p.arrival = late(p.at)
		if r.IntN(20) == 0 {
			p.customer = ""
		}
		if r.IntN(15) == 0 {
			p.shop = ""
		}
		if r.IntN(15) == 0 {
			p.amount, p.channel = math.NaN(), "pos" // with neither it would be an amendment
		}
		fraud := float64(r.IntN(2))
		if r.IntN(3) == 0 {
			p.fraud = fraud
		}
		w.payments = append(w.payments, p)
		if r.IntN(8) == 0 { // sent again, with another amount
			again := p
			again.arrival += r.Int64N(2 * hour)
			again.amount++
			if r.IntN(2) == 0 {
				again.fraud = 1 - fraud
			}
			w.payments = append(w.payments, again)
		}
		for range r.IntN(3) { // its label comes, perhaps too late, perhaps twice
			w.payments = append(w.payments, payment{id: p.id, at: p.at, arrival: p.at + r.Int64N(8*hour), customer: p.customer, shop: p.shop,
				amount: math.NaN(), fraud: fraud, amends: true})
			if r.IntN(4) == 0 {
				fraud = 1 - fraud
			}
		}
	}
	for i := range events / 8 {
		p := profile{change: fmt.Sprint("c", i), at: begin + r.Int64N(span/hour)*hour, customer: int64(r.IntN(6)), country: []string{"NL", "BE", "a longer name", ""}[r.IntN(4)], age: float64(r.IntN(80))}
		p.arrival = late(p.at)
		if r.IntN(5) == 0 {
			p.age = math.NaN()
		}
		w.profiles = append(w.profiles, p)
		w.limits = append(w.limits, limit{at: begin + r.Int64N(span/hour)*hour, shop: string(rune('a' + r.IntN(4))), limit: float64(10 + i)})
	}
	slices.SortStableFunc(w.payments, func(a, b payment) int { return int(a.arrival - b.arrival) })
	slices.SortStableFunc(w.profiles, func(a, b profile) int { return int(a.arrival - b.arrival) })
	return w
}

func stampOf(at int64) string { return time.UnixMicro(at).UTC().Format(time.RFC3339Nano) }

func cell(x float64) string {
	if math.IsNaN(x) {
		return ""
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// write writes the world as files of a folder, the payments spread over several of them.
func (w *world) write(t testing.TB, dir string, r *rand.Rand, files int) {
	out := make([]strings.Builder, files)
	for i := range out {
		out[i].WriteString("payment_id,at,recorded_at,customer_id,shop,amount,channel,is_fraud\n")
	}
	for _, p := range w.payments {
		fraud := map[float64]string{0: "false", 1: "true"}[p.fraud]
		fmt.Fprintf(&out[r.IntN(files)], "%d,%s,%s,%s,%s,%s,%s,%s\n", p.id, stampOf(p.at), stampOf(p.arrival), p.customer, p.shop, cell(p.amount), p.channel, fraud)
	}
	for i := range out {
		save(t, filepath.Join(dir, fmt.Sprintf("payments-%d.csv", i)), out[i].String())
	}
	var b strings.Builder
	b.WriteString("change,at,recorded_at,customer_id,country,age\n")
	for _, p := range w.profiles {
		fmt.Fprintf(&b, "%s,%s,%s,%d,%s,%s\n", p.change, stampOf(p.at), stampOf(p.arrival), p.customer, p.country, cell(p.age))
	}
	save(t, filepath.Join(dir, "profiles.csv"), b.String())
	b.Reset()
	b.WriteString("at,shop,limit\n")
	for _, l := range w.limits {
		fmt.Fprintf(&b, "%s,%s,%s\n", stampOf(l.at), l.shop, cell(l.limit))
	}
	save(t, filepath.Join(dir, "limits.csv"), b.String())
}

func save(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// worldText is the definitions over the files of a folder.
func worldText(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := strings.NewReplacer("INPUTS", filepath.Join(dir, "payments-*.csv"), "PROFILES", filepath.Join(dir, "profiles.csv"), "LIMITS", filepath.Join(dir, "limits.csv"))
	return r.Replace(string(text))
}

func worldCatalog(t testing.TB, dir string) *definition.Catalog {
	t.Helper()
	c, err := definition.Parse("world.yaml", []byte(worldText(t, dir)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// log writes payments and profiles into an event log, and sets their sequences.
func (w *world) log(t testing.TB, c *definition.Catalog) *offline.Log {
	t.Helper()
	ctx := t.Context()
	log, err := offline.Open(ctx, offline.Options{Dir: t.TempDir(), CompactEvery: -1, GroupWait: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	declare := func(s string) *offline.Stream {
		stream, err := log.Declare(plan.Schema(c.Source(s)))
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	payments, profiles := declare("payments"), declare("profiles")
	for i := range w.payments {
		p := &w.payments[i]
		p.sequence = put(t, payments, p.record())
		if i == len(w.payments)/2 {
			if err := log.Compact(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range w.profiles {
		put(t, profiles, w.profiles[i].record())
	}
	if err := log.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	return log
}

func put(t testing.TB, s *offline.Stream, r *offline.Record) uint64 {
	t.Helper()
	sequence, err := s.AppendSequence(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return sequence
}

func (p *payment) record() *offline.Record {
	values := make([]offline.Value, 7)
	if !p.amends {
		values[0] = offline.Int64(p.id)
		values[1] = offline.Timestamp(p.at)
	}
	if id, err := strconv.ParseInt(p.customer, 10, 64); err == nil {
		values[2] = offline.Int64(id)
	}
	if p.shop != "" {
		values[3] = offline.String(p.shop)
	}
	if !math.IsNaN(p.amount) {
		values[4] = offline.Float64(p.amount)
	}
	if p.channel != "" {
		values[5] = offline.String(p.channel)
	}
	if !math.IsNaN(p.fraud) {
		values[6] = offline.Bool(p.fraud == 1)
	}
	return &offline.Record{ID: strconv.FormatInt(p.id, 10), EventTime: p.at, ArrivalTime: p.arrival, Values: values}
}

func (p *profile) record() *offline.Record {
	values := []offline.Value{offline.String(p.change), offline.Timestamp(p.at), offline.Int64(p.customer), {}, {}}
	if p.country != "" {
		values[3] = offline.String(p.country)
	}
	if !math.IsNaN(p.age) {
		values[4] = offline.Int64(int64(p.age))
	}
	return &offline.Record{ID: p.change, EventTime: p.at, ArrivalTime: p.arrival, Values: values}
}

// row is a row of a training set.
type row struct {
	id       int64
	at       int64
	customer string
	shop     string
	features map[string]float64
	country  string
	fraud    float64
	weight   float64
}

// readRows reads a training set of the world.
func readRows(t testing.TB, path string) (rows []row) {
	t.Helper()
	r, err := source.OpenFile(t.Context(), definition.Parquet, path, nil, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b column.Batch
	for {
		more, err := r.Next(&b)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return rows
		}
		for i := range b.Rows {
			rows = append(rows, rowOf(&b, i))
		}
	}
}

func rowOf(b *column.Batch, i int) row {
	r := row{features: map[string]float64{}, weight: 1}
	for k := range b.Columns {
		c := &b.Columns[k]
		switch c.Name {
		case "payment_id":
			r.id = c.Ints[i]
		case "at":
			r.at = c.Ints[i]
		case "customer_id":
			r.customer = strconv.FormatInt(c.Ints[i], 10)
		case "shop":
			r.shop = c.Texts[i]
		case "country":
			if !c.Null(i) {
				r.country = c.Texts[i]
			}
		case "is_fraud":
			r.fraud = c.Number(i)
		case "weight":
			r.weight = c.Number(i)
		default:
			r.features[c.Name] = c.Number(i)
		}
	}
	return r
}
