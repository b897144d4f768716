// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

const killVariable = "MILLRACE_FEATURESTORE_KILL_CHILD"

// TestMain makes the test program the child that is killed, when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killVariable); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const killDefinitions = `
entities:
  user: {key: user_id, type: int64}
sources:
  events:
    push: true
    timestamp: at
    fields: {at: timestamp, user_id: int64, amount: float64}
views:
  all:
    entity: user
    source: events
    hop: 1h
    features:
      events: {function: count, window: 365d}
      total: {function: sum, field: amount, window: 365d}
services:
  all: {features: [all.events, all.total]}
`

// killUsers is the number of users; event n is of user n%killUsers and has the amount n.
const killUsers = 50

func openKilled(ctx context.Context, dir string) (*featurestore.Store, error) {
	c, err := definition.Parse("kill.yaml", []byte(killDefinitions))
	if err != nil {
		return nil, err
	}
	return featurestore.Open(ctx, featurestore.Options{Dir: dir, Catalog: c, Logger: quiet,
		Log:    offline.Options{SegmentBytes: 64 << 10, SegmentAge: 20 * time.Millisecond, CompactEvery: 5 * time.Millisecond, WaitWhenFull: -1},
		Online: online.Options{Shards: 4, CheckpointEvery: 7 * time.Millisecond, CheckpointRecords: 200},
	})
}

// killChild pushes until it is killed, and says which events were acknowledged.
func killChild(dir string) error {
	ctx := context.Background()
	s, err := openKilled(ctx, dir)
	if err != nil {
		return err
	}
	next := 0
	for _, n := range countsOf(ctx, s) {
		next += int(n[0])
	}
	fmt.Println("open", next)
	at := time.Now()
	var result featurestore.PushResult
	for size := 1; ; size = size%13 + 1 {
		events := killEvents(next, size, at)
		if err := s.Push(ctx, "events", events, &result); err != nil {
			return err
		}
		if len(result.Errors) > 0 {
			return fmt.Errorf("refused: %+v", result.Errors[0])
		}
		next += size
		fmt.Println("pushed", next)
	}
}

func killEvents(first, size int, at time.Time) *featurestore.Events {
	events := &featurestore.Events{Batch: column.Batch{Rows: size, Columns: []column.Column{{Type: column.Timestamp}, {Type: column.Int64}, {Type: column.Float64}}}}
	for n := first; n < first+size; n++ {
		events.IDs = append(events.IDs, fmt.Sprint(n))
		c := events.Batch.Columns
		c[0].AppendInt(at.UnixMicro())
		c[1].AppendInt(int64(n % killUsers))
		c[2].AppendNumber(float64(n))
	}
	return events
}

// countsOf reads count and sum of every user.
func countsOf(ctx context.Context, s *featurestore.Store) (rows [][]float64) {
	service, err := s.Service("all")
	if err != nil {
		panic(err)
	}
	in := &plan.Inputs{Rows: killUsers, Keys: []column.Column{{Type: column.Int64}}}
	for user := range killUsers {
		in.Keys[0].AppendInt(int64(user))
	}
	var out plan.Vectors
	if err := s.Read(ctx, service, in, &out); err != nil {
		panic(err)
	}
	for i := range killUsers {
		rows = append(rows, slices.Clone(out.Row(i)))
	}
	return rows
}

// TestKill kills a process that pushes, checkpoints and compacts, again and again. What
// it acknowledged is there after each start, once, and so is all before it.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() || raceEnabled {
		rounds = 4
	}
	dir, total := t.TempDir(), 0
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 6))
	for round := range rounds {
		acknowledged := runAndKill(t, dir, 1+rng.IntN(60), time.Duration(rng.IntN(30))*time.Millisecond)
		if acknowledged < total {
			t.Fatalf("round %d: opened with %d events, %d had been acknowledged", round, acknowledged, total)
		}
		total = acknowledged
		if round%5 == 4 || round == rounds-1 {
			total = checkKilled(t, dir, acknowledged)
		}
	}
	t.Logf("%d events over %d kills", total, rounds)
}

// runAndKill lets the child push a number of times and then, a moment later, kills it.
// It returns how many events it acknowledged.
func runAndKill(t *testing.T, dir string, pushes int, moment time.Duration) (acknowledged int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killVariable+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Error(lines.Text())
			break
		}
		if _, err := fmt.Sscanf(lines.Text()[strings.IndexByte(lines.Text(), ' ')+1:], "%d", &acknowledged); err != nil {
			t.Errorf("%q: %v", lines.Text(), err)
		}
		if pushes--; pushes == 0 {
			time.AfterFunc(moment, func() { _ = child.Process.Kill() })
		}
	}
	_ = child.Process.Kill()
	_ = child.Wait() // it was killed
	return acknowledged
}

// checkKilled opens the store and looks at every user. Events go round the users, so
// their number tells what each must have.
func checkKilled(t *testing.T, dir string, acknowledged int) (total int) {
	t.Helper()
	s, err := openKilled(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := countsOf(t.Context(), s)
	for _, row := range rows {
		total += int(row[0])
	}
	if total < acknowledged {
		t.Fatalf("%d events are there, %d were acknowledged", total, acknowledged)
	}
	for user, row := range rows {
		count, sum := 0, 0
		for n := user; n < total; n += killUsers {
			count, sum = count+1, sum+n
		}
		if count > 0 && (row[0] != float64(count) || row[1] != float64(sum)) {
			t.Errorf("user %d: %v events, sum %v, want %d and %d", user, row[0], row[1], count, sum)
		}
	}
	return total
}

// pushSome fills a store with some events and returns the counts.
func pushSome(t *testing.T, dir string, n int) [][]float64 {
	t.Helper()
	s, err := openKilled(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var result featurestore.PushResult
	if err := s.Push(t.Context(), "events", killEvents(0, n, time.Now()), &result); err != nil {
		t.Fatal(err)
	}
	rows := countsOf(t.Context(), s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestCorruptSegment damages a segment of the log: the error names it, and after a
// repair the store opens and serves what was sound.
func TestCorruptSegment(t *testing.T) {
	dir := t.TempDir()
	c, err := definition.Parse("kill.yaml", []byte(killDefinitions))
	if err != nil {
		t.Fatal(err)
	}
	open := func() (*featurestore.Store, error) {
		return featurestore.Open(t.Context(), featurestore.Options{Dir: dir, Catalog: c, Logger: quiet,
			Log: offline.Options{CompactEvery: -1}, Online: online.Options{Shards: 4, CheckpointEvery: -1}})
	}
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	var result featurestore.PushResult
	for first := 0; first < 300; first += 100 { // three groups
		if err := s.Push(t.Context(), "events", killEvents(first, 100, time.Now()), &result); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "log", "segment-*"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %v, %v in %v", segments, err, listing(dir))
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0x40
	write(t, segments[0], string(data))
	_, err = open()
	var damage *offline.CorruptError
	if !errors.As(err, &damage) || !errors.Is(err, offline.ErrCorrupt) || damage.Segment != filepath.Base(segments[0]) {
		t.Fatalf("a damaged segment: %v", err)
	}
	if _, err := offline.Repair(t.Context(), offline.Options{Dir: filepath.Join(dir, "log")}); err != nil {
		t.Fatal(err)
	}
	if s, err = open(); err != nil {
		t.Fatalf("after the repair: %v", err)
	}
	defer s.Close()
	total := 0.0
	for _, row := range countsOf(t.Context(), s) {
		total += row[0]
	}
	if total != 300 { // the states had been stored, and have what the log lost
		t.Errorf("%v events", total)
	}
	if err := s.Push(t.Context(), "events", killEvents(300, 10, time.Now()), &result); err != nil || result.Accepted != 10 {
		t.Errorf("a push after the repair: %+v, %v", result, err)
	}
}

func listing(dir string) (names []string) {
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
		names = append(names, path)
		return nil
	})
	return names
}

// TestCorruptStates damages the files of the states: opening says so, names the
// folder, and without it the states are computed anew from the log.
func TestCorruptStates(t *testing.T) {
	dir := t.TempDir()
	want := pushSome(t, dir, 500)
	damaged := 0
	for _, path := range listing(filepath.Join(dir, "online")) {
		info, err := os.Stat(path)
		if err != nil || info.IsDir() || info.Size() < 64 || !strings.HasSuffix(path, ".sst") {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range data {
			data[i] ^= 0x5a
		}
		write(t, path, string(data))
		damaged++
	}
	if damaged == 0 {
		t.Fatalf("no tables among %v", listing(dir))
	}
	s, err := openKilled(t.Context(), dir)
	if err == nil {
		defer s.Close()
		if got := countsOf(t.Context(), s); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("opened with %v, want %v", got, want)
		}
		return
	}
	t.Log(err)
	if !errors.Is(err, online.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Join(dir, "online")) {
		t.Errorf("damaged states: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "online")); err != nil {
		t.Fatal(err)
	}
	if s, err = openKilled(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := countsOf(t.Context(), s); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("computed anew: %v, want %v", got, want)
	}
}
