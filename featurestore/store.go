// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/latency"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/online/redis"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// Errors that callers branch on.
var (
	// ErrUnknown says that nothing of that name is defined.
	ErrUnknown = errors.New("not defined")
	// ErrClosed is returned by a closed store.
	ErrClosed = errors.New("feature store is closed")
	// ErrInvalid says that a request can never be answered as it is.
	ErrInvalid = errors.New("invalid request")
)

// Options configure a Store.
type Options struct {
	// Dir is the folder of the store: the event log in log, states in online.
	Dir string
	// Catalog is what is defined.
	Catalog *definition.Catalog
	// Log configures the event log; Dir and Now are set by the store.
	Log offline.Options
	// Online configures the local store of states; Dir and what concerns the log are set
	// by the store.
	Online online.Options
	// Redis, if it is not nil, holds the states in place of the local store.
	Redis *redis.Options
	// AcceptBreaking accepts definitions that break what the last ones served.
	AcceptBreaking bool
	// Now is the clock; nil is the machine's. A replay of history brings its own.
	Now func() time.Time
	// Logger gets what happens; nil is slog.Default.
	Logger *slog.Logger
	// Progress is told of long work at start: how much of what is done. It may be nil.
	Progress func(phase string, done, total int64)
}

// Store is an open feature store.
type Store struct {
	options Options
	catalog *definition.Catalog
	log     *offline.Log
	states  online.Store
	sources []*sourceState
	readers sync.Pool // plan.Reader
	// services are in the order of the catalogue.
	services   []*plan.Assembler
	selections selections
	marks      *offline.Stream
	counts     counters
	// inUse is held for reading by every call, for writing by Close.
	inUse  sync.RWMutex
	closed bool
}

// sourceState is a source made ready to take events.
type sourceState struct {
	source *definition.Source
	router *plan.Router
	stream *offline.Stream
	// reach is how long after its time an event can still count in a view, in
	// microseconds; -1 if any time counts.
	reach   int64
	scratch sync.Pool // *pushScratch
}

// counters are what Stats tells, but for those of log and states.
type counters struct {
	pushed, duplicates, refused, unknown atomic.Int64
	reads, rows                          atomic.Int64
	readTimes                            latency.Histogram
}

// Stats is the state of a store.
type Stats struct {
	// Pushed events were taken, Duplicates among them known already, Refused ones were
	// not taken, Unknown ones amended an event that was not there.
	Pushed, Duplicates, Refused, Unknown int64
	// Reads are calls of Read, Rows the vectors they asked for.
	Reads, Rows int64
	// ReadTimes are those of reads that did not fail.
	ReadTimes latency.Snapshot
	Log       offline.Stats
	Online    online.Stats
}

// Open opens or makes a store. It brings the states up to the log: it replays what
// came after the last checkpoint, and computes tables anew whose definition has
// changed.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	if err := checkDefinitions(&o); err != nil {
		return nil, err
	}
	s := &Store{options: o, catalog: o.Catalog}
	s.readers.New = func() any { return s.states.NewReader() }
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.closeParts())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	logOptions := s.options.Log
	logOptions.Dir, logOptions.Now = filepath.Join(s.options.Dir, "log"), s.options.Now
	logOptions.HoldFromStart = true
	if s.log, err = offline.Open(ctx, logOptions); err != nil {
		return err
	}
	if err := s.declare(); err != nil {
		return err
	}
	for _, service := range s.catalog.Services {
		s.services = append(s.services, plan.NewAssembler(s.catalog, service))
	}
	if err := s.openStates(ctx); err != nil {
		return err
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	if local, ok := s.states.(*online.Local); ok {
		local.Recovered()
	}
	return saveDefinitions(&s.options)
}

// declare opens the stream of every source.
func (s *Store) declare() (err error) {
	for _, source := range s.catalog.Sources {
		st := &sourceState{source: source, router: plan.NewRouter(s.catalog, source), reach: reach(s.catalog, source)}
		if st.stream, err = s.log.Declare(plan.Schema(source)); err != nil {
			return fmt.Errorf("source %s: %w", source.Name, err)
		}
		st.scratch.New = func() any { return newPushScratch(st) }
		s.sources = append(s.sources, st)
	}
	s.marks, err = s.log.Declare(markSchema)
	return err
}

// reach is how long after its time an event of the source can still count.
func reach(c *definition.Catalog, source *definition.Source) int64 {
	longest := int64(0)
	for _, v := range c.Views {
		if v.Source != source {
			continue
		}
		d := v.Window.Definition()
		view := int64(0)
		for _, f := range d.Features {
			view = max(view, (f.Window + f.Delay + f.Hop).Microseconds())
		}
		if d.LatenessMax > 0 {
			view = min(view, d.LatenessMax.Microseconds())
		}
		longest = max(longest, view)
	}
	for _, l := range c.Lookups {
		if l.Source == source {
			return -1
		}
	}
	if longest == 0 {
		return -1 // no view counts it: it is logged for training sets
	}
	return longest
}

func (s *Store) openStates(ctx context.Context) (err error) {
	if s.options.Redis != nil {
		return s.openRedis(ctx)
	}
	o := s.options.Online
	o.Dir, o.Tables = s.onlineDir(), plan.Tables(s.catalog)
	o.Now, o.Logger = s.options.Now, s.options.Logger
	o.Durable = s.log.WaitDurable
	o.Position = func() uint64 { return s.log.Next() - 1 }
	o.OnCheckpoint = s.log.Hold
	local, err := online.OpenLocal(ctx, o)
	if err != nil {
		return err // a nil *online.Local is no nil Store
	}
	s.states = local
	return nil
}

func (s *Store) onlineDir() string { return filepath.Join(s.options.Dir, "online") }

// openRedis shares the states with other replicas, each of which has a log of its own.
func (s *Store) openRedis(ctx context.Context) (err error) {
	o := *s.options.Redis
	o.Tables = plan.Tables(s.catalog)
	o.Now, o.Logger = s.options.Now, s.options.Logger
	o.Durable = s.log.WaitDurable
	o.Position = func() uint64 { return s.log.Next() - 1 }
	o.Recover = s.recover
	if o.Log, err = replicaName(s.options.Dir); err != nil {
		return err
	}
	shared, err := redis.Open(ctx, o)
	if err != nil {
		return err // a nil *redis.Store is no nil Store
	}
	s.states = shared
	return nil
}

// replicaName is the name of this replica's log among all that share a Redis: drawn
// once, and the same over restarts. It is durable before Redis hears of it: states that
// wait for a log whose name was lost would wait for ever.
func replicaName(dir string) (string, error) {
	path := filepath.Join(dir, "replica")
	name, err := os.ReadFile(path)
	if err == nil && len(name) > 0 {
		return string(name), nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	drawn := rand.Text()
	return drawn, writeDurably(path, []byte(drawn))
}

// writeDurably puts a new file in its place with all of its content or not at all.
func writeDurably(path string, data []byte) error {
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Catalog is what is defined.
func (s *Store) Catalog() *definition.Catalog { return s.catalog }

// Log is the event log, for streams besides those of the sources.
func (s *Store) Log() *offline.Log { return s.log }

// Now is the store's clock, in microseconds since 1970 UTC.
func (s *Store) Now() int64 { return s.options.Now().UnixMicro() }

// Stats reads the counters.
func (s *Store) Stats() Stats {
	return Stats{
		Pushed: s.counts.pushed.Load(), Duplicates: s.counts.duplicates.Load(),
		Refused: s.counts.refused.Load(), Unknown: s.counts.unknown.Load(),
		Reads: s.counts.reads.Load(), Rows: s.counts.rows.Load(), ReadTimes: s.counts.readTimes.Snapshot(),
		Log: s.log.Stats(), Online: s.states.Stats(),
	}
}

// Checkpoint stores all states, so that a later start has nothing to replay.
func (s *Store) Checkpoint(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.states.Checkpoint(ctx)
}

// enter marks a call as under way, until leave.
func (s *Store) enter() error {
	s.inUse.RLock()
	if s.closed {
		s.inUse.RUnlock()
		return ErrClosed
	}
	return nil
}

func (s *Store) leave() { s.inUse.RUnlock() }

// Close waits for calls under way, stores the states and closes the log. A second
// Close returns ErrClosed.
func (s *Store) Close() error {
	s.inUse.Lock()
	defer s.inUse.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var err error
	if s.states != nil {
		err = s.states.Checkpoint(ctx)
	}
	return errors.Join(err, s.closeParts())
}

// closeTimeout bounds the last checkpoint; without it the next start replays more.
const closeTimeout = 30 * time.Second

func (s *Store) closeParts() error {
	var errs []error
	if s.states != nil {
		errs = append(errs, s.states.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}

// Remote reports whether states are kept outside this process, so that a read may
// wait.
func (s *Store) Remote() bool { return s.options.Redis != nil }
