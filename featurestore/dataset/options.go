// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
)

// Labels says which rows a training set has, and what of them it keeps: those of a source
// of the catalogue, or of a file.
type Labels struct {
	// Source names a source of the catalogue, whose events are the rows. Empty means Path.
	Source string `json:"source,omitempty"`
	// Path is a file or a pattern, and Format what is in it.
	Path   string            `json:"path,omitempty"`
	Format definition.Format `json:"format,omitempty"`
	// Columns says what columns of a file are called that have other names than what they
	// are: keys of entities, request fields, those below. See definition.Input.Columns.
	Columns map[string]string `json:"columns,omitempty"`
	// Time is the column with the moment of each row. Empty means the source's timestamp,
	// the service's time, or event_timestamp.
	Time string `json:"time,omitempty"`
	// Names are the label columns. A row with a null in one of them is left out. They may
	// be none, for rows to be scored.
	Names []string `json:"names,omitempty"`
	// ID is the column that sampling hashes. Empty means the source's id, or else the keys
	// and the time of the row.
	ID string `json:"id,omitempty"`
	// Carry are more columns for the output. Nil means id, time and keys.
	Carry []string `json:"carry"`
}

// Sample says which rows are kept. Whether one is depends on the hash of its id alone,
// so a row is in a larger sample if it is in a smaller one.
type Sample struct {
	// Rate is the share of all rows, 0 to 1; 0 means all.
	Rate float64 `json:"rate,omitempty"`
	// Negatives is the share, among those, of the rows whose first label is 0 or false; 0
	// means all. The weight of those kept is 1/Negatives, so that weighted sums stay
	// what they were; that of others is 1.
	Negatives float64 `json:"negatives,omitempty"`
	// Seed chooses another sample.
	Seed uint64 `json:"seed,omitempty"`
}

// Options are what Build is asked for.
type Options struct {
	Catalog *definition.Catalog
	// Service names the feature service.
	Service string
	Labels  Labels
	// From and To bound the time of rows: From is included and To is not. Zero is no bound.
	From, To time.Time
	// AsOf bounds what may be known: nothing that arrived later counts, and rows whose label
	// was not known by then are left out. Zero is no bound.
	AsOf time.Time
	// Hindsight lets events count from when they happened, though they arrived later, if by
	// AsOf: for history that was loaded after the fact, with arrival times that say
	// nothing. The features are then not what serving would have seen.
	Hindsight bool
	// Log has events pushed online; nil is none. NoInputs leaves the inputs of sources out.
	Log      *offline.Log
	NoInputs bool
	Sample   Sample
	// Output is the Parquet file to write; the manifest is written beside it.
	Output string
	// Float32 writes float features and the weight as float instead of double.
	Float32 bool
	// Status adds a column NAME__status for each feature that comes from a view or lookup:
	// present, null, not found or outside max age.
	Status bool
	// BadRowsMax is how many rows of inputs may be bad; negative is any number.
	BadRowsMax int64
	// Workers is the number of goroutines: 0 is GOMAXPROCS, at most 256.
	Workers int
	// MemoryMax bounds, in bytes, what is held between the steps; the rest waits in
	// temporary files. 0 is 512 MiB, at least 1 MiB. To it come, for each worker, one part
	// in 256 of the events and a slice of an input, and what the garbage collector leaves.
	MemoryMax int64
	// Names are what the manifest calls inputs, by their paths, where those are for the moment.
	Names map[string]string
	// TempDir is where temporary files are; empty is that of the system.
	TempDir string
	// Version names the library in the manifest.
	Version string
	// Progress, unless nil, is called now and then, by one goroutine at a time, with how
	// much of a phase is done; total is 0 where it is not known.
	Progress func(done, total int64, phase string)

	parts   int               // over which entities are spread
	spilled func(bytes int64) // told at the end what was in temporary files
}

// ErrOptions is wrapped by what is wrong with options.
var ErrOptions = errors.New("invalid options")

const (
	memoryDefault = 512 << 20
	memoryMin     = 1 << 20
	workersMax    = 256
)

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.Workers == 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), workersMax)
	}
	if o.MemoryMax == 0 {
		o.MemoryMax = memoryDefault
	}
	if o.parts == 0 {
		o.parts = partsMax
	}
	if o.Sample.Rate == 0 {
		o.Sample.Rate = 1
	}
	if o.Sample.Negatives == 0 {
		o.Sample.Negatives = 1
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64, string) {}
	}
}

// Validate reports everything that is wrong, after EnsureDefaults; the error wraps
// ErrOptions.
func (o *Options) Validate() error {
	var all []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			all = append(all, fmt.Errorf(format, args...))
		}
	}
	bad(o.Catalog == nil, "no catalog")
	if o.Catalog != nil {
		bad(o.Catalog.Service(o.Service) == nil, "service %q is not defined", o.Service)
		bad(o.Labels.Source != "" && o.Catalog.Source(o.Labels.Source) == nil, "labels: source %q is not defined", o.Labels.Source)
	}
	bad((o.Labels.Source == "") == (o.Labels.Path == ""), "labels: either a source or a path is needed")
	bad(o.Labels.Source != "" && len(o.Labels.Columns) > 0, "labels: columns are renamed where the source %q is defined", o.Labels.Source)
	bad(o.Output == "", "no output file")
	bad(!o.To.IsZero() && !o.From.Before(o.To), "from %v is not before to %v", o.From, o.To)
	bad(o.Log == nil && o.NoInputs, "without inputs a log is needed")
	share := func(x float64) bool { return x > 0 && x <= 1 }
	bad(!share(o.Sample.Rate), "sample rate %v is not in (0, 1]", o.Sample.Rate)
	bad(!share(o.Sample.Negatives), "share of negatives %v is not in (0, 1]", o.Sample.Negatives)
	bad(o.Sample.Negatives < 1 && len(o.Labels.Names) == 0, "negatives are sampled by a label, and there is none")
	bad(o.Workers < 1 || o.Workers > workersMax, "workers %d: 1 to %d", o.Workers, workersMax)
	bad(o.MemoryMax < memoryMin, "memory %d: at least %d bytes", o.MemoryMax, memoryMin)
	if len(all) > 0 {
		return fmt.Errorf("%w: %w", ErrOptions, errors.Join(all...))
	}
	return nil
}

// bound is a time in microseconds, or what stands for none.
func bound(t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return t.UnixMicro()
}

// asOf is the latest arrival that counts.
func (o *Options) asOf() int64 { return bound(o.AsOf, math.MaxInt64) }
