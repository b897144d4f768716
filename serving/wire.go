// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// The protobuf wire format, as far as inference messages need it, without
// reflection and without copying: fields are returned as slices of the message.

type wireType uint8

const (
	wireVarint  wireType = 0
	wireFixed64 wireType = 1
	wireBytes   wireType = 2
	wireFixed32 wireType = 5
)

var errTruncated = errors.New("message ends inside a field")

// field is one field of a message: number, wire type, and its value, which is in
// bytes for wireBytes and in varint otherwise.
type field struct {
	number int
	kind   wireType
	varint uint64
	bytes  []byte
}

// nextField splits the first field off message. Groups, long obsolete, are refused.
func nextField(message []byte) (f field, rest []byte, err error) {
	tag, rest, err := nextVarint(message)
	if err != nil {
		return f, nil, err
	}
	if tag>>3 == 0 || tag>>3 > 1<<29-1 {
		return f, nil, fmt.Errorf("field number %d is out of range", tag>>3)
	}
	f.number, f.kind = int(tag>>3), wireType(tag&7)
	switch f.kind {
	case wireBytes:
		n, tail, err := nextVarint(rest)
		if err != nil {
			return f, nil, err
		}
		if n > uint64(len(tail)) {
			return f, nil, errTruncated
		}
		f.bytes, rest = tail[:n], tail[n:]
	case wireVarint:
		f.varint, rest, err = nextVarint(rest)
	case wireFixed64:
		if len(rest) < 8 {
			return f, nil, errTruncated
		}
		f.varint, rest = binary.LittleEndian.Uint64(rest), rest[8:]
	case wireFixed32:
		if len(rest) < 4 {
			return f, nil, errTruncated
		}
		f.varint, rest = uint64(binary.LittleEndian.Uint32(rest)), rest[4:]
	default:
		return f, nil, fmt.Errorf("field %d has wire type %d, which is not allowed", f.number, f.kind)
	}
	return f, rest, err
}

// nextVarint splits a varint off b.
func nextVarint(b []byte) (v uint64, rest []byte, err error) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), b[1:], nil
	}
	v, n := binary.Uvarint(b)
	if n > 0 {
		return v, b[n:], nil
	}
	if n == 0 {
		return 0, nil, errTruncated
	}
	return 0, nil, errors.New("a varint is longer than 64 bits")
}

// tagSize is the size of a tag with a field number below 16, which all fields of
// the messages written here have.
const tagSize = 1

func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// bytesFieldSize is the size of a length-delimited field with n bytes of content.
func bytesFieldSize(n int) int { return tagSize + varintSize(uint64(n)) + n }

func appendTag(b []byte, number int, kind wireType) []byte {
	return append(b, byte(number<<3)|byte(kind))
}

// appendBytesHeader writes tag and length of a length-delimited field.
func appendBytesHeader(b []byte, number, length int) []byte {
	return binary.AppendUvarint(appendTag(b, number, wireBytes), uint64(length))
}

func appendBytesField[T ~[]byte | ~string](b []byte, number int, content T) []byte {
	return append(appendBytesHeader(b, number, len(content)), content...)
}
