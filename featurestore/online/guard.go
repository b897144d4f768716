// SPDX-License-Identifier: Apache-2.0

package online

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// health is what is known of the disk.
type health struct {
	failures atomic.Int64
	mu       struct {
		sync.Mutex
		err  error
		next chan struct{} // closed at the next failure; nil if nobody waits for that
	}
}

func (h *health) failed(err error) {
	h.failures.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.err = err
	if h.mu.next != nil {
		close(h.mu.next)
		h.mu.next = nil
	}
}

func (h *health) recovered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.err = nil
}

func (h *health) failing() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mu.err
}

// nextFailure is closed when something fails from now on.
func (h *health) nextFailure() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.next == nil {
		h.mu.next = make(chan struct{})
	}
	return h.mu.next
}

// guard is the file system under Pebble, which ends the process when it cannot write its
// manifest, and repeats what else failed without a pause. So here
//
//   - what belongs to the manifest is repeated in place until it succeeds,
//   - a write of anything else that finds the disk full is repeated in place too,
//   - any other failure waits a moment before it is reported,
//   - and writing rests as long as it works, unless somebody waits for a checkpoint:
//     else two goroutines of Pebble can keep two cores from requests for 10 ms at a time.
//
// Only writes wait, which nobody who reads or pushes depends on. Once the guard is
// stopped nothing more is written or removed, as if the process had ended there.
type guard struct {
	vfs.FS
	health *health
	// serving is set once the store is open. Before that a full disk is an error.
	serving atomic.Bool
	// hurry is how many wait for a checkpoint.
	hurry     atomic.Int32
	stop      chan struct{}
	waitLimit time.Duration
}

const guardWaitMin = time.Millisecond

var errStopped = errors.New("the store is being closed")

func newGuard(inner vfs.FS, h *health, waitLimit time.Duration) *guard {
	return &guard{FS: inner, health: h, stop: make(chan struct{}), waitLimit: waitLimit}
}

func (g *guard) stopped() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// try runs a step of writing. critical ones are repeated whatever fails, and others
// only while the disk is full.
func (g *guard) try(critical bool, step func() error) error {
	for wait := guardWaitMin; ; wait = min(2*wait, g.waitLimit) {
		if g.stopped() {
			return errStopped
		}
		err := step()
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			return err
		}
		g.health.failed(err)
		again := critical || g.serving.Load() && full(err)
		if !again && !g.serving.Load() {
			return err
		}
		if !g.pause(min(wait, g.waitLimit)) || !again {
			return err
		}
	}
}

// once runs a step that is not repeated.
func (g *guard) once(step func() error) error {
	if g.stopped() {
		return errStopped
	}
	err := step()
	if err != nil {
		g.health.failed(err)
		if g.serving.Load() {
			g.pause(guardWaitMin)
		}
	}
	return err
}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// pause is false when there is to be no more waiting.
func (g *guard) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-g.stop:
		return false
	}
}

// manifest tells the files by which Pebble knows what it has.
func (g *guard) manifest(name string) bool {
	name = g.PathBase(name)
	return strings.HasPrefix(name, "MANIFEST") || strings.HasPrefix(name, "marker")
}

func (g *guard) file(f *guardedFile, open func() (vfs.File, error)) (vfs.File, error) {
	f.guard = g
	err := g.try(f.critical, func() (err error) {
		f.File, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Create implements vfs.FS.
func (g *guard) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.file(&guardedFile{critical: g.manifest(name)}, func() (vfs.File, error) { return g.FS.Create(name, category) })
}

// OpenReadWrite implements vfs.FS.
func (g *guard) OpenReadWrite(name string, category vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return g.file(&guardedFile{}, func() (vfs.File, error) { return g.FS.OpenReadWrite(name, category, o...) })
}

// OpenDir implements vfs.FS.
func (g *guard) OpenDir(name string) (vfs.File, error) {
	return g.file(&guardedFile{critical: true, folder: true}, func() (vfs.File, error) { return g.FS.OpenDir(name) })
}

// ReuseForWrite implements vfs.FS.
func (g *guard) ReuseForWrite(from, to string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return g.file(&guardedFile{}, func() (vfs.File, error) { return g.FS.ReuseForWrite(from, to, category) })
}

// Link implements vfs.FS.
func (g *guard) Link(from, to string) error {
	return g.try(false, func() error { return g.FS.Link(from, to) })
}

// Rename implements vfs.FS.
func (g *guard) Rename(from, to string) error {
	return g.try(g.manifest(to), func() error { return g.FS.Rename(from, to) })
}

// MkdirAll implements vfs.FS.
func (g *guard) MkdirAll(dir string, mode os.FileMode) error {
	return g.try(false, func() error { return g.FS.MkdirAll(dir, mode) })
}

// Remove implements vfs.FS.
func (g *guard) Remove(name string) error {
	if g.stopped() {
		return errStopped
	}
	return g.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (g *guard) RemoveAll(name string) error {
	if g.stopped() {
		return errStopped
	}
	return g.FS.RemoveAll(name)
}

// Unwrap implements vfs.FS.
func (g *guard) Unwrap() vfs.FS { return g.FS }

// guardedFile is a file that is being written, by one goroutine at a time, or a folder.
//
// After a sync that failed the system may have dropped what was written, and a second
// sync succeeds without it. So of a manifest all that was written is kept, which
// manifestBytesMax bounds, and written again before it is synced again. What failed to
// be synced of another file is reported, and Pebble writes a new one.
type guardedFile struct {
	vfs.File
	guard    *guard
	critical bool
	folder   bool
	written  []byte // of a critical file
	// rested is when writing last began after a rest, and unrested what it wrote since.
	rested   time.Time
	unrested int
}

// Writing rests after so many bytes, for as long as they took, but not for longer.
const (
	restBytes = 128 << 10
	restMax   = 20 * time.Millisecond
)

// rest is called before a write.
func (f *guardedFile) rest(n int) {
	if f.critical || f.guard.hurry.Load() > 0 || !f.guard.serving.Load() {
		f.unrested = 0
		return
	}
	if f.unrested == 0 {
		f.rested = time.Now()
	}
	if f.unrested += n; f.unrested >= restBytes {
		f.guard.pause(min(time.Since(f.rested), restMax))
		f.unrested = 0
	}
}

// Write implements vfs.File.
func (f *guardedFile) Write(b []byte) (n int, err error) {
	f.rest(len(b))
	if f.critical {
		f.written = append(f.written, b...)
	}
	err = f.guard.try(f.critical, func() error {
		m, err := f.File.Write(b[n:])
		n += m
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (f *guardedFile) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.guard.try(false, func() error {
		m, err := f.File.WriteAt(b[n:], at+int64(n))
		n += m
		return err
	})
	return n, err
}

// sync runs a step that makes what was written durable.
func (f *guardedFile) sync(step func() error) error {
	if !f.critical {
		return f.guard.once(step)
	}
	failed := false
	err := f.guard.try(true, func() error {
		if failed && len(f.written) > 0 {
			if _, err := f.File.WriteAt(f.written, 0); err != nil {
				return err
			}
		}
		err := step()
		failed = failed || err != nil
		return err
	})
	if err != nil && f.folder {
		return nil // Pebble panics at an error; nothing is written or removed behind it
	}
	return err
}

// Sync implements vfs.File.
func (f *guardedFile) Sync() error { return f.sync(f.File.Sync) }

// SyncData implements vfs.File.
func (f *guardedFile) SyncData() error { return f.sync(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *guardedFile) SyncTo(length int64) (all bool, err error) {
	err = f.sync(func() (err error) {
		all, err = f.File.SyncTo(length)
		return err
	})
	return all, err
}
