// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/training/learn"
)

// BenchmarkGradient is one evaluation of value and gradient, of which a fit takes 30 to 200.
//
//	go test -run '^$' -bench Gradient -benchtime 300ms ./training/linear
func BenchmarkGradient(b *testing.B) {
	for _, columns := range []int{15, 180} {
		const rows = 67_000
		r := rand.New(rand.NewPCG(1, 1))
		table := &learn.Table{Task: learn.Binary, Features: make([]learn.Feature, columns), Labels: make([]float32, rows)}
		for range columns {
			values := make([]float32, rows)
			for i := range values {
				values[i] = r.Float32()
			}
			table.Values = append(table.Values, values)
		}
		table.Labels[0] = 1
		recipe, err := (&trainer{log: logNone}).newRecipe(table)
		if err != nil {
			b.Fatal(err)
		}
		for _, workers := range []int{1, 2} {
			d, err := newDesign(b.Context(), recipe, table, workers)
			if err != nil {
				b.Fatal(err)
			}
			p := &problem{design: d, outputs: 1}
			p.setLabels(table)
			theta, gradient := make([]float64, p.size()), make([]float64, p.size())
			for i := range theta {
				theta[i] = 0.01
			}
			b.Run(fmt.Sprintf("rows=%d/columns=%d/workers=%d", rows, columns, workers), func(b *testing.B) {
				b.SetBytes(int64(2 * 4 * rows * columns))
				for b.Loop() {
					p.at(theta, gradient)
				}
			})
		}
	}
}
