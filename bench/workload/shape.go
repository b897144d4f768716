// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// ParseShapes reads texts such as "NAME:2,3", or "NAME=2,3", into shapes by input.
// A name may hold either sign itself: the last one counts.
func ParseShapes(texts []string) (map[string]tensor.Shape, error) {
	shapes := map[string]tensor.Shape{}
	for _, text := range texts {
		at := strings.LastIndexAny(text, ":=")
		if at <= 0 {
			return nil, fmt.Errorf("%w: shape %q is not NAME:D1,D2", ErrInvalidWorkload, text)
		}
		name := text[:at]
		if shapes[name] != nil {
			return nil, fmt.Errorf("%w: two shapes for input %q", ErrInvalidWorkload, name)
		}
		for extent := range strings.SplitSeq(text[at+1:], ",") {
			n, err := strconv.ParseInt(extent, 10, 64)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("%w: extent %q in shape %q is not a number from 0", ErrInvalidWorkload, extent, text)
			}
			shapes[name] = append(shapes[name], n)
		}
	}
	return shapes, nil
}
