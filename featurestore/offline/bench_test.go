// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"testing"
)

// small is a prediction of about 100 bytes.
func small(i int) Record {
	return Record{ID: fmt.Sprintf("%016x", i*0x9e3779b1), EventTime: day0 + int64(i)*100, Values: []Value{Float64(float64(i)), Int64(int64(i)), String("ranker"), Bool(i%2 == 0)}}
}

var smallSchema = Schema{Stream: "predictions", Columns: []Column{{"score", TypeFloat64}, {"version", TypeInt64}, {"model", TypeString}, {"shadow", TypeBool}}}

// go test ./featurestore/offline -run '^$' -bench Append -cpu 1
//
// Encoding, one copy and the share of a group's checksum, write and fsync: about 75
// bytes a record, so the disk sees 75 MB for a million.
func BenchmarkAppend(b *testing.B) {
	l := openLog(b, quiet(Options{WaitWhenFull: -1, GroupWait: 5e6}))
	s := declare(b, l, smallSchema)
	r := small(7)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Append(ctx, &r); err != nil {
			b.Fatal(err)
		}
	}
	must(b, l.Sync(ctx))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// go test ./featurestore/offline -run '^$' -bench 'Compact|Scan' -benchtime 3x
func BenchmarkCompact(b *testing.B) {
	const rows = 200_000
	for b.Loop() {
		b.StopTimer()
		l := benchLog(b, rows)
		b.StartTimer()
		must(b, l.Compact(b.Context()))
		b.StopTimer()
		must(b, l.Close())
		b.StartTimer()
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkScan(b *testing.B) {
	const rows = 200_000
	for _, where := range []string{"segments", "partitions"} {
		for _, versions := range []Versions{Latest, LatestPerEvent} {
			b.Run(fmt.Sprintf("where=%s/versions=%d", where, versions), func(b *testing.B) {
				l := benchLog(b, rows)
				if where == "partitions" {
					must(b, l.Compact(b.Context()))
				}
				b.ReportAllocs()
				for b.Loop() {
					s, err := l.Scan(b.Context(), Query{Stream: "predictions", Versions: versions})
					must(b, err)
					n := 0
					for s.Next() {
						n++
					}
					if s.Err() != nil || n != rows || s.Close() != nil {
						b.Fatal(n, s.Err())
					}
				}
				b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

func benchLog(b *testing.B, rows int) *Log {
	b.Helper()
	l := openLog(b, quiet(Options{WaitWhenFull: -1}))
	s := declare(b, l, smallSchema)
	for i := range rows {
		r := small(i)
		must(b, s.Append(b.Context(), &r))
	}
	must(b, l.Sync(b.Context()))
	return l
}
