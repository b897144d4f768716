// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// rowSizes are bytes of rows around all the widths that copies treat apart.
var rowSizes = []int{1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 63, 64, 65, 100, 128, 191, 256, 257, 700}

// randomBytes are n bytes off a boundary.
func randomBytes(t *testing.T, r *rand.Rand, n, off int) []byte {
	b, _ := kerneltest.Slice[uint8](t, n, off)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestGatherAndScatterRows(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 41)
		for _, size := range rowSizes {
			const rows, n = 9, 13
			src := randomBytes(t, r, rows*size, size%4)
			indices, places := make([]int64, n), make([]int64, rows)
			for i := range indices {
				indices[i] = int64(r.IntN(2*rows) - rows)
			}
			for i := range places {
				places[i] = int64(r.IntN(2*n) - n)
			}
			got, check := kerneltest.Slice[uint8](t, n*size, 3)
			want := make([]byte, n*size)
			for i, v := range indices {
				copy(want[i*size:][:size], src[int(v+rows)%rows*size:])
			}
			if err := GatherRows(got, src, size, indices, rows); err != nil {
				t.Fatal(err)
			}
			check()
			kerneltest.Same(t, fmt.Sprint("gather of ", size), got, want)
			for i, v := range places {
				copy(want[int(v+n)%n*size:][:size], src[i*size:])
			}
			if err := ScatterRows(got, src, size, places); err != nil {
				t.Fatal(err)
			}
			check()
			kerneltest.Same(t, fmt.Sprint("scatter of ", size), got, want)
		}
	})
}

func TestGatherAndScatterRefuse(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		src, dst := make([]byte, 40), make([]byte, 40)
		for _, bad := range []int64{10, -11, 1 << 62, -1 << 63} {
			indices := []int64{0, 1, 2, 3, 4, 5, 6, bad}
			if err := GatherRows(dst, src, 4, indices, 10); !errors.Is(err, ErrIndex) {
				t.Errorf("gather of row %d gives %v", bad, err)
			}
			if err := ScatterRows(dst, src, 4, indices); !errors.Is(err, ErrIndex) {
				t.Errorf("scatter to row %d gives %v", bad, err)
			}
		}
		for name, err := range map[string]error{
			"more rows than there are": GatherRows(dst, src, 4, []int64{0}, 11),
			"a row of no rows":         GatherRows(dst, nil, 4, []int64{0}, 0),
			"rows of negative size":    GatherRows(dst, src, -4, []int64{0}, 10),
			"more than there is room":  GatherRows(dst, src, 4, make([]int64, 11), 10),
			"scatter of parts":         ScatterRows(dst, src, 7, []int64{0}),
			"scatter of nothing":       ScatterRows(dst, src, 0, []int64{0}),
			"scatter of too few":       ScatterRows(dst, src, 4, make([]int64, 11)),
		} {
			if err == nil {
				t.Errorf("%s is taken", name)
			}
		}
		if err := GatherRows(dst, src, 0, []int64{3}, 5); err != nil {
			t.Errorf("rows of no bytes give %v", err)
		}
	})
}

func TestCopyStrided(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 42)
		for _, width := range rowSizes {
			for _, rows := range []int{0, 1, 5} {
				from, to := width+r.IntN(9), width+r.IntN(2)
				src := randomBytes(t, r, rows*from, 1)
				dst, check := kerneltest.Slice[uint8](t, rows*to, 5)
				want := make([]byte, rows*to)
				for i := range rows {
					copy(want[i*to:][:width], src[i*from:])
				}
				CopyStrided(dst, to, src, from, width, rows)
				check()
				kerneltest.Same(t, fmt.Sprintf("%d rows of %d", rows, width), dst, want)
			}
		}
		CopyStrided(nil, 0, nil, 0, 0, 7) // nothing of each row
	})
}

func FuzzGather(f *testing.F) {
	f.Add([]byte{1, 255, 3}, uint8(5), uint8(7))
	f.Add([]byte{200}, uint8(64), uint8(3))
	f.Fuzz(func(t *testing.T, chosen []byte, size, rows uint8) {
		n, total := int(size), int(rows)%32
		src := make([]byte, n*total)
		for i := range src {
			src[i] = byte(i * 31)
		}
		indices := make([]int64, len(chosen))
		for i, v := range chosen {
			indices[i] = int64(int8(v))
		}
		got, check := kerneltest.Slice[uint8](t, n*len(indices), 1)
		if GatherRows(got, src, n, indices, total) != nil {
			return
		}
		check()
		want := make([]byte, len(got))
		gatherRowsGeneric(want, src, n, indices, total)
		kerneltest.Same(t, "rows", got, want)
	})
}

func BenchmarkCopyRows(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		for _, width := range []int{4, 32, 128, 1024} {
			const rows = 64
			dst, src := make([]byte, rows*width), make([]byte, rows*(width+64))
			indices := make([]int64, rows)
			for i := range indices {
				indices[i] = int64(i * 37 % rows)
			}
			b.Run(fmt.Sprintf("op=strided/rows=%d/width=%d", rows, width), func(b *testing.B) {
				for b.Loop() {
					CopyStrided(dst, width, src, width+64, width, rows)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			})
			b.Run(fmt.Sprintf("op=gather/rows=%d/width=%d", rows, width), func(b *testing.B) {
				for b.Loop() {
					if err := GatherRows(dst, src, width, indices, rows); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			})
		}
	})
}
