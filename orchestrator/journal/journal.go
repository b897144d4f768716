// SPDX-License-Identifier: Apache-2.0

// Package journal keeps records in a file that is only ever appended to, so that what was
// acknowledged is there after a crash.
//
// A journal is a text file of lines; it can be read with any pager:
//
//	8 hex digits   CRC-32C (Castagnoli) of the payload
//	1 space
//	payload        any bytes but a line feed, 1 to PayloadBytesMax
//	1 line feed
//
// The first line's payload names the format, "millrace journal 1".
//
// Invariants. J1: what Sync returned for is read back, in order. J2: what is read back is
// a prefix of what was appended. J3: a line that cannot be read and has good lines behind
// it is corruption and reported with its place (ErrCorrupt); one at the end, or a run of
// zero bytes, is a write that a crash cut short, and is removed when the journal is opened.
// J4: after a failed Append the file is as before, or the journal refuses all work.
//
// Concurrency: a Journal may be used from many goroutines; syncs of several of them are
// shared. One process may have a journal open at a time, which its owner sees to; Read
// may run beside it in any process.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// PayloadBytesMax is the size of the largest payload.
const PayloadBytesMax = 4 << 20

const (
	header    = "millrace journal 1"
	sumDigits = 8
)

var (
	// ErrCorrupt means that the file was damaged after it was written: restore it, or move it
	// away and begin anew.
	ErrCorrupt = errors.New("the journal is damaged")
	// ErrPayload means that a payload is empty, too large or has a line feed.
	ErrPayload = errors.New("invalid journal payload")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// file is what the journal asks of an open file: the seam where tests inject faults.
type file interface {
	io.Writer
	io.Closer
	Sync() error
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
}

// Journal is an open journal.
type Journal struct {
	path string
	mu   struct {
		sync.Mutex
		file   file
		size   int64 // of the good part of the file
		broken error // set for good when the file's state is not known any more
		buffer []byte
	}
	// syncing is held while a sync runs. Lock order: syncing -> mu.
	syncing struct {
		sync.Mutex
		until int64 // what is durable
	}
}

// Open reads a journal from its beginning, handing each payload to each, which may not
// keep it; it makes the file if there is none. removed is the number of bytes of a torn
// end, which are cut off.
func Open(path string, each func(payload []byte) error) (j *Journal, removed int64, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, 0, fmt.Errorf("open journal: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	good, all, err := scan(path, f, each)
	if err != nil {
		return nil, 0, err
	}
	j = &Journal{path: path}
	j.mu.file, j.mu.size = f, good
	if all > good {
		if err := f.Truncate(good); err != nil {
			return nil, 0, fmt.Errorf("journal %s: cut off its torn end: %w", path, err)
		}
	}
	if _, err := f.Seek(good, io.SeekStart); err != nil {
		return nil, 0, fmt.Errorf("journal %s: %w", path, err)
	}
	if good == 0 {
		if _, err := j.Append([]byte(header)); err != nil {
			return nil, 0, err
		}
	}
	if err := j.Sync(j.Size()); err != nil {
		return nil, 0, err
	}
	return j, all - good, syncDir(filepath.Dir(path))
}

// Read hands the payloads of a journal, which another process may be writing, to each. A
// line being written is left out. No file is an empty journal.
func Read(path string, each func(payload []byte) error) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	_, _, err = scan(path, f, each)
	return errors.Join(err, f.Close())
}

// Size is the number of bytes of the journal, durable or not.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.size
}

// Append writes payloads at the end, all or none, and returns the size to Sync to have
// them durable. They survive the end of this process at once, that of the machine after
// the Sync.
func (j *Journal) Append(payloads ...[]byte) (end int64, err error) {
	for _, p := range payloads {
		if len(p) == 0 || len(p) > PayloadBytesMax || bytes.IndexByte(p, '\n') >= 0 {
			return 0, fmt.Errorf("%w: %d bytes, of 1 to %d without line feeds", ErrPayload, len(p), PayloadBytesMax)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.broken != nil {
		return 0, j.mu.broken
	}
	lines := j.mu.buffer[:0]
	for _, p := range payloads {
		lines = appendLine(lines, p)
	}
	j.mu.buffer = lines[:0]
	if cap(lines) > 1<<20 {
		j.mu.buffer = nil
	}
	if _, err := j.mu.file.Write(lines); err != nil {
		return 0, j.takeBackLocked(fmt.Errorf("journal %s: append: %w", j.path, err))
	}
	j.mu.size += int64(len(lines))
	return j.mu.size, nil
}

// takeBackLocked removes what a failed write may have left. j.mu must be held.
func (j *Journal) takeBackLocked(cause error) error {
	err := j.mu.file.Truncate(j.mu.size)
	if err == nil {
		_, err = j.mu.file.Seek(j.mu.size, io.SeekStart)
	}
	if err != nil {
		j.mu.broken = fmt.Errorf("%w; then take it back: %w; open it again", cause, err)
		return j.mu.broken
	}
	return cause
}

// Sync makes the first until bytes durable. Calls that wait for one another share a sync.
func (j *Journal) Sync(until int64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if j.syncing.until >= until {
		return nil
	}
	j.mu.Lock()
	f, size, broken := j.mu.file, j.mu.size, j.mu.broken
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := f.Sync(); err != nil {
		// What the system did with the pages is not known after this: another sync may say
		// yes to bytes that are lost.
		err = fmt.Errorf("journal %s: sync: %w; open it again", j.path, err)
		j.mu.Lock()
		j.mu.broken = err
		j.mu.Unlock()
		return err
	}
	j.syncing.until = size
	return nil
}

// Rewrite puts a shorter journal in place of this one: write is called once and hands its
// payloads to emit. Appends wait. The old journal stays if anything fails.
func (j *Journal) Rewrite(write func(emit func(payload []byte) error) error) (err error) {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.broken != nil {
		return j.mu.broken
	}
	temp := j.path + ".new"
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o666)
	if err != nil {
		return fmt.Errorf("rewrite journal: %w", err)
	}
	size, err := writeAll(f, write)
	if err == nil {
		err = os.Rename(temp, j.path)
	}
	if err != nil {
		return fmt.Errorf("rewrite journal %s: %w", j.path, errors.Join(err, f.Close(), os.Remove(temp)))
	}
	old := j.mu.file
	j.mu.file, j.mu.size, j.syncing.until = f, size, size
	return errors.Join(old.Close(), syncDir(filepath.Dir(j.path)))
}

func writeAll(f *os.File, write func(emit func(payload []byte) error) error) (size int64, err error) {
	var lines []byte
	flush := func() error {
		n, err := f.Write(lines)
		size += int64(n)
		lines = lines[:0]
		return err
	}
	lines = appendLine(lines, []byte(header))
	err = write(func(p []byte) error {
		lines = appendLine(lines, p)
		if len(lines) >= 64<<10 {
			return flush()
		}
		return nil
	})
	return size + int64(len(lines)), errors.Join(err, flush(), f.Sync())
}

// Close syncs and closes the file.
func (j *Journal) Close() error {
	err := j.Sync(j.Size())
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.broken == nil {
		j.mu.broken = fmt.Errorf("journal %s: %w", j.path, os.ErrClosed)
	}
	return errors.Join(err, j.mu.file.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
