// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

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
	// HeldSegments are in partitions and kept for Replay; see Options.HoldFromStart.
	HeldSegments int
	// HeldDamage is why one of them could not be kept, and so none before it: nil if
	// all were sound. Their records are in partitions. A machine that stopped while
	// segments were let go can leave such a place too.
	HeldDamage error
	// Orphans is the number of objects removed that no manifest names.
	Orphans int
}

// Recovered is what was found when the log was opened.
func (l *Log) Recovered() Recovery { return l.recovered }

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
	if l.mu.catalog, err = m.catalog(); err != nil {
		return 0, err
	}
	if err := removeHalfMade(l.options.files, l.options.Dir); err != nil {
		return 0, err
	}
	compacted, live, err := listSegments(l.options.files, l.options.Dir, m.Segment)
	if err != nil {
		return 0, err
	}
	if err := l.recoverHeld(compacted, m.Through); err != nil {
		return 0, err
	}
	if err := l.readLive(live, m.Through); err != nil {
		return 0, err
	}
	// What was read may be in the machine's memory only. The next segment builds on it.
	if n := len(live); n > 0 {
		if err := l.options.files.SyncFile(path.Join(l.options.Dir, segmentName(live[n-1]))); err != nil {
			return 0, fmt.Errorf("sync segment %s: %w", segmentName(live[n-1]), err)
		}
	}
	if m.Number == 0 && len(live) == 0 {
		if err := syncParent(l.options.files, l.options.Dir); err != nil {
			return 0, err
		}
	}
	number = m.Segment + 1
	if n := len(live); n > 0 {
		number = live[n-1] + 1
	}
	return number, l.options.files.SyncDir(l.options.Dir)
}

// readLive reads the live segments: what comes behind the partitions.
func (l *Log) readLive(live []uint64, through uint64) error {
	segments, catalog, err := verifyAll(l.options.files, l.options.Dir, live, through, l.mu.catalog)
	if err != nil {
		return err
	}
	l.mu.catalog, l.mu.segments, l.mu.next = catalog, segments, through
	if n := len(segments); n > 0 {
		last := segments[n-1]
		l.mu.next = last.next
		if last.torn > 0 {
			l.recovered.TornSegment, l.recovered.TornBytes = last.name, last.torn
		}
	}
	l.mu.durable = l.mu.next - 1
	l.recovered.Segments, l.recovered.Records = len(segments), int64(l.mu.next-through)
	return nil
}

// syncParent makes the folder of a new log durable: it may be there since a process was
// killed before it was, or by the hand of somebody else. Who may not read the folder
// above has not made this one.
func syncParent(files fileSystem, dir string) error {
	if err := files.SyncDir(path.Dir(path.Clean(dir))); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("sync the folder above: %w", err)
	}
	return nil
}

const segmentPrefix = "segment-"

// listSegments lists the segments that are in partitions already and those that are
// not, each in order.
func listSegments(files fileSystem, dir string, through uint64) (compacted, live []uint64, err error) {
	found, err := files.List(dir, segmentPrefix)
	if err != nil {
		return nil, nil, err
	}
	for _, file := range found {
		number, ok := segmentNumber(file.name)
		switch {
		case !ok:
		case number <= through:
			compacted = append(compacted, number)
		default:
			live = append(live, number)
		}
	}
	slices.Sort(compacted)
	slices.Sort(live)
	return compacted, live, nil
}

// removeHalfMade removes the segments that a crash left half made. Only the owner of the
// log may: it makes none itself meanwhile.
func removeHalfMade(files fileSystem, dir string) error {
	found, err := files.List(dir, segmentPrefix)
	if err != nil {
		return err
	}
	for _, file := range found {
		name, half := strings.CutSuffix(file.name, temporarySuffix)
		if _, ok := segmentNumber(name); !half || !ok {
			continue
		}
		if err := files.Remove(path.Join(dir, file.name)); err != nil {
			return fmt.Errorf("remove %s: %w", file.name, err)
		}
	}
	return nil
}

// sealedFile is a segment to verify.
type sealedFile struct {
	number uint64
	header segmentHeader
	next   uint64 // sequence that what follows begins with; 0 if nothing does
}

// verifyAll reads segments from the first to the last. Each begins where the one
// before it ends.
func verifyAll(files fileSystem, dir string, numbers []uint64, through uint64, known catalog) ([]*segment, catalog, error) {
	sealed := make([]sealedFile, len(numbers))
	for i, number := range numbers {
		sealed[i].number = number
		reason, err := readHeader(files, dir, number, &sealed[i].header)
		if err != nil {
			return nil, known, err
		}
		if reason != "" {
			return nil, known, &CorruptError{Segment: segmentName(number), Reason: reason}
		}
		if i > 0 {
			sealed[i-1].next = sealed[i].header.base
		}
	}
	if len(sealed) > 0 && sealed[0].header.base != through {
		return nil, known, &CorruptError{Segment: segmentName(numbers[0]),
			Reason: fmt.Sprintf("it begins with sequence %d and the partitions end before %d", sealed[0].header.base, through)}
	}
	verified, errs := verifyFiles(files, dir, sealed)
	segments := make([]*segment, len(numbers))
	for i := range verified {
		v := &verified[i]
		if errs[i] != nil {
			return nil, known, errs[i]
		}
		for _, number := range slices.Sorted(maps.Keys(v.schemas.byNumber)) {
			if err := known.restore(v.schemas.byNumber[number]); err != nil {
				return nil, known, &CorruptError{Segment: v.name, Offset: framesStart, Reason: "catalog of schemas: " + err.Error()}
			}
		}
		segments[i] = &v.segment
	}
	return segments, known, nil
}

// verifyFiles reads segments, as many at once as there are processors. Each is read
// with the schemas of its own catalog.
func verifyFiles(files fileSystem, dir string, sealed []sealedFile) ([]verifier, []error) {
	verified, errs := make([]verifier, len(sealed)), make([]error, len(sealed))
	var group sync.WaitGroup
	var taken atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(sealed)) {
		group.Go(func() {
			for i := int(taken.Add(1)) - 1; i < len(sealed); i = int(taken.Add(1)) - 1 {
				verified[i].schemas = newCatalog()
				errs[i] = verified[i].verifyFile(files, dir, segmentName(sealed[i].number), sealed[i].next)
			}
		})
	}
	group.Wait()
	return verified, errs
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
