// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package dataset

// newSlab returns nil: blocks are ordinary memory.
func newSlab(int) []byte { return nil }

func freeSlab([]byte) {}
