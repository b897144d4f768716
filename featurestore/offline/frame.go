// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
)

// The layout of segments; see the package comment.
const (
	segmentMagic     = "MLRSEG\x00\x01" // the last byte is the version of the format
	headerBytes      = 48
	framesStart      = 2 * headerBytes
	frameMagic       = 0x31524d46 // "FMR1"
	frameHeadBytes   = 20
	batchHeadBytes   = 32
	framePayloadMax  = batchHeadBytes + GroupBytesMax + RecordBytesMax + 64
	segmentFramesMax = 1 << 16
)

const (
	frameCatalog = 1 // the schemas that records of the segment may have
	frameBatch   = 2 // records
	frameGap     = 3 // sequences that a repair could not save
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// segmentHeader begins a segment, twice over.
type segmentHeader struct {
	number  uint64
	base    uint64 // sequence of the first record
	salt    uint64 // random, so bytes of a record cannot pass for a frame
	created int64  // microseconds
}

func (h *segmentHeader) appendTo(dst []byte) []byte {
	for range 2 {
		start := len(dst)
		dst = append(dst, segmentMagic...)
		dst = le.AppendUint64(dst, h.number)
		dst = le.AppendUint64(dst, h.base)
		dst = le.AppendUint64(dst, h.salt)
		dst = le.AppendUint64(dst, uint64(h.created))
		dst = le.AppendUint32(dst, 0)
		dst = le.AppendUint32(dst, checksum(dst[start:]))
	}
	return dst
}

// parseHeader takes either copy of the header.
func parseHeader(b []byte) (h segmentHeader, reason string) {
	reason = "the file is shorter than a segment header"
	for start := 0; start+headerBytes <= len(b) && start < framesStart; start += headerBytes {
		c := b[start : start+headerBytes]
		switch {
		case string(c[:7]) != segmentMagic[:7]:
			reason = "this is no segment of an event log"
		case le.Uint32(c[44:]) != checksum(c[:44]):
			reason = "checksum of the header does not match"
		case c[7] != segmentMagic[7]:
			return h, fmt.Sprintf("format version %d, this program knows %d", c[7], segmentMagic[7])
		default:
			return segmentHeader{le.Uint64(c[8:]), le.Uint64(c[16:]), le.Uint64(c[24:]), int64(le.Uint64(c[32:]))}, ""
		}
	}
	return h, reason
}

// sealFrame fills in the head of a frame whose payload begins at frameHeadBytes.
func sealFrame(frame []byte, kind byte, salt uint64, offset int64) {
	payload := frame[frameHeadBytes:]
	le.PutUint32(frame, frameMagic)
	le.PutUint32(frame[4:], uint32(kind))
	le.PutUint32(frame[8:], uint32(len(payload)))
	le.PutUint32(frame[12:], checksum(payload))
	le.PutUint32(frame[16:], headChecksum(frame, salt, offset))
}

func headChecksum(head []byte, salt uint64, offset int64) uint32 {
	var place [16]byte
	le.PutUint64(place[:], salt)
	le.PutUint64(place[8:], uint64(offset))
	return crc32.Update(checksum(place[:]), castagnoli, head[:16])
}

// frameHead is a checked head of a frame.
type frameHead struct {
	kind  byte
	bytes int
	crc   uint32
}

func parseFrameHead(b []byte, salt uint64, offset int64) (frameHead, string) {
	switch {
	case le.Uint32(b) != frameMagic:
		return frameHead{}, "no frame begins here"
	case le.Uint32(b[16:]) != headChecksum(b, salt, offset):
		return frameHead{}, "checksum of the frame's head does not match"
	case le.Uint32(b[8:]) > framePayloadMax:
		return frameHead{}, "the frame is longer than any can be"
	}
	return frameHead{kind: b[4], bytes: int(le.Uint32(b[8:])), crc: le.Uint32(b[12:])}, ""
}

// batchHead describes the records of a batch.
type batchHead struct {
	base               uint64
	count              uint32
	minEvent, maxEvent int64
}

func newBatchHead(base uint64) batchHead {
	return batchHead{base: base, minEvent: math.MaxInt64, maxEvent: math.MinInt64}
}

func (h *batchHead) put(b []byte) {
	le.PutUint64(b, h.base)
	le.PutUint32(b[8:], h.count)
	le.PutUint32(b[12:], 0)
	le.PutUint64(b[16:], uint64(h.minEvent))
	le.PutUint64(b[24:], uint64(h.maxEvent))
}

func parseBatchHead(payload []byte) (h batchHead, ok bool) {
	if len(payload) < batchHeadBytes {
		return h, false
	}
	h = batchHead{le.Uint64(payload), le.Uint32(payload[8:]), int64(le.Uint64(payload[16:])), int64(le.Uint64(payload[24:]))}
	// The smallest record bounds the count by the bytes that are there.
	return h, h.count > 0 && int64(h.count)*(4+recordHeadBytes) <= int64(len(payload)) && h.base+uint64(h.count) > h.base
}

// eachRecord walks the encoded records of a batch and tells whether it is sound.
func eachRecord(payload []byte, h batchHead, visit func(sequence uint64, raw []byte) bool) bool {
	rest := payload[batchHeadBytes:]
	for i := range uint64(h.count) {
		if len(rest) < 4 {
			return false
		}
		n := int64(le.Uint32(rest))
		if n > int64(len(rest)-4) {
			return false
		}
		if !visit(h.base+i, rest[4:4+n:4+n]) {
			return false
		}
		rest = rest[4+n:]
	}
	return len(rest) == 0
}

// catalogEntry is a schema as a catalog frame and a manifest store it.
type catalogEntry struct {
	Number uint32 `json:"number"`
	Schema
}

func encodeCatalog(versions []*version) []byte {
	entries := make([]catalogEntry, len(versions))
	for i, v := range versions {
		entries[i] = catalogEntry{v.number, v.schema}
	}
	payload, err := json.Marshal(entries)
	if err != nil {
		panic("offline: a schema has no JSON: " + err.Error())
	}
	return payload
}

func decodeCatalog(payload []byte) ([]*version, error) {
	var entries []catalogEntry
	if err := json.Unmarshal(payload, &entries); err != nil {
		return nil, err
	}
	if len(entries) > schemasMax {
		return nil, fmt.Errorf("%d schemas, at most %d can be", len(entries), schemasMax)
	}
	versions := make([]*version, len(entries))
	for i, e := range entries {
		if err := e.validate(); err != nil {
			return nil, err
		}
		versions[i] = &version{e.Number, e.Schema}
	}
	return versions, nil
}
