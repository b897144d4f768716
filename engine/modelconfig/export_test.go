// SPDX-License-Identifier: Apache-2.0

package modelconfig

import "reflect"

// EnumNames is the table of an enum type, nil for any other type.
func EnumNames(t reflect.Type) []string {
	e, ok := reflect.Zero(t).Interface().(enum)
	if !ok {
		return nil
	}
	return e.enumNames()
}

// Limits, for the tests that reach them.
const (
	SourceBytesMax = sourceBytesMax
	ValuesMax      = valuesMax
	ProblemsMax    = problemsMax
)
