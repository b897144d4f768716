// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// zstdDecoder decodes whole frames, each call by itself, from any goroutine.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(PageBytesMax))
})

// decompress unpacks src into dst, whose length is what the page claims; anything else
// is corrupt.
func decompress(codec format.CompressionCodec, dst, src []byte) error {
	n, err := 0, error(nil)
	switch codec {
	case format.Snappy:
		n, err = unsnappy(dst, src)
	case format.Zstd:
		n, err = unzstd(dst, src)
	case format.Gzip:
		var r *gzip.Reader
		if r, err = gzip.NewReader(bytes.NewReader(src)); err == nil {
			n, err = readAll(dst, r)
		}
	case format.Brotli:
		n, err = readAll(dst, brotli.NewReader(bytes.NewReader(src)))
	case format.Lz4Raw:
		n, err = lz4.UncompressBlock(src, dst)
	default:
		return fmt.Errorf("%w: its compression, %v, is not known", ErrUnsupported, codec)
	}
	if err != nil {
		return fmt.Errorf("%w: %v: %w", ErrCorrupt, codec, err)
	}
	if n != len(dst) {
		return fmt.Errorf("%w: %v: %d bytes unpacked, %d claimed", ErrCorrupt, codec, n, len(dst))
	}
	return nil
}

func unsnappy(dst, src []byte) (int, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil || n != len(dst) {
		return n, err // the caller compares the lengths
	}
	_, err = snappy.Decode(dst, src)
	return n, err
}

func unzstd(dst, src []byte) (int, error) {
	d, err := zstdDecoder()
	if err != nil {
		return 0, err
	}
	// A frame that is larger than dst ends in memory of its own, within the decoder's
	// bound.
	out, err := d.DecodeAll(src, dst[:0])
	return len(out), err
}

// readAll fills dst and makes sure that nothing is left.
func readAll(dst []byte, r io.Reader) (int, error) {
	n, err := io.ReadFull(r, dst)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return n, err
	}
	if err == nil {
		var one [1]byte
		if more, _ := io.ReadFull(r, one[:]); more > 0 {
			n++
		}
	}
	return n, nil
}
