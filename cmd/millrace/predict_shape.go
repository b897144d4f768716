// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// flatten lists the elements of nested JSON arrays in row-major order, with the
// shape of the nesting. A lone value is an array of one element.
func flatten(data any) (tensor.Shape, []any, error) {
	if data == nil {
		return nil, nil, errors.New(`no "data"`)
	}
	if _, isArray := data.([]any); !isArray {
		return tensor.Shape{1}, []any{data}, nil
	}
	var shape tensor.Shape
	for level := data; ; {
		array, isArray := level.([]any)
		if !isArray {
			break
		}
		if len(shape) == inputRankMax {
			return nil, nil, fmt.Errorf("arrays are nested more than %d deep", inputRankMax)
		}
		shape = append(shape, int64(len(array)))
		if len(array) == 0 {
			break
		}
		level = array[0]
	}
	values, err := appendLeaves(nil, data, shape)
	return shape, values, err
}

// appendLeaves appends the elements of an array of the given shape.
func appendLeaves(values []any, data any, shape tensor.Shape) ([]any, error) {
	array, isArray := data.([]any)
	switch {
	case isArray != (len(shape) > 0):
		return nil, errors.New("some elements are arrays and some are not")
	case !isArray:
		return append(values, data), nil
	case int64(len(array)) != shape[0]:
		return nil, fmt.Errorf("arrays beside each other have %d and %d elements", shape[0], len(array))
	}
	var err error
	for _, element := range array {
		if values, err = appendLeaves(values, element, shape[1:]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// resolveShape decides the shape of count elements: the one given; else the nesting
// of the arrays where the model takes it, as a batch or as one row of it; else the
// model's own shape, when at most one of its extents is open and the count fits.
func resolveShape(given, nested, model tensor.Shape, count int64) (tensor.Shape, error) {
	if given != nil {
		elements, err := given.Elements()
		if err != nil {
			return nil, err
		}
		if elements != count {
			return nil, fmt.Errorf("shape %v has %d elements, the data %d", given, elements, count)
		}
		return given, nil
	}
	if model.Matches(nested) {
		return nested, nil
	}
	if row := append(tensor.Shape{1}, nested...); model.Matches(row) {
		return row, nil
	}
	if filled, ok := fillShape(model, count); ok && len(nested) == 1 {
		return filled, nil
	}
	return nil, fmt.Errorf("%d elements nested as %v do not fit the model's shape %v; give the shape", count, nested, model)
}

// fillShape sets the one open extent of a shape so that it has count elements.
func fillShape(model tensor.Shape, count int64) (tensor.Shape, bool) {
	filled, open := slices.Clone(model), -1
	for i, extent := range model {
		if extent >= 0 {
			continue
		}
		if open >= 0 {
			return nil, false
		}
		open, filled[i] = i, 1
	}
	elements, err := filled.Elements()
	if err != nil || elements == 0 {
		return nil, false
	}
	if open >= 0 && count%elements == 0 {
		filled[open] = count / elements
		return filled, true
	}
	return filled, elements == count
}
