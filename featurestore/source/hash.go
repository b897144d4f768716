// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// Hash says what an input of a source has in it: for a file the SHA-256 of its bytes, as
// sha256sum prints it; for a pattern that of the names and hashes of its files; for a
// query that of its rows, which an "order by" makes the same each time. Size is in bytes,
// for a query of what was hashed.
func Hash(ctx context.Context, s *definition.Source, input int) (sum [32]byte, size int64, err error) {
	in := &s.Inputs[input]
	found, err := partsOf(in)
	if err != nil {
		return sum, 0, fmt.Errorf("source %s: input %d: %w", s.Name, input+1, err)
	}
	if in.Format == definition.PostgreSQL {
		return hashRows(ctx, s, input)
	}
	all := sha256.New()
	for _, p := range found {
		one, n, err := HashFile(ctx, p.path)
		if err != nil {
			return sum, 0, fmt.Errorf("source %s: %w", s.Name, err)
		}
		if len(found) == 1 {
			return one, n, nil
		}
		size += n
		all.Write([]byte(filepath.Base(p.path)))
		all.Write([]byte{0})
		all.Write(one[:])
	}
	return [32]byte(all.Sum(nil)), size, nil
}

// HashFile is the SHA-256 of a file and its size.
func HashFile(ctx context.Context, path string) (sum [32]byte, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, 0, err
	}
	h := sha256.New()
	buffer := make([]byte, blockBytes)
	for err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		var n int
		n, err = f.Read(buffer)
		h.Write(buffer[:n])
		size += int64(n)
	}
	if closed := f.Close(); err == io.EOF {
		err = closed
	}
	return [32]byte(h.Sum(nil)), size, err
}

// hashRows hashes the values of all rows that can be read, and how many cannot.
func hashRows(ctx context.Context, s *definition.Source, input int) (sum [32]byte, size int64, err error) {
	r, err := Open(ctx, s, Options{BadRowsMax: -1, Input: func(i int) bool { return i == input }})
	if err != nil {
		return sum, 0, err
	}
	defer func() {
		if closed := r.Close(); err == nil {
			err = closed
		}
	}()
	h := sha256.New()
	var b column.Batch
	var row []byte
	for {
		more, err := r.Next(&b)
		if err != nil {
			return sum, 0, err
		}
		if !more {
			break
		}
		for i := range b.Rows {
			row = appendRow(row[:0], &b, i)
			size += write(h, row)
		}
	}
	var bad [8]byte
	binary.LittleEndian.PutUint64(bad[:], uint64(r.BadCount()))
	size += write(h, bad[:])
	return [32]byte(h.Sum(nil)), size, nil
}

func write(h hash.Hash, b []byte) int64 {
	n, _ := h.Write(b) // a hash takes everything
	return int64(n)
}

// appendRow writes the values of a row so that no two rows look alike.
func appendRow(to []byte, b *column.Batch, row int) []byte {
	for i := range b.Columns {
		c := &b.Columns[i]
		if c.Null(row) {
			to = append(to, 0)
			continue
		}
		to = append(to, byte(c.Type))
		switch c.Type {
		case column.String:
			to = binary.AppendUvarint(to, uint64(len(c.Texts[row])))
			to = append(to, c.Texts[row]...)
		case column.Int64, column.Timestamp:
			to = binary.LittleEndian.AppendUint64(to, uint64(c.Ints[row]))
		default:
			to = binary.LittleEndian.AppendUint64(to, math.Float64bits(c.Numbers[row]))
		}
	}
	return to
}
