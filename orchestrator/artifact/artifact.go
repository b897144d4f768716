// SPDX-License-Identifier: Apache-2.0

// Package artifact keeps files and folders by their content.
//
// An artifact is a file or a folder with all below it, addressed by a digest: of a file
// "sha256:" and the SHA-256 of its bytes, of a folder "tree:" and the SHA-256 of its
// listing, which is a line per file: its digest, its quoted path with slashes, sorted by
// path. Times, owners, modes and empty folders do not count. Links and devices are refused.
//
// In the store's folder an artifact lies at objects/, the first two digits, and the rest
// (with ".tree" behind a folder's), as it was made: a path of the store can be opened like
// any other, to be read only.
//
// Invariants. A1: what has a place in objects is whole and durable; it came there by one
// rename after its bytes were synced. A2: nobody writes to it (files are made read-only;
// Verify finds who did). A3: Collect removes only what its caller does not keep and what
// is older than the age it gives.
//
// Concurrency: a Store has no state in memory. Many goroutines and processes may use one
// folder at once; two that put the same content meet in the same place.
package artifact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Limits of an artifact that is a folder.
const (
	FilesMax = 100_000
	DepthMax = 64
)

const (
	filePrefix = "sha256:"
	treePrefix = "tree:"
	treeSuffix = ".tree"
)

var (
	// ErrNotFound means that the store does not have an artifact: make it again.
	ErrNotFound = errors.New("artifact not found")
	// ErrCorrupt means that an artifact's content is not what its digest says: remove it, and
	// make it again.
	ErrCorrupt = errors.New("artifact damaged")
	// ErrContent means that something is not a file or folder that can be an artifact.
	ErrContent = errors.New("cannot be an artifact")
)

// Digest is the address of an artifact.
type Digest string

// Valid says whether a digest is written as one.
func (d Digest) Valid() bool {
	sum, tree := strings.CutPrefix(string(d), treePrefix)
	if !tree {
		var file bool
		if sum, file = strings.CutPrefix(string(d), filePrefix); !file {
			return false
		}
	}
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == sha256.Size && sum == strings.ToLower(sum)
}

// IsTree says whether a digest is that of a folder.
func (d Digest) IsTree() bool { return strings.HasPrefix(string(d), treePrefix) }

// Info says what an artifact is.
type Info struct {
	Digest Digest `json:"digest"`
	Bytes  int64  `json:"bytes"` // of all its files
	Files  int    `json:"files"`
}

// Store is a folder of artifacts.
type Store struct{ dir string }

// Open opens the store in a folder, which it makes if there is none.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	for _, d := range []string{dir, s.objects(), s.trash()} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return nil, fmt.Errorf("open artifact store: %w", err)
		}
	}
	return s, syncDir(dir)
}

func (s *Store) objects() string { return filepath.Join(s.dir, "objects") }
func (s *Store) trash() string   { return filepath.Join(s.dir, "trash") }

// Path is where an artifact lies, or would lie. It is for reading only.
func (s *Store) Path(d Digest) string {
	_, sum, _ := strings.Cut(string(d), ":")
	if len(sum) < 3 {
		return filepath.Join(s.objects(), "invalid")
	}
	name := sum[2:]
	if d.IsTree() {
		name += treeSuffix
	}
	return filepath.Join(s.objects(), sum[:2], name)
}

// Has says whether the store has an artifact. It looks only at whether it is there (A1).
func (s *Store) Has(d Digest) bool {
	if !d.Valid() {
		return false
	}
	info, err := os.Lstat(s.Path(d))
	return err == nil && info.IsDir() == d.IsTree()
}

// Put moves the file or folder at path, which must be on the store's file system and
// which nobody else may write to any more, into the store. After an error path may be
// there or not; the store is as before.
func (s *Store) Put(ctx context.Context, path string) (Info, error) {
	info, err := hashPath(ctx, path, true)
	if err != nil {
		return Info{}, err
	}
	return info, s.publish(path, info.Digest)
}

// publish renames what is durable to its place.
func (s *Store) publish(path string, d Digest) error {
	place := s.Path(d)
	parent := filepath.Dir(place)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return fmt.Errorf("publish artifact: %w", err)
	}
	now := time.Now() // what Collect takes the age from
	if err := os.Chtimes(path, now, now); err != nil {
		return fmt.Errorf("publish artifact: %w", err)
	}
	err := os.Rename(path, place)
	if err != nil && d.IsTree() && s.Has(d) {
		err = errors.Join(os.Chtimes(place, now, now), os.RemoveAll(path))
	}
	if err != nil {
		return fmt.Errorf("publish artifact %s: %w", d, err)
	}
	return errors.Join(syncDir(parent), syncDir(s.objects()))
}

// Compose makes a folder whose entries are artifacts of the store, sharing their bytes,
// built at temp, a path on the store's file system where nothing is.
func (s *Store) Compose(ctx context.Context, temp string, entries map[string]Digest) (Info, error) {
	if err := os.Mkdir(temp, 0o777); err != nil {
		return Info{}, fmt.Errorf("compose artifact: %w", err)
	}
	for name, d := range entries {
		if !filepath.IsLocal(name) || strings.ContainsRune(name, filepath.Separator) {
			return Info{}, fmt.Errorf("%w: %q cannot be the name of an entry", ErrContent, name)
		}
		if !s.Has(d) {
			return Info{}, fmt.Errorf("compose artifact: %w: %s", ErrNotFound, d)
		}
		if err := link(ctx, s.Path(d), filepath.Join(temp, name)); err != nil {
			return Info{}, fmt.Errorf("compose artifact: %w", err)
		}
	}
	return s.Put(ctx, temp)
}

// link makes a copy that shares the files.
func link(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		place := filepath.Join(to, rest)
		if entry.IsDir() {
			return os.Mkdir(place, 0o777)
		}
		return os.Link(path, place)
	})
}

// Verify reads an artifact and compares it with its digest.
func (s *Store) Verify(ctx context.Context, d Digest) error {
	if !s.Has(d) {
		return fmt.Errorf("%w: %s", ErrNotFound, d)
	}
	info, err := Hash(ctx, s.Path(d))
	if err == nil && info.Digest != d {
		err = fmt.Errorf("%w: %s holds %s: remove it, and it is made again", ErrCorrupt, s.Path(d), info.Digest)
	}
	return err
}

// Remove takes an artifact out of the store, all of it or nothing.
func (s *Store) Remove(d Digest) error {
	if !s.Has(d) {
		return fmt.Errorf("%w: %s", ErrNotFound, d)
	}
	_, sum, _ := strings.Cut(string(d), ":")
	away := filepath.Join(s.trash(), sum)
	if err := errors.Join(os.RemoveAll(away), os.Rename(s.Path(d), away)); err != nil {
		return fmt.Errorf("remove artifact %s: %w", d, err)
	}
	return os.RemoveAll(away)
}

// Collect removes the artifacts that keep does not want and that are older than age, which
// protects what is published and not yet written down anywhere. It stops when ctx ends.
func (s *Store) Collect(ctx context.Context, age time.Duration, keep func(Digest) bool) (removed int, err error) {
	if err := emptyFolder(s.trash()); err != nil {
		return 0, err
	}
	before := time.Now().Add(-age)
	err = s.each(func(d Digest, entry fs.DirEntry) error {
		if ctx.Err() != nil || keep(d) {
			return ctx.Err()
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || info.ModTime().After(before) {
			return err
		}
		removed++
		return s.Remove(d)
	})
	return removed, err
}

// List names all artifacts of the store, sorted.
func (s *Store) List() (all []Digest, err error) {
	err = s.each(func(d Digest, _ fs.DirEntry) error { all = append(all, d); return nil })
	return all, err
}

func (s *Store) each(do func(Digest, fs.DirEntry) error) error {
	folders, err := os.ReadDir(s.objects())
	if err != nil {
		return err
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(s.objects(), folder.Name()))
		if err != nil {
			return err
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
		for _, entry := range entries {
			d := Digest(filePrefix + folder.Name() + entry.Name())
			if name, tree := strings.CutSuffix(entry.Name(), treeSuffix); tree {
				d = Digest(treePrefix + folder.Name() + name)
			}
			if !d.Valid() {
				continue // not ours
			}
			if err := do(d, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// copyTo is io.Copy that ends with the context.
func copyTo(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		m, err := io.CopyN(w, r, 8<<20)
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
