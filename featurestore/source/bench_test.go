// SPDX-License-Identifier: Apache-2.0

package source

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// featureColumns are columns as training sets have them: half of few values, half of many.
func featureColumns(rows, columns int) ([]ParquetColumn, *column.Batch) {
	rng := rand.New(rand.NewPCG(1, 2))
	var described []ParquetColumn
	b := &column.Batch{Rows: rows}
	for i := range columns {
		c := column.Column{Name: fmt.Sprintf("f%02d", i), Type: column.Float64}
		for range rows {
			x := rng.NormFloat64() * 100
			if i%2 == 0 {
				x = float64(rng.IntN(50))
			}
			c.Numbers = append(c.Numbers, x)
		}
		described = append(described, ParquetColumn{Name: c.Name, Type: c.Type})
		b.Columns = append(b.Columns, c)
	}
	return described, b
}

// go test ./featurestore/source -run '^$' -bench Parquet -count 6
//
// A value is 8 bytes; reading is bound by decompression, writing by the disk.
func BenchmarkWriteParquet(b *testing.B) {
	const rows, columns = 1 << 18, 20
	described, batch := featureColumns(rows, columns)
	for name, c := range map[string]Compression{"snappy": Snappy, "zstd": Zstandard, "none": Uncompressed} {
		b.Run("codec="+name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "out.parquet")
			b.SetBytes(8 * rows * columns)
			for b.Loop() {
				w, err := NewParquetWriter(path, described, WriterOptions{Compression: c})
				must(b, err)
				must(b, w.Write(batch))
				must(b, w.Close())
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func BenchmarkReadParquet(b *testing.B) {
	const rows, columns = 1 << 18, 20
	described, batch := featureColumns(rows, columns)
	for name, c := range map[string]Compression{"snappy": Snappy, "zstd": Zstandard, "none": Uncompressed} {
		path := filepath.Join(b.TempDir(), name+".parquet")
		w, err := NewParquetWriter(path, described, WriterOptions{Compression: c, RowGroupRows: 1 << 15})
		must(b, err)
		must(b, w.Write(batch))
		must(b, w.Close())
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("codec=%s/workers=%d", name, workers), func(b *testing.B) {
				b.SetBytes(8 * rows * columns)
				for b.Loop() {
					r, err := OpenFile(b.Context(), definition.Parquet, path, nil, Options{})
					must(b, err)
					must(b, r.ReadParallel(workers, func(int, *column.Batch) error { return nil }))
					must(b, r.Close())
				}
				b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
