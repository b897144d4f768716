// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// world drives a log on a faulty disk beside a plain list of what it must hold.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	disk    *memFS
	options Options
	log     *Log
	streams []*Stream
	serial  int

	sequences map[string]uint64 // of those the log gave one
	held      uint64            // the highest sequence that some hold did not need

	durable map[string]Record // must be there
	maybe   map[string]Record // may be there: appended, and nobody said more
	crashes int
}

var modelStreams = []Schema{
	{Stream: "a", Columns: []Column{{"n", TypeInt64}, {"text", TypeString}}},
	{Stream: "b", Columns: []Column{{"n", TypeInt64}, {"list", TypeFloat32List}}},
}

func (w *world) open() {
	w.t.Helper()
	w.disk.fault = nil
	l, err := Open(context.Background(), w.options)
	must(w.t, err)
	w.log, w.streams = l, nil
	for _, s := range modelStreams {
		w.streams = append(w.streams, declare(w.t, l, s))
	}
}

// fail lets operations fail with some probability, or all of them from the nth on.
func (w *world) fail(probability float64, powerOff int) {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	n := 0
	w.disk.fault = func(op, name string) error {
		if n++; (powerOff > 0 && n >= powerOff) || w.disk.rng.Float64() < probability {
			return fmt.Errorf("%s %s: %w", op, name, errFault)
		}
		return nil
	}
}

func (w *world) heal() {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	w.disk.fault = nil
}

func (w *world) make() (int, Record) {
	w.serial++
	s := w.rng.IntN(2)
	r := Record{ID: fmt.Sprintf("%s-%d", modelStreams[s].Stream, w.serial), EventTime: day0 + w.rng.Int64N(3*dayMicros), ArrivalTime: day0 + 4*dayMicros + int64(w.serial)}
	r.Values = []Value{Int64(int64(w.serial)), String(strings.Repeat("x", w.rng.IntN(2000)))}
	if s == 1 {
		r.Values[1] = Float32List(make([]float32, w.rng.IntN(500)))
	}
	return s, r
}

func (w *world) step() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	switch n := w.rng.IntN(100); {
	case n < 54:
		s, r := w.make()
		if sequence, err := w.streams[s].AppendSequence(ctx, &r); err == nil {
			w.maybe[r.ID], w.sequences[r.ID] = r.Clone(), sequence
		}
	case n < 60:
		w.appendBatch(ctx)
	case n < 70:
		s, r := w.make()
		w.maybe[r.ID] = r.Clone()
		if w.streams[s].AppendSync(ctx, &r) == nil {
			w.durable[r.ID] = r.Clone()
		}
	case n < 75:
		w.waitDurable(ctx)
	case n < 82:
		if w.log.Sync(ctx) == nil {
			for id, r := range w.maybe {
				// What an earlier attempt left open is stored before what follows it,
				// or was never taken: only those taken are sure.
				if w.taken(id) {
					w.durable[id] = r
				}
			}
		}
	case n < 88:
		_ = w.log.Compact(ctx) // with faults it may fail; the next one goes on
	case n < 91:
		w.check()
	case n < 93:
		w.hold()
	case n < 95:
		w.fail(0.2, 0)
	case n < 98:
		w.heal()
	default:
		w.fail(0, 1+w.rng.IntN(30))
		for range 5 {
			s, r := w.make()
			w.maybe[r.ID] = r.Clone()
			if w.streams[s].AppendSync(ctx, &r) == nil {
				w.durable[r.ID] = r.Clone()
			}
			if w.rng.IntN(3) == 0 {
				_ = w.log.Compact(ctx) // as above
			}
		}
		w.crash()
	}
}

func (w *world) appendBatch(ctx context.Context) {
	s, r := w.make()
	records := []Record{r}
	for range w.rng.IntN(20) {
		if stream, more := w.make(); stream == s {
			records = append(records, more)
		}
	}
	before := w.log.Next()
	first, err := w.streams[s].AppendBatch(ctx, records)
	if err != nil {
		if w.log.Next() != before {
			w.t.Fatalf("a batch that was refused moved the sequence: %v", err)
		}
		return
	}
	for i, r := range records {
		w.maybe[r.ID], w.sequences[r.ID] = r.Clone(), first+uint64(i)
	}
}

// waitDurable waits for some sequence; what is up to it is durable then.
func (w *world) waitDurable(ctx context.Context) {
	upTo := w.rng.Uint64N(w.log.Next())
	if w.log.WaitDurable(ctx, upTo) != nil {
		return
	}
	if w.log.Durable() < upTo {
		w.t.Fatalf("waited for %d and durable is %d", upTo, w.log.Durable())
	}
	for id, sequence := range w.sequences {
		if r, ok := w.maybe[id]; ok && sequence <= upTo {
			w.durable[id] = r
		}
	}
}

func (w *world) hold() {
	after := w.rng.Uint64N(w.log.Next())
	w.log.Hold(after)
	w.held = max(w.held, after)
}

// checkReplay compares a replay with scans: both have the same records from the first
// that can be replayed, which is no later than was asked for.
func (w *world) checkReplay() {
	w.t.Helper()
	synctest.Wait() // from here on nothing is stored or compacted
	st := w.log.Stats()
	if w.options.HoldFromStart && st.ReplayFrom > w.held+1 {
		w.t.Fatalf("replay is from %d, and all behind %d is held", st.ReplayFrom, w.held)
	}
	want := map[uint64]Record{}
	for _, schema := range modelStreams {
		for _, r := range scanAll(w.t, w.log, Query{Stream: schema.Stream, Versions: AllVersions}) {
			want[r.Sequence] = r
		}
	}
	after := st.ReplayFrom - 1
	if durable := w.log.Durable(); durable > after {
		after += w.rng.Uint64N(durable - after + 1)
	}
	maps.DeleteFunc(want, func(sequence uint64, _ Record) bool { return sequence <= after })
	last := after
	for _, r := range replayAll(w.t, w.log, after) {
		scanned, ok := want[r.Sequence]
		if !ok || !sameRecord(&r, &scanned) || r.Sequence <= last {
			w.t.Fatalf("replayed %s with sequence %d after %d: in a scan %v", r.ID, r.Sequence, last, ok)
		}
		if given, ok := w.sequences[r.ID]; ok && given != r.Sequence {
			w.t.Fatalf("record %s got sequence %d and is replayed with %d", r.ID, given, r.Sequence)
		}
		delete(want, r.Sequence)
		last = r.Sequence
	}
	if len(want) > 0 {
		w.t.Fatalf("%d records are in scans and were not replayed", len(want))
	}
	if st.ReplayFrom > 1 {
		if err := w.log.Replay(context.Background(), st.ReplayFrom-2, nil); !errors.Is(err, ErrTooOld) {
			w.t.Fatalf("replay before %d: %v", st.ReplayFrom, err)
		}
	}
}

// taken tells whether an append of the record returned no error: AppendSync enqueues
// before it waits, so all that the model has were taken but for those met by ErrFull,
// which this world's queue is too large for.
func (w *world) taken(id string) bool { _, ok := w.maybe[id]; return ok }

func (w *world) crash() {
	w.crashes++
	w.disk.mu.Lock()
	w.disk.fault = func(string, string) error { return errFault }
	w.disk.mu.Unlock()
	_ = w.log.Close() // the disk is gone, and so are the records
	if w.rng.IntN(2) == 0 {
		w.disk.crash()
	} else {
		w.disk.kill()
	}
	w.open()
	for id := range w.check() { // what is there after a crash stays
		w.durable[id] = w.maybe[id]
	}
	for id := range w.maybe {
		if _, ok := w.durable[id]; !ok {
			delete(w.maybe, id)
			delete(w.sequences, id)
		}
	}
}

func (w *world) check() map[string]bool {
	w.t.Helper()
	found := map[string]bool{}
	for _, schema := range modelStreams {
		last := int64(0)
		for _, r := range scanAll(w.t, w.log, Query{Stream: schema.Stream, Versions: Versions(w.rng.IntN(3))}) {
			want, ok := w.maybe[r.ID]
			if !ok || !sameRecord(&r, &want) || found[r.ID] || r.EventTime < last {
				w.t.Fatalf("record %s: known %v, same %v, twice %v, in order %v", r.ID, ok, sameRecord(&r, &want), found[r.ID], r.EventTime >= last)
			}
			found[r.ID], last = true, r.EventTime
		}
	}
	for id := range w.durable {
		if !found[id] {
			w.t.Fatalf("record %s was acknowledged and is not there", id)
		}
	}
	w.checkReader()
	w.checkReplay()
	return found
}

// checkReader compares what a reader finds beside the log with what there must and can be.
func (w *world) checkReader() {
	w.t.Helper()
	r, err := OpenReader(context.Background(), w.options)
	if errors.Is(err, fs.ErrNotExist) && len(w.durable) == 0 {
		return
	}
	must(w.t, err)
	found, known := map[string]bool{}, map[string]bool{}
	for _, s := range r.Streams() {
		known[s.Stream] = true
	}
	for _, schema := range modelStreams {
		if !known[schema.Stream] {
			continue
		}
		for _, r := range scanAll(w.t, r, Query{Stream: schema.Stream, Versions: Versions(w.rng.IntN(3))}) {
			want, ok := w.maybe[r.ID]
			if !ok || !sameRecord(&r, &want) || found[r.ID] {
				w.t.Fatalf("a reader has record %s: known %v, same %v, twice %v", r.ID, ok, sameRecord(&r, &want), found[r.ID])
			}
			found[r.ID] = true
		}
	}
	for id := range w.durable {
		if !found[id] {
			w.t.Fatalf("record %s was acknowledged and a reader does not have it", id)
		}
	}
	must(w.t, r.Close())
}

// The library's Zstandard keeps channels between uses, which a synctest bubble cannot
// share: these tests use Snappy.
//
// Random operations, faults and crashes; the log holds all it acknowledged, once, and
// nothing else.
func TestModel(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 6
	}
	crashes := 0
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			w := &world{t: t, rng: rand.New(rand.NewPCG(uint64(seed), 7)), disk: newMemFS(uint64(seed)), durable: map[string]Record{}, maybe: map[string]Record{}, sequences: map[string]uint64{}}
			w.options = quiet(Options{Dir: "log", Snappy: true, GroupBytes: 4 << 10, SegmentBytes: 64 << 10, RowGroupRows: 20, MergeParts: 3,
				ScanMemory: 1 << 20, CompactMemory: 1 << 20, GroupWait: time.Duration(1+w.rng.IntN(20)) * time.Millisecond, files: w.disk})
			w.options.HoldFromStart = w.rng.IntN(2) == 0
			if w.rng.IntN(2) == 0 {
				w.options.CompactEvery = 50 * time.Millisecond
			}
			w.open()
			for range 300 {
				w.step()
			}
			w.heal()
			must(t, w.log.Sync(context.Background()))
			if err := w.log.Compact(context.Background()); err != nil && !errors.Is(err, errFault) {
				t.Fatal(err)
			}
			w.check()
			must(t, w.log.Close())
			crashes += w.crashes
		})
	}
	t.Logf("%d crashes", crashes)
}

// Compaction is cut at every operation it makes on the disk, one after another; the
// log loses nothing and takes nothing twice.
func TestCompactionIsCutAnywhere(t *testing.T) {
	for cut := 1; ; cut++ {
		done := false
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, rng: rand.New(rand.NewPCG(1, 7)), disk: newMemFS(uint64(cut)), durable: map[string]Record{}, maybe: map[string]Record{}, sequences: map[string]uint64{}}
			w.options = quiet(Options{Dir: "log", Snappy: true, MergeParts: 2, files: w.disk})
			w.open()
			for round := range 3 {
				for range 20 {
					s, r := w.make()
					must(t, w.streams[s].AppendSync(context.Background(), &r))
					w.durable[r.ID], w.maybe[r.ID] = r, r
				}
				if round < 2 {
					must(t, w.log.Compact(context.Background()))
				}
			}
			w.fail(0, cut)
			done = w.log.Compact(context.Background()) == nil
			w.crash()
			w.check()
			must(t, w.log.Compact(context.Background()))
			w.check()
			must(t, w.log.Close())
		})
		if done {
			t.Logf("a compaction is %d operations", cut-1)
			if cut < 20 {
				t.Errorf("only %d operations were cut", cut-1)
			}
			return
		}
	}
}

// A record appended asynchronously is durable GroupWait later, to the microsecond
// when the disk takes no time.
func TestLossIsBoundedByGroupWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		o := quiet(Options{Dir: "log", GroupWait: 5 * time.Millisecond, files: disk})
		l, err := Open(t.Context(), o)
		must(t, err)
		s := declare(t, l, everyType)
		for i := range 10 {
			r := sample(i)
			must(t, s.Append(t.Context(), &r))
			<-time.After(time.Millisecond)
		}
		synctest.Wait()
		// The groups of the first 5 ms and of those after are durable; the records
		// of a group that has not waited 5 ms may be lost.
		if st := l.Stats(); st.Stored < 5 || st.Groups > 2 || st.QueueAge > o.GroupWait {
			t.Errorf("stats %+v", st)
		}
		stored := l.Stats().Stored
		disk.mu.Lock()
		disk.fault = func(string, string) error { return errFault }
		disk.mu.Unlock()
		if err := l.Close(); stored < 10 && err == nil {
			t.Error("records were lost without a word")
		}
		disk.crash()
		l, err = Open(t.Context(), o)
		must(t, err)
		if got := scanAll(t, l, Query{Stream: "predictions"}); int64(len(got)) < stored {
			t.Errorf("%d records after a crash, %d were stored", len(got), stored)
		}
		must(t, l.Close())
	})
}
