// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/json"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// numbersOf replaces the strings that protobuf's JSON form uses for 64-bit integers
// by numbers, in the plain form of message m.
func numbersOf(m protoreflect.Message, plain any) any {
	object, ok := plain.(map[string]any)
	if !ok {
		return plain
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(f.Name())
		switch {
		case f.IsMap():
			numbersOfMap(f, v.Map(), object[name])
		case f.IsList():
			numbersOfList(f, v.List(), object[name])
		case f.Message() != nil:
			numbersOf(v.Message(), object[name])
		}
		return true
	})
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if text, ok := object[string(f.Name())].(string); ok && isInteger64(f) {
			object[string(f.Name())] = json.Number(text)
		}
	}
	return object
}

func numbersOfList(f protoreflect.FieldDescriptor, list protoreflect.List, plain any) {
	elements, _ := plain.([]any)
	for i := range elements {
		if f.Message() != nil {
			numbersOf(list.Get(i).Message(), elements[i])
		} else if text, ok := elements[i].(string); ok && isInteger64(f) {
			elements[i] = json.Number(text)
		}
	}
}

func numbersOfMap(f protoreflect.FieldDescriptor, entries protoreflect.Map, plain any) {
	object, _ := plain.(map[string]any)
	if f.MapValue().Message() == nil {
		return
	}
	entries.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		numbersOf(v.Message(), object[k.String()])
		return true
	})
}

func isInteger64(f protoreflect.FieldDescriptor) bool {
	switch f.Kind() {
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return true
	}
	return false
}
