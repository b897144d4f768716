// SPDX-License-Identifier: Apache-2.0

// Package vec is the arithmetic on rows and columns that is neither a matrix product,
// an activation nor a tree: element-wise operations and their broadcasts, reductions,
// conversions between datatypes, embedding bags, gather and scatter, buckets, one-hot
// rows, hashes and top-k.
//
// Matrices are row-major and contiguous: element (r, c) of rows x cols is at r*cols+c.
// A function works on as many elements as its first slice, or its rows and cols, say;
// other slices may be longer and are not touched beyond that.
//
// Invariants:
//
//   - Every function gives the same bits at every CPU level, from generic to AVX-512,
//     whatever the alignment (NaN may differ in sign and payload, except in
//     conversions). Products are rounded before they are added: no fused multiply-add.
//   - A sum over a contiguous row is 64 partial sums: element i is added to sum i mod
//     64, and the upper half of the sums is then added to the lower half until one is
//     left. Its error is within n/64+6 roundings of the sum of magnitudes. Sums over
//     rows (ReduceCols, EmbeddingBag) are made in the order of the rows.
//   - Nothing allocates, keeps a slice, or has state: all functions may be called from
//     any goroutine, as long as no two write the same memory.
//
// A slice that is too short is a mistake of the caller and panics. What comes from a
// request (indices, offsets) is checked and gives an error; nothing is written then.
package vec
