// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// edited is the example with a text replaced by another.
func edited(t testing.TB, pairs ...string) *Catalog {
	t.Helper()
	data, err := os.ReadFile("testdata/card-fraud.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("the example has no %q", pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return parse(t, text)
}

// hashes are all hashes of a catalogue, by what they are of.
func hashes(c *Catalog) map[string]string {
	all := map[string]string{"catalogue": hex.EncodeToString(c.Hash[:])}
	for _, s := range c.Sources {
		h := s.Hash()
		all["source "+s.Name] = hex.EncodeToString(h[:])
	}
	for _, v := range c.Views {
		h := v.Fingerprint()
		all["view "+v.Name] = hex.EncodeToString(h[:])
	}
	for _, l := range c.Lookups {
		h := l.Fingerprint()
		all["lookup "+l.Name] = hex.EncodeToString(h[:])
	}
	for _, s := range c.Services {
		h := s.Hash()
		all["service "+s.Name] = hex.EncodeToString(h[:])
	}
	return all
}

// differing lists what has another hash.
func differing(a, b *Catalog) string {
	x, y := hashes(a), hashes(b)
	var names []string
	for name := range x {
		if x[name] != y[name] {
			names = append(names, name)
		}
	}
	for name := range y {
		if x[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// TestHashes changes the example and says which hashes have to follow.
func TestHashes(t *testing.T) {
	const payments = "catalogue, service fraud, source payments, view customer_payments"
	plain := edited(t)
	for _, c := range []struct{ old, now, want string }{
		// what means nothing
		{"# Card payments", "# Anything", ""},
		{"data/transactions.parquet", "elsewhere/*.parquet", ""},
		{"${PAYMENTS_URL}", "postgres://elsewhere", ""},
		{"description: what the fraud model takes", "description: other", ""},
		{"customer: {key: customer_id, type: int64}", "customer: {key: customer_id, type: int64, description: who pays}", ""},
		{"filter: amount > 0", "filter: (amount)>0 // as before", ""},
		{"values: [pos, web, atm]", "values: [web, atm, pos]", ""},
		{"      transaction_id: int64\n      event_timestamp: timestamp\n", "      event_timestamp: timestamp\n      transaction_id: int64\n", ""},
		{"delay: 7d", "delay: 1w", ""},
		{"quantile: 0.9", "quantile: 0.90", ""},
		// what means something
		{"future_max: 5s", "future_max: 6s", "catalogue, service fraud, source payments, view customer_payments, view terminal_risk"},
		{"min: 0, ", "", "catalogue, source payments"},
		{"columns: {amount: TX_AMOUNT}", "columns: {amount: AMOUNT}", "catalogue, source payments"},
		{"select * from payments", "select * from payment", "catalogue, source payments"},
		{"known_after: 7d", "known_after: 6d", "catalogue, source payments"},
		{"push: true", "push: false", "catalogue, source payments"},
		{"id: transaction_id", "id: customer_id", "catalogue, service fraud, source payments, view customer_payments, view terminal_risk"},
		{"amount: {type: float64, ", "amount: {type: int64, ", payments},
		{"filter: amount > 0", "filter: amount >= 0", "catalogue, service fraud, view customer_payments"},
		{"hop: 1s", "hop: 2s", "catalogue, service fraud, view customer_payments"},
		{"max_age: 90d", "max_age: 91d", "catalogue, service fraud"},
		{"max_age: 90d", "max_age: 90d\n    entries_max: 5000", "catalogue"},
		{"max_age: 90d", "max_age: 90d\n    duplicate_horizon: 2h", "catalogue, view customer_payments"},
		{"max_age: 90d", "max_age: 90d\n    lateness_max: 2h", "catalogue, service fraud, view customer_payments"},
		{"delay: 7d", "delay: 8d", "catalogue, service fraud, view terminal_risk"},
		{"quantile: 0.9", "quantile: 0.8", "catalogue, view customer_payments"}, // no service uses it
		{"      p90:", "      ninety:", "catalogue"},                            // a name alone
		{"k: 5", "k: 6", "catalogue, service fraud, view customer_payments"},    // recent_7d gives six
		{"default: 0}", "default: 1}", "catalogue, service fraud"},              // of the view
		{"fields: [country, age]", "fields: [age, country]", "catalogue, lookup customer_profile"},
		{"ttl: 30d", "ttl: 31d", "catalogue, service fraud"},
		{"country: string", "country: int64", "catalogue, lookup customer_profile, service fraud, source profiles"},
		{"age: int64", "age: float64", "catalogue, lookup customer_profile, service fraud, source profiles"},
		{"default: 40", "default: 41", "catalogue, service fraud"},
		{">= 6", ">= 7", "catalogue, service fraud"},
		{"model: fraud", "model: other", "catalogue, service fraud"},
		{"time: event_timestamp", "#", "catalogue, service fraud"},
		{"name: over_mean", "name: over", "catalogue, service fraud"},
		{"terminal: {key: terminal_id, type: int64}", "terminal: {key: terminal_id, type: int64}\n  card: {key: card, type: string}", "catalogue"},
	} {
		if got := differing(plain, edited(t, c.old, c.now)); got != c.want {
			t.Errorf("%s -> %s changes the hash of %s, want %s", c.old, c.now, got, c.want)
		}
	}
}

// TestHashesArePinned keeps hashes from changing without a reason: states and logged
// vectors are found by them.
func TestHashesArePinned(t *testing.T) {
	for name, want := range map[string]string{
		"catalogue":               "47da932f521abfe97cbe59e9a0e40aa032711e2e4ce73849737d95f5128e0ecf",
		"source payments":         "90abc862b98c6773dacc48892a0b8dbe05de1c141ed07b024d3f1704e2a54102",
		"view customer_payments":  "c595ac5fac3ce85129ee3c3d1edc5769",
		"lookup customer_profile": "334811cfa74fb7c52d35c1cdc0b269b7",
		"service fraud":           "3b9b85ad7b1b84b1b6b5947635a59dce9c9c4a410f6f6cad61b13d2615f2554c",
	} {
		if got := hashes(edited(t))[name]; got != want {
			t.Errorf("the hash of %s is %s, was %s", name, got, want)
		}
	}
}

// TestOrderOfFiles splits the example at its sections and reads them in two orders.
func TestOrderOfFiles(t *testing.T) {
	data, err := os.ReadFile("testdata/card-fraud.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	var files []string
	for i, part := range strings.Split(string(data), "\n\n") {
		if i == 2 || i == 1 { // as one, for an input's path is joined to the folder of its file
			part = "# again\n" + part
		}
		name := filepath.Join(folder, string(rune('a'+i))+".yaml")
		if err := os.WriteFile(name, []byte(part), 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	a := load(t, files...)
	slices.Reverse(files)
	b := load(t, files...)
	if d := differing(a, b); d != "" {
		t.Errorf("the order of files changes the hash of %s", d)
	}
	if d := differing(a, edited(t)); d != "" {
		t.Errorf("several files change the hash of %s", d)
	}
}

// TestCompare changes the example and says what that breaks.
func TestCompare(t *testing.T) {
	old := edited(t)
	if all := Compare(old, edited(t)); len(all) != 0 {
		t.Errorf("nothing changed, but %v", all)
	}
	for _, c := range []struct {
		edit []string
		want []string
	}{
		{[]string{"# Card payments", "# Other"}, nil},
		{[]string{"fields: [country, age]", "fields: [age, country]"}, nil},
		{[]string{"quantile: 0.9", "quantile: 0.8"}, nil},
		{[]string{"      channel: {type: string, values: [pos, web, atm]}", "      channel: {type: string, values: [pos, web, atm, app]}\n      currency: string"}, nil},
		{[]string{"event_timestamp: timestamp}", "event_timestamp: timestamp, note: string}"}, nil},
		{[]string{"  fraud:\n    model", "  fraud2:\n    model"}, []string{"services.fraud: removed"}},
		{[]string{"      - amount\n", ""}, []string{"services.fraud.features.amount: removed"}},
		{[]string{"name: over_mean", "name: over"}, []string{"services.fraud.features.over_mean: renamed to over"}},
		{[]string{">= 6\", type: float64", ">= 6\", type: int64"}, []string{"services.fraud.features.during_weekend: was float64, is int64"}},
		{[]string{">= 6", ">= 7"}, []string{"services.fraud.features.during_weekend: was weekday(event_timestamp) >= 6, is weekday(event_timestamp) >= 7"}},
		{[]string{"from: terminal_risk.risk_7d", "from: terminal_risk.risk_30d"}, []string{"services.fraud.features.risk_7d: was terminal_risk:risk_7d, is terminal_risk:risk_30d"}},
		{[]string{"delay: 7d", "delay: 8d"}, []string{"services.fraud.features.risk_7d: terminal_risk:risk_7d is computed in another way"}},
		{[]string{"default: 40", "default: 41"}, []string{"services.fraud.features.age: its default was 40, is 41"}},
		{[]string{", default: 40", ""}, []string{"services.fraud.features.age: its default was 40, is none"}},
		{[]string{"      - amount\n", "", "      - customer_profile.country", "      - amount\n      - customer_profile.country"},
			[]string{"services.fraud.features: the order changed: during_weekend now comes before amount"}},
		{[]string{"      - amount\n", "      - amount\n      - customer_id\n"},
			[]string{"services.fraud.features.customer_id: added at place 2: vectors have 14 values where they had 13"}},
		{[]string{"event_timestamp: timestamp}", "event_timestamp: {type: timestamp, required: true}}"}, []string{"services.fraud.request.event_timestamp: became required"}},
		{[]string{"event_timestamp: timestamp}", "event_timestamp: timestamp, note: {type: string, required: true}}"}, []string{"services.fraud.request.note: is new and required"}},
		{[]string{"request: {amount: {type: float64, ", "request: {amount: {type: float64, min: 3, "}, []string{"services.fraud.request.amount: takes fewer values than before"}},
		{[]string{"time: event_timestamp", "#"}, []string{`services.fraud.time: was "event_timestamp", is ""`}},
		{[]string{"model: fraud", "model: other"}, []string{`services.fraud.model: was "fraud", is "other"`}},
		{[]string{"push: true", "push: false"}, []string{"sources.payments.push: events can no longer be pushed"}},
		{[]string{"channel: {type: string, values: [pos, web, atm]}", "channel: {type: string, values: [pos, web]}"}, []string{"sources.payments.fields.channel: takes fewer values than before"}},
		{[]string{"id: transaction_id", "id: customer_id"}, []string{`sources.payments.id: was "transaction_id", is "customer_id"`,
			"services.fraud.features.customer_payments__payments_1d: customer_payments:payments_1d is computed in another way",
			"services.fraud.features.customer_payments__recent_7d_0: customer_payments:recent_7d[0] is computed in another way"}},
		{[]string{"age: int64", "age: float64"}, []string{"sources.profiles.fields.age: was int64, is float64", "services.fraud.features.age: was int64, is float64",
			"services.fraud.features.age: customer_profile:age is computed in another way"}},
		{[]string{"  profiles:\n", "  people:\n", "source: profiles", "source: people"}, []string{"sources.profiles: removed"}},
		{[]string{"customer: {key: customer_id, type: int64}", "customer: {key: customer, type: int64}", "customer_id: int64", "customer: int64", "customer_id: int64", "customer: int64"},
			[]string{"sources.payments.fields.customer_id: removed", "services.fraud.entities: requests now need the key customer of type int64",
				"services.fraud.entities: the key customer_id of type int64 is no longer taken"}},
	} {
		all := Compare(old, edited(t, c.edit...))
		var got []string
		for _, change := range all {
			got = append(got, change.String())
			if service := strings.HasPrefix(change.Path, "services."); service != (change.Service == "fraud" && change.Model == "fraud") {
				t.Errorf("%+v names the wrong service", change)
			}
		}
		for _, w := range c.want {
			if !slices.Contains(got, w) {
				t.Errorf("%q: no %q in\n%s", c.edit, w, strings.Join(got, "\n"))
			}
		}
		if len(c.want) == 0 && len(got) > 0 {
			t.Errorf("%q breaks nothing, but\n%s", c.edit, strings.Join(got, "\n"))
		}
	}
}

// FuzzParse checks that no file panics and that mistakes have a place in it; what loads
// has to load again with the same hash.
func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/card-fraud.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(base))
	mistakes, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, part := range strings.Split(string(mistakes), "\n=== ")[1:] {
		_, rest, _ := strings.Cut(part, "\n")
		text, _, _ := strings.Cut(rest, "\n---\n")
		f.Add([]byte(base + text))
	}
	for _, text := range []string{"a: &a [*a]", "? - [", "{a: {b: [", "x-a: |\n  b\n", "- - - a", "views: {v: *x}", "\"\\x", "<<: {}", "---\n...\n---\n", "entities: {a: {key: &k b, type: *k}}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.yaml", data)
		if err != nil {
			all, ok := err.(Errors)
			if !ok || len(all) == 0 || len(all) > errorsMax+1 {
				t.Fatalf("%T %v", err, err)
			}
			lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
			for _, e := range all {
				if e.File != "f.yaml" || e.Line < 0 || e.Line > lines || e.Line > 0 && e.Column < 1 || e.Message == "" {
					t.Fatalf("%+v of %d lines", e, lines)
				}
			}
			return
		}
		again, err := Parse("g.yaml", data)
		if err != nil || c.Hash != again.Hash || len(Compare(c, again)) != 0 {
			t.Fatalf("loaded again: %v", err)
		}
	})
}
