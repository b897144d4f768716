// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// digestsMax bounds what a Digests remembers.
const digestsMax = 200_000

// racy is how old a change must be, when a file is hashed, for its time to tell a later
// change apart: file systems count in steps of up to two seconds.
const racy = 2 * time.Second

// Digests remembers the digests of files outside the store, so that a file is read again
// only when its size, times or place on the disk have changed.
type Digests struct {
	path string
	mu   struct {
		sync.Mutex
		known   map[string]stamp
		changed bool
	}
}

// stamp is what tells that a file is still the same.
type stamp struct {
	Size   int64  `json:"size"`
	Mtime  int64  `json:"mtime"`
	Ctime  int64  `json:"ctime"`
	Inode  uint64 `json:"inode"`
	Device uint64 `json:"device"`
	Digest Digest `json:"digest"`
}

func (s stamp) same(t stamp) bool {
	s.Digest, t.Digest = "", ""
	return s == t
}

// OpenDigests reads what was remembered in a file. One that cannot be read is forgotten.
func OpenDigests(path string) *Digests {
	d := &Digests{path: path}
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &d.mu.known) != nil || d.mu.known == nil {
		d.mu.known = map[string]stamp{}
	}
	return d
}

// Hash is the digest of a file or folder. With verify all is read.
func (d *Digests) Hash(ctx context.Context, path string, verify bool) (Digest, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("hash: %w", err)
	}
	if info.IsDir() {
		return d.folder(ctx, path, verify)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("hash: %w", err)
	}
	return d.file(ctx, path, verify)
}

func (d *Digests) file(ctx context.Context, path string, verify bool) (Digest, error) {
	now := time.Now()
	before, err := stampOf(path)
	if err != nil {
		return "", fmt.Errorf("hash: %w", err)
	}
	d.mu.Lock()
	known, ok := d.mu.known[path]
	d.mu.Unlock()
	if ok && !verify && known.same(before) {
		return known.Digest, nil
	}
	info, err := Hash(ctx, path)
	if err != nil {
		return "", err
	}
	after, err := stampOf(path)
	if err != nil || !after.same(before) {
		return "", errors.Join(err, fmt.Errorf("hash: %s changes while it is read", path))
	}
	if now.UnixNano()-max(before.Mtime, before.Ctime) > int64(racy) {
		before.Digest = info.Digest
		d.remember(path, before)
	}
	return info.Digest, nil
}

// remember drops a stamp that happens to come first when there are too many.
func (d *Digests) remember(path string, s stamp) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.mu.known[path]; !ok && len(d.mu.known) >= digestsMax {
		for other := range d.mu.known {
			delete(d.mu.known, other)
			break
		}
	}
	d.mu.known[path], d.mu.changed = s, true
}

// folder is the digest of a folder from those of its files.
func (d *Digests) folder(ctx context.Context, root string, verify bool) (Digest, error) {
	var t tree
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%w: %s is a link or a device, not a file", ErrContent, path)
		}
		digest, err := d.file(ctx, path, verify)
		if err != nil {
			return err
		}
		return t.add(root, path, digest)
	})
	return t.digest(), err
}

// Save writes what is remembered, if it changed. It need not be durable: what is lost is
// read again.
func (d *Digests) Save() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.changed {
		return nil
	}
	data, err := json.Marshal(d.mu.known)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(d.path), filepath.Base(d.path)+".*")
	if err != nil {
		return fmt.Errorf("save digests: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), d.path)
	}
	if err != nil {
		return fmt.Errorf("save digests: %w", errors.Join(err, os.Remove(f.Name())))
	}
	d.mu.changed = false
	return nil
}
