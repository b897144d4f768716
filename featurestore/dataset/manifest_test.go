// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// TestManifest reads a manifest back and finds what was changed since.
func TestManifest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 12))
	w := newWorld(r, 80)
	dir := t.TempDir()
	w.write(t, dir, r, 2)
	output := filepath.Join(t.TempDir(), "set.parquet")
	built, _ := buildWorld(t, dir, nil, func(o *Options) {
		o.Output, o.Version, o.AsOf, o.Float32 = output, "v1.2.3", time.UnixMicro(begin+50*hour), true
	})
	m, err := ReadManifest(output + ManifestSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if m.Hash != built.Hash || m.Version != "v1.2.3" || m.AsOf == "" || len(m.Inputs) != 3 || m.Output.Rows != m.Rows.Out || m.Rows.Out == 0 {
		t.Errorf("manifest %+v", m)
	}
	types := map[string]string{}
	for _, c := range m.Columns {
		types[c.Name] = c.Role + " " + c.Type
	}
	if types["payment_id"] != "carried int64" || types["total_12h"] != "feature float32" || types["is_fraud"] != "label bool" {
		t.Errorf("columns %v", types)
	}
	catalog := worldCatalog(t, dir)
	check := func(want ...string) {
		t.Helper()
		all, err := Check(t.Context(), m, filepath.Dir(output), catalog)
		if err != nil || len(all) != len(want) {
			t.Fatalf("%v, %v; want %v", all, err, want)
		}
		for i, d := range all {
			if d.What != want[i] || d.Reason == "" {
				t.Errorf("%+v, want %s", d, want[i])
			}
		}
	}
	check()
	now := catalog
	if catalog, err = definition.Parse("world.yaml", []byte(strings.Replace(worldText(t, dir), "amount > 50", "amount > 51", 1))); err != nil {
		t.Fatal(err)
	}
	check("definitions")
	catalog = now
	save(t, filepath.Join(dir, "payments-1.csv"), "payment_id,at,recorded_at,customer_id,shop,amount,channel,is_fraud\n")
	save(t, filepath.Join(dir, "limits.csv"), "at,shop,limit\n")
	check("input of source payments", "input of source limits")
	if err := os.Remove(output); err != nil {
		t.Fatal(err)
	}
	check("output", "input of source payments", "input of source limits")

	text, err := os.ReadFile(output + ManifestSuffix)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{strings.Replace(string(text), "v1.2.3", "v1.2.4", 1), strings.Replace(string(text), `"format": 1`, `"format": 2`, 1), "{", ""} {
		save(t, output+ManifestSuffix, c)
		if _, err := ReadManifest(output + ManifestSuffix); !errors.Is(err, ErrManifest) {
			t.Errorf("%v for %.40q", err, c)
		}
	}
}
