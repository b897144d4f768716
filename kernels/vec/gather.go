// SPDX-License-Identifier: Apache-2.0

package vec

import "fmt"

// GatherRows copies one row of src for each index, one after the other. src has rows
// rows of rowBytes bytes; a negative index counts from the end, as in ONNX. dst and
// src may not overlap. Errors are ErrIndex and sizes that do not match; dst is then as
// it was.
func GatherRows(dst, src []byte, rowBytes int, indices []int64, rows int) error {
	switch {
	case rowBytes < 0 || rows < 0:
		return fmt.Errorf("gather: %d rows of %d bytes", rows, rowBytes)
	case rowBytes > 0 && rows > len(src)/rowBytes:
		return fmt.Errorf("gather: %d bytes are not %d rows of %d", len(src), rows, rowBytes)
	case rowBytes > 0 && len(indices) > len(dst)/rowBytes:
		return fmt.Errorf("gather: no room for %d rows of %d in %d bytes", len(indices), rowBytes, len(dst))
	}
	if err := checkIndices(indices, -int64(rows), int64(rows)); err != nil {
		return fmt.Errorf("gather: %w", err)
	}
	if rowBytes > 0 && len(indices) > 0 {
		gatherRows(dst, src, rowBytes, indices, rows)
	}
	return nil
}

// ScatterRows copies the rows of src to the rows of dst that the indices name, in
// their order: the last of several to one row stays. Negative indices count from the
// end of dst, which is a whole number of rows. dst and src may not overlap. Errors are
// ErrIndex and sizes that do not match; dst is then as it was.
func ScatterRows(dst, src []byte, rowBytes int, indices []int64) error {
	switch {
	case rowBytes <= 0:
		return fmt.Errorf("scatter: rows of %d bytes", rowBytes)
	case len(dst)%rowBytes != 0:
		return fmt.Errorf("scatter: %d bytes are no whole rows of %d", len(dst), rowBytes)
	case len(indices) > len(src)/rowBytes:
		return fmt.Errorf("scatter: %d bytes are not %d rows of %d", len(src), len(indices), rowBytes)
	}
	rows := len(dst) / rowBytes
	if err := checkIndices(indices, -int64(rows), int64(rows)); err != nil {
		return fmt.Errorf("scatter: %w", err)
	}
	if len(indices) > 0 {
		scatterRows(dst, src, rowBytes, indices, rows)
	}
	return nil
}

// CopyStrided copies rows of width bytes that are strides of bytes apart: columns of
// one matrix into columns of another, as concatenation, split and the assembly of a
// feature matrix need it. Strides may not be less than width unless there is but one
// row; bytes between rows are not touched. dst and src may not overlap.
func CopyStrided(dst []byte, dstStride int, src []byte, srcStride int, width, rows int) {
	if width < 0 || rows < 0 {
		tooSmall("CopyStrided", rows, width, len(src))
	}
	if width == 0 || rows == 0 {
		return
	}
	strided("CopyStrided", dstStride, width, rows, len(dst))
	strided("CopyStrided", srcStride, width, rows, len(src))
	if dstStride == width && srcStride == width {
		copy(dst[:width*rows], src)
		return
	}
	copyStrided(dst, dstStride, src, srcStride, width, rows)
}

// strided panics unless rows of width bytes, stride apart, fit a slice.
func strided(op string, stride, width, rows, has int) {
	if width > has || (rows > 1 && (stride < width || rows-1 > (has-width)/stride)) {
		tooSmall(op, rows, max(stride, width), has)
	}
}
