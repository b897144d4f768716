// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// cardPrecision is the metric of the card payments protocol (Le Borgne et al., Reproducible
// Machine Learning for Credit Card Fraud Detection).
var cardPrecision = Definition{
	Name: "card_precision@100", Expression: "precision_at(100)",
	By: "day(event_timestamp)", Unit: "customer_id", Once: true, Better: "higher",
}

type payment struct {
	at       time.Time
	customer int64
	fraud    bool
	score    float64
}

// slowCardPrecision does what the protocol says: for each day each customer's score is the
// highest of the day, and the customer is a fraud if any payment was; customers caught on
// earlier days are gone; the share of frauds among the highest, mean over the days.
func slowCardPrecision(payments []payment, top int) float64 {
	days := map[string][]payment{}
	for _, p := range payments {
		day := p.at.Format(time.DateOnly)
		days[day] = append(days[day], p)
	}
	var names []string
	for day := range days {
		names = append(names, day)
	}
	slices.Sort(names)
	caught, sum := map[int64]bool{}, 0.0
	for _, day := range names {
		cards := map[int64]payment{}
		for _, p := range days[day] {
			if caught[p.customer] {
				continue
			}
			c, known := cards[p.customer]
			if !known || p.score > c.score {
				c.score = p.score
			}
			c.customer, c.fraud = p.customer, c.fraud || p.fraud
			cards[p.customer] = c
		}
		var list []payment
		for _, c := range cards {
			list = append(list, c)
		}
		slices.SortFunc(list, func(a, b payment) int {
			if a.score > b.score {
				return -1
			}
			return 1
		})
		list = list[:min(top, len(list))]
		frauds := 0.0
		for _, c := range list {
			if c.fraud {
				frauds++
				caught[c.customer] = true
			}
		}
		sum += frauds / float64(len(list))
	}
	return sum / float64(len(names))
}

func randomPayments(rng *rand.Rand, n, customers int) (list []payment) {
	start := time.Date(2018, 7, 29, 0, 0, 0, 0, time.UTC) // the days cross the end of a month
	for range n {
		p := payment{customer: int64(rng.IntN(customers)), score: rng.Float64()}
		p.at = start.Add(time.Duration(rng.Int64N(int64(7 * 24 * time.Hour)))).Truncate(time.Microsecond)
		p.fraud = rng.Float64() < p.score/4 || p.customer%17 == 0 && rng.IntN(2) == 0
		list = append(list, p)
	}
	return list
}

func paymentsSample(payments []payment) *Sample {
	s := &Sample{Outputs: 1, Columns: &column.Batch{Rows: len(payments), Columns: []column.Column{
		{Name: "event_timestamp", Type: column.Timestamp}, {Name: "customer_id", Type: column.Int64},
	}}}
	for _, p := range payments {
		label := 0.0
		if p.fraud {
			label = 1
		}
		s.Labels, s.Scores = append(s.Labels, label), append(s.Scores, p.score)
		s.Columns.Columns[0].AppendInt(p.at.UnixMicro())
		s.Columns.Columns[1].AppendInt(p.customer)
	}
	return s
}

func TestCardPrecision(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, top := range []string{"100", "7"} {
		d := cardPrecision
		d.Name, d.Expression = "cards"+top, "precision_at("+top+")"
		m, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		k := map[string]int{"100": 100, "7": 7}[top]
		for range 10 {
			payments := randomPayments(rng, 3000, 400)
			got, want := valueOf(t, m, paymentsSample(payments), nil), slowCardPrecision(payments, k)
			if !closeTo(got, want, 1e-12) {
				t.Fatalf("top %d: %v, slowly %v", k, got, want)
			}
			without := d
			without.Once = false
			other, _ := New(without)
			if all := valueOf(t, other, paymentsSample(payments), nil); k == 100 && all <= got {
				t.Errorf("top %d: %v if caught customers leave, %v if they stay", k, got, all)
			}
		}
	}
}

// TestCardPrecisionDraws draws customers, each copy being another customer, and rows, of
// which a customer may lack some.
func TestCardPrecisionDraws(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	d := cardPrecision
	d.Expression = "precision_at(20)"
	m, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		payments := randomPayments(rng, 2000, 200)
		byCustomer := make([]uint8, 200)
		for i := range byCustomer {
			byCustomer[i] = uint8(rng.IntN(4))
		}
		counts := make([]uint8, len(payments))
		var drawn, apart []payment
		for i, p := range payments {
			n := byCustomer[p.customer]
			if round%2 == 1 { // rows
				n = uint8(rng.IntN(2))
			}
			counts[i] = n
			for copied := range int64(n) {
				p.customer = p.customer%1000 + 1000*copied
				drawn = append(drawn, p)
				p.score -= 1e-9 * float64(copied)
				apart = append(apart, p)
			}
		}
		got, want := valueOf(t, m, paymentsSample(payments), counts), valueOf(t, m, paymentsSample(drawn), nil)
		if !closeTo(got, want, 1e-12) {
			t.Fatalf("round %d: %v, but %v of the payments that were drawn", round, got, want)
		}
		// Which of the copies of a customer leave makes no difference to the value.
		if slow := slowCardPrecision(apart, 20); !closeTo(got, slow, 1e-12) {
			t.Fatalf("round %d: %v, slowly %v", round, got, slow)
		}
	}
}
