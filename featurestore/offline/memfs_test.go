// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
)

var errFault = errors.New("injected fault")

// memFS is a disk in memory that forgets what was not synced when it crashes, and
// fails when told to.
type memFS struct {
	mu sync.Mutex
	// names as seen, and as they are after a crash
	now, kept map[string]*memFile
	locked    map[string]bool
	// fault is asked before every operation that changes something.
	fault func(op, name string) error
	rng   *rand.Rand
}

type memFile struct {
	data   []byte
	synced int // bytes that survive a crash
}

func newMemFS(seed uint64) *memFS {
	return &memFS{now: map[string]*memFile{}, kept: map[string]*memFile{}, locked: map[string]bool{}, rng: rand.New(rand.NewPCG(seed, 1))}
}

func (m *memFS) setFault(fault func(op, name string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

func (m *memFS) check(op, name string) error {
	if m.fault != nil {
		return m.fault(op, name)
	}
	return nil
}

// crash loses what was not synced; of unsynced bytes some prefix may be there, garbled
// at its end.
func (m *memFS) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := map[string]*memFile{}
	for _, name := range slices.Sorted(mapKeys(m.kept)) {
		f := m.kept[name]
		data := slices.Clone(f.data[:f.synced])
		if extra := len(f.data) - f.synced; extra > 0 {
			n := m.rng.IntN(extra + 1)
			data = append(data, f.data[f.synced:f.synced+n]...)
			if n > 4 && m.rng.IntN(2) == 0 {
				data[len(data)-1-m.rng.IntN(4)] ^= 0x5a
			}
		}
		now[name] = &memFile{data, len(data)}
	}
	// A removal or a renaming that was not synced may have happened or not: kept has
	// the one outcome, and here is some of the other.
	for name := range m.kept {
		if m.now[name] == nil && m.rng.IntN(2) == 0 {
			delete(now, name)
		}
	}
	m.now, m.kept, m.locked, m.fault = now, map[string]*memFile{}, map[string]bool{}, nil
	for name, f := range now {
		m.kept[name] = f
	}
}

// kill ends the process and not the machine: all that was written is seen, and a later
// crash loses what nobody syncs.
func (m *memFS) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locked, m.fault = map[string]bool{}, nil
}

func mapKeys(m map[string]*memFile) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (m *memFS) Create(name string) (writeFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("create", name); err != nil {
		return nil, err
	}
	f := &memFile{}
	m.now[name] = f
	return &memWriter{m, name, f}, nil
}

type memWriter struct {
	m    *memFS
	name string
	f    *memFile
}

func (w *memWriter) Write(b []byte) (int, error) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if err := w.m.check("write", w.name); err != nil {
		n := w.m.rng.IntN(len(b) + 1)
		w.f.data = append(w.f.data, b[:n]...)
		return n, err
	}
	w.f.data = append(w.f.data, b...)
	return len(b), nil
}

func (w *memWriter) Sync() error {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if err := w.m.check("sync", w.name); err != nil {
		return err
	}
	w.f.synced = len(w.f.data)
	return nil
}

func (w *memWriter) Close() error { return nil }

func (m *memFS) Open(name string) (readFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.now[name]
	if f == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memReader{m, f, int64(len(f.data))}, nil
}

type memReader struct {
	m    *memFS
	f    *memFile
	size int64
}

func (r *memReader) Size() int64  { return r.size }
func (r *memReader) Close() error { return nil }
func (r *memReader) ReadAt(b []byte, off int64) (int, error) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	if off >= int64(len(r.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, r.f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("rename", to); err != nil {
		return err
	}
	if m.now[from] == nil {
		return fs.ErrNotExist
	}
	m.now[to] = m.now[from]
	delete(m.now, from)
	return nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("remove", name); err != nil {
		return err
	}
	if m.now[name] == nil {
		return fs.ErrNotExist
	}
	delete(m.now, name)
	return nil
}

func (m *memFS) List(dir, prefix string) ([]fileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []fileInfo
	for name, f := range m.now {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok && strings.HasPrefix(rest, prefix) {
			found = append(found, fileInfo{rest, int64(len(f.data))})
		}
	}
	return found, nil
}

func (m *memFS) MkdirAll(string) error { return nil }

func (m *memFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("syncdir", dir); err != nil {
		return err
	}
	for name := range m.kept {
		if path.Dir(name) == dir && m.now[name] == nil {
			delete(m.kept, name)
		}
	}
	for name, f := range m.now {
		if path.Dir(name) == dir {
			m.kept[name] = f
		}
	}
	return nil
}

func (m *memFS) SyncFile(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.check("sync", name); err != nil {
		return err
	}
	m.now[name].synced = len(m.now[name].data)
	return nil
}

func (m *memFS) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[name] {
		return nil, ErrLocked
	}
	m.locked[name] = true
	return memLock{m, name}, nil
}

type memLock struct {
	m    *memFS
	name string
}

func (l memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locked, l.name)
	return nil
}
