// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// JSON writes the configuration in the protobuf JSON mapping, with the names of the
// text format. Unset fields are left out and 64-bit integers are strings. It fails
// only on an enum value that has no name.
func (c *Config) JSON() ([]byte, error) {
	var e encoder
	e.message(reflect.ValueOf(c).Elem())
	return e.Bytes(), e.err
}

// encoder writes structs by their tags, as decoder reads them. err is the first
// error; what is written after it is of no use.
type encoder struct {
	bytes.Buffer
	err error
}

func (e *encoder) message(v reflect.Value) {
	e.WriteByte('{')
	separator := ""
	for _, f := range schemaOf(v.Type()).fields {
		field := v.Field(f.index)
		if field.IsZero() || isRepeated(field.Kind()) && field.Len() == 0 {
			continue
		}
		e.WriteString(separator)
		separator = ","
		e.quote(f.name)
		e.WriteByte(':')
		e.value(field)
	}
	e.WriteByte('}')
}

func (e *encoder) value(v reflect.Value) {
	if v.Type().Implements(enumType) {
		e.enum(v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		e.message(v.Elem())
	case reflect.Struct:
		e.message(v)
	case reflect.Slice:
		e.list(v)
	case reflect.Map:
		e.mapping(v)
	case reflect.String:
		e.quote(v.String())
	case reflect.Bool:
		e.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Float32, reflect.Float64:
		e.float(v.Float(), v.Type().Bits())
	default:
		e.integer(v)
	}
}

func (e *encoder) list(v reflect.Value) {
	e.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			e.WriteByte(',')
		}
		e.value(v.Index(i))
	}
	e.WriteByte(']')
}

// mapping writes entries in the order of their keys, so that equal configurations
// have equal text.
func (e *encoder) mapping(v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, compareKeys)
	e.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			e.WriteByte(',')
		}
		e.quote(keyText(key))
		e.WriteByte(':')
		e.value(v.MapIndex(key))
	}
	e.WriteByte('}')
}

func compareKeys(a, b reflect.Value) int {
	if a.CanUint() {
		return cmp.Compare(a.Uint(), b.Uint())
	}
	return strings.Compare(a.String(), b.String())
}

func keyText(key reflect.Value) string {
	if key.CanUint() {
		return strconv.FormatUint(key.Uint(), 10)
	}
	return key.String()
}

func (e *encoder) enum(v reflect.Value) {
	name := enumName(v.Interface().(enum), enumNumber(v))
	if name == "" && e.err == nil {
		e.err = invalidf("value %d of %s has no name", enumNumber(v), v.Type().Name())
	}
	e.quote(name)
}

func (e *encoder) integer(v reflect.Value) {
	var text string
	if v.CanInt() {
		text = strconv.FormatInt(v.Int(), 10)
	} else {
		text = strconv.FormatUint(v.Uint(), 10)
	}
	if v.Type().Bits() == 64 {
		text = `"` + text + `"`
	}
	e.WriteString(text)
}

func (e *encoder) float(value float64, bits int) {
	switch {
	case math.IsNaN(value):
		e.WriteString(`"NaN"`)
	case math.IsInf(value, 1):
		e.WriteString(`"Infinity"`)
	case math.IsInf(value, -1):
		e.WriteString(`"-Infinity"`)
	default:
		e.WriteString(strconv.FormatFloat(value, 'g', -1, bits))
	}
}

func (e *encoder) quote(text string) {
	quoted, err := json.Marshal(text)
	if err != nil && e.err == nil {
		e.err = err
	}
	e.Write(quoted)
}
