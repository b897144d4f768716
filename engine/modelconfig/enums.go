// SPDX-License-Identifier: Apache-2.0

package modelconfig

import "reflect"

// enum is implemented by the types whose values configuration files write as
// names. The position of a name is its number on the wire.
type enum interface {
	enumNames() []string
}

var enumType = reflect.TypeFor[enum]()

func (Datatype) enumNames() []string {
	return []string{
		"TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64",
		"TYPE_INT8", "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32", "TYPE_FP64",
		"TYPE_STRING", "TYPE_BF16",
	}
}

func (InputFormat) enumNames() []string {
	return []string{"FORMAT_NONE", "FORMAT_NHWC", "FORMAT_NCHW"}
}

func (InstanceKind) enumNames() []string {
	return []string{"KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"}
}

func (SecondaryDeviceKind) enumNames() []string {
	return []string{"KIND_NVDLA"}
}

func (TimeoutAction) enumNames() []string {
	return []string{"REJECT", "DELAY"}
}

func (ModelPriority) enumNames() []string {
	return []string{"PRIORITY_DEFAULT", "PRIORITY_MAX", "PRIORITY_MIN"}
}

func (BatchInputKind) enumNames() []string {
	return []string{
		"BATCH_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
		"BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", "BATCH_ITEM_SHAPE", "BATCH_ITEM_SHAPE_FLATTEN",
	}
}

func (BatchOutputKind) enumNames() []string {
	return []string{"BATCH_SCATTER_WITH_INPUT_SHAPE"}
}

func (ControlKind) enumNames() []string {
	return []string{
		"CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_CORRID",
	}
}

// String is the kind's name in configuration files, such as "KIND_CPU".
func (k InstanceKind) String() string { return enumName(k, int64(k)) }

// String is the action's name in configuration files, such as "REJECT".
func (a TimeoutAction) String() string { return enumName(a, int64(a)) }

// configName is the datatype as configuration files write it, such as "TYPE_FP32".
// String, promoted from the tensor package, gives the wire's name instead.
func (d Datatype) configName() string { return enumName(d, int64(d.Datatype)) }

// enumName is the name of number, or "" where it has none.
func enumName(e enum, number int64) string {
	names := e.enumNames()
	if number < 0 || number >= int64(len(names)) {
		return ""
	}
	return names[number]
}

// enumField is the integer inside a value of an enum type. Datatype wraps its
// integer in a struct; the others are integers themselves.
func enumField(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Struct {
		return v.Field(0)
	}
	return v
}

func enumNumber(v reflect.Value) int64 {
	field := enumField(v)
	if field.CanInt() {
		return field.Int()
	}
	return int64(field.Uint())
}

func setEnumNumber(v reflect.Value, number int) {
	field := enumField(v)
	if field.CanInt() {
		field.SetInt(int64(number))
		return
	}
	field.SetUint(uint64(number))
}
