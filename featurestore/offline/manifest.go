// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// manifest says which partitions count and which segments they replace. One that is
// published is never changed.
type manifest struct {
	Format  int      `json:"format"`
	Number  uint64   `json:"number"`
	Segment uint64   `json:"segment"` // segments up to this one are in partitions
	Through uint64   `json:"through"` // sequence behind their last record
	Streams []Schema `json:"streams"`
	Parts   []part   `json:"parts"` // by stream, date and name
	// Retired is the latest event time that retention ever deleted; nil before it did.
	// Behind it a partition that is gone is merged into another.
	Retired *int64 `json:"retired_through,omitempty"`
}

func (m *manifest) retired() int64 {
	if m.Retired == nil {
		return math.MinInt64
	}
	return *m.Retired
}

// catalog is the streams that the manifest knows.
func (m *manifest) catalog() (catalog, error) {
	c := newCatalog()
	for _, s := range m.Streams {
		if err := c.widen(s); err != nil {
			return c, fmt.Errorf("manifest %d: %w", m.Number, err)
		}
	}
	return c, nil
}

// part is one Parquet file.
type part struct {
	Name     string `json:"name"`
	Stream   string `json:"stream"`
	Date     string `json:"date"` // of the events, UTC
	Rows     int64  `json:"rows"`
	Bytes    int64  `json:"bytes"`
	MinEvent int64  `json:"min_event_time"`
	MaxEvent int64  `json:"max_event_time"`
	// MinArrival lets a scan as of an earlier time pass over the part.
	MinArrival int64 `json:"min_arrival_time"`
}

const (
	manifestFormat   = 1
	manifestPrefix   = "manifest-"
	partPrefix       = "stream="
	manifestBytesMax = 256 << 20
)

func manifestName(number uint64) string { return fmt.Sprintf(manifestPrefix+"%016d", number) }

func manifestNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, manifestPrefix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// store publishes the manifest: from then on it is the one that counts.
func (m *manifest) store(ctx context.Context, storage Storage) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("manifest %d: %w", m.Number, err)
	}
	if len(body) > manifestBytesMax {
		return fmt.Errorf("manifest %d: %d partitions make it larger than %d bytes; set RetainAge or RetainBytes", m.Number, len(m.Parts), manifestBytesMax)
	}
	return storage.Put(ctx, manifestName(m.Number), func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, "%08x\n", checksum(body)); err != nil {
			return err
		}
		_, err := w.Write(body)
		return err
	})
}

// newestManifest is the number of the manifest that counts; 0 if there is none.
func newestManifest(ctx context.Context, storage Storage) (number uint64, err error) {
	found, err := storage.List(ctx, manifestPrefix)
	for _, o := range found {
		if n, ok := manifestNumber(o.Name); ok {
			number = max(number, n)
		}
	}
	return number, err
}

// loadManifest reads the newest manifest; of a new log, it is empty. One that is
// damaged is an error: the segments that an older one needs are gone.
func loadManifest(ctx context.Context, storage Storage) (*manifest, error) {
	number, err := newestManifest(ctx, storage)
	m := &manifest{Format: manifestFormat, Number: number, Through: 1}
	if err != nil || number == 0 {
		return m, err
	}
	newest := manifestName(number)
	o, err := storage.Get(ctx, newest)
	if err != nil {
		return nil, err
	}
	defer func() { _ = o.Close() }() // it was only read
	if o.Size() > manifestBytesMax+9 {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d can be", ErrCorrupt, newest, o.Size(), manifestBytesMax)
	}
	text := make([]byte, o.Size())
	if _, err := io.ReadFull(io.NewSectionReader(o, 0, o.Size()), text); err != nil {
		return nil, fmt.Errorf("read %s: %w", newest, err)
	}
	if err := m.parse(text, m.Number); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, newest, err)
	}
	return m, nil
}

func (m *manifest) parse(text []byte, number uint64) error {
	if len(text) < 9 || fmt.Sprintf("%08x\n", checksum(text[9:])) != string(text[:9]) {
		return fmt.Errorf("checksum does not match")
	}
	if err := json.Unmarshal(text[9:], m); err != nil {
		return err
	}
	if m.Format != manifestFormat || m.Number != number {
		return fmt.Errorf("format %d and number %d, want %d and %d", m.Format, m.Number, manifestFormat, number)
	}
	return nil
}

// removeOrphans removes partitions and manifests that do not count: a crash left them
// before they were published, or after they were replaced.
func removeOrphans(ctx context.Context, storage Storage, m *manifest) (removed int, err error) {
	named := make(map[string]bool, len(m.Parts))
	for i := range m.Parts {
		named[m.Parts[i].Name] = true
	}
	for _, prefix := range []string{partPrefix, manifestPrefix} {
		found, err := storage.List(ctx, prefix)
		if err != nil {
			return removed, err
		}
		for _, o := range found {
			if named[o.Name] || o.Name == manifestName(m.Number) {
				continue
			}
			if err := storage.Delete(ctx, o.Name); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}

// sortParts puts parts in the order of the manifest.
func sortParts(parts []part) {
	slices.SortFunc(parts, func(a, b part) int {
		if c := strings.Compare(a.Stream, b.Stream); c != 0 {
			return c
		}
		if c := strings.Compare(a.Date, b.Date); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}
