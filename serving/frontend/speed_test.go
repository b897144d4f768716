// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"strconv"
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
