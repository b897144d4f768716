// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/bitpack"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Codec is how pages are compressed when they are written.
type Codec uint8

// The codecs.
const (
	// Snappy is fast and read by everything.
	Snappy Codec = iota
	// Zstd is smaller and takes more time.
	Zstd
	// Plain does not compress.
	Plain
)

var codecs = [...]format.CompressionCodec{Snappy: format.Snappy, Zstd: format.Zstd, Plain: format.Uncompressed}

// Column is a column to write.
type Column struct {
	Name string
	// Kind is Bools, Ints, Floats, Times or Texts.
	Kind Kind
	// Single stores Floats in 32 bits.
	Single bool
	// Required columns have no nulls.
	Required bool
}

func (c *Column) physical() format.Type {
	switch {
	case c.Kind == Bools:
		return format.Boolean
	case c.Kind == Floats && c.Single:
		return format.Float
	case c.Kind == Floats:
		return format.Double
	case c.Kind == Texts:
		return format.ByteArray
	}
	return format.Int64
}

// Encoder turns columns of row groups into bytes. It is used by one goroutine; what it
// makes depends on its input alone.
type Encoder struct {
	codec Codec
	zstd  *zstd.Encoder
	dictionary
	plain, packed, out []byte
	indexes            []int32
}

// NewEncoder returns an encoder.
func NewEncoder(c Codec) (*Encoder, error) {
	e := &Encoder{codec: c}
	if c != Zstd {
		return e, nil
	}
	var err error
	e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
	return e, err
}

// Encoded is a column of a row group. Its offsets are from its first byte.
type Encoded struct {
	Bytes   []byte
	meta    format.ColumnMetaData
	indexed bool // it begins with a dictionary
}

// Encode appends the pages of a column to dst. v has a value for each row; its nulls are
// marked in Nulls, for Floats and Bools by NaN instead. A null in a required column is
// an error.
func (e *Encoder) Encode(dst []byte, c *Column, v *Values) (Encoded, error) {
	start := len(dst)
	out := Encoded{meta: format.ColumnMetaData{
		Type: c.physical(), PathInSchema: []string{c.Name}, Codec: codecs[e.codec], NumValues: int64(v.Rows),
		Encoding: []format.Encoding{format.Plain, format.RLE},
	}}
	if err := c.fits(v); err != nil {
		return out, err
	}
	nulls, err := e.levels(c, v)
	if err != nil {
		return out, err
	}
	encoding := format.Plain
	if e.index(c, v) {
		encoding = format.RLEDictionary
		if dst, err = e.dictionaryPage(dst, &out, c); err != nil {
			return out, err
		}
		e.plain = e.appendIndexes(e.plain)
	} else {
		e.plain = appendPlain(e.plain, c, v)
	}
	if len(e.plain) > PageBytesMax {
		return out, fmt.Errorf("%w: column %q: a page of %d bytes; at most %d", ErrUnsupported, c.Name, len(e.plain), PageBytesMax)
	}
	out.meta.DataPageOffset = int64(len(dst) - start)
	dst, err = e.page(dst, &out.meta, e.plain, &format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: int32(v.Rows), Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		}),
	})
	out.meta.Statistics = statistics(c, v)
	out.meta.Statistics.NullCount = int64(nulls)
	out.Bytes = dst[start:]
	return out, err
}

// fits looks for numbers that 32 bits would make infinite.
func (c *Column) fits(v *Values) error {
	if !c.Single {
		return nil
	}
	for _, x := range v.Numbers {
		if math.Abs(x) > math.MaxFloat32 && !math.IsInf(x, 0) {
			return fmt.Errorf("column %q: %g does not fit 32 bits", c.Name, x)
		}
	}
	return nil
}

// dictionaryPage appends the values that were indexed.
func (e *Encoder) dictionaryPage(dst []byte, out *Encoded, c *Column) ([]byte, error) {
	out.indexed = true
	out.meta.Encoding = append(out.meta.Encoding, format.RLEDictionary)
	e.packed = e.dictionary.appendPlain(e.packed[:0], c)
	return e.page(dst, &out.meta, e.packed, &format.PageHeader{
		Type:                 format.DictionaryPage,
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{NumValues: int32(e.dictionary.size()), Encoding: format.Plain}),
	})
}

// page appends a header and the compressed body.
func (e *Encoder) page(dst []byte, meta *format.ColumnMetaData, body []byte, h *format.PageHeader) ([]byte, error) {
	h.UncompressedPageSize = int32(len(body))
	switch e.codec {
	case Snappy:
		e.out = grow(e.out, s2.MaxEncodedLen(len(body)))
		body = s2.EncodeSnappy(e.out, body)
	case Zstd:
		e.out = e.zstd.EncodeAll(body, e.out[:0])
		body = e.out
	}
	h.CompressedPageSize = int32(len(body))
	h.CRC = int32(crc32.ChecksumIEEE(body))
	header, err := thrift.Marshal(new(thrift.CompactProtocol), h)
	if err != nil {
		return nil, err
	}
	meta.TotalUncompressedSize += int64(len(header)) + int64(h.UncompressedPageSize)
	meta.TotalCompressedSize += int64(len(header) + len(body))
	return append(append(dst, header...), body...), nil
}

// levels begins e.plain with who is null, where a column may have nulls, and counts them.
func (e *Encoder) levels(c *Column, v *Values) (nulls int, err error) {
	e.plain = e.plain[:0]
	numbers := c.Kind == Bools || c.Kind == Floats
	for i := range v.Rows {
		if numbers && v.Numbers[i] != v.Numbers[i] || !numbers && len(v.Nulls) > 0 && v.Nulls[i] {
			nulls++
		}
	}
	if c.Required {
		if nulls > 0 {
			return nulls, fmt.Errorf("column %q is required and has %d nulls", c.Name, nulls)
		}
		return 0, nil
	}
	e.plain = append(e.plain, 0, 0, 0, 0)
	if nulls == 0 {
		e.plain = append(binary.AppendUvarint(e.plain, uint64(v.Rows)<<1), 1)
	} else {
		e.plain = binary.AppendUvarint(e.plain, uint64((v.Rows+7)/8)<<1|1)
		at := len(e.plain)
		e.plain = append(e.plain, make([]byte, (v.Rows+7)/8)...)
		for i := range v.Rows {
			if numbers && v.Numbers[i] == v.Numbers[i] || !numbers && !v.Nulls[i] {
				e.plain[at+i/8] |= 1 << (i % 8)
			}
		}
	}
	binary.LittleEndian.PutUint32(e.plain, uint32(len(e.plain)-4))
	return nulls, nil
}

// appendPlain appends the values that are there.
func appendPlain(to []byte, c *Column, v *Values) []byte {
	switch c.Kind {
	case Floats:
		return appendFloats(to, c, v)
	case Bools:
		return appendBools(to, v)
	case Texts:
		for i, x := range v.Texts {
			if len(v.Nulls) == 0 || !v.Nulls[i] {
				to = appendText(to, x)
			}
		}
	default:
		to = slices.Grow(to, 8*v.Rows)
		for i, x := range v.Ints {
			if len(v.Nulls) == 0 || !v.Nulls[i] {
				to = binary.LittleEndian.AppendUint64(to, uint64(x))
			}
		}
	}
	return to
}

func appendFloats(to []byte, c *Column, v *Values) []byte {
	to = slices.Grow(to, 8*v.Rows)
	for _, x := range v.Numbers {
		switch {
		case x != x:
		case c.Single:
			to = binary.LittleEndian.AppendUint32(to, math.Float32bits(float32(x)))
		default:
			to = binary.LittleEndian.AppendUint64(to, math.Float64bits(x))
		}
	}
	return to
}

// appendBools packs them into bits, the first in the lowest.
func appendBools(to []byte, v *Values) []byte {
	n := 0
	for _, x := range v.Numbers {
		if x != x {
			continue
		}
		if n%8 == 0 {
			to = append(to, 0)
		}
		if x != 0 {
			to[len(to)-1] |= 1 << (n % 8)
		}
		n++
	}
	return to
}

func appendText(to []byte, x string) []byte {
	return append(binary.LittleEndian.AppendUint32(to, uint32(len(x))), x...)
}

// appendIndexes appends the width of the indexes and all of them, packed.
func (e *Encoder) appendIndexes(to []byte) []byte {
	width := max(bits.Len(uint(e.dictionary.size()-1)), 1)
	for len(e.indexes)%8 != 0 {
		e.indexes = append(e.indexes, 0)
	}
	to = append(to, byte(width))
	to = binary.AppendUvarint(to, uint64(len(e.indexes)/8)<<1|1)
	at := len(to)
	to = append(to, make([]byte, len(e.indexes)/8*width)...)
	bitpack.Pack(to[at:], e.indexes, uint(width))
	return to
}

// statistics are the least and the greatest value. Texts have none: they may be long.
func statistics(c *Column, v *Values) format.Statistics {
	var low, high []byte
	switch c.Kind {
	case Ints, Times:
		least, most, any := int64(math.MaxInt64), int64(math.MinInt64), false
		for i, x := range v.Ints {
			if len(v.Nulls) == 0 || !v.Nulls[i] {
				least, most, any = min(least, x), max(most, x), true
			}
		}
		if any {
			low, high = binary.LittleEndian.AppendUint64(nil, uint64(least)), binary.LittleEndian.AppendUint64(nil, uint64(most))
		}
	case Floats:
		least, most := math.Inf(1), math.Inf(-1)
		for _, x := range v.Numbers {
			if x < least {
				least = x
			}
			if x > most {
				most = x
			}
		}
		if least <= most {
			low, high = floatBound(c, least, true), floatBound(c, most, false)
		}
	}
	return format.Statistics{MinValue: low, MaxValue: high}
}

// floatBound writes a bound. Zeros may have either sign, so bounds take the one that is
// farther out (parquet.thrift, ColumnOrder).
func floatBound(c *Column, x float64, low bool) []byte {
	if x == 0 {
		x = 0
		if low {
			x = math.Copysign(0, -1)
		}
	}
	if c.Single {
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(x)))
	}
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(x))
}
