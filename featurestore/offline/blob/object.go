// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/minio/minio-go/v7"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// object is open for reading. Small reads are answered from blocks, of which the last
// used ones are kept.
type object struct {
	store *store
	ctx   context.Context // of Get
	end   context.CancelFunc
	name  string
	tag   string
	size  int64
	mu    struct {
		sync.Mutex
		blocks map[int64]*list.Element
		order  list.List // of *block, the last used first
	}
}

// block is part of an object, read once by who needs it first.
type block struct {
	number int64
	once   sync.Once
	bytes  []byte
	err    error
}

// Get opens an object. The end of ctx ends its reads.
func (s *store) Get(ctx context.Context, name string) (offline.Object, error) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	var info minio.ObjectInfo
	if err := s.again(bounded, func() (err error) {
		info, err = s.core.StatObject(bounded, s.bucket, s.prefix+name, minio.StatObjectOptions{})
		return err
	}); err != nil {
		if missing(err) {
			return nil, fmt.Errorf("%s: %w: %s", &s.address, offline.ErrNotFound, name)
		}
		return nil, s.failed("open "+name, err)
	}
	o := &object{store: s, name: name, tag: info.ETag, size: info.Size}
	o.ctx, o.end = context.WithCancel(ctx)
	o.mu.blocks = map[int64]*list.Element{}
	return o, nil
}

// Size is in bytes.
func (o *object) Size() int64 { return o.size }

// Close ends reads that are under way and drops what was kept.
func (o *object) Close() error {
	o.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.mu.blocks)
	o.mu.order.Init()
	return nil
}

// ReadAt reads a range. A read of less than a block reads whole blocks, so that the next
// one finds its bytes.
func (o *object) ReadAt(b []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, fmt.Errorf("%s: read %s: offset %d", &o.store.address, o.name, offset)
	}
	n := int(max(min(int64(len(b)), o.size-offset), 0))
	var err error
	if size := o.store.o.BlockBytes; n < size {
		err = o.fromBlocks(b[:n], offset, int64(size))
	} else {
		err = o.fetch(b[:n], offset)
	}
	if err != nil {
		return 0, err
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (o *object) fromBlocks(b []byte, offset, size int64) error {
	for len(b) > 0 {
		k := o.block(offset / size)
		k.once.Do(func() {
			k.bytes = make([]byte, min(size, o.size-k.number*size))
			k.err = o.fetch(k.bytes, k.number*size)
		})
		if k.err != nil {
			o.forget(k)
			return k.err
		}
		n := copy(b, k.bytes[offset-k.number*size:])
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// block finds a block or makes room for it.
func (o *object) block(number int64) *block {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.mu.blocks[number]; e != nil {
		o.mu.order.MoveToFront(e)
		return e.Value.(*block)
	}
	k := &block{number: number}
	o.mu.blocks[number] = o.mu.order.PushFront(k)
	if o.mu.order.Len() > o.store.o.CacheBlocks {
		last := o.mu.order.Back()
		o.mu.order.Remove(last)
		delete(o.mu.blocks, last.Value.(*block).number)
	}
	return k
}

// forget drops a block that could not be read, so that it is tried again.
func (o *object) forget(k *block) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.mu.blocks[k.number]; e != nil && e.Value == any(k) {
		o.mu.order.Remove(e)
		delete(o.mu.blocks, k.number)
	}
}

// fetch reads a range from the store.
func (o *object) fetch(b []byte, offset int64) error {
	if len(b) == 0 {
		return nil
	}
	ctx, cancel := o.store.bounded(o.ctx)
	defer cancel()
	err := o.store.again(ctx, func() error { return o.try(ctx, b, offset) })
	if err != nil {
		return o.store.failed("read "+o.name, err)
	}
	return nil
}

// try reads a range.
func (o *object) try(ctx context.Context, b []byte, offset int64) error {
	var options minio.GetObjectOptions
	if err := options.SetRange(offset, offset+int64(len(b))-1); err != nil {
		return err
	}
	if err := options.SetMatchETag(o.tag); err != nil {
		return err
	}
	body, _, _, err := o.store.core.GetObject(ctx, o.store.bucket, o.store.prefix+o.name, options)
	if err != nil {
		return err
	}
	_, err = io.ReadFull(body, b)
	return errors.Join(err, body.Close())
}
