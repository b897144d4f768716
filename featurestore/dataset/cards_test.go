// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"bytes"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// cardsFolder holds the published card payments; tests that need them skip without it.
const cardsFolder = "../../../shared/data/card-transactions"

func cards(t testing.TB) *definition.Catalog {
	if _, err := os.Stat(cardsFolder); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	c, err := definition.Load("testdata/cards.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func expected(t *testing.T) (names []string, all map[int64][]float64) {
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
		id, _ := strconv.ParseInt(row[0], 10, 64)
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

func TestCards(t *testing.T) {
	c := cards(t)
	names, want := expected(t)
	checked := 0
	testSink = func(b *column.Batch) {
		ids := b.Column("transaction_id").Ints
		for i := range b.Rows {
			w := want[ids[i]]
			if w == nil {
				continue
			}
			checked++
			for k, name := range names {
				got := b.Column(name).Number(i)
				if !(math.Abs(got-w[k]) <= 1e-6*max(1, math.Abs(w[k]))) {
					t.Errorf("payment %d: %s is %v, want %v", ids[i], name, got, w[k])
				}
			}
		}
	}
	start, begin := time.Now(), cpu()
	last, phase := start, ""
	m, err := Build(t.Context(), Options{Catalog: c, Service: "fraud", Labels: Labels{Source: "payments", Names: []string{"is_fraud"}}, Output: t.TempDir() + "/x.parquet",
		Progress: func(done, total int64, p string) {
			if p != phase {
				t.Log(phase, time.Since(last))
				last, phase = time.Now(), p
			}
		}})
	t.Log(phase, time.Since(last), time.Since(start), cpu()-begin)
	if err != nil {
		t.Fatal(err)
	}
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	b, _ := os.ReadFile("/proc/self/status")
	b = b[bytes.Index(b, []byte("VmPeak")):]
	b = b[:300]
	t.Log(string(b), ms.Sys>>20, ms.HeapSys>>20)
	if checked != len(want) {
		t.Errorf("%d of %d", checked, len(want))
	}
	t.Log(m)
}
