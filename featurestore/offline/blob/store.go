// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// store is a prefix of a bucket.
type store struct {
	address
	o    Options
	core minio.Core
}

var _ offline.Storage = (*store)(nil)

// Open reaches a bucket, which must exist. ctx bounds opening alone.
func Open(ctx context.Context, rawURL string, o Options) (offline.Storage, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("object store: options: %w", err)
	}
	a, err := parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("object store: address: %w", err)
	}
	s := &store{address: a, o: o}
	if s.o.Credentials == nil {
		s.o.Credentials = s.environment()
	}
	client, err := minio.New(a.endpoint, &minio.Options{
		Creds: s.o.Credentials, Secure: !a.insecure, Region: a.region, Transport: o.Transport, MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", &s.address, err)
	}
	s.core = minio.Core{Client: client}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var found bool
	if err = s.again(ctx, func() (err error) {
		found, err = client.BucketExists(ctx, a.bucket)
		return err
	}); err != nil {
		return nil, s.failed("open", err)
	}
	if !found {
		return nil, fmt.Errorf("%s: %w", &s.address, ErrNoBucket)
	}
	s.removeOldUploads(ctx)
	return s, nil
}

// metadataTimeout bounds asking the machine for its role: where there is none, nobody
// answers.
const metadataTimeout = 2 * time.Second

func (s *store) environment() *credentials.Credentials {
	chain := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	if s.aws() {
		chain = append(chain, &credentials.IAM{Client: &http.Client{Timeout: metadataTimeout}})
	}
	return credentials.NewChainCredentials(chain)
}

func (s *store) anonymous() bool {
	v, err := s.o.Credentials.GetWithContext(nil)
	return err == nil && v.AccessKeyID == ""
}

// bounded ends with ctx, or with the time for one operation.
func (s *store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.Timeout)
}

// removeOldUploads removes what crashes have left behind. Nothing depends on it, so a
// store that does not allow it is left as it is.
func (s *store) removeOldUploads(ctx context.Context) {
	if s.o.UploadAgeMax < 0 {
		return
	}
	before := s.o.Now().Add(-s.o.UploadAgeMax)
	list, err := s.core.ListMultipartUploads(ctx, s.bucket, s.prefix, "", "", "", 1000)
	if err != nil {
		return
	}
	for _, u := range list.Uploads {
		if u.Initiated.Before(before) {
			_ = s.core.AbortMultipartUpload(ctx, s.bucket, u.Key, u.UploadID) // as above
		}
	}
}

// List names the objects whose name begins with prefix.
func (s *store) List(ctx context.Context, prefix string) ([]offline.ObjectInfo, error) {
	var found []offline.ObjectInfo
	err := s.again(ctx, func() error {
		found = found[:0]
		for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{Prefix: s.prefix + prefix, Recursive: true}) {
			if o.Err != nil {
				return o.Err
			}
			if strings.HasSuffix(o.Key, "/") && o.Size == 0 {
				continue // consoles of stores make such for folders
			}
			found = append(found, offline.ObjectInfo{Name: strings.TrimPrefix(o.Key, s.prefix), Bytes: o.Size})
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, s.failed("list "+prefix, err)
	}
	return found, nil
}

// Delete removes an object; one that is not there is no error.
func (s *store) Delete(ctx context.Context, name string) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err := s.again(ctx, func() error {
		return s.core.RemoveObject(ctx, s.bucket, s.prefix+name, minio.RemoveObjectOptions{})
	})
	if err != nil && !missing(err) {
		return s.failed("delete "+name, err)
	}
	return nil
}

// Put stores what write produces.
func (s *store) Put(ctx context.Context, name string, write func(io.Writer) error) error {
	u := &upload{store: s, ctx: ctx, name: name}
	err := write(u)
	if err == nil {
		err = u.err // a writer may have dropped it
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		u.abort()
		return fmt.Errorf("%s: store %s: %w", &s.address, name, err)
	}
	return u.finish()
}
