// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// padded is b with the bytes behind it that unpacking may read.
func padded(b []byte) []byte {
	return append(slices.Clip(b), make([]byte, bitpackPadding)...)[:len(b)]
}

// Runs and packed numbers of another library's encoder are unpacked alike, at every width.
func TestHybrid(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for width := 0; width <= 31; width++ {
		for range 30 {
			want := make([]int32, rng.IntN(300))
			for i := range want {
				want[i] = int32(rng.Uint32() & (1<<width - 1))
				if i > 0 && rng.IntN(4) > 0 {
					want[i] = want[i-1]
				}
			}
			e := rle.Encoding{BitWidth: width}
			src, err := e.EncodeInt32(nil, want)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]int32, len(want))
			if err := hybridIndexes(got, padded(src), uint(width)); err != nil || !slices.Equal(got, want) {
				t.Fatalf("width %d: %v: %v, want %v", width, err, got, want)
			}
		}
	}
	want := make([]byte, 1000)
	ones := 0
	for i := range want {
		want[i] = byte(rng.IntN(2))
		ones += int(want[i])
	}
	e := rle.Encoding{BitWidth: 1}
	src, err := e.EncodeLevels(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if n, err := hybridBits(got, src); err != nil || n != ones || !slices.Equal(got, want) {
		t.Fatalf("bits: %d of %d, %v", n, ones, err)
	}
}

func TestDeltas(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var e delta.BinaryPackedEncoding
	for range 300 {
		want := make([]int64, rng.IntN(700))
		for i := range want {
			want[i] = int64(rng.Uint64()) >> rng.IntN(64)
		}
		src, err := e.EncodeInt64(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]int64, len(want))
		if _, err := deltas(got, src); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v: %v, want %v", err, got, want)
		}
		if len(want) > 0 {
			if _, err := deltas(make([]int64, len(want)+1), src); err == nil {
				t.Fatal("one more than there are")
			}
		}
	}
}

func TestHalf(t *testing.T) {
	for bits, want := range map[uint16]float64{0: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: 1.0 / (1 << 24), 0x03ff: 1023.0 / (1 << 24), 0x7c00: math.Inf(1), 0xfc00: math.Inf(-1), 0x3555: 1365.0 / 4096} {
		if got := half(bits); got != want {
			t.Errorf("%#x is %v, want %v", bits, got, want)
		}
	}
	if !math.IsNaN(half(0x7e00)) {
		t.Error("0x7e00 is a number")
	}
}

func TestTimesThatDoNotFit(t *testing.T) {
	v := Values{Ints: []int64{math.MaxInt64, math.MinInt64, 1, -1}}
	l := Leaf{logical: timeValue, perMicro: -1000}
	l.meaning(&v, 4)
	if !slices.Equal(v.Ints, []int64{BadTime, BadTime, 1000, -1000}) {
		t.Error(v.Ints)
	}
	v.Ints = []int64{-1, -1000, 999, 1999}
	l.perMicro = 1000
	l.meaning(&v, 4)
	if !slices.Equal(v.Ints, []int64{-1, -1, 0, 1}) {
		t.Error(v.Ints)
	}
	body := make([]byte, 24)
	binary.LittleEndian.PutUint32(body[8:], 1)
	binary.LittleEndian.PutUint64(body[12:], math.MaxUint64)
	binary.LittleEndian.PutUint32(body[20:], julianUnix)
	got := make([]int64, 2)
	ints96(got, body)
	if got[0] != -(julianUnix-1)*dayMicros || got[1] != BadTime {
		t.Error(got)
	}
}

// Few bytes that claim much are refused without making room for it.
func TestClaims(t *testing.T) {
	if err := hybridIndexes(make([]int32, 8), padded(binary.AppendUvarint(nil, math.MaxUint64)), 4); err == nil {
		t.Error("a run without its value")
	}
	if err := hybridIndexes(make([]int32, 8), padded([]byte{0, 0, 0, 0}), 4); err == nil {
		t.Error("runs without values")
	}
	if err := hybridIndexes(make([]int32, 8), padded([]byte{16, 0, 0, 0, 0, 0}), 33); err == nil {
		t.Error("33 bits")
	}
	header := binary.AppendUvarint(nil, 128)
	header = binary.AppendUvarint(header, 4)
	header = binary.AppendUvarint(header, 1<<40)
	if _, err := deltas(make([]int64, 3), binary.AppendVarint(header, 0)); err == nil {
		t.Error("2^40 differences")
	}
	var s Scratch
	if _, _, err := plainBytes(nil, []byte{255, 255, 255, 255, 1}, 1, &s); err == nil {
		t.Error("a text of 4 GiB")
	}
	p := page{header: format.PageHeader{Type: format.DataPage, UncompressedPageSize: math.MaxInt32}}
	if err := p.check(); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

// Damage anywhere in a file is an error or other values, and never a panic; where pages
// have checksums it is always noticed in them.
func TestDamage(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 25
	}
	paths, err := filepath.Glob("testdata/*.parquet")
	if err != nil || len(paths) == 0 {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range rounds {
			damaged := slices.Clone(data)
			for range 1 + rng.IntN(4) {
				switch at := rng.IntN(len(damaged)); rng.IntN(3) {
				case 0:
					damaged[at] ^= 1 << rng.IntN(8)
				case 1:
					damaged[at] = byte(rng.Uint32())
				default:
					end := min(len(damaged), at+rng.IntN(9))
					copy(damaged[at:end], []byte{255, 255, 255, 255, 255, 255, 255, 255})
				}
			}
			readAnything(damaged)
		}
		for range 20 {
			readAnything(data[:rng.IntN(len(data))])
		}
	}
}

// readAnything reads what can be read.
func readAnything(data []byte) {
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	var v Values
	var s Scratch
	for i := range f.Leaves() {
		l := &f.Leaves()[i]
		if l.Refused != "" {
			continue
		}
		for g := range f.Groups() {
			c, err := f.Chunk(g, l)
			if err != nil {
				continue
			}
			for p := range c.Pages() {
				if c.Decode(p, &v, &s) != nil {
					break
				}
			}
		}
	}
}

// Any bytes as the values of a page of any type and encoding.
func FuzzPage(f *testing.F) {
	types := []Leaf{
		{physical: format.Boolean, Kind: Bools}, {physical: format.Int32, Kind: Ints}, {physical: format.Int64, Kind: Times, logical: timeValue, perMicro: -1000},
		{physical: format.Int96, Kind: Times}, {physical: format.Float, Kind: Floats}, {physical: format.Double, Kind: Floats}, {physical: format.ByteArray, Kind: Texts},
		{physical: format.FixedLenByteArray, Kind: Floats, logical: decimalValue, scale: 3, length: 11}, {physical: format.ByteArray, Kind: Floats, logical: decimalValue},
		{physical: format.FixedLenByteArray, Kind: Texts, logical: uuidValue, length: 16},
	}
	f.Add([]byte{2, 0, 0, 0, 3, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9}, uint8(6), uint8(format.Plain), uint8(3), uint8(format.Uncompressed), true)
	f.Add([]byte{128, 1, 4, 3, 2, 2, 0, 0, 0, 0}, uint8(1), uint8(format.DeltaBinaryPacked), uint8(3), uint8(format.Snappy), false)
	f.Add([]byte{3, 3, 0x88, 0xc6}, uint8(5), uint8(format.RLEDictionary), uint8(8), uint8(format.Zstd), false)
	f.Fuzz(func(t *testing.T, data []byte, kind, encoding, rows, codec uint8, second bool) {
		leaf := types[int(kind)%len(types)]
		leaf.Optional = rows%2 == 0
		c := Chunk{file: &File{reader: bytes.NewReader(data), size: int64(len(data))}, leaf: &leaf, codec: format.CompressionCodec(codec % 8)}
		h := format.PageHeader{CompressedPageSize: int32(len(data)), UncompressedPageSize: int32(len(data))}
		if second {
			h.Type, h.DataPageHeaderV2.Valid = format.DataPageV2, true
			h.DataPageHeaderV2.V = format.DataPageHeaderV2{NumValues: int32(rows), NumRows: int32(rows), Encoding: format.Encoding(encoding % 12), DefinitionLevelsByteLength: int32(codec)}
		} else {
			h.Type, h.DataPageHeader.Valid = format.DataPage, true
			h.DataPageHeader.V = format.DataPageHeader{NumValues: int32(rows), Encoding: format.Encoding(encoding % 12), DefinitionLevelEncoding: format.RLE}
		}
		dictionary := page{rows: int(rows), header: format.PageHeader{CompressedPageSize: int32(len(data)), UncompressedPageSize: int32(len(data))}}
		c.dictionaryPage, c.pages = &dictionary, []page{{header: h, rows: int(rows)}}
		var v Values
		if c.Decode(0, &v, &Scratch{}) == nil && (v.Rows != int(rows) || len(v.Nulls) > 0 && len(v.Nulls) != v.Rows) {
			t.Fatalf("%d rows and %d marks, not %d", v.Rows, len(v.Nulls), rows)
		}
	})
}

func TestChecksums(t *testing.T) {
	columns := []Column{{Name: "i", Kind: Ints}}
	data := write(t, Plain, columns, [][]*Values{{{Rows: 3, Ints: []int64{1, 22, 333}}}})
	at := bytes.Index(data, binary.LittleEndian.AppendUint64(nil, 22))
	data[at] ^= 4
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Chunk(0, &f.Leaves()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Decode(0, &Values{}, &Scratch{}); !errors.Is(err, ErrCorrupt) {
		t.Error("a wrong checksum:", err)
	}
}
