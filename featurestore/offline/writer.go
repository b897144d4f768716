// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// writer stores groups, one after another. It alone writes segments.
type writer struct {
	log        *Log
	file       writeFile // of the newest segment; nil when the next group needs a new one
	seg        *segment
	versionMax uint32 // highest schema in the segment's catalog
	number     uint64 // of the next segment
}

// The writer waits this long after an error before it tries again, longer each time.
const (
	retryWaitMin = 10 * time.Millisecond
	retryWaitMax = time.Second
)

// run is the writer's goroutine. It ends when the log is closed and all groups are
// stored, or cannot be.
func (w *writer) run() {
	defer close(w.log.writerDone)
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for {
		d := w.log.nextDuty(alarm)
		switch {
		case d.seal:
			w.log.noteFailure(w.seal())
			w.log.answerSeal()
		case d.group != nil:
			w.storeOrRetry(d.group, alarm)
		case d.end:
			w.log.noteFailure(w.seal())
			return
		}
	}
}

// storeOrRetry stores a group however often it takes. After Close it tries once more
// and then counts the records as lost, and all behind them: sequences have no holes.
func (w *writer) storeOrRetry(c *chunk, alarm *time.Timer) {
	wait := retryWaitMin
	for {
		closed := w.log.isClosed()
		err := w.log.lostBefore()
		if err == nil {
			err = w.store(c)
		}
		if err == nil {
			return
		}
		if w.log.storeFailed(c, err, closed) {
			return
		}
		w.log.answerSeal() // an error leaves no segment open
		alarm.Reset(wait)
		select {
		case <-w.log.closing:
			alarm.Stop()
		case <-alarm.C:
		}
		wait = min(2*wait, retryWaitMax)
	}
}

// store makes a group durable. After an error nothing is known of the file's tail, so
// it is given up: the group goes to a new segment, whose base sequence says where the
// old one ends.
func (w *writer) store(c *chunk) error {
	if err := w.prepare(c); err != nil {
		return err
	}
	c.head.put(c.frame[frameHeadBytes:])
	sealFrame(c.frame, frameBatch, w.seg.header.salt, w.seg.end)
	began := time.Now()
	if _, err := w.file.Write(c.frame); err != nil {
		return w.giveUp(fmt.Errorf("write segment %s: %w", w.seg.name, err))
	}
	synced := time.Now()
	if err := w.file.Sync(); err != nil {
		return w.giveUp(fmt.Errorf("sync segment %s: %w", w.seg.name, err))
	}
	w.log.stored(w.seg, c, synced.Sub(began), time.Since(synced))
	return nil
}

// prepare sees to a segment that can take the group.
func (w *writer) prepare(c *chunk) error {
	if w.file != nil {
		full := w.seg.end+int64(len(c.frame)) > w.log.options.SegmentBytes || len(w.seg.index) >= segmentFramesMax
		if (full && len(w.seg.index) > 0) || c.versionMax > w.versionMax {
			if err := w.seal(); err != nil {
				return err
			}
		}
	}
	if w.file == nil {
		return w.begin(c.head.base)
	}
	return nil
}

// seal ends the newest segment; all of it is durable already.
func (w *writer) seal() error {
	if w.file == nil {
		return nil
	}
	file := w.file
	w.file = nil
	w.log.sealed()
	if err := file.Close(); err != nil {
		return fmt.Errorf("close segment %s: %w", w.seg.name, err)
	}
	return nil
}

func (w *writer) giveUp(err error) error {
	err = errors.Join(err, w.file.Close())
	w.file = nil
	w.log.dropIfEmpty(w.seg)
	return err
}

// begin makes a segment. It gets its name when its head is durable, so a segment
// that exists has one.
func (w *writer) begin(base uint64) error {
	name := segmentName(w.number)
	full := path.Join(w.log.options.Dir, name)
	w.number++
	header := segmentHeader{number: w.number - 1, base: base, salt: randomSalt(), created: w.log.options.Now().UnixMicro()}
	head, versionMax := w.log.segmentHead(header)
	files := w.log.options.files
	file, err := files.Create(full + temporarySuffix)
	if err != nil {
		return fmt.Errorf("make segment %s: %w", name, err)
	}
	undo := func(what, left string, err error) error {
		err = errors.Join(fmt.Errorf("%s segment %s: %w", what, name, err), file.Close())
		if gone := files.Remove(left); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
		return err
	}
	if _, err := file.Write(head); err != nil {
		return undo("write", full+temporarySuffix, err)
	}
	if err := file.Sync(); err != nil {
		return undo("sync", full+temporarySuffix, err)
	}
	if err := files.Rename(full+temporarySuffix, full); err != nil {
		return undo("name", full+temporarySuffix, err)
	}
	if err := files.SyncDir(w.log.options.Dir); err != nil {
		return undo("name", full, err)
	}
	w.file, w.versionMax = file, versionMax
	w.seg = &segment{name: name, header: header, end: int64(len(head)), next: base}
	w.log.addSegment(w.seg)
	return nil
}

func randomSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program if the system has no randomness
	return le.Uint64(b[:])
}

// segmentHead is the header and the catalog that begin a segment.
func (l *Log) segmentHead(h segmentHeader) (head []byte, versionMax uint32) {
	l.mu.Lock()
	versions := l.mu.catalog.versions[:len(l.mu.catalog.versions):len(l.mu.catalog.versions)]
	l.mu.Unlock()
	head = h.appendTo(nil)
	frame := append(make([]byte, frameHeadBytes), encodeCatalog(versions)...)
	sealFrame(frame, frameCatalog, h.salt, int64(len(head)))
	if n := len(versions); n > 0 {
		versionMax = versions[n-1].number
	}
	return append(head, frame...), versionMax
}

// stored takes note of a durable group.
func (l *Log) stored(s *segment, c *chunk, wrote, synced time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.index = append(s.index, frameIndex{s.end, c.head.minEvent, c.head.maxEvent, c.head.count, uint32(len(c.frame) - frameHeadBytes)})
	s.end += int64(len(c.frame))
	s.next += uint64(c.head.count)
	n := &l.mu.counts
	n.Groups++
	n.Stored += int64(c.head.count)
	n.StoredBytes += int64(len(c.frame))
	n.WriteTime += wrote
	n.SyncTime += synced
	n.SyncTimeMax = max(n.SyncTimeMax, synced)
	l.mu.failing = nil
	l.mu.durable = s.next - 1
	l.releaseLocked(c)
}

// lostBefore is why an earlier group was given up, if one was.
func (l *Log) lostBefore() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.lost
}

// storeFailed tells those who wait for a group that it is not durable, and whether
// it is given up.
func (l *Log) storeFailed(c *chunk, err error, last bool) (lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.counts.StoreErrors++
	l.mu.failing = err
	told := fmt.Errorf("%w: %w", ErrNotDurable, err)
	c.settle(told)
	for _, later := range l.mu.full {
		later.settle(told)
	}
	if l.mu.open != nil {
		l.mu.open.settle(told)
	}
	if last {
		l.mu.counts.Lost += int64(c.head.count)
		l.mu.lost = err
		l.releaseLocked(c)
	}
	return last
}

func (l *Log) addSegment(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.segments = append(l.mu.segments, s)
	l.mu.active = s
}

// dropIfEmpty forgets a segment given up before it had anything. Should its file
// come back after a crash, the base of the next one says that nothing in it counts.
func (l *Log) dropIfEmpty(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.active = nil
	if n := len(l.mu.segments); len(s.index) == 0 && n > 0 && l.mu.segments[n-1] == s {
		l.mu.segments = l.mu.segments[:n-1]
		l.mu.garbage = append(l.mu.garbage, garbage{name: s.name, segment: true})
	}
}
