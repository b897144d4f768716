// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
)

// idHash stands for an id. Two ids that share all 128 bits are not expected in the
// lifetime of a log.
type idHash [2]uint64

// winners knows the ids that have several versions, and which of these counts.
type winners struct {
	seeds [2]maphash.Seed
	last  map[idHash]arrived
}

type arrived struct {
	arrival  int64
	sequence uint64
}

func (w *winners) hash(id string) idHash {
	return idHash{maphash.String(w.seeds[0], id), maphash.String(w.seeds[1], id)}
}

// beaten tells whether another version of the record's id counts.
func (w *winners) beaten(r *Record) bool {
	if len(w.last) == 0 {
		return false
	}
	last, ok := w.last[w.hash(r.ID)]
	return ok && last != arrived{r.ArrivalTime, r.Sequence}
}

// findWinners reads the ids of a stream twice: once to find those that may be there
// more than once, by a Bloom filter, and once to find their last versions. So its
// memory follows the corrections in a stream and not its events.
func (v *view) findWinners(ctx context.Context, f filter) (*winners, error) {
	f.from, f.last, f.columns = math.MinInt64, math.MaxInt64, nil
	w := &winners{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, last: map[idHash]arrived{}}
	seen := newBloom(v.rows(), v.log.options.ScanMemory/2)
	limit := v.log.options.VersionsMax
	err := v.eachKey(ctx, f, func(r *Record) error {
		h := w.hash(r.ID)
		if !seen.add(h) {
			return nil
		}
		w.last[h] = arrived{math.MinInt64, 0}
		if len(w.last) > limit {
			return fmt.Errorf("%w: more than %d in stream %s", ErrTooManyVersions, limit, f.stream)
		}
		return nil
	})
	if err != nil || len(w.last) == 0 {
		return w, err
	}
	return w, v.eachKey(ctx, f, func(r *Record) error {
		h := w.hash(r.ID)
		last, ok := w.last[h]
		if ok && (r.ArrivalTime > last.arrival || (r.ArrivalTime == last.arrival && r.Sequence > last.sequence)) {
			w.last[h] = arrived{r.ArrivalTime, r.Sequence}
		}
		return nil
	})
}

// rows bounds the number of records of the view.
func (v *view) rows() int64 {
	var rows int64
	for i := range v.parts {
		rows += v.parts[i].Rows
	}
	for i := range v.segments {
		rows += int64(v.segments[i].next - v.segments[i].header.base)
	}
	return rows
}

// eachKey visits id and times of all records, in no particular order.
func (v *view) eachKey(ctx context.Context, f filter, visit func(*Record) error) error {
	for _, p := range v.parts {
		if p.MinArrival > f.asOf {
			continue
		}
		s, err := openPart(ctx, v.log.options.Storage, p, f)
		if err == nil {
			err = errors.Join(drain(ctx, s, visit), s.close())
		}
		if err != nil {
			return err
		}
	}
	for _, seg := range v.segments {
		c, err := v.log.openCursor(seg, f, v.versions, windowBytesMin)
		if err == nil {
			err = errors.Join(c.unordered(ctx, visit), c.close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func drain(ctx context.Context, s source, visit func(*Record) error) error {
	for {
		more, err := s.next(ctx)
		if !more || err != nil {
			return err
		}
		if err := visit(s.record()); err != nil {
			return err
		}
	}
}

// unordered visits id and times of the records in order of arrival.
func (c *segmentCursor) unordered(ctx context.Context, visit func(*Record) error) error {
	for _, f := range c.seg.index {
		if err := ctx.Err(); err != nil {
			return err
		}
		payload, head, err := c.frame(f)
		if err != nil {
			return err
		}
		eachRecord(payload, head, func(sequence uint64, raw []byte) bool {
			h, _, ok := decodeHead(raw)
			if _, known := c.layouts[h.schema]; ok && known && c.takes(h.event, h.arrival) {
				c.rec.ID, c.rec.EventTime, c.rec.ArrivalTime, c.rec.Sequence = h.id, h.event, h.arrival, sequence
				err = visit(&c.rec)
			}
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// bloom is a Bloom filter with four probes.
type bloom struct {
	words []uint64
	mask  uint64
}

// newBloom has 16 bits for each row, within a bound in bytes: then about one id in
// 400 is taken for one seen before, which costs memory and changes no answer.
func newBloom(rows int64, bytesMax int) *bloom {
	bits := uint64(1 << 10)
	for bits < uint64(rows)*16 && bits*2 <= uint64(bytesMax)*8 {
		bits *= 2
	}
	return &bloom{words: make([]uint64, bits/64), mask: bits - 1}
}

// add takes an id in and tells whether it may have been there.
func (b *bloom) add(h idHash) bool {
	there := true
	for i := range uint64(4) {
		bit := (h[0] + i*(h[1]|1)) & b.mask
		if b.words[bit/64]&(1<<(bit%64)) == 0 {
			there = false
			b.words[bit/64] |= 1 << (bit % 64)
		}
	}
	return there
}
