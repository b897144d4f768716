// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/parquet-go/parquet-go/encoding/bytestreamsplit"
	"github.com/parquet-go/parquet-go/format"
)

// Decode reads a page. What v had before is lost; its memory is used again.
func (c *Chunk) Decode(i int, v *Values, s *Scratch) error {
	if err := c.decode(&c.pages[i], v, s); err != nil {
		return fmt.Errorf("column %q, page %d: %w", c.leaf.Name, i, err)
	}
	return nil
}

func (c *Chunk) decode(p *page, v *Values, s *Scratch) (err error) {
	defer func() {
		if r := recover(); r != nil { // the codecs may panic over malformed input
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	if err := c.stored(p, s); err != nil {
		return err
	}
	v.reset(c.leaf.Kind, p.rows)
	var body []byte
	var present int
	var encoding format.Encoding
	if p.header.Type == format.DataPage {
		encoding = p.header.DataPageHeader.V.Encoding
		body, present, err = c.levelsV1(p, s)
	} else {
		encoding = p.header.DataPageHeaderV2.V.Encoding
		body, present, err = c.levelsV2(p, s)
	}
	if err != nil {
		return err
	}
	if err := c.values(v, body, present, encoding, s); err != nil {
		return corrupt(err)
	}
	if present < p.rows {
		v.spread(s.levels, present)
	}
	return nil
}

// plainDictionary is how files of older writers say RLE_DICTIONARY.
const plainDictionary format.Encoding = 2

// corrupt marks an error over what a page has in it.
func corrupt(err error) error {
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// stored reads the bytes of a page as they are in the file.
func (c *Chunk) stored(p *page, s *Scratch) error {
	n := int(p.header.CompressedPageSize)
	s.stored = grow(s.stored, n+bitpackPadding)[:n]
	if err := readFull(c.file.reader, s.stored, p.offset); err != nil {
		return err
	}
	if p.header.CRC != 0 && crc32.ChecksumIEEE(s.stored) != uint32(p.header.CRC) {
		return fmt.Errorf("%w: its checksum is wrong", ErrCorrupt)
	}
	return nil
}

// unpack undoes the compression of src. Behind the result are bitpackPadding bytes.
func (c *Chunk) unpack(src []byte, size int, s *Scratch) ([]byte, error) {
	if c.codec == format.Uncompressed {
		return src, nil
	}
	if size < 0 {
		return nil, fmt.Errorf("%w: its levels are longer than the page", ErrCorrupt)
	}
	s.body = grow(s.body, size+bitpackPadding)[:size]
	return s.body, decompress(c.codec, s.body, src)
}

// levelsV1 unpacks a page of the first version, reads who is null into s.levels, and
// returns the encoded values and their number.
func (c *Chunk) levelsV1(p *page, s *Scratch) ([]byte, int, error) {
	body, err := c.unpack(s.stored, int(p.header.UncompressedPageSize), s)
	if err != nil || !c.leaf.Optional {
		return body, p.rows, err
	}
	if e := p.header.DataPageHeader.V.DefinitionLevelEncoding; e != format.RLE {
		return nil, 0, fmt.Errorf("%w: its nulls are encoded as %v", ErrUnsupported, e)
	}
	if len(body) < 4 {
		return nil, 0, corrupt(io.ErrUnexpectedEOF)
	}
	n := binary.LittleEndian.Uint32(body)
	if uint64(n) > uint64(len(body)-4) {
		return nil, 0, corrupt(io.ErrUnexpectedEOF)
	}
	present, err := c.readLevels(p, body[4:4+n], s)
	return body[4+n:], present, err
}

// levelsV2 is like levelsV1 for the second version, where levels are not compressed.
func (c *Chunk) levelsV2(p *page, s *Scratch) ([]byte, int, error) {
	h := &p.header.DataPageHeaderV2.V
	repetition, definition := int(h.RepetitionLevelsByteLength), int(h.DefinitionLevelsByteLength)
	if repetition+definition > len(s.stored) {
		return nil, 0, corrupt(io.ErrUnexpectedEOF)
	}
	present := p.rows
	if c.leaf.Optional {
		var err error
		if present, err = c.readLevels(p, s.stored[repetition:repetition+definition], s); err != nil {
			return nil, 0, err
		}
	}
	body := s.stored[repetition+definition:]
	if h.IsCompressed.Valid && !h.IsCompressed.V {
		return body, present, nil
	}
	body, err := c.unpack(body, int(p.header.UncompressedPageSize)-repetition-definition, s)
	return body, present, err
}

func (c *Chunk) readLevels(p *page, src []byte, s *Scratch) (present int, err error) {
	s.levels = grow(s.levels, p.rows)
	if present, err = hybridBits(s.levels, src); err != nil {
		return 0, fmt.Errorf("%w: its nulls: %w", ErrCorrupt, err)
	}
	return present, nil
}

// values decodes n values into the front of v. body has bitpackPadding bytes behind it.
func (c *Chunk) values(v *Values, body []byte, n int, encoding format.Encoding, s *Scratch) error {
	l := c.leaf
	switch encoding {
	case format.Plain:
		return l.plain(v, body, n, s)
	case plainDictionary, format.RLEDictionary:
		return c.indexed(v, body, n, s)
	case format.RLE:
		if l.physical == format.Boolean {
			return bools(v.Numbers, body, n, s)
		}
	case format.DeltaBinaryPacked:
		if l.physical == format.Int32 || l.physical == format.Int64 {
			return l.deltas(v, body, n, s)
		}
	case format.DeltaLengthByteArray:
		if l.physical == format.ByteArray {
			ends, bytes, err := deltaLengths(s.textEnds[:0], body, n, s)
			return l.joined(v, ends, bytes, err, s)
		}
	case format.DeltaByteArray:
		if l.physical == format.ByteArray || l.physical == format.FixedLenByteArray {
			ends, bytes, err := deltaBytes(s.textEnds[:0], body, n, s)
			return l.joined(v, ends, bytes, err, s)
		}
	case format.ByteStreamSplit:
		if size := l.size(); size > 0 {
			return l.split(v, body, n, size, s)
		}
	}
	return fmt.Errorf("%w: values of %s encoded as %v", ErrUnsupported, l.Stored, encoding)
}

// indexed looks values up in the dictionary of the chunk.
func (c *Chunk) indexed(v *Values, body []byte, n int, s *Scratch) error {
	d, err := c.readDictionary()
	if err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	if n == 0 {
		return nil
	}
	if len(body) == 0 {
		return io.ErrUnexpectedEOF
	}
	s.indexes = grow(s.indexes, n)
	if err := hybridIndexes(s.indexes, body[1:], uint(body[0])); err != nil {
		return err
	}
	if !v.look(d, s.indexes) {
		return fmt.Errorf("an index beyond the %d values of the dictionary", d.Rows)
	}
	return nil
}

// readDictionary decodes the dictionary when it is first asked for. It may wait for
// another goroutine that does.
func (c *Chunk) readDictionary() (*Values, error) {
	d := &c.dictionary
	d.once.Do(func() {
		// Of its own, since the caller's has the page; kept no longer than the call.
		d.err = c.decodeDictionary(&d.values, &Scratch{})
	})
	return &d.values, d.err
}

func (c *Chunk) decodeDictionary(v *Values, s *Scratch) (err error) {
	defer func() {
		if r := recover(); r != nil { // as in decode; a panic would also pass for success later
			err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
	}()
	p := c.dictionaryPage
	if p == nil {
		return fmt.Errorf("%w: it is missing", ErrCorrupt)
	}
	if e := p.header.DictionaryPageHeader.V.Encoding; e != format.Plain && e != plainDictionary {
		return fmt.Errorf("%w: it is encoded as %v", ErrUnsupported, e)
	}
	if err := c.stored(p, s); err != nil {
		return err
	}
	body, err := c.unpack(s.stored, int(p.header.UncompressedPageSize), s)
	if err != nil {
		return err
	}
	v.reset(c.leaf.Kind, p.rows)
	return c.leaf.plain(v, body, p.rows, s)
}

// split puts the bytes of values together that were stored place by place.
func (l *Leaf) split(v *Values, body []byte, n, size int, s *Scratch) error {
	if len(body) != n*size {
		return fmt.Errorf("%d bytes for %d values of %d", len(body), n, size)
	}
	var encoding bytestreamsplit.Encoding
	var err error
	s.plain, err = encoding.DecodeFixedLenByteArray(s.plain[:0], body, size)
	if err != nil {
		return err
	}
	return l.plain(v, s.plain, n, s)
}
