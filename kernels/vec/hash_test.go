// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// counting are the bytes 3, 10, 17 and so on.
func counting(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + 3)
	}
	return b
}

// TestHashes holds the hashes to what the reference implementations give: xxhash 0.8
// and MurmurHash3.
func TestHashes(t *testing.T) {
	for _, c := range []struct {
		n                int
		xx, xxSeeded     uint64
		murmur, murmured uint32
	}{
		{0, 0xef46db3751d8e999, 0xc4349fc93c010000, 0x00000000, 0xebb6c228},
		{1, 0x1f25c8d0bc1f4bb6, 0x79826bcd749d267a, 0x5e2a8076, 0x77854f76},
		{3, 0x31d2363f52e564c9, 0x78efd77575e26575, 0xc6669d12, 0x8603f040},
		{4, 0x9bb64b7d66ee9fda, 0x6f0a6c97d68bf353, 0x8f009319, 0xb6fbd16a},
		{7, 0x9a7b149959ce60d8, 0xd97ede93c9d66a0d, 0x2085f52d, 0xa10c70e4},
		{8, 0xdab99d95c6f90092, 0xa2f1e28437a78a1b, 0xf4eca721, 0xda50ea89},
		{12, 0xd52e407833af5133, 0xbcc9f0d616ff9a7b, 0xbc32fc18, 0x4cc14040},
		{15, 0x1b47cb8243cc8e32, 0xe2ec50a544faec61, 0x5d11695b, 0xaa3fec79},
		{16, 0x434850232b787be2, 0x93351859a7286376, 0x83f5e942, 0x7bd0dc30},
		{31, 0xa2aa5f33cc4a6119, 0x755437271d1d0a84, 0x635a6c99, 0x8de13bb7},
		{32, 0x23c3c17ef790fd97, 0xbf624b932c090428, 0x657b1bf3, 0x749ef150},
		{33, 0x50a7cfc7ba588784, 0x7aceaf1e9d34ea35, 0x93c16fea, 0x42a601f6},
		{63, 0x5e3e54b431c7493c, 0x2c8ddce5c85d0d9d, 0xe35b5995, 0x2cbe6919},
		{64, 0x0eb64b3ef6eeb01f, 0x4af341f14e3a6fc9, 0x9e0f07b9, 0x365f167a},
		{100, 0xa61f8d4c170fe531, 0xf6d8f65c625abb4f, 0x23c032d6, 0xb044cbe4},
	} {
		data := counting(c.n)
		if h := Hash64(data, 0); h != c.xx {
			t.Errorf("Hash64 of %d bytes is %#x, not %#x", c.n, h, c.xx)
		}
		if h := Hash64(data, 0x9e3779b97f4a7c15); h != c.xxSeeded {
			t.Errorf("Hash64 of %d bytes with a seed is %#x, not %#x", c.n, h, c.xxSeeded)
		}
		if h := Murmur3(data, 0); h != c.murmur {
			t.Errorf("Murmur3 of %d bytes is %#x, not %#x", c.n, h, c.murmur)
		}
		if h := Murmur3(data, 0x9747b28c); h != c.murmured {
			t.Errorf("Murmur3 of %d bytes with a seed is %#x, not %#x", c.n, h, c.murmured)
		}
	}
}

// TestHashFeature holds the columns to those of scikit-learn's FeatureHasher.
func TestHashFeature(t *testing.T) {
	for _, c := range []struct {
		name          string
		million, ten  int
		signOfFeature float32
	}{
		{"foo", 670688, 2, -1}, {"user=1", 537143, 1, -1}, {"dog", 980517, 3, -1}, {"cat", 300839, 9, 1},
		{"f", 297019, 3, 1}, {"feature_name=value", 396910, 8, 1}, {"", 0, 0, 1},
	} {
		if column, sign := HashFeature([]byte(c.name), 1<<20); column != c.million || sign != c.signOfFeature {
			t.Errorf("%q is column %d with sign %v, not %d, %v", c.name, column, sign, c.million, c.signOfFeature)
		}
		if column, _ := HashFeature([]byte(c.name), 10); column != c.ten {
			t.Errorf("%q is column %d of 10, not %d", c.name, column, c.ten)
		}
	}
}

func TestHashInt64s(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		got := make([]uint64, 5)
		HashInt64s(got, []int64{0, 1, -1, 1 << 40, math.MinInt64}, 7)
		kerneltest.Same(t, "hashes", got, []uint64{0x8562a8ca30d1d8c7, 0x44cd4e74e2b14e48, 0x78653e7f1b122749,
			0x38248600c5992237, 0xb73343d45531edb1})
		r := kerneltest.Rand(t, 71)
		for _, n := range kerneltest.Lengths(8) {
			src, _ := kerneltest.Slice[int64](t, n, 1)
			want, rows := make([]uint64, n), make([]uint64, n)
			data := make([]byte, 8*n)
			for i := range src {
				src[i] = integerBits(r)
				binary.LittleEndian.PutUint64(data[8*i:], uint64(src[i]))
				want[i] = Hash64(data[8*i:][:8], 99)
			}
			dst, check := kerneltest.Slice[uint64](t, n, 1)
			HashInt64s(dst, src, 99)
			check()
			kerneltest.Same(t, fmt.Sprint("hashes of ", n), dst, want)
			HashRows(rows, data, 8, 99)
			kerneltest.Same(t, fmt.Sprint("hashes of rows of ", n), rows, want)
		}
	})
}

func TestHashToBucket(t *testing.T) {
	counts := make([]int, 7)
	for i := range 7000 {
		counts[HashToBucket(Hash64(binary.LittleEndian.AppendUint64(nil, uint64(i)), 0), 7)]++
	}
	for b, n := range counts {
		// The standard deviation is 29.
		if n < 1000-150 || n > 1000+150 {
			t.Errorf("bucket %d has %d of 7000", b, n)
		}
	}
	if b := HashToBucket(math.MaxUint64, 7); b != 6 {
		t.Errorf("the largest hash is in bucket %d", b)
	}
}

func FuzzHash(f *testing.F) {
	f.Add([]byte("feature"), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		data = data[:len(data)&^7]
		src, got, want := make([]int64, len(data)/8), make([]uint64, len(data)/8), make([]uint64, len(data)/8)
		for i := range src {
			src[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
		}
		HashInt64s(got, src, seed)
		HashRows(want, data, 8, seed)
		kerneltest.Same(t, "hashes", got, want)
	})
}

func BenchmarkHash(b *testing.B) {
	data, dst, src := counting(64), make([]uint64, 1024), make([]int64, 1024)
	for _, n := range []int{8, 64} {
		b.Run(fmt.Sprintf("op=xxh64/bytes=%d", n), func(b *testing.B) {
			for b.Loop() {
				dst[0] += Hash64(data[:n], 0)
			}
		})
		b.Run(fmt.Sprintf("op=murmur3/bytes=%d", n), func(b *testing.B) {
			for b.Loop() {
				dst[0] += uint64(Murmur3(data[:n], 0))
			}
		})
	}
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		b.Run("op=int64s/n=1024", func(b *testing.B) {
			for b.Loop() {
				HashInt64s(dst, src, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/hash")
		})
	})
}
