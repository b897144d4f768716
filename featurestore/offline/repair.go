// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
)

// Repaired says what became of a damaged segment.
type Repaired struct {
	// Segment was rewritten with what is sound in it.
	Segment string
	// Damaged is the copy of it as it was, below the folder of the log.
	Damaged string
	// Kept is the number of records that were saved, and Lost that of those that
	// were not. Behind the end of the last segment nobody knows what there was.
	Kept, Lost int64
}

const damagedFolder = "damaged"

// Repair makes a log with damaged segments open again. Each is rewritten with the
// batches that are sound, in one step, after a copy of it as it was is in the folder
// damaged. Segments that are sound stay as they are. The log must be closed.
func Repair(ctx context.Context, o Options) (done []Repaired, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	lock, err := o.files.Lock(path.Join(o.Dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("repair event log %s: %w", o.Dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	m, err := loadManifest(ctx, o.Storage)
	if err != nil {
		return nil, fmt.Errorf("repair event log %s: %w", o.Dir, err)
	}
	if err := removeHalfMade(o.files, o.Dir); err != nil {
		return nil, fmt.Errorf("repair event log %s: %w", o.Dir, err)
	}
	_, live, err := listSegments(o.files, o.Dir, m.Segment)
	if err != nil {
		return nil, fmt.Errorf("repair event log %s: %w", o.Dir, err)
	}
	r := repairer{ctx: ctx, options: &o, schemas: newCatalog(), expected: m.Through}
	for _, number := range live { // a damaged catalog is made up for by a sound one
		if err := r.readCatalog(number); err != nil {
			return nil, fmt.Errorf("repair segment %s: %w", segmentName(number), err)
		}
	}
	for i, number := range live {
		if err := r.repair(number, live[i+1:]); err != nil {
			return r.done, fmt.Errorf("repair segment %s: %w", segmentName(number), err)
		}
	}
	return r.done, nil
}

type repairer struct {
	ctx      context.Context
	options  *Options
	schemas  catalog
	expected uint64 // sequence that the next segment begins with
	done     []Repaired
}

// readCatalog takes in the schemas of a segment, if they are sound.
func (r *repairer) readCatalog(number uint64) error {
	var h segmentHeader
	if reason, err := readHeader(r.options.files, r.options.Dir, number, &h); reason != "" || err != nil {
		return err
	}
	file, err := r.options.files.Open(path.Join(r.options.Dir, segmentName(number)))
	if err != nil {
		return err
	}
	frames := newFrameReader(file, h.salt, framesStart, file.Size())
	frame, reason, err := frames.next()
	if err = errors.Join(err, file.Close()); err != nil || reason != "" || frame.kind != frameCatalog {
		return err
	}
	v := verifier{schemas: r.schemas}
	v.takeCatalog(frames.payload)
	r.schemas = v.schemas
	return nil
}

// repair keeps a segment that is sound and rewrites another.
func (r *repairer) repair(number uint64, later []uint64) error {
	files, dir, name := r.options.files, r.options.Dir, segmentName(number)
	limit := uint64(0)
	for _, n := range later {
		var h segmentHeader
		reason, err := readHeader(files, dir, n, &h)
		if err != nil {
			return err
		}
		if reason == "" && h.base >= r.expected {
			limit = h.base
			break
		}
	}
	v := verifier{schemas: r.schemas}
	err := v.verifyFile(files, dir, name, limit)
	if err == nil && v.header.base == r.expected && v.header.number == number {
		r.expected = v.next
		return nil
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return err
	}
	return r.rewrite(number, limit)
}

func (r *repairer) rewrite(number, limit uint64) (err error) {
	files, name := r.options.files, segmentName(number)
	full := path.Join(r.options.Dir, name)
	old, err := files.Open(full)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	report := Repaired{Segment: name, Damaged: fmt.Sprintf("%s/%s.%d", damagedFolder, name, r.options.Now().UnixMicro())}
	aside := &folder{fs: files, dir: r.options.Dir}
	whole := func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(old, 0, old.Size()))
		return err
	}
	if err := aside.Put(r.ctx, report.Damaged, whole); err != nil {
		return err
	}
	if err := aside.Put(r.ctx, name, func(w io.Writer) error { return r.salvage(w, old, number, limit, &report) }); err != nil {
		return err
	}
	r.done = append(r.done, report)
	return nil
}

// salvage writes a segment of the sound batches of another, with gaps for the rest.
func (r *repairer) salvage(w io.Writer, old readFile, number, limit uint64, report *Repaired) error {
	header := segmentHeader{number: number, base: r.expected, salt: randomSalt(), created: r.options.Now().UnixMicro()}
	out := &salvager{w: w, salt: header.salt}
	head := header.appendTo(nil)
	out.raw(head)
	var versions []*version
	for _, v := range r.schemas.byNumber {
		versions = append(versions, v)
	}
	out.frame(frameCatalog, encodeCatalog(versions))
	gap := func(to uint64) {
		if r.expected < to {
			out.frame(frameGap, appendGap(nil, r.expected, to))
			report.Lost += int64(to - r.expected)
			r.expected = to
		}
	}
	before := make([]byte, min(framesStart, old.Size()))
	if _, err := old.ReadAt(before, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if was, reason := parseHeader(before); reason == "" {
		err := r.soundBatches(old, was.salt, limit, func(h batchHead, payload []byte) {
			gap(h.base)
			out.frame(frameBatch, payload)
			r.expected = h.base + uint64(h.count)
			report.Kept += int64(h.count)
		})
		if err != nil {
			return err
		}
	}
	if limit != 0 {
		gap(limit)
	}
	return out.err
}

// soundBatches visits the batches that fit between what is expected and the limit.
func (r *repairer) soundBatches(old readFile, salt, limit uint64, visit func(batchHead, []byte)) error {
	end := old.Size()
	for offset := int64(framesStart); ; {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		at, err := findFrame(old, salt, offset, end)
		if err != nil || at < 0 {
			return err
		}
		frames := newFrameReader(old, salt, at, end)
		for {
			frame, reason, err := frames.next()
			if err != nil {
				return err
			}
			if reason != "" || frame.kind == 0 {
				break
			}
			h, ok := parseBatchHead(frames.payload)
			v := verifier{schemas: r.schemas}
			v.next = h.base
			fits := h.base >= r.expected && (limit == 0 || h.base+uint64(h.count) <= limit)
			if frame.kind == frameBatch && ok && fits && v.takeBatch(frames.payload, at) == "" {
				visit(h, frames.payload)
			}
		}
		offset = max(frames.offset, at+1)
	}
}

// salvager writes frames; err is the first error.
type salvager struct {
	w      io.Writer
	salt   uint64
	offset int64
	err    error
}

func (s *salvager) raw(b []byte) {
	if s.err == nil {
		_, s.err = s.w.Write(b)
		s.offset += int64(len(b))
	}
}

func (s *salvager) frame(kind byte, payload []byte) {
	frame := append(make([]byte, frameHeadBytes, frameHeadBytes+len(payload)), payload...)
	sealFrame(frame, kind, s.salt, s.offset)
	s.raw(frame)
}
