// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"math"
	"math/rand/v2"
)

// weights draws network weights. It maps the generator's bits itself, so that the
// values cannot change with the library that would do it.
type weights struct{ source *rand.PCG }

func newWeights(seed uint64) weights { return weights{rand.NewPCG(seed, 0x6d696c6c72616365)} }

// draw gives n values, uniform about zero with the bound that keeps the size of
// signals level from a layer of fanIn values to one of fanOut.
func (w weights) draw(n, fanIn, fanOut int) []float32 {
	bound := float32(math.Sqrt(6 / float64(fanIn+fanOut)))
	values := make([]float32, n)
	for i := range values {
		values[i] = bound * (float32(int32(w.source.Uint64()>>32)) / (1 << 31))
	}
	return values
}

// below gives a number from 0 to n-1.
func (w weights) below(n int) int { return int((w.source.Uint64() >> 33) % uint64(n)) }
