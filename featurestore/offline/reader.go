// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
)

// Bounds of how often a reader begins anew because the owner replaced what it was to
// read. Each time the owner has published a manifest, which takes it several fsyncs;
// a reader opens what that names within microseconds each.
const (
	readerOpensMax = 64
	rereadsMax     = 64 // without a record in between
)

// OpenReader opens a log for reading while its owner, in this process or another one of
// this machine, may have it open and write. It takes no lock, writes nothing and repairs
// nothing, so that the right to read the files suffices. The log is as of the moment of
// opening: it has every record that was acknowledged before, each once, those whose fsync
// is under way perhaps, up to some sequence, and no later ones ever.
//
// What would write returns ErrReadOnly; Options that are about writing mean nothing. With
// HoldFromStart, Replay goes back to what the owner holds. Without, to the partitions.
//
// The owner does not know of readers. It removes segments and partitions whose records are
// elsewhere: a reader keeps the segments that it needs open, one file each, and reads a
// partition that is gone from those that took its place, of the newest manifest. Only
// retention takes records away for good: then a scan that is not behind them yet ends
// with ErrRetired.
//
// A folder with no log in it is an error that wraps fs.ErrNotExist.
func OpenReader(ctx context.Context, o Options) (*Log, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o.Storage = readStorage{o.Storage}
	for opened := 1; ; opened++ {
		l, err := openReader(ctx, o)
		if err == nil {
			return l, nil
		}
		if opened == readerOpensMax && errors.Is(err, errMoved) {
			err = fmt.Errorf("%w: opened %d times", ErrChanging, opened)
		}
		if !errors.Is(err, errMoved) {
			return nil, fmt.Errorf("event log %s: %w", o.Dir, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
}

// errMoved says that the owner replaced files while they were opened.
var errMoved = errors.New("a file was replaced")

// openReader opens what the newest manifest names. Segments go only after a newer manifest
// is there (L3): so if none is when they were listed and opened, these are all.
func openReader(ctx context.Context, o Options) (_ *Log, err error) {
	m, err := loadManifest(ctx, o.Storage)
	if errors.Is(err, ErrNotFound) {
		err = errMoved
	}
	if err != nil {
		return nil, err
	}
	compacted, live, err := listSegments(o.files, o.Dir, m.Segment)
	if err != nil {
		return nil, err
	}
	if !o.HoldFromStart {
		compacted = nil
	}
	pinned := &pinnedFiles{from: o.files, open: map[string]readFile{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, pinned.Close())
		}
	}()
	if err := pinned.pin(o.Dir, compacted, live); err != nil {
		return nil, err
	}
	newest, err := newestManifest(ctx, o.Storage)
	if err == nil && newest != m.Number {
		err = errMoved
	}
	if err == nil && newest == 0 && len(live) == 0 {
		err = isLog(o.files, o.Dir)
	}
	if err != nil {
		return nil, err
	}
	l := newLog(o, pinned)
	l.options.files, l.reader, l.mu.manifest = pinned, pinned, m
	close(l.writerDone) // there is none
	if err := l.read(compacted, live); err != nil {
		return nil, err
	}
	return l, nil
}

// isLog says whether a folder without segments and manifests is a log, that of an owner who
// has stored nothing yet.
func isLog(files fileSystem, dir string) error {
	found, err := files.List(dir, lockName)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("there is none: %w", fs.ErrNotExist)
	}
	return err
}

// read reads the segments, which are open.
func (l *Log) read(compacted, live []uint64) (err error) {
	m := l.mu.manifest
	if l.mu.catalog, err = m.catalog(); err != nil {
		return err
	}
	l.mu.hold = HoldNone
	segments := make([]*segment, len(compacted))
	if err := l.readHeld(compacted, segments, m.Through); err != nil {
		return err
	}
	for _, s := range segments {
		if s != nil {
			l.mu.held = append(l.mu.held, s)
			l.mu.heldBytes += s.end
		}
	}
	l.recovered.HeldSegments = len(l.mu.held)
	err = l.readLive(live, m.Through)
	if errors.Is(err, ErrCorrupt) {
		// The list may lack a segment that was made while it was read, and have a later one.
		_, now, listed := listSegments(l.reader.from, l.options.Dir, m.Segment)
		if listed == nil && !slices.Equal(now, live) {
			return errMoved
		}
	}
	return err
}

// pinnedFiles are the segments of a reader, which stay open until it is closed: where they
// are removed meanwhile, the system keeps them. Nothing can be written by it.
type pinnedFiles struct {
	from fileSystem
	open map[string]readFile // by path; not changed after it is filled
}

// pin opens segments.
func (p *pinnedFiles) pin(dir string, numbers ...[]uint64) error {
	for _, number := range slices.Concat(numbers...) {
		name := path.Join(dir, segmentName(number))
		file, err := p.from.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return errMoved
		}
		if err != nil {
			return fmt.Errorf("keep segment %s open: %w", segmentName(number), err)
		}
		p.open[name] = file
	}
	return nil
}

// Close closes the segments.
func (p *pinnedFiles) Close() (err error) {
	for _, file := range p.open {
		err = errors.Join(err, file.Close())
	}
	return err
}

// pinnedFile is one in use; its end is that of the reader.
type pinnedFile struct{ readFile }

func (pinnedFile) Close() error { return nil }

func (p *pinnedFiles) Open(name string) (readFile, error) {
	if file := p.open[name]; file != nil {
		return pinnedFile{file}, nil
	}
	return p.from.Open(name)
}

func (p *pinnedFiles) List(dir, prefix string) ([]fileInfo, error) { return p.from.List(dir, prefix) }
func (p *pinnedFiles) Create(string) (writeFile, error)            { return nil, ErrReadOnly }
func (p *pinnedFiles) Rename(_, _ string) error                    { return ErrReadOnly }
func (p *pinnedFiles) Remove(string) error                         { return ErrReadOnly }
func (p *pinnedFiles) MkdirAll(string) error                       { return ErrReadOnly }
func (p *pinnedFiles) SyncDir(string) error                        { return ErrReadOnly }
func (p *pinnedFiles) SyncFile(string) error                       { return ErrReadOnly }

func (p *pinnedFiles) Lock(string) (io.Closer, error) { return nil, ErrReadOnly }

// readStorage is a storage that nothing is written to.
type readStorage struct{ from Storage }

func (s readStorage) Get(ctx context.Context, name string) (Object, error) {
	return s.from.Get(ctx, name)
}

func (s readStorage) List(ctx context.Context, prefix string) ([]ObjectInfo, error) {
	return s.from.List(ctx, prefix)
}

func (readStorage) Put(context.Context, string, func(io.Writer) error) error { return ErrReadOnly }
func (readStorage) Delete(context.Context, string) error                     { return ErrReadOnly }
