// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// MILLRACE_OFFLINE_READERS lets the two tests here run for that long, such as 5m.
const readersVariable = "MILLRACE_OFFLINE_READERS"

func readersFor(t *testing.T) time.Duration {
	t.Helper()
	d := 400 * time.Millisecond
	if testing.Short() {
		d = 0 // the least of each
	}
	if text := os.Getenv(readersVariable); text != "" {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", readersVariable, err)
		}
	}
	return d
}

// raceSample is the record that has a sequence in the log of the race: its content follows
// from that, and its day from the place in the log, so that days grow old.
func raceSample(sequence uint64) Record {
	r := sample(int(sequence))
	r.EventTime = day0 + int64(sequence/200)*dayMicros + int64(sequence*7919%86_400)*1_000_000
	r.ArrivalTime = r.EventTime + 500
	return r
}

// checkMoment reads all that a reader has: every record up to its sequence but those of
// days that retention deleted, once, and whole. known was durable before it was opened.
func checkMoment(ctx context.Context, r *Log, known uint64, versions Versions, workers int) error {
	last := r.Durable()
	if last < known {
		return fmt.Errorf("the reader ends with %d and %d was durable before", last, known)
	}
	var mu sync.Mutex
	seen := make([]bool, last+1)
	err := r.ScanParallel(ctx, Query{Stream: "predictions", Versions: versions}, workers, func(_ context.Context, _ int, s *Scanner) error {
		for s.Next() {
			got := s.Record()
			mu.Lock()
			fresh := got.Sequence <= last && !seen[got.Sequence]
			if fresh {
				seen[got.Sequence] = true
			}
			mu.Unlock()
			if want := raceSample(got.Sequence); !fresh || !sameRecord(got, &want) {
				return fmt.Errorf("record %d of %d: new %v: %+v", got.Sequence, last, fresh, got)
			}
		}
		return s.Err()
	})
	if errors.Is(err, ErrUnknownStream) && last == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	retired := r.mu.manifest.retired()
	r.mu.Unlock()
	for sequence := uint64(1); sequence <= last; sequence++ {
		if want := raceSample(sequence); !seen[sequence] && want.EventTime > retired {
			return fmt.Errorf("record %d of %d is missing, and retention went to %d", sequence, last, retired)
		}
	}
	return nil
}

// Readers open and scan while the owner appends, rolls segments, compacts and retains as
// fast as it can.
func TestReadersBesideAWriter(t *testing.T) {
	o := killOptions(t.TempDir())
	o.RetainBytes = 60 << 10
	l := openLog(t, o)
	s := declare(t, l, everyType)
	wrote := make(chan struct{}, 2) // something new for a reader
	var opened, retired atomic.Int64
	var group sync.WaitGroup
	for i := range 2 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 11))
			for range wrote {
				known := l.Durable()
				r, err := OpenReader(t.Context(), o)
				if err == nil {
					err = errors.Join(checkMoment(t.Context(), r, known, Versions(rng.IntN(3)), 1+rng.IntN(3)), r.Close())
				}
				opened.Add(1)
				if errors.Is(err, ErrRetired) {
					retired.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			}
		})
	}
	end := time.Now().Add(readersFor(t))
	least := uint64(3000)
	if testing.Short() {
		least = 1500
	}
	for next := uint64(1); (next < least || time.Now().Before(end)) && !t.Failed(); {
		var records []Record
		for range 1 + next%97 {
			records = append(records, raceSample(next+uint64(len(records))))
		}
		first, err := s.AppendBatch(t.Context(), records)
		if err == nil && first != next {
			err = fmt.Errorf("sequence %d, want %d", first, next)
		}
		if err == nil && next%5 == 0 {
			err = l.Sync(t.Context())
		}
		if err == nil && next%7 == 0 { // so that what is compacted keeps up, and grows old
			err = l.Compact(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
		next += uint64(len(records))
		l.Hold(next)
		select {
		case wrote <- struct{}{}:
		default:
		}
	}
	close(wrote)
	group.Wait()
	st := l.Stats()
	t.Logf("opened %d readers, %d of which retention cut; %d records in %d compactions, %d retired", opened.Load(), retired.Load(), st.Stored, st.Compactions, st.RetiredRows)
}

// told is what a child has said it acknowledged: by process, the last number.
type told struct {
	sync.Mutex
	last map[string]int
}

// follow notes what the child says until it ends, and tells of the first.
func (a *told) follow(in *bufio.Scanner, began chan<- struct{}) error {
	defer func() {
		if began != nil {
			close(began)
		}
	}()
	for in.Scan() {
		pid, number, ok := strings.Cut(in.Text(), "-")
		n, err := strconv.Atoi(number)
		switch {
		case strings.HasPrefix(in.Text(), "hold "):
		case !ok || err != nil:
			return fmt.Errorf("the child says %q", in.Text())
		default:
			a.Lock()
			a.last[pid] = n
			a.Unlock()
			if began != nil {
				close(began)
				began = nil
			}
		}
	}
	return in.Err()
}

// check opens a reader and looks for all that was acknowledged before.
func (a *told) check(ctx context.Context, dir string) error {
	a.Lock()
	want := map[string]int{}
	for pid, n := range a.last {
		want[pid] = n
	}
	a.Unlock()
	if len(want) == 0 {
		return nil
	}
	r, err := OpenReader(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	found := map[string]bool{}
	s, err := r.Scan(ctx, Query{Stream: "predictions", Versions: AllVersions})
	if err != nil {
		return errors.Join(err, r.Close())
	}
	var last uint64
	for s.Next() {
		got := s.Record()
		_, number, _ := strings.Cut(got.ID, "-")
		n, err := strconv.Atoi(number)
		want := sample(n)
		want.ID = got.ID
		if err != nil || found[got.ID] || !sameRecord(got, &want) {
			return errors.Join(fmt.Errorf("record %+v: twice %v, want %+v", got, found[got.ID], want), err, s.Close(), r.Close())
		}
		found[strings.Clone(got.ID)], last = true, max(last, got.Sequence)
	}
	if err := errors.Join(s.Err(), s.Close(), r.Close()); err != nil {
		return err
	}
	if last != uint64(len(found)) || r.Durable() != last {
		return fmt.Errorf("%d records, the last is %d and the reader says %d", len(found), last, r.Durable())
	}
	for pid, n := range want {
		for ; n >= 0; n-- {
			if id := fmt.Sprintf("%s-%d", pid, n); !found[id] {
				return fmt.Errorf("record %s was acknowledged and is not among %d", id, len(found))
			}
		}
	}
	return nil
}

// A process that appends and compacts is killed again and again while a reader of this one
// opens its log: it finds all that was acknowledged, without holes, once, and nothing torn.
func TestReaderBesideAKilledWriter(t *testing.T) {
	dir := t.TempDir()
	acknowledged := &told{last: map[string]int{}}
	end := time.Now().Add(readersFor(t))
	rng := rand.New(rand.NewPCG(uint64(end.UnixNano()), 5))
	reads, kills := 0, 0
	for kills < 3 || time.Now().Before(end) && kills < 200 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), killChildVariable+"="+dir)
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		said, began := make(chan error, 1), make(chan struct{})
		go func() { said <- acknowledged.follow(bufio.NewScanner(out), began) }() // ends with the child
		if rng.IntN(4) > 0 {                                                      // else it is killed while it opens the log, perhaps
			<-began
		}
		for range 1 + rng.IntN(6) {
			if err := acknowledged.check(t.Context(), dir); err != nil {
				t.Errorf("after %d kills: %v", kills, err)
			}
			reads++
		}
		must(t, child.Process.Kill())
		if err := <-said; err != nil {
			t.Error(err)
		}
		if err := child.Wait(); err == nil {
			t.Error("the child ended by itself")
		}
		kills++
		if err := acknowledged.check(t.Context(), dir); err != nil { // where nobody has it open
			t.Fatalf("after %d kills: %v", kills, err)
		}
	}
	t.Logf("%d reads over %d kills", reads, kills)
}
