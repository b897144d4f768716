// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkDecide is one decision with its event, two windows and a model that costs
// nothing, not repeated.
func BenchmarkDecide(b *testing.B) {
	w := newBench(b)
	w.models.set("fraud", 1, constant(0.3))
	for i := range 2000 {
		if _, err := w.decide("payment", "", payment("w"+strconv.Itoa(i), i%500, 10)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	id := make([]byte, 0, 16)
	at := w.store.Now()
	for i := range b.N {
		q, err := w.front.NewRequest("payment")
		if err != nil {
			b.Fatal(err)
		}
		id = strconv.AppendInt(append(id[:0], 'b'), int64(i), 10)
		for _, err := range []error{q.SetText("payment_id", string(id)), q.SetInt("customer_id", int64(i%500)), q.SetNumber("amount", 12), q.SetInt("at", at)} {
			if err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.front.Decide(context.Background(), q); err != nil {
			b.Fatal(err)
		}
		q.Release()
	}
}

// BenchmarkAttributions is a decision whose policy has no attributions, has them and is not
// asked, and is asked: of two trees of one split, so that what is left is the way there.
//
//	go test -run=- -bench=Attributions ./serving/frontend
func BenchmarkAttributions(b *testing.B) {
	without := strings.Replace(attributedPolicies, "  classes:", `  plain:
    service: fraud
    reasons: {LARGE: a large payment}
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    explain: {max: 3, rules: [{code: LARGE, when: amount > 500}]}
    fallback: [previous_version, default: {decision: approve}]
  classes:`, 1)
	w := newBenchOf(b, without)
	w.models.set("fraud", 1, stumpVersion(b, 2, 1))
	w.bind("attributed")
	for _, c := range []struct {
		name, decision string
		amount         float64
		explain        bool
	}{{"none", "plain", 50, false}, {"off", "attributed", 50, false}, {"when", "attributed", 150, false}, {"asked", "attributed", 150, true}} {
		b.Run("attributions="+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q, err := w.front.NewRequest(c.decision)
				if err != nil {
					b.Fatal(err)
				}
				if q.Explain = c.explain; q.SetInt("customer_id", 1) != nil || q.SetNumber("amount", c.amount) != nil {
					b.Fatal("facts")
				}
				if _, err := w.front.Decide(context.Background(), q); err != nil {
					b.Fatal(err)
				}
				q.Release()
			}
		})
	}
}
