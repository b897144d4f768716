// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// arena is one region of memory off the Go heap, so that the library may keep
// pointers to it.
type arena struct {
	memory []byte
}

// grow replaces the region by a larger one of at least n bytes; nothing may point
// into the old one. It doubles at least, so that slowly growing shapes do not move
// it each time.
func (a *arena) grow(n int) error {
	size := max(n, 2*len(a.memory))
	if err := a.release(); err != nil {
		return err
	}
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("%d bytes for the tensors of one run: %w", size, err)
	}
	a.memory = memory
	return nil
}

func (a *arena) release() error {
	if a.memory == nil {
		return nil
	}
	memory := a.memory
	a.memory = nil
	if err := unix.Munmap(memory); err != nil {
		return fmt.Errorf("release the arena: %w", err)
	}
	return nil
}
