// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"time"
)

// Log is an open event log. All methods may be called at the same time.
type Log struct {
	options Options
	lock    io.Closer
	reader  *pinnedFiles // of a log that OpenReader opened; nil of its owner

	recovered Recovery

	wake        chan struct{} // to the writer; holds one
	wakeCompact chan struct{} // to the compactor; holds one
	closing     chan struct{} // closed by Close
	writerDone  chan struct{}
	compactors  sync.WaitGroup
	compacting  sync.Mutex // held by the one compaction there is; before mu
	removing    sync.Mutex // held by who removes segments; before mu
	unpublished *commit    // a manifest that may or may not count; guarded by compacting

	mu struct {
		sync.Mutex
		closed  bool
		catalog catalog

		// The queue, in the order in which it is stored: storing, full, open.
		open    *chunk
		full    []*chunk // at most QueueBytes in all
		storing *chunk
		free    []*chunk
		next    uint64 // sequence of the next record
		durable uint64 // sequence of the last durable record
		flush   bool   // somebody waits for open
		queued  struct{ bytes, records int }
		room    chan struct{} // closed when room is given back; nil if nobody waits

		segments  []*segment // live ones, oldest first
		active    *segment   // the last of them, if the writer has it open
		sealAsked chan struct{}
		held      []*segment // in partitions and kept for Replay, oldest first, without holes up to the live ones
		heldBytes int64
		hold      uint64    // sequences above it are kept for Replay
		manifest  *manifest // never changed, only replaced
		pins      map[string]int
		garbage   []garbage

		counts        counts
		failing, lost error
		compactError  error
	}
}

// Open opens or makes a log. It reads every live segment, so damage is found here:
// an error wraps ErrCorrupt, and [Repair] saves what is sound.
func Open(ctx context.Context, o Options) (*Log, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := o.files.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("event log %s: %w", o.Dir, err)
	}
	lock, err := o.files.Lock(path.Join(o.Dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("event log %s: %w", o.Dir, err)
	}
	l := newLog(o, lock)
	number, err := l.recover(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("event log %s: %w", o.Dir, err), lock.Close())
	}
	w := &writer{log: l, number: number}
	go w.run()
	if o.CompactEvery > 0 {
		l.compactors.Go(l.compactLoop)
	}
	return l, nil
}

func newLog(o Options, lock io.Closer) *Log {
	l := &Log{options: o, lock: lock, wake: make(chan struct{}, 1), wakeCompact: make(chan struct{}, 1),
		closing: make(chan struct{}), writerDone: make(chan struct{})}
	l.mu.pins = map[string]int{}
	return l
}

const lockName = "LOCK"

// Close stores what is queued, ends the log's goroutines and lets others open it. It
// reports records that could not be stored, after one last try. Scans that are open
// stay usable. A second Close returns ErrClosed.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.mu.closed = true
	if l.mu.room != nil {
		close(l.mu.room)
		l.mu.room = nil
	}
	l.mu.Unlock()
	close(l.closing)
	l.wakeWriter()
	<-l.writerDone
	l.compactors.Wait()
	l.compacting.Lock() // a compaction somebody asked for ends first
	defer l.compacting.Unlock()
	l.mu.Lock()
	err := l.mu.lost
	if lost := l.mu.counts.Lost; lost > 0 {
		err = fmt.Errorf("%d records were not stored: %w", lost, err)
	}
	inUse := len(l.mu.pins) > 0
	l.mu.Unlock()
	if l.reader != nil && inUse {
		return err // the last scan closes its files
	}
	return errors.Join(err, l.lock.Close())
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.closed
}

// noteFailure keeps an error that concerns nobody's record, for Stats.
func (l *Log) noteFailure(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.counts.StoreErrors++
	l.mu.failing = err
}

// sealed takes note that the writer has no segment open.
func (l *Log) sealed() {
	l.mu.Lock()
	l.mu.active = nil
	l.mu.Unlock()
	l.wakeCompactor()
}

// answerSeal tells who asked that the newest segment is sealed.
func (l *Log) answerSeal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.sealAsked != nil {
		close(l.mu.sealAsked)
		l.mu.sealAsked = nil
	}
}

// sealActive has the writer seal the newest segment, and waits for that.
func (l *Log) sealActive(ctx context.Context) error {
	l.mu.Lock()
	if l.mu.active == nil {
		l.mu.Unlock()
		return nil
	}
	if l.mu.sealAsked == nil {
		l.mu.sealAsked = make(chan struct{})
	}
	asked := l.mu.sealAsked
	l.mu.Unlock()
	l.wakeWriter()
	select {
	case <-asked:
	case <-l.writerDone:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (l *Log) wakeCompactor() {
	select {
	case l.wakeCompact <- struct{}{}:
	default:
	}
}

// now is the clock in microseconds.
func (l *Log) now() int64 { return l.options.Now().UnixMicro() }

// garbage is a file that no reader starts on any more.
type garbage struct {
	name    string
	segment bool
}

// collect removes the garbage that nobody reads: all, or what is in the folder. Segments go
// one after another, also where a hold and a compaction let go of some at once: who is
// killed meanwhile leaves no hole among those that are left.
func (l *Log) collect(ctx context.Context, segmentsOnly bool) error {
	l.removing.Lock()
	err := l.removeAll(ctx, l.takeGarbage(true))
	l.removing.Unlock()
	if segmentsOnly {
		return err
	}
	return errors.Join(err, l.removeAll(ctx, l.takeGarbage(false)))
}

// takeGarbage takes over the segments, or the objects, that nobody reads.
func (l *Log) takeGarbage(segments bool) (gone []garbage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.garbage = slices.DeleteFunc(l.mu.garbage, func(g garbage) bool {
		if l.mu.pins[g.name] > 0 || g.segment != segments {
			return false
		}
		gone = append(gone, g)
		return true
	})
	return gone
}

func (l *Log) removeAll(ctx context.Context, gone []garbage) (all error) {
	for _, g := range gone {
		if err := l.removeGarbage(ctx, g); err != nil {
			all = errors.Join(all, fmt.Errorf("remove %s: %w", g.name, err))
			l.mu.Lock()
			l.mu.garbage = append(l.mu.garbage, g)
			l.mu.Unlock()
		}
	}
	return all
}

// compactLoop compacts whenever a segment is sealed or CompactEvery is over. It ends
// with Close.
func (l *Log) compactLoop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // ends with this loop
		select {
		case <-l.closing:
			cancel()
		case <-stop:
		}
	}()
	tick := time.NewTicker(l.options.CompactEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.closing:
			return
		case <-tick.C:
		case <-l.wakeCompact:
		}
		if l.oldActive() {
			if l.sealActive(ctx) != nil {
				return
			}
		}
		err := l.compact(ctx)
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		l.mu.compactError = err
		l.mu.Unlock()
	}
}

// oldActive tells whether the segment being written has reached SegmentAge.
func (l *Log) oldActive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.mu.active
	return s != nil && len(s.index) > 0 && l.now()-s.header.created >= l.options.SegmentAge.Microseconds()
}
