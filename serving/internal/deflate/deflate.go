// SPDX-License-Identifier: Apache-2.0

// Package deflate gives gRPC the message compression that its specification calls
// "deflate": a zlib stream (RFC 1950) per message. Importing the package registers
// it, for requests and replies.
//
// Readers and writers are pooled, as a writer's tables take most of a megabyte. Each
// is used by one goroutine between the call that hands it out and its Close. How
// far a message may expand is bounded by gRPC, which stops reading at the size
// limit for received messages.
package deflate

import (
	"compress/zlib"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
)

// Name is the compressor's name in the grpc-encoding header.
const Name = "deflate"

func init() { encoding.RegisterCompressor(&compressor{level: zlib.DefaultCompression}) }

// SetLevel sets how hard deflate and gzip compress: 0 not at all, 1 fast, 9 small,
// -1 the default between. It must be called before the first server or client is
// made.
func SetLevel(level int) error {
	if level < zlib.DefaultCompression || level > zlib.BestCompression {
		return fmt.Errorf("compression level %d: want -1 (default) or 0 (none) to 9 (smallest)", level)
	}
	encoding.RegisterCompressor(&compressor{level: level})
	return gzip.SetLevel(level)
}

type compressor struct {
	level            int
	readers, writers sync.Pool
}

var _ encoding.Compressor = (*compressor)(nil)

func (c *compressor) Name() string { return Name }

// Compress implements encoding.Compressor. Close ends the stream.
func (c *compressor) Compress(to io.Writer) (io.WriteCloser, error) {
	w, pooled := c.writers.Get().(*writer)
	if !pooled {
		z, err := zlib.NewWriterLevel(io.Discard, c.level)
		if err != nil {
			return nil, err
		}
		w = &writer{Writer: z, home: &c.writers}
	}
	w.to.Writer = to
	w.Reset(&w.to)
	return w, nil
}

// writer is a pooled zlib writer. It reaches its target through to, which a writer
// in the pool can let go of without the cost of a second Reset.
type writer struct {
	*zlib.Writer
	to   struct{ io.Writer }
	home *sync.Pool
}

// Close ends the stream and gives the writer up; it is called once.
func (w *writer) Close() error {
	err := w.Writer.Close()
	w.to.Writer = nil
	w.home.Put(w)
	return err
}

// Decompress implements encoding.Compressor. The reader it returns is to be closed.
func (c *compressor) Decompress(from io.Reader) (io.Reader, error) {
	r, pooled := c.readers.Get().(*reader)
	if !pooled {
		z, err := zlib.NewReader(from)
		if err != nil {
			return nil, err
		}
		return &reader{zlibReader: z.(zlibReader), home: &c.readers}, nil
	}
	if err := r.Reset(from, nil); err != nil {
		c.readers.Put(r)
		return nil, err
	}
	return r, nil
}

// zlibReader is what zlib.NewReader documents its result to be.
type zlibReader interface {
	io.ReadCloser
	zlib.Resetter
}

// reader is a pooled zlib reader.
type reader struct {
	zlibReader
	home *sync.Pool
}

// Close gives the reader up; it is called once, at the end of the message or before.
func (r *reader) Close() error {
	err := r.zlibReader.Close()
	r.home.Put(r)
	return err
}
