// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// cardsFolder holds the published card payments; tests that need them skip without it.
const cardsFolder = "../../../shared/data/card-transactions"

func cards(t testing.TB) *definition.Catalog {
	t.Helper()
	if _, err := os.Stat(cardsFolder); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	c, err := definition.Load("testdata/cards.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// expected reads the published features by payment, and their names.
func expected(t *testing.T) (names []string, all map[int64][]float64) {
	t.Helper()
	f, err := os.Open(filepath.Join(cardsFolder, "features-expected.csv"))
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all = map[int64][]float64{}
	for _, row := range rows[1:] {
		id, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, cell := range row[1:] {
			x, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatal(err)
			}
			all[id] = append(all[id], x)
		}
	}
	return rows[0][1:], all
}

func cardOptions(c *definition.Catalog, output string) Options {
	return Options{Catalog: c, Service: "fraud", Labels: Labels{Source: "payments", Names: []string{"is_fraud"}}, Output: output}
}

// TestCards builds the published features of all card payments and compares those of which
// the values were computed by others.
func TestCards(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads 1.75 million payments")
	}
	c := cards(t)
	names, want := expected(t)
	output := filepath.Join(t.TempDir(), "cards.parquet")
	m, err := Build(t.Context(), cardOptions(c, output))
	if err != nil {
		t.Fatal(err)
	}
	if m.Rows.In != 1754155 || m.Rows.Out != m.Rows.In {
		t.Errorf("rows %+v", m.Rows)
	}
	r, err := source.OpenFile(t.Context(), definition.Parquet, output, nil, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	checked := 0
	var b column.Batch
	for {
		more, err := r.Next(&b)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		for i, id := range b.Column("transaction_id").Ints {
			if w := want[id]; w != nil {
				checked++
				compareFeatures(t, &b, i, id, names, w)
			}
		}
	}
	if checked != len(want) || checked < 500 {
		t.Errorf("%d of %d payments found", checked, len(want))
	}
}

func compareFeatures(t *testing.T, b *column.Batch, row int, id int64, names []string, want []float64) {
	t.Helper()
	for k, name := range names {
		got := b.Column(name).Number(row)
		if !(math.Abs(got-want[k]) <= 1e-6*max(1, math.Abs(want[k]))) {
			t.Errorf("payment %d: %s is %v, want %v", id, name, got, want[k])
		}
	}
}
