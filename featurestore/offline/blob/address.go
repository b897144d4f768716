// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/minio-go/v7/pkg/s3utils"
)

const awsEndpoint = "s3.amazonaws.com"

// address is what a URL says.
type address struct {
	bucket, prefix   string // the prefix ends in a slash or is empty
	endpoint, region string
	insecure         bool
}

var parameters = []string{"endpoint", "region", "insecure"}

// parse reads a URL. An error does not show what might be a password.
func parse(raw string) (address, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return address{}, errors.New("it is not a URL such as s3://bucket/prefix")
	}
	a := address{bucket: u.Host, endpoint: awsEndpoint}
	if u.Scheme != "s3" {
		return a, fmt.Errorf("its scheme is %q: only s3 is known", u.Scheme)
	}
	if u.User != nil {
		return a, errors.New("it has credentials in it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
	}
	if err := s3utils.CheckValidBucketName(a.bucket); err != nil {
		return a, fmt.Errorf("bucket %q: %w", a.bucket, err)
	}
	if a.prefix = strings.Trim(u.Path, "/"); a.prefix != "" {
		a.prefix += "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" {
		return a, errors.New("what follows its path is malformed")
	}
	for name, values := range query {
		if !slices.Contains(parameters, name) || len(values) != 1 {
			return a, fmt.Errorf("parameter %q: there are %q, each once", name, parameters)
		}
	}
	return a, a.set(query)
}

func (a *address) set(query url.Values) error {
	a.region = query.Get("region")
	if e := query.Get("endpoint"); e != "" {
		a.endpoint = e
	}
	if strings.ContainsAny(a.endpoint, "/@ ") {
		return fmt.Errorf("endpoint %q: a host, perhaps with a port, without https://", a.endpoint)
	}
	if text := query.Get("insecure"); text != "" {
		insecure, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("insecure %q: true or false", text)
		}
		a.insecure = insecure
	}
	return nil
}

// String names the store for messages.
func (a *address) String() string {
	return "s3://" + a.bucket + "/" + a.prefix + " at " + a.endpoint
}

// aws says that the role of the machine may give credentials.
func (a *address) aws() bool {
	return a.endpoint == awsEndpoint || strings.HasSuffix(a.endpoint, ".amazonaws.com")
}
