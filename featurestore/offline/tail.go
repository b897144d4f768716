// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// Tail follows the log: it reads what became durable since the last time, and of a segment
// only what is new, so that looking often costs little. It is used by one goroutine, holds
// what a replay holds, and needs no closing: nothing is open between two reads.
type Tail struct {
	log    *Log
	player player
	// segment is the one that was read last, offset where in it to go on, and next the
	// sequence of the record there.
	segment string
	offset  int64
	next    uint64
}

// Tail is at a sequence: the first record that it reads is the one behind it.
func (l *Log) Tail(after uint64) *Tail { return &Tail{log: l, player: player{after: after}} }

// Only has the tail pass over records of other streams than these, and decode their named
// columns alone: the values of others are null. No names are all columns. It is called before
// the first Read.
func (t *Tail) Only(columns map[string][]string) *Tail {
	t.player.only = columns
	return t
}

// After is the sequence up to which everything was read.
func (t *Tail) After() uint64 { return t.player.after }

// errTailEnd ends a read that has come far enough.
var errTailEnd = errors.New("the tail has come far enough")

// Read visits the records behind the last one, up to the sequence to, in the manner of
// Replay: ErrTooOld means that the log cannot go on from there. After an error of visit the
// record that it was about comes again.
func (t *Tail) Read(ctx context.Context, to uint64, visit func(stream string, columns []Column, r *Record) error) error {
	p := &t.player
	if to = min(to, t.log.Durable()); to <= p.after {
		return nil
	}
	v, err := t.log.replayView(p.after)
	if err != nil {
		return err
	}
	defer v.release()
	p.ctx = ctx
	p.visit = func(stream string, columns []Column, r *Record) error {
		if r.Sequence > to {
			return errTailEnd
		}
		if err := visit(stream, columns, r); err != nil {
			return err
		}
		p.after = r.Sequence
		return nil
	}
	for i := range v.segments {
		err := t.play(&v.segments[i])
		if errors.Is(err, errTailEnd) {
			break
		}
		if err != nil {
			return err
		}
	}
	p.after = max(p.after, to) // what is behind the last record was lost by a repair
	return nil
}

// play reads a segment from where it was left.
func (t *Tail) play(s *segment) error {
	file, err := t.log.options.files.Open(path.Join(t.log.options.Dir, s.name))
	if err != nil {
		return fmt.Errorf("segment %s: %w", s.name, err)
	}
	if t.segment != s.name {
		t.segment, t.offset, t.next = s.name, framesStart, s.header.base
	}
	p := &t.player
	p.frames.reset(file, s.header.salt, t.offset, s.end)
	err = p.playFrames(s, t.next, func(next uint64) { t.offset, t.next = p.frames.offset, next })
	return errors.Join(err, file.Close())
}
