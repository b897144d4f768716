// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/online/cache"
)

var _ online.Store = (*Store)(nil)

// phase is where a store stands.
type phase int32

const (
	// opening: the opener brings the states up to the log; the first push or read ends it.
	opening phase = iota
	// ready: pushes and reads are served.
	ready
	// lost: Redis lost states; the keeper is about to find out what.
	lost
	// recovering: Options.Recover is under way, or is to be tried again.
	recovering
	// closed: Close was called.
	closed
)

// Store keeps the states of entities in Redis.
type Store struct {
	options Options
	tables  []table
	conn    *conn
	reads   *cache.Cache[*value]
	buckets []bucket
	writer  *writer
	loader  *loader
	counts  counters

	phase atomic.Int32
	// losses counts changes of the phase to lost: what the writer has from before is void.
	losses atomic.Uint64
	fenced atomic.Bool
	mu     struct {
		sync.Mutex
		cause error // of the last loss
	}
	// refreshing is held while records are loaded; finishing while a recovery is ended.
	refreshing, finishing sync.Mutex
	refreshes             atomic.Uint64
	isLost                chan struct{} // wakes the keeper
	// recovery is the keeper's.
	recovery struct {
		failures int
		next     time.Time
	}
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Open connects to Redis and makes log and tables known there. The caller then computes
// the tables that Rebuild lists, and replays its log from ReplayFrom, before it pushes.
//
// Errors wrap online.ErrInvalidOptions, online.ErrUnavailable, online.ErrAhead or
// online.ErrCorrupt.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	clientOptions, err := o.client()
	if err != nil {
		return nil, err
	}
	s := &Store{options: o, buckets: newBuckets(&o), isLost: make(chan struct{}, 1)}
	for i := range o.Tables {
		s.tables = append(s.tables, newTable(&o.Tables[i]))
	}
	if s.conn, err = dialConn(clientOptions); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.conn.close()
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.writer, s.loader = newWriter(s), newLoader(s)
	s.running.Go(s.writer.run)
	s.running.Go(s.keep)
	return s, nil
}

func (s *Store) open(ctx context.Context) (err error) {
	if err := s.checkEviction(ctx); err != nil {
		return err
	}
	own := s.newOwner()
	for i := range s.buckets {
		s.buckets[i].owner.Store(newOwner(own, 0))
	}
	if err := s.join(ctx); err != nil {
		return err
	}
	if err := s.checkAhead(); err != nil {
		return err
	}
	if s.options.Log != "" {
		s.counts.through.Store(s.through())
	}
	s.reads, err = cache.New[*value](cache.Options{BytesMax: s.options.CacheBytes / 2})
	return err
}

// newOwner draws the number of a new opening of the log; without a log it is random as a
// whole.
func (s *Store) newOwner() uint64 {
	if s.options.Log == "" {
		return rand.Uint64() | 1
	}
	return uint64(logHash(s.options.Log))<<32 | uint64(rand.Uint32()|1)
}

func logHash(name string) uint32 { return crc32.Checksum([]byte(name), castagnoli) }

// checkAhead compares what Redis knows of the log with the log.
func (s *Store) checkAhead() error {
	o := &s.options
	if o.Log == "" {
		return nil
	}
	end := o.Position()
	for b := range s.buckets {
		r := s.buckets[b].record.Load()
		for _, m := range r.members {
			if m != o.Log && m != "" && logHash(m) == logHash(o.Log) {
				return fmt.Errorf("%w of the Redis store: log %q cannot be told from %q; rename it", online.ErrInvalidOptions, o.Log, m)
			}
		}
		for t := range s.tables {
			if through := r.tables[t].through; through > end {
				return fmt.Errorf("%w: redis at %s has table %s up to record %d of log %q, which ends at %d; give the log a new name, or remove the keys %s* to compute all states again",
					online.ErrAhead, s.conn.address, s.tables[t].name, through, o.Log, end, o.Prefix)
			}
		}
	}
	return nil
}

// at is the phase.
func (s *Store) at() phase { return phase(s.phase.Load()) }

// usable reports why pushes and reads cannot be served, nil if they can.
func (s *Store) usable(ctx context.Context) error {
	switch s.at() {
	case ready:
		return nil
	case opening:
		return s.finish(ctx, opening)
	case closed:
		return online.ErrClosed
	}
	return s.incomplete()
}

// fence reports that the store may not write any more.
func (s *Store) fence() error {
	if s.fenced.Load() {
		return fmt.Errorf("redis at %s: log %q: %w", s.conn.address, s.options.Log, ErrFenced)
	}
	return nil
}

// incomplete says what was lost.
func (s *Store) incomplete() error {
	s.mu.Lock()
	cause := s.mu.cause
	s.mu.Unlock()
	if cause == nil {
		return fmt.Errorf("redis at %s: %w", s.conn.address, ErrIncomplete)
	}
	return fmt.Errorf("redis at %s: %w: %w", s.conn.address, ErrIncomplete, cause)
}

// lose notes that Redis lost states, and has the keeper see to it.
func (s *Store) lose(cause error) error {
	for {
		p := s.at()
		if p == closed {
			return online.ErrClosed
		}
		if p == lost || s.enter(p, lost) {
			if p == ready || p == opening {
				s.counts.losses.Add(1)
			}
			break
		}
	}
	s.losses.Add(1)
	s.mu.Lock()
	s.mu.cause = cause
	s.mu.Unlock()
	select {
	case s.isLost <- struct{}{}:
	default:
	}
	return s.incomplete()
}

// Close tries once more to write what is pending, and ends the store. Calls under way get
// their answer or online.ErrClosed.
func (s *Store) Close() error {
	s.finishing.Lock()
	p := phase(s.phase.Swap(int32(closed)))
	s.finishing.Unlock()
	if p == closed {
		return online.ErrClosed
	}
	s.cancel()
	s.running.Wait()
	s.reads.Close()
	s.conn.close()
	return nil
}

// nothingToReplay is a sequence that no log reaches.
const nothingToReplay = math.MaxUint64 - 1
