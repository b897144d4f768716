// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
)

// HoldNone, given to [Log.Hold], keeps no segment for Replay.
const HoldNone uint64 = math.MaxUint64

// Hold keeps segments that have records with a sequence > after, for Replay, when their
// records are in partitions already. What is held beyond that is let go. A hold is in
// place until the next one and while the log is open: with Options.HoldFromStart a log
// opens holding all that is there, else it opens with HoldNone. It never brings back
// what is gone. HoldBytesMax bounds it.
func (l *Log) Hold(after uint64) {
	if l.reader != nil { // what it has open, it has
		return
	}
	l.mu.Lock()
	l.mu.hold = after
	l.trimHeldLocked()
	l.mu.Unlock()
	_ = l.collect(context.Background(), true) // what fails is tried again, and reported, by the next compaction
}

// holdLocked takes over segments whose records are in partitions.
func (l *Log) holdLocked(segments []*segment) {
	for _, s := range segments {
		s.index = nil // scans begun before have their own
		l.mu.held = append(l.mu.held, s)
		l.mu.heldBytes += s.end
	}
	l.trimHeldLocked()
}

// trimHeldLocked lets go what is not held, oldest first, so that what is left has no
// holes. l.mu must be held.
func (l *Log) trimHeldLocked() {
	n := 0
	for _, s := range l.mu.held {
		needed := s.next > s.header.base && s.next-1 > l.mu.hold
		if needed && l.mu.heldBytes <= l.options.HoldBytesMax {
			break
		}
		if needed {
			l.mu.counts.HoldsBroken++
		}
		l.mu.heldBytes -= s.end
		l.mu.garbage = append(l.mu.garbage, garbage{name: s.name, segment: true})
		n++
	}
	l.mu.held = slices.Delete(l.mu.held, 0, n)
}

// replayFromLocked is the first sequence that can be replayed.
func (l *Log) replayFromLocked() uint64 {
	switch {
	case len(l.mu.held) > 0:
		return l.mu.held[0].header.base
	case len(l.mu.segments) > 0:
		return l.mu.segments[0].header.base
	}
	return l.mu.durable + 1
}

// recoverHeld finds which of the segments that are in partitions already can still be
// replayed: those that are sound and follow one another up to the live ones. The rest
// is not needed by anybody.
func (l *Log) recoverHeld(numbers []uint64, through uint64) error {
	if !l.options.HoldFromStart {
		l.mu.hold = HoldNone
	}
	segments := make([]*segment, len(numbers))
	if l.options.HoldFromStart {
		if err := l.readHeld(numbers, segments, through); err != nil {
			return err
		}
	}
	for i, s := range segments {
		if s != nil {
			l.mu.held = append(l.mu.held, s)
			l.mu.heldBytes += s.end
			continue
		}
		name := segmentName(numbers[i])
		if err := l.options.files.Remove(path.Join(l.options.Dir, name)); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	l.recovered.HeldSegments = len(l.mu.held)
	return nil
}

// readHeld fills in the newest segments, up to the first that cannot be replayed.
func (l *Log) readHeld(numbers []uint64, segments []*segment, through uint64) error {
	sealed := make([]sealedFile, 0, len(numbers))
	next := through
	for i := len(numbers) - 1; i >= 0; i-- {
		f := sealedFile{number: numbers[i], next: next}
		reason, err := readHeader(l.options.files, l.options.Dir, f.number, &f.header)
		if err != nil {
			return err
		}
		if reason != "" {
			l.recovered.HeldDamage = &CorruptError{Segment: segmentName(f.number), Reason: reason}
			break
		}
		next = f.header.base
		sealed = append(sealed, f)
	}
	found, errs := verifyFiles(l.options.files, l.options.Dir, sealed)
	for i := range sealed {
		if errors.Is(errs[i], ErrCorrupt) {
			l.recovered.HeldDamage = errs[i]
			break
		}
		if errs[i] != nil {
			return errs[i]
		}
		s := found[i].segment
		s.index = nil
		segments[len(segments)-1-i] = &s
	}
	return nil
}
