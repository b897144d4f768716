// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// Storage holds partitions and manifests: a local folder, or a blob store. Objects
// are written once under a name of their own and never changed, so no rename is asked
// for; what counts is said by the newest manifest. All methods may be called at the
// same time.
type Storage interface {
	// Put stores what write produces. The object appears whole and durable, or, on an
	// error, not at all. It replaces an object of that name.
	Put(ctx context.Context, name string, write func(io.Writer) error) error
	// Get opens an object; ErrNotFound if there is none. The caller closes it.
	Get(ctx context.Context, name string) (Object, error)
	// List names the objects whose name begins with prefix, in any order.
	List(ctx context.Context, prefix string) ([]ObjectInfo, error)
	// Delete removes an object; one that is not there is no error.
	Delete(ctx context.Context, name string) error
}

// Object is a stored object, open for reading.
type Object interface {
	io.ReaderAt
	io.Closer
	// Size is in bytes.
	Size() int64
}

// ObjectInfo describes a stored object.
type ObjectInfo struct {
	// Name has slashes between its parts.
	Name string
	// Bytes is its size.
	Bytes int64
}

// temporarySuffix ends the name of a file that is not whole yet.
const temporarySuffix = ".new"

// folder is a Storage in a local folder.
type folder struct {
	fs  fileSystem
	dir string
}

var _ Storage = (*folder)(nil)

// NewFolder is a Storage in a local folder, which is made when something is put.
func NewFolder(dir string) Storage { return &folder{fs: osFS{}, dir: dir} }

// Put writes beside the name and renames; a file that is seen is whole.
func (f *folder) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	full := path.Join(f.dir, name)
	if err := f.fs.MkdirAll(path.Dir(full)); err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	if err := f.write(full+temporarySuffix, write); err != nil {
		return fmt.Errorf("store %s: %w", name, errors.Join(err, f.discard(full+temporarySuffix)))
	}
	if err := ctx.Err(); err != nil {
		return errors.Join(err, f.discard(full+temporarySuffix))
	}
	if err := f.fs.Rename(full+temporarySuffix, full); err != nil {
		return fmt.Errorf("store %s: %w", name, errors.Join(err, f.discard(full+temporarySuffix)))
	}
	if err := f.syncFolders(path.Dir(full)); err != nil {
		return fmt.Errorf("store %s: %w", name, errors.Join(err, f.discard(full)))
	}
	return nil
}

// syncFolders makes a new name durable, and with it the folders above: one of them may
// be there since a process was killed before it was.
func (f *folder) syncFolders(dir string) error {
	for {
		if err := f.fs.SyncDir(dir); err != nil {
			return err
		}
		if len(dir) <= len(path.Clean(f.dir)) {
			return nil
		}
		dir = path.Dir(dir)
	}
}

func (f *folder) write(full string, write func(io.Writer) error) error {
	file, err := f.fs.Create(full)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

func (f *folder) discard(full string) error {
	if err := f.fs.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Get opens a file.
func (f *folder) Get(_ context.Context, name string) (Object, error) {
	file, err := f.fs.Open(path.Join(f.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return file, nil
}

// List walks the folder that the prefix names. Files a crash left half written are
// listed too, so whoever cleans up sees them.
func (f *folder) List(_ context.Context, prefix string) ([]ObjectInfo, error) {
	files, err := f.fs.List(f.dir, prefix)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	var found []ObjectInfo
	for _, file := range files {
		found = append(found, ObjectInfo{Name: file.name, Bytes: file.bytes})
	}
	return found, nil
}

// Delete removes a file. It may come back after a crash; whoever cleans up then
// removes it again.
func (f *folder) Delete(_ context.Context, name string) error {
	if err := f.discard(path.Join(f.dir, name)); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}
