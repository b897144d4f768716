// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A window smaller than the segment gives the same order as sorting all of it, also
// where many events share a time.
func TestWindowsOfASegment(t *testing.T) {
	l := openLog(t, quiet(Options{ScanMemory: 1 << 20, CompactMemory: 1 << 20, WaitWhenFull: -1}))
	s := declare(t, l, Schema{Stream: "s", Columns: []Column{{"text", TypeString}}})
	rng := rand.New(rand.NewPCG(5, 6))
	var want []Record
	for i := range 30_000 {
		r := Record{ID: fmt.Sprint(i % 20_000), EventTime: day0 + rng.Int64N(500), ArrivalTime: day0 + int64(rng.IntN(5)), Sequence: uint64(i + 1),
			Values: []Value{String(strings.Repeat("y", rng.IntN(60)))}}
		must(t, s.Append(t.Context(), &r))
		want = append(want, r)
	}
	must(t, l.Sync(t.Context()))
	slices.SortFunc(want, func(a, b Record) int { return compareRecords(&a, &b) })
	v, err := l.snapshot("s")
	must(t, err)
	f, err := v.filterOf(&Query{Stream: "s"})
	must(t, err)
	c, err := l.openCursor(v.segments[0], f, v.versions, windowBytesMin)
	must(t, err)
	fills := 0
	for i := range want {
		if c.pos == len(c.entries) {
			fills++
		}
		more, err := c.next(t.Context())
		must(t, err)
		if !more || !sameRecord(&want[i], c.record()) || c.record().Sequence != want[i].Sequence {
			t.Fatalf("record %d is %+v, want %+v", i, c.record(), want[i])
		}
		if held := cap(c.arena) + cap(c.entries)*entryBytes; held > 6*windowBytesMin {
			t.Fatalf("a window of %d bytes holds %d", windowBytesMin, held)
		}
	}
	if more, err := c.next(t.Context()); more || err != nil {
		t.Errorf("after the end: %v %v", more, err)
	}
	must(t, c.close())
	v.release()
	if fills < 20 {
		t.Errorf("the segment fitted into %d windows", fills)
	}
	q := Query{Stream: "s", Versions: AllVersions}
	expectRecords(t, "scan", scanAll(t, l, q), want)
	latest := scanAll(t, l, Query{Stream: "s"})
	must(t, l.Compact(t.Context()))
	expectRecords(t, "compacted", scanAll(t, l, q), want)
	expectRecords(t, "latest", scanAll(t, l, Query{Stream: "s"}), latest)
	if len(latest) != 20_000 {
		t.Errorf("%d ids", len(latest))
	}
}

func TestTooManyVersions(t *testing.T) {
	l := openLog(t, quiet(Options{VersionsMax: 10}))
	s := declare(t, l, Schema{Stream: "s"})
	for i := range 40 {
		must(t, s.Append(t.Context(), &Record{ID: fmt.Sprint(i % 20), EventTime: day0 + int64(i)}))
	}
	must(t, l.Sync(t.Context()))
	if _, err := l.Scan(t.Context(), Query{Stream: "s"}); !errors.Is(err, ErrTooManyVersions) {
		t.Errorf("got %v", err)
	}
	if got := scanAll(t, l, Query{Stream: "s", Versions: LatestPerEvent}); len(got) != 40 {
		t.Errorf("%d records", len(got))
	}
}

func TestRetentionAndScansBesideIt(t *testing.T) {
	ctx := t.Context()
	storage := &memStorage{objects: map[string][]byte{}}
	now := time.UnixMicro(day0 + 10*dayMicros)
	o := quiet(Options{Storage: storage, RetainAge: 5 * 24 * time.Hour, Now: func() time.Time { return now }})
	l := openLog(t, o)
	s := declare(t, l, Schema{Stream: "s"})
	for day := range int64(10) {
		must(t, s.Append(ctx, &Record{ID: fmt.Sprint(day), EventTime: day0 + day*dayMicros + 5}))
	}
	must(t, l.Sync(ctx))
	before, err := l.Scan(ctx, Query{Stream: "s"})
	must(t, err)
	must(t, l.Compact(ctx))
	if got := scanAll(t, l, Query{Stream: "s"}); len(got) != 5 || got[0].ID != "5" {
		t.Errorf("after five days: %d records", len(got))
	}
	inParts, err := l.Scan(ctx, Query{Stream: "s"})
	must(t, err)
	now = now.Add(2 * 24 * time.Hour)
	must(t, l.Compact(ctx))
	if got := scanAll(t, l, Query{Stream: "s"}); len(got) != 3 {
		t.Errorf("two days later: %d records", len(got))
	}
	for what, c := range map[*Scanner]int{before: 10, inParts: 5} {
		n := 0
		for what.Next() {
			n++
		}
		if n != c || what.Err() != nil {
			t.Errorf("a scan begun before has %d records, want %d: %v", n, c, what.Err())
		}
		must(t, what.Close())
	}
	if names := storage.names(); len(names) != 4 {
		t.Errorf("objects left: %v", names)
	}
	l.options.RetainBytes = l.Stats().PartitionBytes - 1
	must(t, l.Compact(ctx))
	if st := l.Stats(); st.Partitions != 2 || st.RetiredRows != 8 {
		t.Errorf("stats %+v", st)
	}
}

func TestSmallPartsAreMerged(t *testing.T) {
	ctx := t.Context()
	l := openLog(t, quiet(Options{MergeParts: 4}))
	s := declare(t, l, everyType)
	var want []Record
	for i := range 30 {
		r := sample(i)
		must(t, s.Append(ctx, &r))
		must(t, l.Compact(ctx))
		want = append(want, r)
		if n := l.Stats().Partitions; n > 3 {
			t.Fatalf("%d partitions of one date", n)
		}
	}
	expectRecords(t, "merged", scanAll(t, l, Query{Stream: "predictions"}), want)
}

// A damaged partition is an error or reads as something, and never a panic.
func TestDamagedPartitions(t *testing.T) {
	storage := &memStorage{objects: map[string][]byte{}}
	l := openLog(t, quiet(Options{Storage: storage, RowGroupRows: 50}))
	s := declare(t, l, everyType)
	for i := range 200 {
		r := sample(i)
		must(t, s.Append(t.Context(), &r))
	}
	must(t, l.Compact(t.Context()))
	name := l.mu.manifest.Parts[0].Name
	whole := storage.objects[name]
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 300 {
		damaged := bytes.Clone(whole)
		for range 1 + rng.IntN(8) {
			damaged[rng.IntN(len(damaged))] = byte(rng.Uint32())
		}
		storage.objects[name] = damaged[:len(damaged)-rng.IntN(2)*rng.IntN(40)]
		scan, err := l.Scan(t.Context(), Query{Stream: "predictions", Versions: AllVersions})
		must(t, err)
		for scan.Next() {
			_ = scan.Record().Clone()
		}
		if err := scan.Err(); err != nil {
			refused++
			if !strings.Contains(err.Error(), name) {
				t.Fatalf("the partition is not named: %v", err)
			}
		}
		must(t, scan.Close())
	}
	if refused < 200 {
		t.Errorf("only %d of 300 were refused", refused)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Open(t.Context(), Options{QueueBytes: 5, GroupWait: -1, RowGroupRows: -3})
	for _, name := range []string{"Dir", "QueueBytes", "GroupWait", "RowGroupRows"} {
		if !errors.Is(err, ErrInvalidOptions) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}

// memStorage shows that a store without files and renames does.
type memStorage struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (m *memStorage) Put(_ context.Context, name string, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = b.Bytes()
	return nil
}

func (m *memStorage) Get(_ context.Context, name string) (Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.objects[name]
	if !ok {
		return nil, ErrNotFound
	}
	return bytesFile{bytes.NewReader(b)}, nil
}

func (m *memStorage) List(_ context.Context, prefix string) (found []ObjectInfo, _ error) {
	for _, name := range m.names() {
		if strings.HasPrefix(name, prefix) {
			found = append(found, ObjectInfo{Name: name})
		}
	}
	return found, nil
}

func (m *memStorage) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

func (m *memStorage) names() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.objects {
		names = append(names, name)
	}
	return names
}
