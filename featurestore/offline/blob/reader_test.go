// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// A reader goes on where the owner of the log merges and deletes the objects that it reads:
// those that it has not opened, and the one that it is in the midst of.
func TestReaderOfReplacedObjects(t *testing.T) {
	srv := newServer(t)
	small := Options{BlockBytes: 4 << 10, CacheBlocks: 2}
	dir := t.TempDir()
	o := offline.Options{Dir: dir, Storage: open(t, srv, "log", small), MergeParts: 2, RowGroupRows: 300}
	l := openLog(t, o)
	s, err := l.Declare(schema)
	must(t, err)
	var want []string
	put := func(from, to, version int) {
		for i := from; i < to; i++ {
			r := record(i, version)
			must(t, s.Append(t.Context(), &r))
		}
		must(t, l.Compact(t.Context()))
	}
	const rows = 2000 // of two days
	put(0, rows/2, 0)
	put(rows/2, rows, 0)
	for i := range rows {
		r := record(i, 0)
		want = append(want, shown(&r))
	}
	o.Storage = open(t, srv, "log", small)
	r, err := offline.OpenReader(t.Context(), o)
	must(t, err)
	begun, err := r.Scan(t.Context(), offline.Query{Stream: "predictions", Versions: offline.AllVersions})
	must(t, err)
	var got []string
	for begun.Next() {
		if n := len(got); n == 100 || n == 700 || n == 1500 {
			put(0, rows, n) // merges all parts, and corrects each record
		}
		got = append(got, shown(begun.Record()))
	}
	must(t, errors.Join(begun.Err(), begun.Close()))
	if !slices.Equal(got, want) {
		t.Errorf("%d records, want %d as they were", len(got), len(want))
	}
	if got := scan(t, r, offline.Query{}); !slices.Equal(got, want) {
		t.Errorf("a scan begun later: %d records, want %d as they were", len(got), len(want))
	}
	must(t, r.Close())
	// What nothing took the place of is an error, and no end.
	must(t, l.Close())
	r, err = offline.OpenReader(t.Context(), o)
	must(t, err)
	found, err := o.Storage.List(t.Context(), "stream=")
	must(t, err)
	for _, object := range found {
		must(t, o.Storage.Delete(t.Context(), object.Name))
	}
	if _, err := r.Scan(t.Context(), offline.Query{Stream: "predictions"}); !errors.Is(err, offline.ErrNotFound) {
		t.Error(fmt.Errorf("partitions that are gone: %w", err))
	}
	must(t, r.Close())
}
