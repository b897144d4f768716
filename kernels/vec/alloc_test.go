// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

func TestNothingAllocates(t *testing.T) {
	const n = 100
	x, y, table := make([]float32, n), make([]float32, n), make([]float32, 10*n)
	words, codes, buckets := make([]uint16, n), make([]int64, n), make([]int32, n)
	raw, hashes := make([]byte, 8*n), make([]uint64, n)
	offsets := []int64{0, 40}
	var err error
	kerneltest.Levels(t, func(t *testing.T) {
		for name, do := range map[string]func(){
			"Add":           func() { Add(x, x, y) },
			"AddScalar":     func() { AddScalar(x, x, 2) },
			"Scale":         func() { Scale(x, x, 10, 10, y[:1], y[:1]) },
			"Sum":           func() { y[0] = Sum(x) },
			"ArgMax":        func() { codes[0] = int64(ArgMax(x)) % 10 },
			"NormalizeRows": func() { NormalizeRows(x, x, 10, 10, NormL2) },
			"ReduceCols":    func() { ReduceCols(ReduceMean, y, x, 1, 10, 10) },
			"F32ToF16":      func() { F32ToF16(words, x) },
			"EmbeddingBag":  func() { err = EmbeddingBag(x, table, 20, codes, offsets, nil, BagSum) },
			"GatherRows":    func() { err = GatherRows(raw[8:], raw[:4], 4, codes, 1) },
			"CopyStrided":   func() { CopyStrided(raw[400:], 8, raw, 4, 4, 10) },
			"Bucketize":     func() { Bucketize(buckets, x, table[:200], true) },
			"OneHot":        func() { OneHot(x, buckets, 1, 100, 1, 0) },
			"HashInt64s":    func() { HashInt64s(hashes, codes, 1) },
			"TopK":          func() { TopK(y, codes, table, 1, 1000, 10, true, true) },
			"TopK of many":  func() { TopK(y, codes, table, 1, 1000, 90, false, true) },
		} {
			clear(codes)
			if count := testing.AllocsPerRun(5, do); count != 0 || err != nil {
				t.Errorf("%s allocates %v times, error %v", name, count, err)
			}
		}
	})
}
