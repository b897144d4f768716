// SPDX-License-Identifier: Apache-2.0

// Package pages reads the flat columns of a Parquet file page by page, as typed slices.
// It knows the layout of the format (parquet.apache.org/docs/file-format, Encodings.md,
// LogicalTypes.md) and nothing of features.
//
// A page is decoded once, straight into the slice it will be read from: whole numbers
// and times into Ints, other numbers into Numbers, texts into Texts, one value for each
// row with nulls in their places. Dictionaries are decoded once for a chunk and looked
// up while the indexes are unpacked.
//
// Invariants:
//
//	P1  Counts and sizes in a file are claims. None is believed before it was compared
//	    with what there is: memory for a page is bounded by PageBytesMax and PageRowsMax,
//	    for metadata by footerBytesMax, however few bytes claim more.
//	P2  A file that is not what it says is an error that wraps ErrCorrupt, never a panic.
//	P3  The values of a page do not depend on who decodes it or when.
//
// Files and chunks may be used by many goroutines at once; a Values and a Scratch by one.
package pages

import "errors"

// ErrCorrupt means that bytes of the file are not what the format or their checksum
// says: restore the file.
var ErrCorrupt = errors.New("parquet file is corrupt")

// ErrUnsupported means that the file is stored in a way that is not read, such as
// encrypted: write it anew.
var ErrUnsupported = errors.New("parquet file is not supported")

const (
	// PageBytesMax bounds a page before and after decompression.
	PageBytesMax = 256 << 20
	// PageRowsMax bounds the rows of a page.
	PageRowsMax = 1 << 24
	// footerBytesMax and headerBytesMax bound the metadata of a file and of a page.
	footerBytesMax = 64 << 20
	headerBytesMax = 8 << 20
)

// bitpackPadding is what the unpacking of bits may read behind its input.
const bitpackPadding = 16
