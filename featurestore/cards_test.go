// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/rpc"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// cardsFolder holds the published card payments; tests that need them skip without it.
const cardsFolder = "../../shared/data/card-transactions"

// publishedCatalog has the published features. The inputs of the source are the file
// given.
func publishedCatalog(t *testing.T, input string) *definition.Catalog {
	t.Helper()
	text, err := os.ReadFile("testdata/published.yaml")
	if err != nil {
		t.Fatal(err)
	}
	input, err = filepath.Abs(input)
	if err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer("PAYMENTS", input, "FORMAT", strings.TrimPrefix(filepath.Ext(input), "."))
	c, err := definition.Parse("published.yaml", []byte(replace.Replace(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// paymentList are the published ones, by time.
type paymentList struct {
	ids, times, customers, terminals []int64
	amounts, frauds                  []float64
}

// readPayments reads those before a moment; 0 is all.
func readPayments(t *testing.T, before int64) *paymentList {
	t.Helper()
	file := filepath.Join(cardsFolder, "transactions.parquet")
	if _, err := os.Stat(file); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	r, err := source.Open(t.Context(), publishedCatalog(t, file).Source("payments"), source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	all := new(paymentList)
	var b column.Batch
	for {
		more, err := r.Next(&b)
		if err != nil {
			t.Fatal(err)
		}
		if !more || before > 0 && b.Columns[1].Ints[0] >= before {
			break
		}
		c := b.Columns
		all.ids, all.times = append(all.ids, c[0].Ints...), append(all.times, c[1].Ints...)
		all.customers, all.terminals = append(all.customers, c[2].Ints...), append(all.terminals, c[3].Ints...)
		all.amounts, all.frauds = append(all.amounts, c[4].Numbers...), append(all.frauds, c[5].Numbers...)
	}
	if !slices.IsSorted(all.times) {
		t.Fatal("the payments are not in the order of their times")
	}
	return all
}

func (p *paymentList) len() int { return len(p.ids) }

// events are payments [i, j), with their labels and nothing else, or without.
func (p *paymentList) events(i, j int, labels bool, into *featurestore.Events) {
	null := column.Column{Type: column.Float64}
	amount, fraud := column.Column{Type: column.Float64, Numbers: p.amounts[i:j]}, column.Column{Type: column.Bool}
	if labels {
		amount, fraud.Numbers = null, p.frauds[i:j]
	}
	into.NoWait = true
	into.Batch.Rows = j - i
	into.Batch.Columns = append(into.Batch.Columns[:0],
		column.Column{Type: column.Int64, Ints: p.ids[i:j]}, column.Column{Type: column.Timestamp, Ints: p.times[i:j]},
		column.Column{Type: column.Int64, Ints: p.customers[i:j]}, column.Column{Type: column.Int64, Ints: p.terminals[i:j]},
		amount, fraud)
}

// cardReplay pushes payments as they happened.
type cardReplay struct {
	t        *testing.T
	all      *paymentList
	store    *featurestore.Store
	clock    atomic.Int64
	events   featurestore.Events
	result   featurestore.PushResult
	next     int // payment to be pushed
	due      int // payment whose label is to be pushed
	service  *plan.Assembler
	in       plan.Inputs
	out      plan.Vectors
	vectors  map[int64][]float64 // by payment
	statuses map[int64][]byte
}

func newCardReplay(t *testing.T, c *definition.Catalog, all *paymentList) *cardReplay {
	t.Helper()
	r := &cardReplay{t: t, all: all, vectors: map[int64][]float64{}, statuses: map[int64][]byte{}}
	r.clock.Store(all.times[0])
	var err error
	r.store, err = featurestore.Open(t.Context(), featurestore.Options{
		Dir: t.TempDir(), Catalog: c, Now: func() time.Time { return time.UnixMicro(r.clock.Load()) },
		// A simulated clock runs faster than the disk: pushes wait where a server refuses.
		Log: offline.Options{WaitWhenFull: -1, CompactEvery: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if r.service, err = r.store.Service("fraud"); err != nil {
		t.Fatal(err)
	}
	return r
}

// advance sets the clock to a moment and pushes the labels that become known up to it,
// then the payments that happened up to it. Labels come at the beginning of the step:
// before they count, as they must.
func (r *cardReplay) advance(to int64) {
	const known = 7 * 24 * int64(time.Hour/time.Microsecond)
	begin := r.due
	for r.due < r.next && r.all.times[r.due]+known <= to {
		r.due++
	}
	r.push(begin, r.due, true)
	r.clock.Store(to)
	begin = r.next
	for r.next < r.all.len() && r.all.times[r.next] <= to {
		r.next++
	}
	r.push(begin, r.next, false)
}

func (r *cardReplay) push(i, j int, labels bool) {
	if i == j {
		return
	}
	r.all.events(i, j, labels, &r.events)
	if err := r.store.Push(r.t.Context(), "payments", &r.events, &r.result); err != nil {
		r.t.Fatal(err)
	}
	if r.result.Accepted != j-i || r.result.Duplicates != 0 {
		r.t.Fatalf("payments %d to %d, labels %v: %+v", r.all.ids[i], r.all.ids[j-1], labels, r.result)
	}
}

// read asks for the vectors of payments at their own moment, which is now.
func (r *cardReplay) read(rows ...int) {
	r.in = plan.Inputs{Rows: len(rows), Keys: make([]column.Column, len(r.service.Service().Entities)), Request: make([]column.Column, 2)}
	amount, at := column.Column{Type: column.Float64}, column.Column{Type: column.Timestamp}
	keys := map[string]*column.Column{"customer": {Type: column.Int64}, "terminal": {Type: column.Int64}}
	for _, i := range rows {
		amount.AppendNumber(r.all.amounts[i])
		at.AppendInt(r.all.times[i])
		keys["customer"].AppendInt(r.all.customers[i])
		keys["terminal"].AppendInt(r.all.terminals[i])
	}
	for i, e := range r.service.Service().Entities {
		r.in.Keys[i] = *keys[e.Name]
	}
	r.in.Request[0], r.in.Request[1] = amount, at
	if err := r.store.Read(r.t.Context(), r.service, &r.in, &r.out); err != nil {
		r.t.Fatal(err)
	}
	if r.out.Missed != 0 {
		r.t.Errorf("payment %d: an edge was missed by %d µs", r.all.ids[rows[0]], r.out.Missed)
	}
	for k, i := range rows {
		r.vectors[r.all.ids[i]] = slices.Clone(r.out.Row(k))
		for _, s := range r.out.StatusRow(k) {
			r.statuses[r.all.ids[i]] = append(r.statuses[r.all.ids[i]], byte(s))
		}
	}
}

// published reads the expected features, by payment.
func published(t *testing.T) (names []string, rows map[int64][]float64) {
	t.Helper()
	f, err := os.Open(filepath.Join(cardsFolder, "features-expected.csv"))
	if err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rows = map[int64][]float64{}
	for _, row := range all[1:] {
		id, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, cell := range row[1:] {
			x, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatal(err)
			}
			rows[id] = append(rows[id], x)
		}
	}
	return all[0][1:], rows
}

// TestPublishedFeatures replays all published payments through the online path and
// reads the 500 rows at their moments, in process and for some as Feast's JSON.
func TestPublishedFeatures(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("a replay of 1.75 million payments; TestTwoWeeks is the short one")
	}
	names, want := published(t)
	all := readPayments(t, 0)
	file := filepath.Join(cardsFolder, "transactions.parquet")
	c := publishedCatalog(t, file)
	r := newCardReplay(t, c, all)
	server := httptest.NewServer(routes(r.store))
	defer server.Close()
	const step = 10 * int64(time.Minute/time.Microsecond)
	var asked []int
	for i := range all.len() {
		if w := want[all.ids[i]]; w != nil {
			r.advance(all.times[i])
			r.read(i)
			asked = append(asked, i)
			if len(asked)%25 == 0 {
				r.compareFeast(server.URL, i)
			}
		} else if all.times[i] >= r.clock.Load()+step {
			r.advance(all.times[i])
		}
	}
	if len(asked) != len(want) || len(asked) != 500 {
		t.Fatalf("%d of %d payments found", len(asked), len(want))
	}
	for id, got := range r.vectors {
		for i, f := range r.service.Service().Features {
			if f.Name != names[i] {
				t.Fatalf("feature %d is %s, want %s", i, f.Name, names[i])
			}
			if w := want[id][i]; !(math.Abs(got[i]-w) <= 1e-6*max(1, math.Abs(w))) {
				t.Errorf("payment %d: %s is %v, want %v", id, names[i], got[i], w)
			}
		}
	}
	r.compareDataset("inputs", dataset.Options{Catalog: c}, asked)
}

// TestTwoWeeks replays two weeks of the payments, and compares with training sets made
// of the file and of the event log.
func TestTwoWeeks(t *testing.T) {
	days := 14
	if testing.Short() || raceEnabled {
		days = 9
	}
	begin := time.Date(2018, 4, 1, 0, 0, 0, 0, time.UTC)
	all := readPayments(t, begin.AddDate(0, 0, days).UnixMicro())
	file := filepath.Join(t.TempDir(), "payments.csv")
	writePayments(t, file, all)
	c := publishedCatalog(t, filepath.Join(cardsFolder, "transactions.parquet"))
	r := newCardReplay(t, c, all)
	const step = int64(time.Minute / time.Microsecond)
	var asked []int
	for i := range all.len() {
		if i%97 == 96 {
			r.advance(all.times[i])
			r.read(i)
			asked = append(asked, i)
		} else if all.times[i] >= r.clock.Load()+step {
			r.advance(all.times[i])
		}
	}
	fromFile := publishedCatalog(t, file)
	r.compareDataset("inputs", dataset.Options{Catalog: fromFile}, asked)
	r.compareDataset("log", dataset.Options{Catalog: c, Log: r.store.Log(), NoInputs: true}, asked)
}

func writePayments(t *testing.T, file string, all *paymentList) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("transaction_id,event_timestamp,customer_id,terminal_id,amount,is_fraud\n")
	for i := range all.len() {
		fmt.Fprintf(&b, "%d,%s,%d,%d,%v,%v\n", all.ids[i], time.UnixMicro(all.times[i]).UTC().Format(time.RFC3339), all.customers[i], all.terminals[i], all.amounts[i], all.frauds[i])
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareDataset makes a training set for the payments that were asked for and compares
// it with what was read, bit for bit.
func (r *cardReplay) compareDataset(what string, o dataset.Options, asked []int) {
	r.t.Helper()
	dir := r.t.TempDir()
	var labels strings.Builder
	labels.WriteString("payment,event_timestamp,customer_id,terminal_id,amount\n")
	for _, i := range asked {
		fmt.Fprintf(&labels, "%d,%s,%d,%d,%v\n", r.all.ids[i], time.UnixMicro(r.all.times[i]).UTC().Format(time.RFC3339), r.all.customers[i], r.all.terminals[i], r.all.amounts[i])
	}
	o.Service, o.Output, o.TempDir, o.Status = "fraud", filepath.Join(dir, "out.parquet"), dir, true
	o.Labels = dataset.Labels{Path: filepath.Join(dir, "labels.csv"), Format: definition.CSV, Time: "event_timestamp", Carry: []string{"payment"}}
	write(r.t, o.Labels.Path, labels.String())
	if err := r.store.Log().Sync(r.t.Context()); err != nil { // a training set is made of what is durable
		r.t.Fatal(err)
	}
	if _, err := dataset.Build(r.t.Context(), o); err != nil {
		r.t.Fatal(err)
	}
	rows := readTable(r.t, o.Output)
	if rows.len() != len(asked) {
		r.t.Fatalf("training set from %s: %d rows, want %d", what, rows.len(), len(asked))
	}
	for row := range rows.len() {
		id := int64(rows.number("payment", row))
		for i, f := range r.service.Service().Features {
			if got, want := rows.number(f.Name, row), r.vectors[id][i]; !same(got, want) {
				r.t.Errorf("payment %d: %s is %v in the training set from %s and %v online", id, f.Name, got, what, want)
			}
		}
	}
}

// same compares bit for bit; all NaN are one.
func same(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}

func routes(store *featurestore.Store) http.Handler {
	mux := http.NewServeMux()
	rpc.New(store).Routes(mux)
	return mux
}

// feastAnswer is what Feast's clients read of an answer.
type feastAnswer struct {
	Metadata struct {
		FeatureNames []string `json:"feature_names"`
	} `json:"metadata"`
	Results []struct {
		Values   []any    `json:"values"`
		Statuses []string `json:"statuses"`
	} `json:"results"`
}

// compareFeast asks for a payment as a Feast client does.
func (r *cardReplay) compareFeast(url string, i int) {
	r.t.Helper()
	body := fmt.Sprintf(`{"feature_service": "fraud", "entities": {"customer_id": [%d], "terminal_id": [%d]}, "request_context": {"amount": [%v], "event_timestamp": [%d]}}`,
		r.all.customers[i], r.all.terminals[i], r.all.amounts[i], r.all.times[i])
	q, err := http.Post(url+"/get-online-features", "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer q.Body.Close()
	var a feastAnswer
	if err := json.NewDecoder(q.Body).Decode(&a); err != nil || q.StatusCode != http.StatusOK {
		r.t.Fatalf("status %s, %v", q.Status, err)
	}
	vector, found := r.vectors[r.all.ids[i]], 0
	for k, name := range a.Metadata.FeatureNames {
		for f := range r.service.Service().Features {
			if r.service.Service().Features[f].Name != name {
				continue
			}
			found++
			if got, ok := a.Results[k].Values[0].(float64); !ok || got != vector[f] || a.Results[k].Statuses[0] == "NOT_FOUND" {
				r.t.Errorf("payment %d: JSON has %v (%s) for %s, want %v", r.all.ids[i], a.Results[k].Values[0], a.Results[k].Statuses[0], name, vector[f])
			}
		}
	}
	if found != len(vector) {
		r.t.Errorf("payment %d: JSON has %d of %d features: %v", r.all.ids[i], found, len(vector), a.Metadata.FeatureNames)
	}
}
