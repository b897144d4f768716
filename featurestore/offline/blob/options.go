// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Options say how a store is used. The zero value is sensible.
type Options struct {
	// PartBytes is the size up to which an object is stored by one request, and that of
	// the parts of larger ones: 0 is 16 MiB, 5 MiB to 1 GiB. An object has at most 10,000
	// parts.
	PartBytes int
	// BlockBytes is how much is read ahead, in bytes: 0 is 256 KiB, 4 KiB to 16 MiB.
	// Reads of as much or more go to the store as they are.
	BlockBytes int
	// CacheBlocks is how many blocks an open object keeps: 0 is 32, 1 to 1024. Readers
	// that take turns, as those of the columns of a file do, want one each.
	CacheBlocks int
	// Attempts is how often a request is tried: 0 is 5, 1 to 20.
	Attempts int
	// Timeout bounds a request with its retries: 0 is two minutes.
	Timeout time.Duration
	// UploadAgeMax is the age from which unfinished uploads below the prefix are removed by
	// Open: 0 is seven days, negative leaves them.
	UploadAgeMax time.Duration

	// Credentials, if given, are used instead of the environment.
	Credentials *credentials.Credentials
	// Transport, if given, carries the requests.
	Transport http.RoundTripper
	// Now is the clock; nil is the machine's.
	Now func() time.Time
}

const (
	partBytesMin = 5 << 20 // S3's own bound
	partBytesMax = 1 << 30
	partsMax     = 10_000
)

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	setDefault(&o.PartBytes, 16<<20)
	setDefault(&o.BlockBytes, 256<<10)
	setDefault(&o.CacheBlocks, 32)
	setDefault(&o.Attempts, 5)
	setDefault(&o.Timeout, 2*time.Minute)
	setDefault(&o.UploadAgeMax, 7*24*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
}

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Validate reports everything that is wrong, after EnsureDefaults.
func (o *Options) Validate() error {
	var wrong []error
	for _, c := range []struct {
		name            string
		got, least, top int
	}{
		{"part bytes", o.PartBytes, partBytesMin, partBytesMax},
		{"block bytes", o.BlockBytes, 4 << 10, 16 << 20},
		{"cache blocks", o.CacheBlocks, 1, 1024},
		{"attempts", o.Attempts, 1, 20},
	} {
		if c.got < c.least || c.got > c.top {
			wrong = append(wrong, fmt.Errorf("%s %d: %d to %d", c.name, c.got, c.least, c.top))
		}
	}
	if o.Timeout < 0 {
		wrong = append(wrong, errors.New("the time-out is negative"))
	}
	return errors.Join(wrong...)
}
