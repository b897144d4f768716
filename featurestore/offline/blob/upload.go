// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

// upload is an object that is being written. Up to one part it is in memory; from then
// on full parts are stored, and joined at the end.
type upload struct {
	store *store
	ctx   context.Context
	name  string
	part  []byte
	id    string // of the upload in parts, once there is one
	done  []minio.CompletePart
	bytes int64
	err   error
}

// Write takes bytes and stores a part when it is full.
func (u *upload) Write(b []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n := len(b)
	for len(b) > 0 {
		if len(u.part) == u.store.o.PartBytes {
			if u.err = u.send(); u.err != nil {
				return n - len(b), u.err
			}
		}
		take := min(len(b), u.store.o.PartBytes-len(u.part))
		u.part = append(u.part, b[:take]...)
		u.bytes += int64(take)
		b = b[take:]
	}
	return n, nil
}

// send stores the part.
func (u *upload) send() error {
	s := u.store
	ctx, cancel := s.bounded(u.ctx)
	defer cancel()
	if u.id == "" {
		if err := s.again(ctx, func() (err error) {
			u.id, err = s.core.NewMultipartUpload(ctx, s.bucket, s.prefix+u.name, minio.PutObjectOptions{})
			return err
		}); err != nil {
			return s.failed("begin "+u.name, err)
		}
	}
	number := len(u.done) + 1
	if number > partsMax {
		return fmt.Errorf("more than %d parts of %d bytes; use larger ones", partsMax, s.o.PartBytes)
	}
	var p minio.ObjectPart
	err := s.again(ctx, func() (err error) {
		p, err = s.core.PutObjectPart(ctx, s.bucket, s.prefix+u.name, u.id, number, u.reader(), int64(len(u.part)), minio.PutObjectPartOptions{Md5Base64: u.sum()})
		return err
	})
	if err != nil {
		return s.failed(fmt.Sprintf("store part %d of %s", number, u.name), err)
	}
	u.done = append(u.done, minio.CompletePart{PartNumber: number, ETag: p.ETag})
	u.part = u.part[:0]
	return nil
}

// finish makes the object appear.
func (u *upload) finish() error {
	s := u.store
	if u.id == "" {
		return u.whole()
	}
	if len(u.part) > 0 {
		if err := u.send(); err != nil {
			u.abort()
			return err
		}
	}
	ctx, cancel := s.bounded(u.ctx)
	defer cancel()
	if err := s.again(ctx, func() error {
		_, err := s.core.CompleteMultipartUpload(ctx, s.bucket, s.prefix+u.name, u.id, u.done, minio.PutObjectOptions{})
		return err
	}); err != nil {
		if u.appeared() {
			return nil
		}
		u.abort()
		return s.failed("complete "+u.name, err)
	}
	return nil
}

// appeared looks whether the store completed the upload and only its answer was lost.
// Names are written once, so an object of that size is this one.
func (u *upload) appeared() bool {
	ctx, cancel := u.after()
	defer cancel()
	info, err := u.store.core.StatObject(ctx, u.store.bucket, u.store.prefix+u.name, minio.StatObjectOptions{})
	return err == nil && info.Size == u.bytes
}

// whole stores the object by one request.
func (u *upload) whole() error {
	s := u.store
	ctx, cancel := s.bounded(u.ctx)
	defer cancel()
	err := s.again(ctx, func() error {
		_, err := s.core.PutObject(ctx, s.bucket, s.prefix+u.name, u.reader(), int64(len(u.part)), u.sum(), "", minio.PutObjectOptions{})
		return err
	})
	if err != nil {
		return s.failed("store "+u.name, err)
	}
	return nil
}

// reader reads the part anew. It cannot be wound back, which keeps the library from doing
// so for another attempt: what sends the one before may still be reading.
func (u *upload) reader() io.Reader { return struct{ io.Reader }{bytes.NewReader(u.part)} }

// sum is what the store compares with what it gets.
func (u *upload) sum() string {
	sum := md5.Sum(u.part)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// abort gives the parts up. If that cannot be done either, a later Open removes them.
func (u *upload) abort() {
	if u.id == "" {
		return
	}
	ctx, cancel := u.after()
	defer cancel()
	_ = u.store.core.AbortMultipartUpload(ctx, u.store.bucket, u.store.prefix+u.name, u.id)
}

// after is time to clean up in, even if the put's own is over.
func (u *upload) after() (context.Context, context.CancelFunc) {
	return u.store.bounded(context.WithoutCancel(u.ctx))
}
