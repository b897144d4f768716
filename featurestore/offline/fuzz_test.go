// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

type bytesFile struct{ *bytes.Reader }

func (bytesFile) Close() error { return nil }

// segmentOf is a segment with a few batches, as the writer makes it.
func segmentOf(salt uint64) []byte {
	h := segmentHeader{number: 1, base: 1, salt: salt, created: 5}
	c := newCatalog()
	v, err := c.declare(everyType)
	if err != nil {
		panic(err)
	}
	out := h.appendTo(nil)
	frame := append(make([]byte, frameHeadBytes), encodeCatalog(c.versions)...)
	sealFrame(frame, frameCatalog, salt, int64(len(out)))
	out = append(out, frame...)
	base := uint64(1)
	for batch := range 3 {
		head := newBatchHead(base)
		frame := make([]byte, chunkHeadBytes)
		for i := range batch + 1 {
			r := sample(batch*3 + i)
			if frame, err = appendRecord(frame, v, &r, r.ArrivalTime); err != nil {
				panic(err)
			}
			head.count++
			head.minEvent, head.maxEvent = min(head.minEvent, r.EventTime), max(head.maxEvent, r.EventTime)
		}
		base += uint64(head.count)
		head.put(frame[frameHeadBytes:])
		sealFrame(frame, frameBatch, salt, int64(len(out)))
		out = append(out, frame...)
	}
	return out
}

// resealed makes the checksums of a damaged segment right, so that what is behind them
// is reached.
func resealed(data []byte) []byte {
	data = bytes.Clone(data)
	h, reason := parseHeader(data[:min(len(data), framesStart)])
	if reason != "" {
		return data
	}
	for offset := framesStart; offset+frameHeadBytes <= len(data); {
		size := int(le.Uint32(data[offset+8:]))
		end := offset + frameHeadBytes + size
		if size > framePayloadMax || end > len(data) {
			end = len(data)
		}
		sealFrame(data[offset:end], data[offset+4], h.salt, int64(offset))
		offset = end
	}
	return data
}

// Any bytes are a segment, a torn one or a corrupt one; reading them never panics, and
// what was found sound can be read.
func FuzzSegment(f *testing.F) {
	whole := segmentOf(7)
	f.Add(whole, false, uint64(0))
	f.Add(whole, true, uint64(7))
	f.Add(whole[:len(whole)-9], false, uint64(0))
	f.Add(whole[:60], true, uint64(3))
	f.Fuzz(func(t *testing.T, data []byte, seal bool, next uint64) {
		if seal {
			data = resealed(data)
		}
		file := bytesFile{bytes.NewReader(data)}
		playAny(t, data)
		v := verifier{schemas: newCatalog()}
		if err := v.verify(file, "segment", next); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		want := 0
		for _, i := range v.index {
			want += int(i.count)
		}
		all := filter{stream: everyType.Stream, columns: everyType.Columns, last: 1<<63 - 1, asOf: 1<<63 - 1}
		c := &segmentCursor{filter: all, file: file, seg: v.segment, layouts: map[uint32]layout{}, window: windowBytesMin}
		for number, s := range v.schemas.byNumber {
			c.layouts[number] = newLayout(s.schema.Columns, all.columns)
		}
		if played, err := play(file, &v.segment); played > want || (played < want && !errors.Is(err, ErrCorrupt)) {
			t.Fatalf("%d records of %d replayed: %v", played, want, err)
		}
		c.rec.Values = make([]Value, len(all.columns))
		got := 0
		for {
			more, err := c.next(t.Context())
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatal(err)
				}
				return
			}
			if !more {
				break
			}
			got++
		}
		if got > want {
			t.Fatalf("%d records of %d", got, want)
		}
	})
}

// play replays a segment and counts its records.
func play(file readFile, s *segment) (n int, err error) {
	p := player{ctx: context.Background(), visit: func(string, []Column, *Record) error { n++; return nil }}
	p.frames.reset(file, s.header.salt, framesStart, s.end)
	return n, p.playFrames(s, s.header.base, func(uint64) {})
}

// playAny replays a file that nobody has verified.
func playAny(t *testing.T, data []byte) {
	t.Helper()
	h, reason := parseHeader(data[:min(len(data), framesStart)])
	if reason != "" {
		return
	}
	s := segment{name: "segment", header: h, end: int64(len(data))}
	if _, err := play(bytesFile{bytes.NewReader(data)}, &s); err != nil && !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}
