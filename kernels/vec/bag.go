// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"errors"
	"fmt"
)

// BagMode is what an embedding bag makes of its rows.
type BagMode uint8

// The modes of a bag: the sum of its rows, in their order; the sum over their count;
// the largest of each column, NaN if any is. An empty bag gives zeros in all modes.
const (
	BagSum BagMode = iota
	BagMean
	BagMax
)

// ErrIndex is an index that is outside its table. Nothing was written then.
var ErrIndex = errors.New("index is out of range")

// EmbeddingBag looks rows of a table up and makes one row of each bag of them. Bag b
// has the indices from offsets[b] up to offsets[b+1], the last one those up to the
// end; dst has a row of dim elements for each. table has rows of dim elements.
// weights, if not nil, has a factor for each index and needs BagSum; products are
// rounded before they are added.
//
// Errors are ErrIndex, offsets that fall or leave the indices, and sizes that do not
// match; dst is then as it was.
func EmbeddingBag(dst, table []float32, dim int, indices, offsets []int64, weights []float32, mode BagMode) error {
	if err := checkBags(dst, table, dim, indices, len(offsets), weights, mode); err != nil {
		return err
	}
	last := int64(0)
	for b, o := range offsets {
		if o < last || o > int64(len(indices)) {
			return fmt.Errorf("embedding bag: offset %d of bag %d is not from %d to %d", o, b, last, len(indices))
		}
		last = o
	}
	if len(offsets) > 0 && offsets[0] != 0 {
		return fmt.Errorf("embedding bag: the first offset is %d, not 0", offsets[0])
	}
	if dim > 0 && len(offsets) > 0 {
		bags(&bagArgs{dst, table, dim, indices, offsets, weights, mode, len(offsets), 0})
	}
	return nil
}

// EmbeddingBags is EmbeddingBag for bags of bagLen indices each: bag b has those from
// b*bagLen. Their count is len(indices)/bagLen.
func EmbeddingBags(dst, table []float32, dim int, indices []int64, bagLen int, weights []float32, mode BagMode) error {
	if bagLen <= 0 || len(indices)%bagLen != 0 {
		return fmt.Errorf("embedding bag: %d indices are not a whole number of bags of %d", len(indices), bagLen)
	}
	count := len(indices) / bagLen
	if err := checkBags(dst, table, dim, indices, count, weights, mode); err != nil {
		return err
	}
	if dim > 0 && count > 0 {
		bags(&bagArgs{dst, table, dim, indices, nil, weights, mode, count, bagLen})
	}
	return nil
}

// bagArgs are checked bags: offsets, or a length for all.
type bagArgs struct {
	dst, table []float32
	dim        int
	indices    []int64
	offsets    []int64
	weights    []float32
	mode       BagMode
	count      int
	length     int
}

func checkBags(dst, table []float32, dim int, indices []int64, bags int, weights []float32, mode BagMode) error {
	switch {
	case mode > BagMax:
		return fmt.Errorf("embedding bag: %d is not a mode", mode)
	case dim < 0:
		return fmt.Errorf("embedding bag: rows of %d elements", dim)
	case dim > 0 && len(table)%dim != 0:
		return fmt.Errorf("embedding bag: a table of %d elements has no whole rows of %d", len(table), dim)
	case dim > 0 && bags > len(dst)/dim:
		return fmt.Errorf("embedding bag: no room for %d rows of %d in %d elements", bags, dim, len(dst))
	case weights != nil && mode != BagSum:
		return errors.New("embedding bag: weights need the mode sum")
	case weights != nil && len(weights) < len(indices):
		return fmt.Errorf("embedding bag: %d weights for %d indices", len(weights), len(indices))
	case dim == 0:
		return nil
	}
	if err := checkIndices(indices, 0, int64(len(table)/dim)); err != nil {
		return fmt.Errorf("embedding bag: %w", err)
	}
	return nil
}

// checkIndices finds the first index that is not from low up to, not including, high.
func checkIndices(indices []int64, low, high int64) error {
	if len(indices) == 0 || (high > low && indicesWithin(indices, low, high)) {
		return nil
	}
	for i, v := range indices {
		if v < low || v >= high {
			return fmt.Errorf("%w: number %d is %d, not from %d to less than %d", ErrIndex, i, v, low, high)
		}
	}
	return nil
}
