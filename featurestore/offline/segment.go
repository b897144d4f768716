// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// segment is one file of the log, as far as it is durable.
type segment struct {
	name   string // without folder
	header segmentHeader
	end    int64  // offset behind the last durable frame
	next   uint64 // sequence behind the last durable record
	index  []frameIndex
	torn   int64 // bytes behind end, which were never acknowledged
}

// frameIndex says what a batch can hold, so that readers pass over it.
type frameIndex struct {
	offset             int64
	minEvent, maxEvent int64
	count              uint32
	bytes              uint32 // of the payload
}

func segmentName(number uint64) string { return fmt.Sprintf(segmentPrefix+"%016d.log", number) }

// segmentNumber is the number in a segment's name.
func segmentNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, segmentPrefix)
	digits, end := strings.CutSuffix(digits, ".log")
	if !ok || !end || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

// frameReader reads frames one after another. The zero value needs a reset.
type frameReader struct {
	in      io.ReaderAt
	salt    uint64
	offset  int64 // of the next frame
	end     int64
	window  []byte // bytes from offset on, as far as they were read
	buffer  []byte // the window is a part of it
	payload []byte // of the last frame, in the buffer; good until the next
}

// readAhead is how many bytes of a segment are read at once.
const readAhead = 256 << 10

func newFrameReader(r io.ReaderAt, salt uint64, offset, end int64) *frameReader {
	f := new(frameReader)
	f.reset(r, salt, offset, end)
	return f
}

// reset begins anew and keeps the memory.
func (f *frameReader) reset(r io.ReaderAt, salt uint64, offset, end int64) {
	f.in, f.salt, f.offset, f.end, f.window = r, salt, offset, end, nil
}

// seek moves a reader; to where it is already costs nothing.
func (f *frameReader) seek(r io.ReaderAt, offset int64) {
	if f.offset != offset {
		f.reset(r, f.salt, offset, f.end)
	}
}

// want has n bytes, of those before the end, in the window.
func (f *frameReader) want(n int) error {
	if len(f.window) >= n {
		return nil
	}
	size := int(min(int64(max(n, readAhead)), f.end-f.offset))
	have := len(f.window)
	if cap(f.buffer) < size {
		f.buffer = make([]byte, size)
	}
	f.buffer = f.buffer[:cap(f.buffer)]
	copy(f.buffer, f.window)
	read, err := f.in.ReadAt(f.buffer[have:size], f.offset+int64(have))
	f.window = f.buffer[:have+read]
	if len(f.window) >= n {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read offset %d: %w", f.offset, err)
}

// next reads a frame. A reason says what is wrong with its bytes; an error, that they
// could not be read. At the end there is neither, and a frame of kind 0.
func (f *frameReader) next() (head frameHead, reason string, err error) {
	if f.offset >= f.end {
		return head, "", nil
	}
	left := f.end - f.offset
	if left < frameHeadBytes {
		return head, "the file ends within the head of a frame", nil
	}
	if err := f.want(frameHeadBytes); err != nil {
		return head, "", err
	}
	head, reason = parseFrameHead(f.window, f.salt, f.offset)
	if reason != "" {
		return head, reason, nil
	}
	size := frameHeadBytes + head.bytes
	if int64(size) > left {
		return head, "the file ends within a frame", nil
	}
	if err := f.want(size); err != nil {
		return head, "", err
	}
	f.payload = f.window[frameHeadBytes:size:size]
	if checksum(f.payload) != head.crc {
		return head, "checksum of the frame's content does not match", nil
	}
	f.window = f.window[size:]
	f.offset += int64(size)
	return head, "", nil
}

// verifier checks a segment from its header to its end.
type verifier struct {
	segment
	schemas catalog // every schema met, over all segments
}

// verifySegment reads a whole segment. next is the sequence that the following one
// begins with; 0 if this is the last, which alone may have a torn tail.
func (v *verifier) verify(r readFile, name string, next uint64) error {
	v.segment = segment{name: name}
	corrupt := func(offset int64, reason string) error {
		return &CorruptError{Segment: name, Offset: offset, Reason: reason}
	}
	head := make([]byte, min(framesStart, r.Size()))
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("segment %s: %w", name, err)
	}
	header, reason := parseHeader(head)
	if reason != "" {
		return corrupt(0, reason)
	}
	v.header, v.next, v.end = header, header.base, framesStart
	frames := newFrameReader(r, header.salt, framesStart, r.Size())
	for next == 0 || v.next < next {
		offset := frames.offset
		frame, reason, err := frames.next()
		if err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
		if reason == "" && frame.kind == 0 {
			break
		}
		if reason != "" {
			if torn, err := v.isTorn(r, offset, next); err != nil || torn {
				return err
			}
			return corrupt(offset, reason)
		}
		if reason := v.take(frame, frames.payload, offset); reason != "" {
			return corrupt(offset, reason)
		}
		v.end = frames.offset
	}
	if next != 0 && v.next != next {
		return corrupt(v.end, fmt.Sprintf("it ends before sequence %d and the next segment begins with %d", v.next, next))
	}
	v.torn = r.Size() - v.end
	return nil
}

// isTorn tells whether the bytes from offset are a group that was being written when
// the machine stopped. A group is written only when all before it are durable, so a
// sound frame further on means damage.
func (v *verifier) isTorn(r readFile, offset int64, next uint64) (bool, error) {
	if next != 0 || offset == framesStart { // a segment is renamed into place with its catalog
		return false, nil
	}
	at, err := findFrame(r, v.header.salt, offset+1, r.Size())
	if err != nil || at >= 0 {
		return false, err
	}
	v.torn = r.Size() - offset
	return true, nil
}

// take adds a sound frame to the segment, or says what is wrong with what it says.
func (v *verifier) take(frame frameHead, payload []byte, offset int64) string {
	if (offset == framesStart) != (frame.kind == frameCatalog) {
		return "the catalog of schemas is not where it belongs"
	}
	switch frame.kind {
	case frameCatalog:
		return v.takeCatalog(payload)
	case frameGap:
		from, to, ok := parseGap(payload)
		if !ok || from != v.next {
			return "a gap that does not follow what is before it"
		}
		v.next = to
		return ""
	case frameBatch:
		return v.takeBatch(payload, offset)
	}
	return fmt.Sprintf("frame of unknown kind %d", frame.kind)
}

func (v *verifier) takeCatalog(payload []byte) string {
	versions, err := decodeCatalog(payload)
	if err != nil {
		return "catalog of schemas: " + err.Error()
	}
	for _, s := range versions {
		if err := v.schemas.restore(s); err != nil {
			return "catalog of schemas: " + err.Error()
		}
	}
	return ""
}

func (v *verifier) takeBatch(payload []byte, offset int64) string {
	h, ok := parseBatchHead(payload)
	if !ok {
		return "malformed head of a batch"
	}
	if h.base != v.next {
		return fmt.Sprintf("batch of sequence %d where %d is due", h.base, v.next)
	}
	if len(v.index) >= segmentFramesMax {
		return "more batches than a segment can have"
	}
	sound := eachRecord(payload, h, func(_ uint64, raw []byte) bool {
		head, _, ok := decodeHead(raw)
		return ok && v.schemas.byNumber[head.schema] != nil && head.event >= h.minEvent && head.event <= h.maxEvent
	})
	if !sound {
		return "malformed record in a batch"
	}
	v.next += uint64(h.count)
	v.index = append(v.index, frameIndex{offset, h.minEvent, h.maxEvent, h.count, uint32(len(payload))})
	return ""
}

func appendGap(dst []byte, from, to uint64) []byte {
	return le.AppendUint64(le.AppendUint64(dst, from), to)
}

func parseGap(payload []byte) (from, to uint64, ok bool) {
	if len(payload) != 16 {
		return 0, 0, false
	}
	from, to = le.Uint64(payload), le.Uint64(payload[8:])
	return from, to, from < to
}

// findFrame is the offset of the first sound frame at or behind an offset, or -1.
// The salt makes it as good as certain that nothing passes for a frame which the
// writer did not write, so each byte is read about twice at most.
func findFrame(r io.ReaderAt, salt uint64, offset, end int64) (int64, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(r, offset, max(end-offset, 0)), readAhead)
	for ; end-offset >= frameHeadBytes; offset++ {
		head, err := in.Peek(frameHeadBytes)
		if err != nil {
			return -1, fmt.Errorf("read offset %d: %w", offset, err)
		}
		if _, reason := parseFrameHead(head, salt, offset); reason == "" {
			frames := newFrameReader(r, salt, offset, end)
			if _, reason, err := frames.next(); err != nil || reason == "" {
				return offset, err
			}
		}
		if _, err := in.Discard(1); err != nil {
			return -1, fmt.Errorf("read offset %d: %w", offset, err)
		}
	}
	return -1, nil
}
