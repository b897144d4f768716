// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// ref is the place of a spilled record: number of the file, from 1, and offset. 0 is
// none.
type ref uint64

// refBits is how many bits a ref has: the file numbers have 31.
const refBits = 63

func (r ref) file() uint32  { return uint32(r >> 32) }
func (r ref) offset() int64 { return int64(uint32(r)) }

// errGone means that a spilled record was dropped for SpillBytesMax.
var errGone = errors.New("record is no longer spilled")

const (
	// spillFileBytes is the size of a file.
	spillFileBytes = 64 << 20
	// spillBufferBytes is what is written at once.
	spillBufferBytes = 256 << 10
	spillSuffix      = ".spill"
)

// spill keeps the details of predictions and feedback in files, so that the index in
// memory is small. It is scratch: the log has everything, so nothing is synced. A file
// goes when all that it has is due. It is used by one goroutine.
type spill struct {
	dir     string
	max     int64
	files   map[uint32]*spillFile
	oldest  uint32 // lowest number there may be
	current *spillFile
	buffer  []byte // the end of current, not written yet
	bytes   int64

	fileBytes, bufferBytes int64 // the constants, but for tests
}

type spillFile struct {
	number  uint32
	file    *os.File
	written int64
	due     int64 // when the last of its records is
}

// openSpill empties the folder of what an earlier process left.
func openSpill(dir string, max int64) (*spill, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spill: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), spillSuffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("spill: %w", err)
			}
		}
	}
	return &spill{dir: dir, max: max, files: map[uint32]*spillFile{}, oldest: 1, fileBytes: spillFileBytes, bufferBytes: spillBufferBytes}, nil
}

// append stores a record that may be let go after due.
func (s *spill) append(record []byte, due int64) (ref, error) {
	need := int64(4 + len(record))
	if s.current == nil || s.current.written+int64(len(s.buffer))+need > s.fileBytes {
		if err := s.roll(); err != nil {
			return 0, err
		}
	}
	if len(s.buffer) > 0 && int64(len(s.buffer))+need > s.bufferBytes {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	at := ref(uint64(s.current.number)<<32 | uint64(s.current.written+int64(len(s.buffer))))
	s.buffer = append(binary.LittleEndian.AppendUint32(s.buffer, uint32(len(record))), record...)
	s.current.due = max(s.current.due, due)
	s.bytes += need
	return at, nil
}

func (s *spill) flush() error {
	n, err := s.current.file.WriteAt(s.buffer, s.current.written)
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	s.current.written += int64(n)
	s.buffer = s.buffer[:0]
	return nil
}

// roll begins a new file, and drops the oldest while there is too much.
func (s *spill) roll() error {
	number := uint32(1)
	if s.current != nil {
		if err := s.flush(); err != nil {
			return err
		}
		number = s.current.number + 1
	}
	if number >= 1<<(refBits-32) {
		return fmt.Errorf("%w: spill files: %d of them, open the join again", ErrTooMany, number)
	}
	file, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("%010d%s", number, spillSuffix)))
	if err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	s.current = &spillFile{number: number, file: file, due: math.MinInt64}
	s.files[number] = s.current
	for s.bytes > s.max && s.oldest < number {
		if err := s.drop(s.oldest); err != nil {
			return err
		}
		s.oldest++
	}
	return nil
}

func (s *spill) drop(number uint32) error {
	f := s.files[number]
	if f == nil {
		return nil
	}
	delete(s.files, number)
	s.bytes -= f.written
	return errors.Join(f.file.Close(), os.Remove(f.file.Name()))
}

// expire drops the files all of whose records are due.
func (s *spill) expire(now int64) error {
	for number, f := range s.files {
		if f != s.current && f.due < now {
			if err := s.drop(number); err != nil {
				return err
			}
		}
	}
	return nil
}

// read returns a record. It uses the buffer, grown as needed.
func (s *spill) read(at ref, buffer []byte) ([]byte, error) {
	f := s.files[at.file()]
	if f == nil {
		return buffer, errGone
	}
	if offset := at.offset() - f.written; f == s.current && offset >= 0 {
		size := binary.LittleEndian.Uint32(s.buffer[offset:])
		return append(buffer[:0], s.buffer[offset+4:offset+4+int64(size)]...), nil
	}
	const guess = 1 << 10
	if cap(buffer) < guess {
		buffer = make([]byte, guess)
	}
	n, err := f.file.ReadAt(buffer[:guess], at.offset())
	if n < 4 {
		return buffer, fmt.Errorf("spill: %w", err)
	}
	size := int(binary.LittleEndian.Uint32(buffer))
	if size <= n-4 {
		return buffer[4 : 4+size], nil
	}
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	if _, err := f.file.ReadAt(buffer[:size], at.offset()+4); err != nil {
		return buffer, fmt.Errorf("spill: %w", err)
	}
	return buffer[:size], nil
}

// close removes the files.
func (s *spill) close() error {
	var all []error
	for number := range s.files {
		all = append(all, s.drop(number))
	}
	s.current = nil
	return errors.Join(all...)
}

// appendSpilled encodes a value: a byte for the type, and the content.
func appendSpilled(b []byte, v offline.Value) []byte {
	b = append(b, byte(v.Type()))
	switch v.Type() {
	case offline.TypeInt64, offline.TypeTimestamp:
		b = binary.AppendVarint(b, v.Int64())
	case offline.TypeFloat64:
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float64()))
	case offline.TypeFloat32:
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v.Float32()))
	case offline.TypeBool:
		bit := byte(0)
		if v.Bool() {
			bit = 1
		}
		b = append(b, bit)
	case offline.TypeString, offline.TypeBytes:
		b = appendText(b, v.Text())
	case offline.TypeFloat32List:
		list := v.Float32List()
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, x := range list {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		}
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// unspill decodes what was appended. The bytes are our own of a moment ago, so it does
// not check them; texts are copied.
type unspill struct{ b []byte }

func (u *unspill) uvarint() uint64 {
	x, n := binary.Uvarint(u.b)
	u.b = u.b[n:]
	return x
}

func (u *unspill) varint() int64 {
	x, n := binary.Varint(u.b)
	u.b = u.b[n:]
	return x
}

func (u *unspill) take(n int) []byte {
	b := u.b[:n:n]
	u.b = u.b[n:]
	return b
}

func (u *unspill) bytes() []byte { return u.take(int(u.uvarint())) }
func (u *unspill) text() string  { return string(u.bytes()) }

func (u *unspill) float() float64 {
	return math.Float64frombits(binary.LittleEndian.Uint64(u.take(8)))
}

func (u *unspill) value() offline.Value {
	switch offline.Type(u.take(1)[0]) {
	case offline.TypeInt64:
		return offline.Int64(u.varint())
	case offline.TypeTimestamp:
		return offline.Timestamp(u.varint())
	case offline.TypeFloat64:
		return offline.Float64(u.float())
	case offline.TypeFloat32:
		return offline.Float32(math.Float32frombits(binary.LittleEndian.Uint32(u.take(4))))
	case offline.TypeBool:
		return offline.Bool(u.take(1)[0] != 0)
	case offline.TypeString:
		return offline.String(u.text())
	case offline.TypeBytes:
		return offline.Bytes([]byte(u.text()))
	case offline.TypeFloat32List:
		list := make([]float32, u.uvarint())
		for i := range list {
			list[i] = math.Float32frombits(binary.LittleEndian.Uint32(u.take(4)))
		}
		return offline.Float32List(list)
	}
	return offline.Value{}
}
