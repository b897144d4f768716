// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Log is an open event log. All methods may be called at the same time.
type Log struct {
	options Options
	lock    io.Closer

	recovered Recovery

	wake        chan struct{} // to the writer; holds one
	wakeCompact chan struct{} // to the compactor; holds one
	closing     chan struct{} // closed by Close
	writerDone  chan struct{}
	compactors  sync.WaitGroup
	compacting  sync.Mutex // held by the one compaction there is; before mu
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
		flush   bool   // somebody waits for open
		queued  struct{ bytes, records int }
		room    chan struct{} // closed when room is given back; nil if nobody waits

		segments  []*segment // live ones, oldest first
		active    *segment   // the last of them, if the writer has it open
		sealAsked chan struct{}
		manifest  *manifest // never changed, only replaced
		pins      map[string]int
		garbage   []garbage

		counts        counts
		failing, lost error
		compactError  error
	}
}

// Recovery is what opening a log found.
type Recovery struct {
	// Segments is the number of live segments, and Records that of their records.
	Segments int
	Records  int64
	// TornSegment names the segment with a torn tail, if there is one, and TornBytes
	// is its size. The tail was being written when the machine stopped: none of it
	// was acknowledged as durable, and it is not part of the log.
	TornSegment string
	TornBytes   int64
	// Orphans is the number of objects removed that no manifest names.
	Orphans int
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
	l := &Log{options: o, lock: lock, wake: make(chan struct{}, 1), wakeCompact: make(chan struct{}, 1),
		closing: make(chan struct{}), writerDone: make(chan struct{})}
	l.mu.pins = map[string]int{}
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

const lockName = "LOCK"

// recover finds the state of the log, and the number of the next segment.
func (l *Log) recover(ctx context.Context) (number uint64, err error) {
	m, err := loadManifest(ctx, l.options.Storage)
	if err != nil {
		return 0, err
	}
	l.mu.manifest = m
	if m.Number > 0 { // a process that was killed may have left it seen but not durable
		if err := m.store(ctx, l.options.Storage); err != nil {
			return 0, err
		}
	}
	if l.recovered.Orphans, err = removeOrphans(ctx, l.options.Storage, m); err != nil {
		return 0, err
	}
	l.mu.catalog = newCatalog()
	for _, s := range m.Streams {
		if err := l.mu.catalog.widen(s); err != nil {
			return 0, fmt.Errorf("manifest %d: %w", m.Number, err)
		}
	}
	live, err := liveSegments(l.options.files, l.options.Dir, m.Segment)
	if err != nil {
		return 0, err
	}
	segments, catalog, err := verifyAll(l.options.files, l.options.Dir, live, m.Through, l.mu.catalog)
	if err != nil {
		return 0, err
	}
	l.mu.catalog, l.mu.segments, l.mu.next = catalog, segments, m.Through
	// What was read may be in the machine's memory only. The next segment builds on it.
	if n := len(segments); n > 0 {
		last := segments[n-1]
		l.mu.next = last.next
		if last.torn > 0 {
			l.recovered.TornSegment, l.recovered.TornBytes = last.name, last.torn
		}
		if err := l.options.files.SyncFile(path.Join(l.options.Dir, last.name)); err != nil {
			return 0, fmt.Errorf("sync segment %s: %w", last.name, err)
		}
	}
	l.recovered.Segments, l.recovered.Records = len(segments), int64(l.mu.next-m.Through)
	number = m.Segment + 1
	if n := len(live); n > 0 {
		number = live[n-1] + 1
	}
	return number, l.options.files.SyncDir(l.options.Dir)
}

// liveSegments lists the segments that are not in partitions yet, and removes what a
// crash left of others.
func liveSegments(files fileSystem, dir string, compacted uint64) ([]uint64, error) {
	found, err := files.List(dir)
	if err != nil {
		return nil, err
	}
	var live []uint64
	for _, file := range found {
		number, ok := segmentNumber(strings.TrimSuffix(file.name, temporarySuffix))
		switch {
		case !ok:
		case strings.HasSuffix(file.name, temporarySuffix) || number <= compacted:
			if err := files.Remove(path.Join(dir, file.name)); err != nil {
				return nil, fmt.Errorf("remove %s: %w", file.name, err)
			}
		default:
			live = append(live, number)
		}
	}
	slices.Sort(live)
	return live, nil
}

// verifyAll reads segments from the first to the last. Each begins where the one
// before it ends.
func verifyAll(files fileSystem, dir string, numbers []uint64, through uint64, known catalog) ([]*segment, catalog, error) {
	v := verifier{schemas: known}
	headers := make([]segmentHeader, len(numbers))
	for i, number := range numbers {
		reason, err := readHeader(files, dir, number, &headers[i])
		if err != nil {
			return nil, known, err
		}
		if reason != "" {
			return nil, known, &CorruptError{Segment: segmentName(number), Reason: reason}
		}
	}
	if len(headers) > 0 && headers[0].base != through {
		return nil, known, &CorruptError{Segment: segmentName(numbers[0]),
			Reason: fmt.Sprintf("it begins with sequence %d and the partitions end before %d", headers[0].base, through)}
	}
	segments := make([]*segment, len(numbers))
	for i, number := range numbers {
		next := uint64(0)
		if i+1 < len(headers) {
			next = headers[i+1].base
		}
		if err := v.verifyFile(files, dir, segmentName(number), next); err != nil {
			return nil, v.schemas, err
		}
		s := v.segment
		segments[i] = &s
	}
	return segments, v.schemas, nil
}

// readHeader reads the header of a segment, or says what is wrong with it.
func readHeader(files fileSystem, dir string, number uint64, h *segmentHeader) (reason string, err error) {
	name := segmentName(number)
	file, err := files.Open(path.Join(dir, name))
	if err != nil {
		return "", fmt.Errorf("segment %s: %w", name, err)
	}
	head := make([]byte, min(framesStart, file.Size()))
	_, err = file.ReadAt(head, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("segment %s: %w", name, err)
	}
	*h, reason = parseHeader(head)
	if reason == "" && h.number != number {
		reason = fmt.Sprintf("its header says it is number %d", h.number)
	}
	return reason, nil
}

func (v *verifier) verifyFile(files fileSystem, dir, name string, next uint64) error {
	file, err := files.Open(path.Join(dir, name))
	if err != nil {
		return fmt.Errorf("segment %s: %w", name, err)
	}
	return errors.Join(v.verify(file, name, next), file.Close())
}

// Recovered is what was found when the log was opened.
func (l *Log) Recovered() Recovery { return l.recovered }

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
	l.mu.Unlock()
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

// collect removes the garbage that nobody reads.
func (l *Log) collect(ctx context.Context) error {
	l.mu.Lock()
	var gone []garbage
	l.mu.garbage = slices.DeleteFunc(l.mu.garbage, func(g garbage) bool {
		if l.mu.pins[g.name] > 0 {
			return false
		}
		gone = append(gone, g)
		return true
	})
	l.mu.Unlock()
	var all error
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
