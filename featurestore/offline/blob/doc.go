// SPDX-License-Identifier: Apache-2.0

// Package blob keeps the partitions and manifests of the event log in an object store
// that speaks S3: AWS, MinIO, Cloudflare R2, Google Cloud Storage in interoperability
// mode. It is an [offline.Storage] for [offline.Options]; segments stay on a local disk.
//
//	s3://bucket/prefix?endpoint=host:port&region=eu-central-1&insecure=true
//
// names the store. Without an endpoint it is AWS; insecure speaks HTTP. Credentials are
// never part of it: they come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN, else from the shared credentials file (AWS_SHARED_CREDENTIALS_FILE,
// AWS_PROFILE), else, on AWS, from the role of the machine.
//
// Invariants:
//
//	B1  An object is seen whole or not at all: it is one request, or an upload in parts
//	    that the store completes in one step. A put that fails completes nothing; parts
//	    that a crash left behind are removed by a later Open once they are old.
//	B2  Memory is bounded: one part for each put, CacheBlocks blocks for each open object.
//	B3  Every request is tried Attempts times at most, with pauses that grow to a second
//	    and are cut at random; what one of them is for, a part, a block or an object's
//	    data, takes no longer than Timeout. A List asks for a thousand names at a time.
//
// All methods may be called by many goroutines at once.
package blob
