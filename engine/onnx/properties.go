// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// Field numbers of ModelProto and StringStringEntryProto in onnx.proto.
const (
	modelMetadataField = 14
	propertyKeyField   = 1
	propertyValueField = 2
)

// Bounds of what ReadProperties keeps.
const (
	propertiesMax     = 4096
	propertyBytesMax  = 4 << 20
	propertiesFileMax = 1 << 20 // messages of a file's top level
)

// ReadProperties reads the metadata of the model in a file and skips all else: it takes
// microseconds whatever the model's size. Errors wrap ErrCorrupt or are those of the file
// system.
func ReadProperties(path string) ([]Property, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &topLevel{file: f, size: info.Size()}
	r.buffer.Reset(f)
	all, err := r.properties()
	if err != nil {
		return nil, fmt.Errorf("model file %s: %w", path, err)
	}
	return all, nil
}

// topLevel walks over the fields of a message in a file.
type topLevel struct {
	file   io.Seeker
	buffer bufio.Reader
	at     int64
	size   int64
}

func (r *topLevel) properties() (all []Property, err error) {
	for range propertiesFileMax {
		if r.at == r.size {
			return all, nil
		}
		tag, err := r.varint()
		if err != nil {
			return nil, err
		}
		switch tag & 7 {
		case 0:
			_, err = r.varint()
		case 1:
			err = r.skip(8)
		case 5:
			err = r.skip(4)
		case 2:
			if all, err = r.field(tag>>3, all); err != nil {
				return nil, err
			}
		default:
			err = fmt.Errorf("%w: wire type %d at byte %d", ErrCorrupt, tag&7, r.at)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: more than %d fields", ErrCorrupt, propertiesFileMax)
}

// field reads a field with a length, and keeps it if it is a property.
func (r *topLevel) field(number uint64, all []Property) ([]Property, error) {
	length, err := r.varint()
	if err != nil {
		return nil, err
	}
	if length > uint64(r.size-r.at) {
		return nil, fmt.Errorf("%w: field %d has %d bytes, the file only %d more", ErrCorrupt, number, length, r.size-r.at)
	}
	if number != modelMetadataField {
		return all, r.skip(int64(length))
	}
	if length > propertyBytesMax || len(all) == propertiesMax {
		return nil, fmt.Errorf("%w: more metadata than %d entries of %d bytes", ErrCorrupt, propertiesMax, propertyBytesMax)
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(&r.buffer, data); err != nil {
		return nil, err
	}
	r.at += int64(length)
	p, err := parseProperty(data)
	return append(all, p), err
}

func (r *topLevel) varint() (uint64, error) {
	v, err := binary.ReadUvarint(counted{r})
	if err != nil {
		return 0, fmt.Errorf("%w: the file ends, or has no number, at byte %d", ErrCorrupt, r.at)
	}
	return v, nil
}

// skip goes on without reading where that is far.
func (r *topLevel) skip(n int64) error {
	if n > r.size-r.at {
		return fmt.Errorf("%w: the file ends within a field", ErrCorrupt)
	}
	r.at += n
	if n <= int64(r.buffer.Buffered()) {
		_, err := r.buffer.Discard(int(n))
		return err
	}
	if _, err := r.file.Seek(r.at, io.SeekStart); err != nil {
		return err
	}
	r.buffer.Reset(r.file.(io.Reader))
	return nil
}

// counted reads single bytes and counts them.
type counted struct{ *topLevel }

func (c counted) ReadByte() (byte, error) {
	b, err := c.buffer.ReadByte()
	if err == nil {
		c.at++
	}
	return b, err
}

// parseProperty reads a StringStringEntryProto; the last of several fields counts.
func parseProperty(data []byte) (p Property, err error) {
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 || tag&7 != 2 {
			return p, fmt.Errorf("%w: a metadata entry that is none", ErrCorrupt)
		}
		data = data[n:]
		length, n := binary.Uvarint(data)
		if n <= 0 || length > uint64(len(data)-n) {
			return p, fmt.Errorf("%w: a metadata entry is cut", ErrCorrupt)
		}
		text := string(data[n : n+int(length)])
		data = data[n+int(length):]
		if !utf8.ValidString(text) {
			return p, fmt.Errorf("%w: a metadata entry is not UTF-8", ErrCorrupt)
		}
		switch tag >> 3 {
		case propertyKeyField:
			p.Key = text
		case propertyValueField:
			p.Value = text
		}
	}
	return p, nil
}
