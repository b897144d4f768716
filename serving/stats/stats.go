// SPDX-License-Identifier: Apache-2.0

// Package stats counts what happens to the requests of served models, and gives
// the counts to Prometheus and to the statistics call.
//
// A Registry holds one Model per loaded version. The Record methods of a Model are
// for the hot path: they take no lock, allocate nothing, and add to the counters of
// a lane, which is memory that as a rule only one processor writes. Reading adds up
// the lanes. A read that runs beside writes sees each counter at some recent value,
// so that counters of one read may differ by the requests then in progress; counts
// never go back and, once writing stops, are exact.
//
// Everything here may be used from many goroutines at once.
package stats

import (
	"cmp"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Options configures a Registry. The zero value counts without histograms.
type Options struct {
	// Histograms spreads latencies over buckets and publishes them. Without it
	// there are only their counts and sums.
	Histograms bool
	// Now gives the time of the last inference; nil is time.Now.
	Now func() time.Time
}

// Registry holds the statistics of all loaded versions. It implements
// prometheus.Collector.
type Registry struct {
	options Options
	lanes   *laneSet
	host    *host

	mu struct {
		sync.Mutex
		// open are the versions from Open to Close, in the order they were opened.
		open []*Model
	}
}

// NewRegistry makes an empty Registry.
func NewRegistry(o Options) *Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Registry{
		options: o,
		lanes:   newLaneSet(runtime.GOMAXPROCS(0)),
		host:    newHost(os.DirFS("/proc")),
	}
}

// ID names a version of a model. Tags are the metric_tags of its configuration,
// published as further labels.
type ID struct {
	Model   string
	Version int64
	Tags    map[string]string
}

func (id ID) compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Model, other.Model), cmp.Compare(id.Version, other.Version))
}

// Open starts the statistics of a version, all at zero, when it is loaded.
//
// While a version is reloaded, its old and its new load may both be open. Only the
// newest is seen; when that one is closed, as after a failed load, the older is
// seen again.
func (r *Registry) Open(id ID) *Model {
	m := newModel(id, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.open = append(r.mu.open, m)
	return m
}

// Close ends the statistics of a version when it is unloaded: it leaves metrics
// and snapshots. Recording to m afterwards is harmless and not seen.
func (r *Registry) Close(m *Model) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.open = slices.DeleteFunc(r.mu.open, func(open *Model) bool { return open == m })
}

// visible lists the newest open load of each version, by name and number.
func (r *Registry) visible() []*Model {
	r.mu.Lock()
	newestFirst := slices.Clone(r.mu.open)
	r.mu.Unlock()
	slices.Reverse(newestFirst)
	byID := func(a, b *Model) int { return a.id.compare(b.id) }
	slices.SortStableFunc(newestFirst, byID)
	return slices.CompactFunc(newestFirst, func(a, b *Model) bool { return byID(a, b) == 0 })
}
