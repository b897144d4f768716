// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// fileBytesMax is the largest model file, the limit of protobuf. Larger models
// keep their tensors in external data.
const fileBytesMax = 1<<31 - 1

// ReadOptions choose how much of a model is read.
type ReadOptions struct {
	// SkipTensorData leaves out the data of all tensors, for callers that want the
	// signature only. Extents, types and places of external data are kept. A model
	// read so is not fit to be written.
	SkipTensorData bool
}

// ReadFile reads the model in a file. Errors wrap ErrCorrupt or are those of the
// file system.
func ReadFile(path string, options ReadOptions) (*Model, error) {
	data, err := readAll(path)
	if err != nil {
		return nil, fmt.Errorf("model file: %w", err)
	}
	m, err := Parse(data, options)
	if err != nil {
		return nil, fmt.Errorf("model file %s: %w", path, err)
	}
	return m, nil
}

// readAll reads a regular file of at most fileBytesMax. It looks before it opens,
// since opening a pipe may wait for ever.
func readAll(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > fileBytesMax {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than the %d of an ONNX file: keep its tensors in external data",
			ErrCorrupt, path, info.Size(), fileBytesMax)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// Parse decodes the bytes of a model file. Errors wrap ErrCorrupt. Unless tensor
// data is skipped, the model aliases data. With SkipTensorData attributes of type
// string still do.
func Parse(data []byte, options ReadOptions) (*Model, error) {
	if bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		return nil, fmt.Errorf("%w: this is a Git LFS pointer in place of the model: run git lfs pull", ErrCorrupt)
	}
	m := new(Model)
	d := decoder{options: options}
	decodeModel(&cursor{d: &d, rest: data}, m)
	if d.err == nil && m.Graph == nil {
		d.fail("graph", "is missing: %d bytes read, none of them a graph", len(data))
	}
	if d.err == nil && m.IRVersion <= 0 {
		d.fail("ir_version", "%d is not a version of the format", m.IRVersion)
	}
	if d.err != nil {
		return nil, d.err
	}
	return m, nil
}
