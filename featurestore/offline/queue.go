// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// chunk is one group in the making: a frame whose records are encoded in place, so
// storing it copies nothing.
type chunk struct {
	frame      []byte // head of the frame, head of the batch, records
	head       batchHead
	versionMax uint32    // highest number of a schema in it
	began      time.Time // when its first record came
	outcome    *outcome  // of the next attempt to store it; nil until somebody waits
}

// outcome is what those who wait for a chunk learn of one attempt to store it.
type outcome struct {
	known chan struct{}
	err   error // set before known is closed
}

const chunkHeadBytes = frameHeadBytes + batchHeadBytes

func (c *chunk) reset(base uint64, now time.Time) {
	var zero [chunkHeadBytes]byte
	c.frame = append(c.frame[:0], zero[:]...)
	c.head = newBatchHead(base)
	c.versionMax, c.began, c.outcome = 0, now, nil
}

// await is the outcome of the next attempt.
func (c *chunk) await() *outcome {
	if c.outcome == nil {
		c.outcome = &outcome{known: make(chan struct{})}
	}
	return c.outcome
}

// settle tells those who wait, if any.
func (c *chunk) settle(err error) {
	if c.outcome != nil {
		c.outcome.err = err
		close(c.outcome.known)
		c.outcome = nil
	}
}

// scratch holds one encoded record outside the lock.
type scratch struct{ bytes []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// scratchKeepBytes is the size above which a scratch is left to the collector.
const scratchKeepBytes = 1 << 20

// putBack keeps the scratch with what its bytes have grown to.
func (b *scratch) putBack(raw []byte) {
	if cap(raw) <= scratchKeepBytes {
		b.bytes = raw
		scratches.Put(b)
	}
}

// enqueue adds encoded records, each behind its length, to the groups in the making,
// and returns the sequence of the first.
func (l *Log) enqueue(ctx context.Context, v *version, raw []byte, count int) (first uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.awaitRoomLocked(ctx, len(raw), count); err != nil {
		return 0, err
	}
	first = l.mu.next
	l.mu.queued.bytes += len(raw)
	l.mu.queued.records += count
	l.mu.counts.Appended += int64(count)
	for len(raw) > 0 {
		size := 4 + int(le.Uint32(raw))
		l.addLocked(v, raw[:size])
		raw = raw[size:]
	}
	return first, nil
}

// addLocked adds an encoded record, with its length, to the group in the making.
func (l *Log) addLocked(v *version, raw []byte) {
	c := l.mu.open
	if c != nil && len(c.frame)-chunkHeadBytes+len(raw) > l.options.GroupBytes {
		l.mu.full = append(l.mu.full, c)
		c = nil
	}
	if c == nil {
		c = l.newChunkLocked()
		l.wakeWriter() // it sets its alarm for the end of GroupWait
	}
	event := int64(le.Uint64(raw[4+4:]))
	c.frame = append(c.frame, raw...)
	c.head.count++
	c.head.minEvent = min(c.head.minEvent, event)
	c.head.maxEvent = max(c.head.maxEvent, event)
	c.versionMax = max(c.versionMax, v.number)
	l.mu.next++
	if len(c.frame) >= l.options.GroupBytes {
		l.wakeWriter()
	}
}

// outcomeLocked is what a record waits for: nil if it is durable, or cannot be any
// more. The sequence must have been given.
func (l *Log) outcomeLocked(sequence uint64) (*outcome, error) {
	if sequence <= l.mu.durable {
		return nil, nil
	}
	if l.mu.lost != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotDurable, l.mu.lost)
	}
	c := l.mu.storing
	switch at, found := slices.BinarySearchFunc(l.mu.full, sequence, (*chunk).compare); {
	case found:
		c = l.mu.full[at]
	case c == nil || c.compare(sequence) < 0:
		c = l.mu.open
		l.mu.flush = true
	}
	return c.await(), nil
}

// compare tells whether the chunk is before a sequence, has it, or is behind it.
func (c *chunk) compare(sequence uint64) int {
	switch {
	case sequence < c.head.base:
		return 1
	case sequence < c.head.base+uint64(c.head.count):
		return 0
	}
	return -1
}

func (l *Log) newChunkLocked() *chunk {
	var c *chunk
	if n := len(l.mu.free); n > 0 {
		c, l.mu.free = l.mu.free[n-1], l.mu.free[:n-1]
	} else {
		c = &chunk{frame: make([]byte, 0, chunkHeadBytes+l.options.GroupBytes)}
	}
	c.reset(l.mu.next, time.Now())
	l.mu.open = c
	return c
}

// awaitRoomLocked returns when records of that size and number may be added. l.mu must be held;
// it is released and retaken while waiting.
func (l *Log) awaitRoomLocked(ctx context.Context, size, count int) error {
	var expired <-chan time.Time
	for {
		switch q := &l.mu.queued; {
		case l.mu.closed:
			return ErrClosed
		case q.records == 0 || (q.bytes+size <= l.options.QueueBytes && q.records+count <= l.options.QueueRecords):
			return nil
		case l.options.WaitWhenFull == 0:
			l.mu.counts.Dropped += int64(count)
			return ErrFull
		}
		if expired == nil && l.options.WaitWhenFull > 0 {
			timer := time.NewTimer(l.options.WaitWhenFull)
			defer timer.Stop()
			expired = timer.C
		}
		if l.mu.room == nil {
			l.mu.room = make(chan struct{})
		}
		room := l.mu.room
		l.mu.Unlock()
		err := awaitRoom(ctx, room, expired)
		l.mu.Lock()
		if err != nil {
			l.mu.counts.Dropped += int64(count)
			return err
		}
	}
}

func awaitRoom(ctx context.Context, room <-chan struct{}, expired <-chan time.Time) error {
	select {
	case <-room:
		return nil
	case <-expired:
		return ErrFull
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrFull, ctx.Err())
	}
}

// wakeWriter tells the writer that there is something new. It never blocks.
func (l *Log) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// duty is what the writer has to do next.
type duty struct {
	group *chunk        // store it
	seal  bool          // end the newest segment
	end   bool          // nothing more will come
	wait  time.Duration // nothing for that long; 0 is until woken
}

// nextDuty waits for something to do.
func (l *Log) nextDuty(alarm *time.Timer) duty {
	for {
		d := l.pollDuty()
		if d.group != nil || d.seal || d.end {
			return d
		}
		if d.wait == 0 {
			<-l.wake
			continue
		}
		alarm.Reset(d.wait)
		select {
		case <-l.wake:
			alarm.Stop()
		case <-alarm.C:
		}
	}
}

func (l *Log) pollDuty() duty {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.mu.open
	switch {
	case l.mu.sealAsked != nil:
		return duty{seal: true}
	case len(l.mu.full) > 0:
		c = l.mu.full[0]
		l.mu.full = append(l.mu.full[:0], l.mu.full[1:]...)
		l.mu.storing = c
		return duty{group: c}
	case c == nil:
		l.mu.flush = false
		return duty{end: l.mu.closed}
	}
	wait := l.options.GroupWait - time.Since(c.began)
	if wait > 0 && !l.mu.flush && !l.mu.closed && len(c.frame) < l.options.GroupBytes {
		return duty{wait: wait}
	}
	l.mu.open, l.mu.flush, l.mu.storing = nil, false, c
	return duty{group: c}
}

// releaseLocked gives the room of a group back.
func (l *Log) releaseLocked(c *chunk) {
	l.mu.queued.bytes -= len(c.frame) - chunkHeadBytes
	l.mu.queued.records -= int(c.head.count)
	if l.mu.room != nil {
		close(l.mu.room)
		l.mu.room = nil
	}
	c.settle(nil)
	l.mu.storing = nil
	freeMax := l.options.QueueBytes/l.options.GroupBytes + 2
	if len(l.mu.free) < freeMax && cap(c.frame) <= chunkHeadBytes+2*l.options.GroupBytes {
		l.mu.free = append(l.mu.free, c)
	}
}
