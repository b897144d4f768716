// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

// again tries something until it succeeds, or fails for good, or was tried Attempts
// times. The library's own attempts are switched off: they do not know of answers that
// end early, and would be tried as often again.
func (s *store) again(ctx context.Context, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || attempt == s.o.Attempts || ctx.Err() != nil || !passing(err) {
			return err
		}
		pause(ctx, attempt)
	}
}

// passing says that an error may not come again.
func passing(err error) bool {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		return true // of the network
	}
	switch r.StatusCode {
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	case http.StatusNotImplemented:
		return false
	}
	switch r.Code {
	case "RequestTimeout", "BadDigest", "IncompleteBody": // on the way to the store
		return true
	case "AuthorizationHeaderMalformed", "InvalidRegion": // the library has learned the region by it
		return true
	}
	return r.StatusCode >= 500
}

const (
	pauseLeast = 100 * time.Millisecond
	pauseMost  = time.Second
)

// pause waits before another attempt: for longer each time, cut at random.
func pause(ctx context.Context, attempt int) {
	most := min(pauseLeast<<min(attempt, 8), pauseMost)
	timer := time.NewTimer(most/2 + rand.N(most/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
