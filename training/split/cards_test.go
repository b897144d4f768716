// SPDX-License-Identifier: Apache-2.0

package split

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
)

const cardsFile = "../../../shared/data/card-transactions/transactions.parquet"

// payment is a row of the published data.
type payment struct {
	Time     time.Time `parquet:"event_timestamp"`
	Customer int32     `parquet:"customer_id"`
	Fraud    bool      `parquet:"is_fraud"`
}

// TestPublishedProtocol holds the rule of exclude_known to the words of the published
// protocol: "customers with a fraud in the training days, and, for test day T+14+d,
// customers with a fraud on any of the days T+6 .. T+6+d".
func TestPublishedProtocol(t *testing.T) {
	if _, err := os.Stat(cardsFile); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	payments, err := parquet.ReadFile[payment](filepath.Clean(cardsFile))
	if err != nil {
		t.Fatal(err)
	}
	rows := Rows{Classes: 2}
	var customers []int32
	for _, p := range payments {
		rows.Times, customers = append(rows.Times, p.Time.UnixMicro()), append(customers, p.Customer)
		label := float32(0)
		if p.Fraud {
			label = 1
		}
		rows.Labels = append(rows.Labels, label)
	}
	rows.Column = columnOf(customers)
	plan := parsed(t, `{method: time, start: [2018-07-25, 2018-08-15], train: 7d, gap: 7d, test: 7d, exclude_known: {group: customer_id, delay: 7d}}`)
	folds, err := plan.Split(rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, start := range []string{"2018-07-25", "2018-08-15"} {
		train, test, inTest := published(t, payments, start)
		f := folds[i]
		if f.Name != start || !slices.Equal(f.Train, train) || !slices.Equal(f.Test, test) {
			t.Errorf("fold %s has %d and %d rows, the protocol %d and %d", f.Name, len(f.Train), len(f.Test), len(train), len(test))
		}
		if f.Excluded[ReasonKnown] != inTest-len(test) || len(test) == inTest || len(test) == 0 {
			t.Errorf("fold %s: %d rows of known customers are left out, want %d of %d", f.Name, f.Excluded[ReasonKnown], inTest-len(test), inTest)
		}
		t.Logf("T = %s: %d to train, %d to test, %d of known customers left out", start, len(train), len(test), inTest-len(test))
	}
}

// published follows the protocol day by day.
func published(t *testing.T, payments []payment, start string) (train, test []int32, inTest int) {
	first, err := time.Parse(time.DateOnly, start)
	if err != nil {
		t.Fatal(err)
	}
	day := func(p payment) int { return int(p.Time.Sub(first).Hours()) / 24 }
	frauds := make(map[int]map[int32]bool) // by day, the customers
	for _, p := range payments {
		if !p.Time.Before(first) && p.Fraud {
			d := day(p)
			if frauds[d] == nil {
				frauds[d] = make(map[int32]bool)
			}
			frauds[d][p.Customer] = true
		}
	}
	for i, p := range payments {
		if p.Time.Before(first) {
			continue
		}
		d := day(p)
		if d <= 6 {
			train = append(train, int32(i))
		}
		if d < 14 || d > 20 {
			continue
		}
		inTest++
		known := false
		for of := 0; of <= 6; of++ {
			known = known || frauds[of][p.Customer]
		}
		for of := 6; of <= 6+d-14; of++ {
			known = known || frauds[of][p.Customer]
		}
		if !known {
			test = append(test, int32(i))
		}
	}
	return train, test, inTest
}
