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
					benchScan(b, l, versions, rows)
				}
				b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// benchScan reads all that there is.
func benchScan(b *testing.B, l *Log, versions Versions, rows int) {
	b.Helper()
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

// go test ./featurestore/offline -run '^$' -bench 'Replay|Open' -benchtime 3x
//
// About 70 bytes a record: the page cache's copy, a checksum and the decoding of four
// values.
func BenchmarkReplay(b *testing.B) {
	const rows = 1_000_000
	l := benchLog(b, rows)
	b.ReportAllocs()
	for b.Loop() {
		n, total := 0, 0.0
		must(b, l.Replay(b.Context(), 0, func(_ string, _ []Column, r *Record) error {
			n++
			total += r.Values[0].Float64()
			return nil
		}))
		if n != rows || total == 0 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// What opening a log costs that a killed process left: all live segments are read and
// checked, on all processors.
func BenchmarkOpen(b *testing.B) {
	const rows = 2_000_000
	o := quiet(Options{Dir: b.TempDir(), WaitWhenFull: -1, SegmentBytes: 32 << 20})
	l := openLog(b, o)
	s := declare(b, l, smallSchema)
	for i := range rows {
		r := small(i)
		must(b, s.Append(b.Context(), &r))
	}
	must(b, l.Close())
	for b.Loop() {
		l, err := Open(b.Context(), o)
		must(b, err)
		b.SetBytes(l.Stats().SegmentBytes)
		must(b, l.Close())
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// go test ./featurestore/offline -run '^$' -bench 'Reader' -benchtime 3x
//
// The scan of BenchmarkScan, of a reader beside the owner: one comparison and the copy of
// an id more for each record.
func BenchmarkScanOfReader(b *testing.B) {
	const rows = 200_000
	l := benchLog(b, rows)
	must(b, l.Compact(b.Context()))
	r := openReaderOf(b, l.options)
	b.ReportAllocs()
	for b.Loop() {
		benchScan(b, r, LatestPerEvent, rows)
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
