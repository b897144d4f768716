// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

// UnmarshalJSON reads what MarshalJSON wrote. A number that is null or not there is NaN:
// an infinite one was written as null too. Fields that are not known are left out.
func (r *Report) UnmarshalJSON(data []byte) error {
	mirror := reflect.New(reportMirror())
	if err := json.Unmarshal(data, mirror.Interface()); err != nil {
		return err
	}
	var read Report
	fromMirror(reflect.ValueOf(&read).Elem(), mirror.Elem())
	*r = read
	return nil
}

// reportMirror is Report as encoding/json reads it: in one pass, with numbers that may be
// null. It is made from the types themselves, so that nothing can be forgotten.
var reportMirror = sync.OnceValue(func() reflect.Type { return mirrorOf(reflect.TypeFor[Report]()) })

var (
	textType     = reflect.TypeFor[encoding.TextMarshaler]()
	valuesType   = reflect.TypeFor[estimate.Values]()
	durationType = reflect.TypeFor[time.Duration]()
	numberType   = reflect.TypeFor[*float64]()
)

func mirrorOf(t reflect.Type) reflect.Type {
	switch {
	case t == valuesType:
		return reflect.TypeFor[map[string]*float64]()
	case t == durationType:
		return reflect.TypeFor[int64]()
	case t.Implements(textType):
		return t
	}
	switch t.Kind() {
	case reflect.Float64:
		return numberType
	case reflect.Pointer:
		return reflect.PointerTo(mirrorOf(t.Elem()))
	case reflect.Slice:
		return reflect.SliceOf(mirrorOf(t.Elem()))
	case reflect.Struct:
		var fields []reflect.StructField
		for i := range t.NumField() {
			f := t.Field(i)
			fields = append(fields, reflect.StructField{Name: f.Name, Type: mirrorOf(f.Type), Tag: reflect.StructTag(`json:"` + snake(f.Name) + `"`)})
		}
		return reflect.StructOf(fields)
	}
	return t
}

// fromMirror copies a mirror's value to what it mirrors.
func fromMirror(to, from reflect.Value) {
	switch t := to.Type(); {
	case t == valuesType:
		var values estimate.Values
		for i, m := range estimate.Metrics {
			values[i] = math.NaN()
			if v := from.MapIndex(reflect.ValueOf(string(m))); v.IsValid() && !v.IsNil() {
				values[i] = v.Elem().Float()
			}
		}
		to.Set(reflect.ValueOf(values))
		return
	case t == durationType:
		to.SetInt(int64(time.Duration(from.Int()) * time.Microsecond))
		return
	case from.Type() == t:
		to.Set(from)
		return
	}
	switch to.Kind() {
	case reflect.Float64:
		to.SetFloat(math.NaN())
		if !from.IsNil() {
			to.SetFloat(from.Elem().Float())
		}
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
			fromMirror(to.Elem(), from.Elem())
		}
	case reflect.Slice:
		if !from.IsNil() {
			to.Set(reflect.MakeSlice(to.Type(), from.Len(), from.Len()))
			for i := range from.Len() {
				fromMirror(to.Index(i), from.Index(i))
			}
		}
	case reflect.Struct:
		for i := range to.NumField() {
			fromMirror(to.Field(i), from.Field(i))
		}
	}
}
