// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// filled makes a store of n events that are checkpointed, and closes it.
func filled(t *testing.T, o Options, log *fakeLog, n int) {
	t.Helper()
	l := openLocal(t, o)
	for i := range uint64(n) {
		pushLogged(t, l, log, fmt.Sprint("k", i), i+1)
	}
	must(t, l.Checkpoint(t.Context()))
	must(t, l.Close())
}

func countOf(t *testing.T, l *Local, key string) float64 {
	t.Helper()
	v, _, _ := values(t, l.NewReader(), 6, 0, key, start+second)
	return v[3]
}

// tamper changes what is stored.
func tamper(t *testing.T, o *Options, change func(db *pebble.DB) error) {
	t.Helper()
	db, err := pebble.Open(o.Dir, &pebble.Options{FS: o.fs, FormatMajorVersion: pebble.FormatTableFormatV6, Logger: &pebbleLogger{&disk{logger: quietLogger}}})
	must(t, err)
	must(t, change(db))
	must(t, db.Flush())
	must(t, db.Close())
}

// Tables may come in another order, and go; a new one and one whose definition changed
// are to be rebuilt, again and again until that is done.
func TestTablesChange(t *testing.T) {
	log := &fakeLog{}
	tables := smallTables(t)
	o := quiet(log.options(Options{Dir: "store", Tables: tables}))
	o.fs = vfs.NewMem()
	filled(t, o, log, 50)

	changed := viewTable("customers", window.Definition{Columns: []string{"amount"},
		Features: aggregations([]window.Func{window.Count}, 30*time.Minute)})
	o.Tables = []plan.Table{tables[2], viewTable("new", changed.View.Window.Definition()), tables[1], changed}
	o.Fingerprint = fingerprintOf(o.Tables)
	for range 2 {
		l := openLocal(t, o)
		if got := l.Rebuild(); !slices.Equal(got, []int{1, 3}) {
			t.Fatalf("to be rebuilt: %v", got)
		}
		s := l.Stats()
		if s.Tables[0].Entities != 50 || s.Tables[1].Entities != 0 || s.Tables[2].Entities != 50 || s.Tables[3].Entities != 0 {
			t.Errorf("entities: %+v", s.Tables)
		}
		if l.ReplayFrom() != 50 {
			t.Errorf("replay from %d", l.ReplayFrom())
		}
		apply(t, l, event(3, "half", start, 1, 1)) // half of a rebuild
		must(t, l.Checkpoint(t.Context()))
		must(t, l.Close())
	}

	l := openLocal(t, o)
	for _, i := range []uint64{3, 1, 2} { // as a scan by event time brings them
		u := event(3, fmt.Sprint("k", i), start, i, 1)
		must(t, l.Apply(t.Context(), []plan.Update{u}, start, func() (uint64, error) { return i, nil }, make([]window.Outcome, 1)))
	}
	must(t, l.Checkpoint(t.Context()))
	if l.ReplayFrom() != 50 {
		t.Errorf("a rebuild moves the replay to %d", l.ReplayFrom())
	}
	l.Recovered()
	must(t, l.Checkpoint(t.Context()))
	must(t, l.Close())
	l = openLocal(t, o)
	if len(l.Rebuild()) != 0 || l.Stats().Tables[3].Entities != 3 {
		t.Errorf("to be rebuilt: %v, tables %+v", l.Rebuild(), l.Stats().Tables)
	}
}

// A pushed event says that the rebuild is over too.
func TestPushEndsRebuild(t *testing.T) {
	log := &fakeLog{}
	tables := smallTables(t)
	o := quiet(log.options(Options{Dir: "store", Tables: tables[:1]}))
	o.fs = vfs.NewMem()
	l := openLocal(t, o)
	updates := updatesOf("k", 1)[:1]
	must(t, l.Apply(t.Context(), updates, 0, func() (uint64, error) { return log.append(updates) }, make([]window.Outcome, 1)))
	must(t, l.Checkpoint(t.Context()))
	must(t, l.Close())
	o.Tables = tables
	o.Fingerprint = fingerprintOf(tables)
	l = openLocal(t, o)
	if got := l.Rebuild(); !slices.Equal(got, []int{1, 2}) {
		t.Fatalf("to be rebuilt: %v", got)
	}
	pushLogged(t, l, log, "k", 2)
	must(t, l.Checkpoint(t.Context()))
	must(t, l.Close())
	if l = openLocal(t, o); len(l.Rebuild()) != 0 || l.ReplayFrom() != 2 {
		t.Errorf("to be rebuilt: %v, replay from %d", l.Rebuild(), l.ReplayFrom())
	}
}

// A state that does not decode drops its table alone, for good.
func TestStateThatDoesNotDecode(t *testing.T) {
	for name, value := range map[string][]byte{
		"empty": {}, "version": {9, 0, 0, 0, 0, 0, 0, 0, 0}, "state": {1, 0, 0, 0, 0, 0, 0, 0, 0, 77},
	} {
		t.Run(name, func(t *testing.T) {
			log := &fakeLog{}
			o := quiet(log.options(Options{Dir: "store", Tables: smallTables(t)}))
			o.fs = vfs.NewMem()
			filled(t, o, log, 30)
			tamper(t, &o, func(db *pebble.DB) error { return db.Set(appendDiskKey(nil, 1, []byte("k7")), value, pebble.Sync) })
			for range 2 {
				l := openLocal(t, o)
				if got := l.Rebuild(); !slices.Equal(got, []int{0}) {
					t.Errorf("to be rebuilt: %v", got)
				}
				if s := l.Stats(); s.Tables[0].Entities != 0 || s.Tables[2].Entities != 30 {
					t.Errorf("entities: %+v", s.Tables)
				}
				must(t, l.Close())
			}
			o.shardBytes = 1 << 10
			tamper(t, &o, func(db *pebble.DB) error {
				return db.Set(appendDiskKey(nil, 2, []byte("k7")), value[:min(len(value), 9)], pebble.Sync)
			})
			l := openLocal(t, o)
			r := l.NewReader()
			must(t, r.Fetch(t.Context(), []plan.Ref{{Table: 1, Key: []byte("k7")}}))
			if _, _, err := r.Lookup(0, start+second); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "profiles") {
				t.Errorf("an entity that is read alone: %v", err)
			}
			if err := l.Apply(t.Context(), updatesOf("k7", 99), 0, nil, make([]window.Outcome, 3)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("an event for it: %v", err)
			}
		})
	}
}

// Stored bytes that changed are an error that says what to do.
func TestDamagedFiles(t *testing.T) {
	log := &fakeLog{}
	o := quiet(log.options(Options{Dir: t.TempDir(), Tables: smallTables(t)}))
	filled(t, o, log, 500)
	files, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	must(t, err)
	for _, name := range files {
		data, err := os.ReadFile(name)
		must(t, err)
		for i := range min(200, len(data)/2) {
			data[i] ^= 0x55
		}
		must(t, os.WriteFile(name, data, 0o644))
	}
	_, err = OpenLocal(t.Context(), o)
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), o.Dir) || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a store with damaged files: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	log := &fakeLog{}
	o := quiet(log.options(Options{Dir: "store", Tables: smallTables(t)}))
	o.fs = vfs.NewMem()
	filled(t, o, log, 3)
	if _, err := OpenLocal(t.Context(), func() Options { p := o; p.Position = func() uint64 { return 2 }; return p }()); !errors.Is(err, ErrAhead) {
		t.Errorf("a log that ends before the states: %v", err)
	}
	open := openLocal(t, o)
	if _, err := OpenLocal(t.Context(), o); err == nil {
		t.Error("a store is opened twice")
	}
	must(t, open.Close())
	tamper(t, &o, func(db *pebble.DB) error { return db.Set([]byte{keyMeta}, []byte(`{"version":2}`), pebble.Sync) })
	if _, err := OpenLocal(t.Context(), o); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	tamper(t, &o, func(db *pebble.DB) error { return db.Set([]byte{keyMeta}, []byte(`nothing`), pebble.Sync) })
	if _, err := OpenLocal(t.Context(), o); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no meta record: %v", err)
	}

	d := newFaultyDisk()
	d.set(syscall.ENOSPC, "")
	o.fs = d.fs()
	if _, err := OpenLocal(t.Context(), o); !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("a full disk: %v", err)
	}
	d.heal()
	must(t, openLocal(t, o).Close())
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenLocal(canceled, o); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled open: %v", err)
	}
}

func TestInvalidOptions(t *testing.T) {
	tables := smallTables(t)
	_, err := OpenLocal(t.Context(), Options{Tables: append(tables, tables[0], plan.Table{Name: "none"}), Shards: 3,
		MemoryBytesMax: 1, CheckpointRecords: -1})
	if !errors.Is(err, ErrInvalidOptions) {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"dir", "shards: 3", "memory_bytes_max", "checkpoint_records", "there are two", `"none"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	o := Options{Dir: "d", Tables: tables, MemoryBytesMax: 1 << 20}
	o.EnsureDefaults()
	must(t, o.Validate())
	if o.Shards != 16 {
		t.Errorf("%d shards for a MiB", o.Shards)
	}
}

// A new store has nothing to rebuild, unless the log has records.
func TestFirstOpen(t *testing.T) {
	o := quiet(Options{Tables: smallTables(t)})
	l := openLocal(t, o)
	if len(l.Rebuild()) != 0 || l.ReplayFrom() != 0 {
		t.Errorf("to be rebuilt: %v, replay from %d", l.Rebuild(), l.ReplayFrom())
	}
	position := uint64(0)
	o.Position = func() uint64 { return position }
	if l = openLocal(t, o); len(l.Rebuild()) != 0 || l.ReplayFrom() != 0 {
		t.Errorf("with an empty log, to be rebuilt: %v, replay from %d", l.Rebuild(), l.ReplayFrom())
	}
	position = 5
	o.Dir, o.fs = "store", vfs.NewMem()
	for range 2 { // until the rebuild is over
		l = openLocal(t, o)
		if !slices.Equal(l.Rebuild(), []int{0, 1, 2}) || l.ReplayFrom() != 5 {
			t.Errorf("with records in the log, to be rebuilt: %v, replay from %d", l.Rebuild(), l.ReplayFrom())
		}
		must(t, l.Checkpoint(t.Context()))
		must(t, l.Close())
		position = 7
	}
	l = openLocal(t, o)
	l.Recovered()
	must(t, l.Checkpoint(t.Context()))
	must(t, l.Close())
	if l = openLocal(t, o); len(l.Rebuild()) != 0 || l.ReplayFrom() != 7 {
		t.Errorf("afterwards, to be rebuilt: %v, replay from %d", l.Rebuild(), l.ReplayFrom())
	}
}

// A closed store says so, and its readers still read what is in memory.
func TestClosed(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	apply(t, l, updatesOf("k", 1)...)
	must(t, l.Close())
	if err := l.Apply(t.Context(), updatesOf("k", 2), 0, nil, make([]window.Outcome, 3)); !errors.Is(err, ErrClosed) {
		t.Errorf("an event: %v", err)
	}
	if err := l.Replay(t.Context(), updatesOf("k", 2), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("a replay: %v", err)
	}
	if err := l.Checkpoint(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a checkpoint: %v", err)
	}
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("a second close: %v", err)
	}
	if n := countOf(t, l, "k"); n != 1 {
		t.Errorf("%v events are read", n)
	}
	if s := l.Stats(); s.Tables[0].Entities != 1 {
		t.Errorf("%+v", s)
	}
}
