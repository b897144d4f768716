// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// fileSystem is what the log asks of a disk: the seam where tests inject faults.
// Names are paths with slashes.
type fileSystem interface {
	// Create opens an empty file for writing, in place of one that may be there.
	Create(name string) (writeFile, error)
	Open(name string) (readFile, error)
	Rename(from, to string) error
	Remove(name string) error
	// List names the files below a folder whose names, relative to it, begin with a
	// prefix; none if it is not there. A file that comes or goes meanwhile may be listed
	// or not; all others are.
	List(dir, prefix string) ([]fileInfo, error)
	// MkdirAll makes a folder and its parents, durably.
	MkdirAll(dir string) error
	// SyncDir makes creations, renames and removals in a folder durable.
	SyncDir(dir string) error
	// SyncFile makes the content of a closed file durable.
	SyncFile(name string) error
	// Lock takes a lock that no other process can take until it is closed.
	Lock(name string) (io.Closer, error)
}

type writeFile interface {
	io.WriteCloser
	Sync() error
}

type readFile interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

type fileInfo struct {
	name  string
	bytes int64
}

// osFS is the file system of the machine.
type osFS struct{}

func (osFS) Create(name string) (writeFile, error) { return os.Create(name) }

func (osFS) Open(name string) (readFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &osFile{File: f, size: info.Size()}, nil
}

type osFile struct {
	*os.File
	size int64
}

func (f *osFile) Size() int64 { return f.size }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(name string) error     { return os.Remove(name) }

func (osFS) List(dir, prefix string) ([]fileInfo, error) {
	var files []fileInfo
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // gone since its folder was read
			return nil
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if entry.IsDir() {
			below := name + "/"
			if path != dir && !strings.HasPrefix(below, prefix) && !strings.HasPrefix(prefix, below) {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() || !strings.HasPrefix(name, prefix) {
			return nil
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			files = append(files, fileInfo{name, info.Size()})
		}
		return err
	})
	return files, err
}

func (d osFS) MkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := d.MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.SyncDir(parent)
}

func (osFS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (osFS) SyncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
