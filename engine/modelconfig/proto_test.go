// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/proto/inference"
)

// TestFieldsMatchProto holds the structs to the public message: every field, with
// its type, cardinality and oneof.
func TestFieldsMatchProto(t *testing.T) {
	compareMessage(t, reflect.TypeFor[modelconfig.Config](), (&inference.ModelConfig{}).ProtoReflect().Descriptor())
}

func compareMessage(t *testing.T, got reflect.Type, want protoreflect.MessageDescriptor) {
	t.Helper()
	tagged := map[string]reflect.StructField{}
	for i := range got.NumField() {
		tagged[got.Field(i).Tag.Get("pb")] = got.Field(i)
	}
	fields := want.Fields()
	if fields.Len() != len(tagged) {
		t.Errorf("%s has %d fields, %s has %d", got.Name(), len(tagged), want.FullName(), fields.Len())
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		struc, ok := tagged[string(field.Name())]
		if !ok {
			t.Errorf("%s lacks %s", got.Name(), field.FullName())
			continue
		}
		oneof := ""
		if o := field.ContainingOneof(); o != nil {
			oneof = string(o.Name())
		}
		if tag := struc.Tag.Get("oneof"); tag != oneof {
			t.Errorf("%s.%s is in oneof %q, want %q", got.Name(), struc.Name, tag, oneof)
		}
		compareField(t, struc.Type, field)
	}
}

func compareField(t *testing.T, got reflect.Type, want protoreflect.FieldDescriptor) {
	t.Helper()
	switch {
	case want.IsMap():
		if got.Kind() != reflect.Map || got.Key().Kind() != goKinds[want.MapKey().Kind()] {
			t.Errorf("%s is %s", want.FullName(), got)
			return
		}
		compareElement(t, got.Elem(), want.MapValue())
	case want.IsList():
		if got.Kind() != reflect.Slice {
			t.Errorf("%s is %s", want.FullName(), got)
			return
		}
		compareElement(t, got.Elem(), want)
	case want.Message() != nil:
		if got.Kind() != reflect.Pointer {
			t.Errorf("%s is %s, presence would be lost", want.FullName(), got)
			return
		}
		compareElement(t, got.Elem(), want)
	default:
		compareElement(t, got, want)
	}
}

var goKinds = map[protoreflect.Kind]reflect.Kind{
	protoreflect.StringKind: reflect.String, protoreflect.BoolKind: reflect.Bool,
	protoreflect.Int32Kind: reflect.Int32, protoreflect.Int64Kind: reflect.Int64,
	protoreflect.Uint32Kind: reflect.Uint32, protoreflect.Uint64Kind: reflect.Uint64,
	protoreflect.FloatKind: reflect.Float32, protoreflect.DoubleKind: reflect.Float64,
}

func compareElement(t *testing.T, got reflect.Type, want protoreflect.FieldDescriptor) {
	t.Helper()
	switch {
	case want.Enum() != nil:
		compareEnum(t, got, want.Enum())
	case want.Message() != nil:
		compareMessage(t, got, want.Message())
	case got.Kind() != goKinds[want.Kind()]:
		t.Errorf("%s is %s, want %s", want.FullName(), got, want.Kind())
	}
}

func compareEnum(t *testing.T, got reflect.Type, want protoreflect.EnumDescriptor) {
	t.Helper()
	names := modelconfig.EnumNames(got)
	if len(names) != want.Values().Len() {
		t.Errorf("%s has names %v, %s has %d values", got, names, want.FullName(), want.Values().Len())
		return
	}
	for i, name := range names {
		value := want.Values().ByNumber(protoreflect.EnumNumber(i))
		if value == nil || string(value.Name()) != name {
			t.Errorf("%s: value %d is %s, want %v", got, i, name, value)
		}
	}
}

// textBothAccept are texts that protobuf's own reader takes too, with the same
// meaning.
var textBothAccept = []string{
	"",
	" \t\r\n# only a comment",
	"name:'a'#b\nplatform:\"c#d\"",
	"name: 'a' 'b'\n# between\n \"c\" platform: 'd'",
	`name: "\a\b\f\n\r\t\v\?\\\'\"\0\08\101\x41\x4Az\u00e9\U0001F600"`,
	`name: "\303\251" platform: "é"`,
	"max_batch_size: 0x10", "max_batch_size: 010", "max_batch_size: -0", "max_batch_size: - 7",
	"max_batch_size: -2147483648", "max_batch_size: 2147483647;", "max_batch_size: -0x80000000",
	"max_batch_size: - # sign\n 7",
	"input { dims: 9223372036854775807 dims: [ -9223372036854775808, 0 ] dims: [] }",
	"dynamic_batching { max_queue_delay_microseconds: 18446744073709551615 }",
	"input {} input: {} input < > input: < name: 'x' > input [ {}, < > ] input: [ {} ] input []",
	"input { name: 'a', data_type: TYPE_FP32; dims: [1,2], };",
	"input{data_type:11 format:FORMAT_NHWC dims:1 dims:2}",
	"input { optional: true is_shape_tensor: t allow_ragged_batch: True is_non_linear_format_io: 1 }",
	"input { optional: false is_shape_tensor: f allow_ragged_batch: False is_non_linear_format_io: 0 }",
	"instance_group { kind: KIND_MODEL gpus: [0] gpus: 1 profile: 'a' 'b' profile: ['c', \"d\"] }",
	"metric_tags { key: 'a' value: 'b' } metric_tags: { value: 'c', key: 'd' } metric_tags { key: 'e' }",
	"metric_tags [ { key: 'a' value: 'b' }, { key: '' } ]",
	"parameters { key: 'a' value { string_value: 'x' } } parameters < key: 'b' value < > > parameters { key: 'c' }",
	"dynamic_batching { priority_queue_policy { key: 18446744073709551615 value { timeout_action: DELAY } } }",
	"model_metrics { metric_control { histogram_options { buckets: [1, -1.5, 1e3, .5, 2., 1.5f, 3F, inf, -inf, Infinity, nan] } } }",
	"model_metrics { metric_control { histogram_options { buckets: [0, 0.0, -0.0, 1e-310, 1E+2] } } }",
	"sequence_batching { direct { minimum_slot_utilization: 0.1 } }",
	"sequence_batching { control_input { control { fp32_false_true: [0.1, 3.4028235e38] bool_false_true: [false, true] } } }",
	"version_policy { all {} }", "version_policy: < specific: < versions: [1, 2] > >",
	"optimization { cuda { graph_spec { batch_size: 1 input { key: 'x' value { dim: [1, 2] } } } } }",
	"model_warmup { inputs { key: 'x' value { zero_data: true } } }",
	"name: \"\"", "max_batch_size: 0", "dynamic_batching {}", "input { reshape {} }",
}

// textBothRefuse are texts neither reader takes.
var textBothRefuse = []string{
	"name", "name:", "name 'a'", "name: a", "name: 1", "name: {}", "name: [ 'a' ]", ": 'a'", "'name': 'a'", "1: 2",
	"name: 'a", "name: 'a\nb'", "name: 'a\\", "name: '\\q'", "name: '\\x'", "name: '\\400'", "name: '\\u12'",
	"name: '\\U00110000'", "name: '\\ud800'", "name: '\\xff'", "name: 'a' name: 'b'", "name: 'a',,", "name: 'a';;", ",name: 'a'",
	"nme: 'a'", "Name: 'a'", "maxBatchSize: 1", "[x.y]: 1",
	"max_batch_size: 2147483648", "max_batch_size: -2147483649", "max_batch_size: 1.0", "max_batch_size: 1e2",
	"max_batch_size: '1'", "max_batch_size: 08", "max_batch_size: 0x", "max_batch_size: +1", "max_batch_size: 1_0", "max_batch_size: --1",
	"max_batch_size: 0b1", "max_batch_size: 0o7", "max_batch_size: 10abc", "max_batch_size: [1]", "max_batch_size: true",
	"dynamic_batching { max_queue_delay_microseconds: -1 }", "dynamic_batching { max_queue_delay_microseconds: 18446744073709551616 }",
	"dynamic_batching {", "dynamic_batching }", "dynamic_batching { >", "dynamic_batching < }", "}", "dynamic_batching: [ {} ]",
	"dynamic_batching: 1", "dynamic_batching {} dynamic_batching {}", "dynamic_batching {} sequence_batching {}",
	"input { dims [1] }", "input { dims: [1 2] }", "input { dims: [1,] }", "input { dims: [,] }", "input { dims: [ }", "input { dims: [[1]] }",
	"input { data_type: TYPE_FLOAT }", "input { data_type: 'TYPE_FP32' }", "input { data_type: 1.5 }", "input { optional: 2 }", "input { optional: TRUE }",
	"input { optional: 'true' }", "input: 1", "input: [ 1 ]",
	"metric_tags { key: 1 value: 'b' }", "metric_tags { key: 'a' key: 'b' }", "metric_tags { name: 'a' }", "metric_tags: 'a'",
	"version_policy { all {} latest {} }",
	"sequence_batching { direct { minimum_slot_utilization: 0x1 } }",
	"sequence_batching { direct { minimum_slot_utilization: infinit } }",
	"name: \x00", "name: '\x00'", "name: '\xff'",
}

func TestTextAgreesWithPrototext(t *testing.T) {
	texts := slices.Clone(textBothAccept)
	for _, data := range goldenTexts(t) {
		texts = append(texts, string(data))
	}
	for _, text := range texts {
		want := &inference.ModelConfig{}
		if err := prototext.Unmarshal([]byte(text), want); err != nil {
			t.Errorf("prototext refuses %q: %v", text, err)
			continue
		}
		got := toProto(t, mustParse(t, text))
		if !proto.Equal(got, want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func TestTextRefusesWithPrototext(t *testing.T) {
	for _, text := range textBothRefuse {
		if err := prototext.Unmarshal([]byte(text), &inference.ModelConfig{}); err == nil {
			t.Errorf("prototext accepts %q", text)
		}
		if config, err := modelconfig.ParseText([]byte(text)); err == nil {
			t.Errorf("ParseText(%q) = %+v, want an error", text, config)
		}
	}
}

// toProto goes the way the server does: our JSON into the public message.
func toProto(t *testing.T, config *modelconfig.Config) *inference.ModelConfig {
	t.Helper()
	message := &inference.ModelConfig{}
	if err := protojson.Unmarshal(mustJSON(t, config), message); err != nil {
		t.Fatalf("protojson refuses our JSON: %v\n%s", err, mustJSON(t, config))
	}
	return message
}

var jsonBothAccept = []string{
	`{}`, ` { } `, `{"name":null}`, `{"name":"a\u00e9\n\ud83d\ude00<>&"}`,
	`{"max_batch_size":"16"}`, `{"maxBatchSize":16}`, `{"max_batch_size":1.6e1}`, `{"max_batch_size":"16.0"}`, `{"max_batch_size":-0}`,
	`{"input":[{"name":"a","data_type":"TYPE_FP32","dims":["-1",3,"4"]},{"dataType":11}]}`,
	`{"dynamicBatching":{"maxQueueDelayMicroseconds":"18446744073709551615","priorityQueuePolicy":{"1":{"timeout_action":"DELAY"}}}}`,
	`{"instance_group":[{"kind":"KIND_CPU","count":2,"gpus":[]}],"metric_tags":{"a":"b","":"c"}}`,
	`{"model_metrics":{"metric_control":[{"histogram_options":{"buckets":[1,"2.5",1e3,"NaN","Infinity","-Infinity",-0.0]}}]}}`,
	`{"version_policy":{"all":{},"latest":null}}`, `{"input":[],"parameters":{}}`, `{"model_transaction_policy":{"decoupled":false}}`,
}

var jsonBothRefuse = []string{
	``, `[]`, `null`, `1`, `{`, `{"name"}`, `{"name":}`, `{"name":"a",}`, `{"name":"a"} x`, `{"name":"a"}{}`, `{},`, `{}:`, `{name:"a"}`, `{'name':'a'}`,
	`{"name":1}`, `{"name":{}}`, `{"nme":"a"}`, `{"name":"a","name":"b"}`, `{"max_batch_size":1,"maxBatchSize":1}`,
	`{"max_batch_size":"x"}`, `{"max_batch_size":1.5}`, `{"max_batch_size":2147483648}`, `{"max_batch_size":""}`, `{"max_batch_size":true}`,
	`{"max_batch_size":"0x10"}`, `{"max_batch_size":010}`, `{"max_batch_size":"+1"}`,
	`{"input":{}}`, `{"input":[1]}`, `{"input":[null]}`, `{"input":[{"dims":1}]}`, `{"input":[{"optional":"true"}]}`, `{"input":[{"optional":1}]}`,
	`{"input":[{"data_type":"FP32"}]}`, `{"input":[{"data_type":1.5}]}`, `{"metric_tags":{"a":1}}`, `{"metric_tags":[]}`, `{"metric_tags":{"a":"b","a":"c"}}`,
	`{"dynamic_batching":{"priority_queue_policy":{"x":{}}}}`, `{"dynamic_batching":{},"sequence_batching":{}}`, `{"dynamic_batching":[]}`,
	`{"version_policy":{"all":{},"latest":{}}}`, "{\"name\":\"\xff\"}",
}

func TestJSONAgreesWithProtojson(t *testing.T) {
	for _, text := range jsonBothAccept {
		want := &inference.ModelConfig{}
		if err := protojson.Unmarshal([]byte(text), want); err != nil {
			t.Errorf("protojson refuses %s: %v", text, err)
			continue
		}
		config, err := modelconfig.ParseJSON([]byte(text))
		if err != nil {
			t.Errorf("ParseJSON(%s): %v", text, err)
			continue
		}
		if got := toProto(t, config); !proto.Equal(got, want) {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
	for _, text := range jsonBothRefuse {
		if err := protojson.Unmarshal([]byte(text), &inference.ModelConfig{}); err == nil {
			t.Errorf("protojson accepts %s", text)
		}
		if config, err := modelconfig.ParseJSON([]byte(text)); err == nil {
			t.Errorf("ParseJSON(%s) = %+v, want an error", text, config)
		}
	}
}

// TestReadsProtojson closes the circle: what the public encoder writes, in either
// spelling, is read back to the same message.
func TestReadsProtojson(t *testing.T) {
	for path, data := range goldenTexts(t) {
		want := &inference.ModelConfig{}
		if err := prototext.Unmarshal(data, want); err != nil {
			t.Fatal(err)
		}
		for _, options := range []protojson.MarshalOptions{{}, {UseProtoNames: true}, {EmitUnpopulated: true}, {UseEnumNumbers: true, Multiline: true}} {
			text, err := options.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			config, err := modelconfig.ParseJSON(text)
			if err != nil {
				t.Errorf("%s: %v\n%s", path, err, text)
				continue
			}
			if got := toProto(t, config); !proto.Equal(got, want) {
				t.Errorf("%s with %+v is %v, want %v", path, options, got, want)
			}
		}
	}
}
