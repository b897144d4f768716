// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkTest compares a window with a reference that is sorted already.
//
//	go test ./evaluation/monitor/drift -run '^$' -bench Test -benchtime 20x
func BenchmarkTest(b *testing.B) {
	for _, size := range [][2]int{{1000, 1000}, {5000, 20_000}, {100_000, 100_000}} {
		r := rand.New(rand.NewPCG(1, 1))
		reference := NewReference(sample(r, worlds["normal"], size[1]))
		current := sample(r, worlds["normal"], size[0])
		for _, test := range []Test{PSI, KS, CvM} {
			b.Run(fmt.Sprintf("test=%s/current=%d/reference=%d", test, size[0], size[1]), func(b *testing.B) {
				p := 0.0
				for b.Loop() {
					result, err := reference.Against(current).Test(test, 0)
					if err != nil {
						b.Fatal(err)
					}
					p = result.P
				}
				b.ReportMetric(p, "p")
			})
		}
	}
}
