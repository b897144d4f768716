// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

const (
	day  = int64(24 * time.Hour / time.Microsecond)
	day0 = 19675 * day // 2023-11-14
)

var schema = offline.Schema{Stream: "predictions", Columns: []offline.Column{
	{Name: "score", Type: offline.TypeFloat64}, {Name: "model", Type: offline.TypeString}, {Name: "features", Type: offline.TypeFloat32List},
}}

// record i happens a minute after the one before, and has nulls now and then.
func record(i, version int) offline.Record {
	at := day0 + int64(i)*60_000_000
	r := offline.Record{ID: fmt.Sprintf("id-%06d", i), EventTime: at, ArrivalTime: at + 500 + int64(version)*1000, Values: []offline.Value{
		offline.Float64(float64(i)/3 + float64(version)), offline.String(fmt.Sprint("model-", i%3)), offline.Float32List([]float32{float32(i), float32(version)}),
	}}
	if i%5 == 0 {
		r.Values[1] = offline.Value{}
	}
	return r
}

// shown is a record as text.
func shown(r *offline.Record) string {
	model := "null"
	if !r.Values[1].IsNull() {
		model = r.Values[1].Text()
	}
	return fmt.Sprint(r.ID, r.EventTime, r.ArrivalTime, r.Values[0].Float64(), model, r.Values[2].Float32List())
}

func openLog(t testing.TB, o offline.Options) *offline.Log {
	t.Helper()
	o.CompactEvery = -1 // the test says when
	if o.GroupWait == 0 {
		o.GroupWait = time.Millisecond
	}
	l, err := offline.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // a test that closed it itself has looked
	return l
}

func scan(t testing.TB, l *offline.Log, q offline.Query) []string {
	t.Helper()
	q.Stream = "predictions"
	s, err := l.Scan(t.Context(), q)
	must(t, err)
	var all []string
	for s.Next() {
		all = append(all, shown(s.Record()))
	}
	must(t, errors.Join(s.Err(), s.Close()))
	return all
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
}

// Records come back from live segments and from partitions in the store, also after
// the log was opened anew, by time and as of a time.
func TestLogOverTheStore(t *testing.T) {
	srv := newServer(t)
	o := offline.Options{Dir: t.TempDir(), Storage: open(t, srv, "log", Options{BlockBytes: 4 << 10}), RowGroupRows: 500}
	l := openLog(t, o)
	s, err := l.Declare(schema)
	must(t, err)
	const n = 4000 // of nearly three days
	var want, corrected []string
	add := func(i, version int) offline.Record {
		r := record(i, version)
		must(t, s.Append(t.Context(), &r))
		return r
	}
	for i := range n {
		r := add(i, 0)
		want = append(want, shown(&r))
		if i == n/2 || i == n*3/4 {
			must(t, l.Compact(t.Context()))
		}
	}
	corrected = slices.Clone(want)
	for i := 0; i < n; i += 7 {
		r := add(i, 1)
		corrected[i] = shown(&r)
	}
	must(t, l.Sync(t.Context()))
	check := func(when string) {
		t.Helper()
		same(t, when, scan(t, l, offline.Query{Versions: offline.LatestPerEvent}), corrected)
		same(t, when+", some time", scan(t, l, offline.Query{From: day0 + 60_000_000*100, To: day0 + 60_000_000*2500}), corrected[100:2500])
		same(t, when+", as of", scan(t, l, offline.Query{AsOf: day0 + n*60_000_000, Versions: offline.LatestPerEvent, To: day0 + 60_000_000*10}),
			append([]string{}, corrected[:10]...))
	}
	check("live")
	must(t, l.Compact(t.Context()))
	check("in partitions")
	if st := l.Stats(); st.Partitions < 3 || st.LagRecords != 0 {
		t.Errorf("%d partitions, %d records behind", st.Partitions, st.LagRecords)
	}
	names := listed(t, o.Storage, "stream=predictions/date=2023-11-1")
	if len(names) < 3 || !strings.Contains(names[0], ".parquet") {
		t.Errorf("the store has %q", names)
	}
	must(t, l.Close())
	l = openLog(t, o)
	check("opened again")
	got := make([][]string, 16)
	must(t, l.ScanParallel(t.Context(), offline.Query{Stream: "predictions"}, 3, func(_ context.Context, slice int, s *offline.Scanner) error {
		for s.Next() {
			got[slice] = append(got[slice], shown(s.Record()))
		}
		return s.Err()
	}))
	same(t, "in parallel", slices.Concat(got...), corrected)
}

// Small parts are merged, old dates are retired, and what no manifest names is removed.
func TestLogKeepsTheStoreTidy(t *testing.T) {
	srv := newServer(t)
	now := time.UnixMicro(day0 + day)
	o := offline.Options{Dir: t.TempDir(), Storage: open(t, srv, "log", Options{}), MergeParts: 3, RetainAge: 48 * time.Hour, Now: func() time.Time { return now }}
	l := openLog(t, o)
	s, err := l.Declare(schema)
	must(t, err)
	for i := range 12 {
		r := record(i, 0)
		must(t, s.AppendSync(t.Context(), &r))
		must(t, l.Compact(t.Context()))
	}
	if n := len(listed(t, o.Storage, "stream=")); n > 4 {
		t.Errorf("%d parts of twelve records", n)
	}
	if got := scan(t, l, offline.Query{}); len(got) != 12 {
		t.Errorf("%d records after merging", len(got))
	}
	put(t, o.Storage, "stream=predictions/date=2023-11-14/part-99.parquet", []byte("left by a crash"))
	must(t, l.Close())
	l = openLog(t, o)
	if l.Recovered().Orphans != 1 {
		t.Errorf("%+v", l.Recovered())
	}
	now = now.Add(10 * 24 * time.Hour)
	must(t, l.Compact(t.Context()))
	if got := scan(t, l, offline.Query{}); len(got) != 0 {
		t.Errorf("%d records after they were retired", len(got))
	}
	must(t, l.Close())
	must(t, openLog(t, o).Close())
	if names := listed(t, o.Storage, "stream="); len(names) != 0 {
		t.Errorf("the store still has %q", names)
	}
}

// While the store is away nothing is lost: segments keep the records, and a later
// compaction moves them.
func TestStoreThatIsAwayAndBack(t *testing.T) {
	srv := newServer(t)
	o := offline.Options{Dir: t.TempDir(), Storage: open(t, srv, "log", Options{Attempts: 1})}
	l := openLog(t, o)
	s, err := l.Declare(schema)
	must(t, err)
	var want []string
	rng := rand.New(rand.NewPCG(1, 9))
	for i := range 60 {
		r := record(i, 0)
		must(t, s.AppendSync(t.Context(), &r))
		want = append(want, shown(&r))
		if i%6 != 5 {
			continue
		}
		away := rng.IntN(6)
		srv.fail(func(w http.ResponseWriter, _ *http.Request) bool {
			if away--; away >= 0 {
				return false
			}
			answer(w, http.StatusNotImplemented, "Away")
			return true
		})
		if err := l.Compact(t.Context()); err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		srv.fault.Store(nil)
		same(t, "after a failed compaction", scan(t, l, offline.Query{}), want)
	}
	must(t, l.Compact(t.Context()))
	same(t, "at last", scan(t, l, offline.Query{}), want)
	must(t, l.Close())
	same(t, "opened again", scan(t, openLog(t, o), offline.Query{}), want)
}

const childVariable = "MILLRACE_BLOB_CHILD"

// TestMain makes the test program the child that is killed, when asked to.
func TestMain(m *testing.M) {
	if where := os.Getenv(childVariable); where != "" {
		if err := child(where); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child appends and compacts until it is killed, and says which records are durable.
func child(where string) error {
	dir, url, _ := strings.Cut(where, " ")
	ctx := context.Background()
	storage, err := Open(ctx, url, Options{})
	if err != nil {
		return err
	}
	l, err := offline.Open(ctx, offline.Options{Dir: dir, Storage: storage, SegmentBytes: 64 << 10, GroupBytes: 8 << 10,
		CompactEvery: 5 * time.Millisecond, SegmentAge: 20 * time.Millisecond, MergeParts: 3, WaitWhenFull: -1})
	if err != nil {
		return err
	}
	s, err := l.Declare(schema)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		r := record(i, 0)
		r.ID = fmt.Sprintf("%d-%d", os.Getpid(), i)
		if err := s.AppendSync(ctx, &r); err != nil {
			return err
		}
		fmt.Println(r.ID)
	}
}

// A process that appends and compacts into the store is killed again and again: what it
// acknowledged is there once.
func TestKillOverTheStore(t *testing.T) {
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	backend := s3mem.New()
	must(t, backend.CreateBucket(bucket))
	serve := func() (*httptest.Server, string) {
		srv := httptest.NewServer(gofakes3.New(backend).Server()) // the child would not trust a certificate of the test
		t.Cleanup(srv.Close)
		return srv, "s3://" + bucket + "/log?insecure=true&region=us-east-1&endpoint=" + strings.TrimPrefix(srv.URL, "http://")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	dir := t.TempDir()
	_, url := serve()
	acknowledged := map[string]bool{}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	for range rounds {
		// The child has a server of its own, and closing that waits for its last requests: none
		// may be done when the next owner has the log open.
		its, itsURL := serve()
		runAndKill(t, dir+" "+itsURL, 100+rng.IntN(300), acknowledged)
		its.Close()
		storage, err := Open(t.Context(), url, Options{})
		must(t, err)
		l := openLog(t, offline.Options{Dir: dir, Storage: storage})
		found := map[string]int{}
		s, err := l.Scan(t.Context(), offline.Query{Stream: "predictions", Versions: offline.AllVersions, Columns: []string{}})
		must(t, err)
		for s.Next() {
			found[strings.Clone(s.Record().ID)]++
		}
		must(t, errors.Join(s.Err(), s.Close(), l.Close()))
		for id := range acknowledged {
			if found[id] != 1 {
				t.Fatalf("record %s is there %d times; %d are acknowledged and %d there", id, found[id], len(acknowledged), len(found))
			}
		}
	}
	t.Logf("%d records acknowledged over %d kills", len(acknowledged), rounds)
}

// runAndKill kills the child after so many lines.
func runAndKill(t *testing.T, where string, lines int, acknowledged map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+where)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	in := bufio.NewScanner(out)
	for n := 1; in.Scan(); n++ {
		line := in.Text()
		if !strings.Contains(line, "-") || strings.HasPrefix(line, "error") {
			t.Errorf("the child says %q", line)
			continue
		}
		acknowledged[line] = true
		if n == lines {
			_ = cmd.Process.Kill() // it may have ended
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
}
