// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

var (
	// ErrNoBucket means that the bucket is not there: make it, or correct its name, the
	// endpoint or the region.
	ErrNoBucket = errors.New("bucket does not exist")
	// ErrDenied means that the store refuses the credentials, or what they want to do.
	ErrDenied = errors.New("access denied")
	// ErrUnavailable means that the store cannot be reached or does not work. Trying again
	// later may help.
	ErrUnavailable = errors.New("object store is not available")
)

// classes of what S3 answers (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
var classes = map[string]error{
	"NoSuchKey":             offline.ErrNotFound,
	"NoSuchBucket":          ErrNoBucket,
	"AccessDenied":          ErrDenied,
	"AllAccessDisabled":     ErrDenied,
	"InvalidAccessKeyId":    ErrDenied,
	"SignatureDoesNotMatch": ErrDenied,
	"InvalidToken":          ErrDenied,
	"ExpiredToken":          ErrDenied,
	"Forbidden":             ErrDenied,
}

// failed wraps an error of the store with its class, the address and what was done.
func (s *store) failed(action string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %s: %w", &s.address, action, err)
	}
	class := ErrUnavailable
	var r minio.ErrorResponse
	if errors.As(err, &r) {
		if known := classes[r.Code]; known != nil {
			class = known
		} else if r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized {
			class = ErrDenied
		}
	}
	hint := ""
	if class == ErrDenied && s.anonymous() {
		hint = "; there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	}
	return fmt.Errorf("%s: %s: %w: %w%s", &s.address, action, class, err, hint)
}

// missing says that an error is about an object that is not there.
func missing(err error) bool {
	var r minio.ErrorResponse
	return errors.As(err, &r) && (r.Code == "NoSuchKey" || r.Code == "" && r.StatusCode == http.StatusNotFound)
}
