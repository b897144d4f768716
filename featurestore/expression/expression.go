// SPDX-License-Identifier: Apache-2.0

package expression

import "github.com/millrace-ml/millrace/featurestore/column"

// Field is a name that an expression may use, and its type.
type Field struct {
	Name string
	Type column.Type
}

// Row holds the values of the fields, by their place in the list that Compile got.
type Row struct {
	// Numbers has the fields of all types but String; NaN is null.
	Numbers []float64
	// Texts has the fields of type String; it may be nil if there are none.
	Texts []string
	// NullTexts marks texts that are null; nil is none.
	NullTexts []bool
}
