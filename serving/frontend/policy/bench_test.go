// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

// go test ./serving/frontend/policy -bench . -benchtime 200ms
func BenchmarkDecide(b *testing.B) {
	p := example(b)
	f, o := p.NewFacts(), Outcome{}
	set(b, p, f, usual(map[string]any{"during_night": 1., "country": "IT"}))
	b.Run("step=before", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Before(f, &o)
		}
	})
	b.Run("step=decide", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Decide(f, 0, 0.9, &o)
		}
	})
	b.Run("step=fallback", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Fallback(len(p.Ladder)-1, f, &o)
		}
	})
	b.Run("step=assign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.AssignInt(1234567890123)
		}
	})
	numbers, texts, status := vector(p)
	b.Run("step=facts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.Reset()
			_, _, _ = f.SetInt(0, 1234567890123), f.SetInt(1, 9), f.SetNumber(2, 20)
			_, _, _ = f.SetInt(4, 5), f.SetText(5, "EUR"), f.SetFeatures(numbers, texts, status)
			_ = f.Check()
		}
	})
}
