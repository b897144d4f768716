// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/featurestore/window"
)

func hashed(id int64) uint64      { return window.KeyOf(strconv.FormatInt(id, 10)) }
func hashedText(id string) uint64 { return window.KeyOf(id) }
func hashedRow(place int) uint64 {
	return window.KeyOf(string(source.AppendRowID(nil, 1<<40|int64(place+2))))
}
func byID(a, b row) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.at, b.at)) }
func none(at int64) (t time.Time) {
	if at == math.MaxInt64 {
		return t
	}
	return time.UnixMicro(at)
}

// buildWorld builds the training set of a world.
func buildWorld(t testing.TB, dir string, log *offline.Log, change func(*Options)) (*Manifest, []row) {
	t.Helper()
	o := Options{Catalog: worldCatalog(t, dir), Service: "fraud", Labels: Labels{Source: "payments", Names: []string{"is_fraud"}},
		Output: filepath.Join(t.TempDir(), "set.parquet"), Log: log, Workers: 2, parts: 4}
	change(&o)
	m, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	rows := readRows(t, o.Output)
	slices.SortFunc(rows, byID)
	return m, rows
}

func compareRows(t *testing.T, what string, got, want []row) {
	t.Helper()
	slices.SortFunc(want, byID)
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
	wrong := 0
	for i := range got {
		if names := differences(&got[i], &want[i]); len(names) > 0 && wrong < 5 {
			wrong++
			t.Errorf("%s: payment %d: %v differ:\n got %v\nwant %v", what, got[i].id, names, got[i], want[i])
		}
	}
}

// TestReference compares training sets of random worlds with the obvious implementation.
func TestReference(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(r, 150)
		dir := t.TempDir()
		w.write(t, dir, r, 3)
		asOf := int64(math.MaxInt64)
		if seed%3 > 0 {
			asOf = begin + 60*hour
		}
		ref := reference{world: w, asOf: asOf, hindsight: seed%3 == 2}
		change := func(o *Options) { o.AsOf, o.Hindsight = none(asOf), ref.hindsight }
		m, got := buildWorld(t, dir, nil, change)
		want, unlabelled := ref.rows()
		compareRows(t, "files", got, want)
		dropped := m.Rows.Dropped[reasonNames[noLabel]] + m.Rows.Dropped[reasonNames[labelUnknown]]
		if int(dropped) != unlabelled {
			t.Errorf("%d rows without a label, want %d: %v", dropped, unlabelled, m.Rows)
		}

		log := w.log(t, worldCatalog(t, dir)) // which gives them sequences, and so other known times
		_, got = buildWorld(t, dir, log, func(o *Options) { change(o); o.NoInputs = true })
		for i := range got { // the limits are not in the log
			got[i].features["limit"], got[i].features["share"] = math.NaN(), math.NaN()
		}
		want, _ = ref.rows()
		for i := range want {
			want[i].features["limit"], want[i].features["share"] = math.NaN(), math.NaN()
		}
		compareRows(t, "log", got, want)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestShortWay compares the short way of events to the tables with the long one: the views
// of the service simple take it, and those of fraud do not.
func TestShortWay(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 2))
	w := newWorld(r, 150)
	dir := t.TempDir()
	w.write(t, dir, r, 2)
	for _, asOf := range []int64{math.MaxInt64, begin + 50*hour} {
		_, long := buildWorld(t, dir, nil, func(o *Options) { o.AsOf = none(asOf) })
		_, short := buildWorld(t, dir, nil, func(o *Options) { o.AsOf, o.Service = none(asOf), "simple" })
		for i := range long {
			long[i].country = ""
			maps.DeleteFunc(long[i].features, func(name string, _ float64) bool {
				_, there := short[i].features[name]
				return !there
			})
		}
		compareRows(t, "short", short, long)
	}
}

// TestSameBytes builds one training set in many ways.
func TestSameBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	w := newWorld(r, 1800) // so many that they do not fit into the least memory, however the keys fall on the parts
	dir := t.TempDir()
	w.write(t, dir, r, 2)
	first, rows := buildWorld(t, dir, nil, func(o *Options) { o.Status = true })
	if len(rows) < 500 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, c := range []struct {
		workers, parts int
		memory         int64
	}{{1, 1, 0}, {3, 64, 0}, {2, 256, memoryMin}, {1, 2, memoryMin}} {
		m, _ := buildWorld(t, dir, nil, func(o *Options) {
			o.Status, o.Workers, o.parts, o.MemoryMax = true, c.workers, c.parts, c.memory
			if c.memory > 0 {
				o.spilled = func(bytes int64) {
					if bytes == 0 {
						t.Errorf("%+v: nothing was written to a temporary file", c)
					}
				}
			}
		})
		if m.Output.SHA256 != first.Output.SHA256 {
			t.Errorf("%+v: other bytes", c)
		}
		if m.Hash != first.Hash {
			t.Errorf("%+v: another manifest", c)
		}
	}
	// Files in another order have the same rows in another order.
	other := t.TempDir()
	shuffled := *w
	shuffled.payments = slices.Clone(w.payments)
	r.Shuffle(len(shuffled.payments), func(i, j int) {
		shuffled.payments[i], shuffled.payments[j] = shuffled.payments[j], shuffled.payments[i]
	})
	shuffled.write(t, other, r, 4)
	_, got := buildWorld(t, other, nil, func(*Options) {})
	_, want := buildWorld(t, dir, nil, func(*Options) {})
	compareRows(t, "other order", got, want)
}

// TestBoth builds from files and the log of the same events, each of which counts once.
func TestBoth(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 2))
	w := newWorld(r, 120)
	for i := range w.payments { // what is in both must say the same of when a fraud was known
		if p := &w.payments[i]; !p.amends && !math.IsNaN(p.fraud) {
			p.fraud = math.NaN()
		}
	}
	dir := t.TempDir()
	w.write(t, dir, r, 2)
	log := w.log(t, worldCatalog(t, dir))
	_, want := buildWorld(t, dir, nil, func(*Options) {})
	m, got := buildWorld(t, dir, log, func(*Options) {})
	compareRows(t, "both", got, want)
	if m.Log == nil || m.Log.Records == 0 || m.Rows.Dropped[reasonNames[duplicate]] == 0 {
		t.Errorf("manifest %+v", m)
	}
}

// TestNoLeakage changes what lies in the future of a row, by event time or arrival, and
// expects the row as it was.
func TestNoLeakage(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 6))
		w := newWorld(r, 120)
		dir := t.TempDir()
		w.write(t, dir, r, 1)
		_, before := buildWorld(t, dir, nil, func(*Options) {})
		now := begin + r.Int64N(72*hour)
		changed := &world{limits: w.limits}
		for _, p := range w.payments {
			switch future := p.at > now || p.arrival > now; {
			case !future && !math.IsNaN(p.fraud) && !p.amends && p.known() > now:
				p.fraud = 1 - p.fraud // told with the event, but known later
			case future && r.IntN(3) == 0:
				continue
			case future:
				p.amount, p.channel, p.fraud = p.amount+1, "web", 1
				if p.amends {
					p.amount, p.channel = math.NaN(), ""
				}
			}
			changed.payments = append(changed.payments, p)
		}
		for _, p := range w.profiles {
			if p.at > now || p.arrival > now {
				p.country, p.age = "XX", 99
			}
			changed.profiles = append(changed.profiles, p)
		}
		other := t.TempDir()
		changed.write(t, other, r, 1)
		_, after := buildWorld(t, other, nil, func(*Options) {})
		arrived := map[int64]bool{}
		for _, p := range w.payments {
			arrived[p.id] = arrived[p.id] || !p.amends && p.arrival <= now
		}
		// The rows that were there, but for their labels, which are in their future.
		past := func(rows, others []row) (kept []row) {
			for _, x := range rows {
				if x.fraud = 0; arrived[x.id] && slices.ContainsFunc(others, func(y row) bool { return x.id == y.id }) {
					kept = append(kept, x)
				}
			}
			return kept
		}
		got, want := past(after, before), past(before, after)
		if len(want) < 10 {
			t.Fatalf("seed %d: %d rows to compare", seed, len(want))
		}
		compareRows(t, "past rows", got, want)
	}
}

func TestSample(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 2))
	w := newWorld(r, 1200)
	dir := t.TempDir()
	w.write(t, dir, r, 1)
	_, all := buildWorld(t, dir, nil, func(*Options) {})
	sample := func(s Sample) []row {
		m, rows := buildWorld(t, dir, nil, func(o *Options) { o.Sample = s })
		if m.Rows.Out != int64(len(rows)) || m.Rows.In != m.Rows.Out+total(m.Rows.Dropped) {
			t.Errorf("%+v does not add up", m.Rows)
		}
		return rows
	}
	half := sample(Sample{Rate: 0.5})
	quarter := sample(Sample{Rate: 0.25})
	if n := float64(len(all)); math.Abs(float64(len(half))-n/2) > 4*math.Sqrt(n/4) {
		t.Errorf("half of %d rows is %d", len(all), len(half))
	}
	for _, x := range quarter {
		if _, found := slices.BinarySearchFunc(half, x, byID); !found {
			t.Errorf("payment %d is in the smaller sample alone", x.id)
		}
	}
	weight, negatives := 0.0, 0
	for _, x := range sample(Sample{Negatives: 0.2}) {
		if x.fraud == 0 {
			weight += x.weight
			if x.weight != 5 {
				t.Fatalf("weight %v", x.weight)
			}
		} else if x.weight != 1 {
			t.Fatalf("weight %v", x.weight)
		}
	}
	for _, x := range all {
		if x.fraud == 0 {
			negatives++
		}
	}
	if n := float64(negatives); math.Abs(weight-n) > 4*5*math.Sqrt(n*0.2*0.8) {
		t.Errorf("negatives of weight %v for %v", weight, n)
	}
}

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}
