// SPDX-License-Identifier: Apache-2.0

package source

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// part is a file or a query: what an input consists of.
type part struct {
	input int // of the source
	in    *definition.Input
	name  string // for messages
	path  string // of a file
	size  int64  // of a file, in bytes
}

// parts lists what the inputs of a source are made of.
func parts(s *definition.Source, wanted func(int) bool) ([]part, error) {
	var all []part
	for i := range s.Inputs {
		if wanted != nil && !wanted(i) {
			continue
		}
		in := &s.Inputs[i]
		found, err := partsOf(in)
		if err != nil {
			return nil, fmt.Errorf("input %d: %w", i+1, err)
		}
		for _, p := range found {
			p.input, p.in = i, in
			all = append(all, p)
		}
	}
	return all, nil
}

func partsOf(in *definition.Input) ([]part, error) {
	switch in.Format {
	case definition.PostgreSQL:
		name, err := databaseName(in)
		return []part{{name: name, size: -1}}, err
	case definition.CSV, definition.Parquet, definition.JSONLines:
	default:
		return nil, fmt.Errorf("%w: it has no known format", ErrInput)
	}
	paths, err := files(in.Path)
	if err != nil {
		return nil, err
	}
	var found []part
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInput, err)
		}
		if info.IsDir() {
			return nil, fmt.Errorf("%w: %s is a folder; name its files, as %s", ErrInput, path, filepath.Join(path, "*."+in.Format.String()))
		}
		found = append(found, part{name: path, path: path, size: info.Size()})
	}
	return found, nil
}

// files are those that a path names, itself or as a pattern, in order.
func files(path string) ([]string, error) {
	if _, err := os.Lstat(path); err == nil {
		return []string{path}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	found, err := filepath.Glob(path) // it sorts
	if err != nil {
		return nil, fmt.Errorf("%w: the pattern %s: %w", ErrInput, path, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: no file %s", ErrInput, path)
	}
	return found, nil
}

// stream reads a text file, unpacked if its name ends in .gz or .zst, and counts the
// bytes read of the file.
type stream struct {
	io.Reader
	file   *os.File
	unpack io.Closer
	read   atomic.Int64
}

// zstdWindowMax bounds the memory that unpacking takes.
const zstdWindowMax = 64 << 20

func openStream(path string) (*stream, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	s := &stream{file: file}
	counted := counter{file, &s.read}
	switch {
	case strings.HasSuffix(path, ".gz"):
		z, err := gzip.NewReader(counted)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrInput, err), file.Close())
		}
		s.Reader, s.unpack = z, z
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(counted, zstd.WithDecoderMaxWindow(zstdWindowMax), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrInput, err), file.Close())
		}
		s.Reader, s.unpack = z, z.IOReadCloser()
	default:
		s.Reader = counted
	}
	return s, nil
}

type counter struct {
	in io.Reader
	n  *atomic.Int64
}

func (c counter) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// Close lets the file go.
func (s *stream) Close() error {
	var err error
	if s.unpack != nil {
		err = s.unpack.Close()
	}
	return errors.Join(err, s.file.Close())
}
