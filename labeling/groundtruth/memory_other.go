// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package groundtruth

// mapped is memory on the Go heap, where there is no other.
type mapped struct{}

func newMapped[T any](*mapped) (*T, error) { return new(T), nil }

func (*mapped) close() {}
