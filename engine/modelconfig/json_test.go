// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"errors"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func TestParseJSONErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`{"nme": "a"}`, `1:2: unknown field "nme" in the configuration; did you mean name?`},
		{"{\"name\": \"a\",\n  \"input\": [{\"dims\": [1, \"x\"]}]}", `2:26: dims takes a whole number, not "x"`},
		{`{"input": {}}`, "1:11: input takes a list, not a message"},
		{`{"input": [null]}`, "1:12: input takes a message in braces, not a word"},
		{`{"metric_tags": 3}`, "1:17: metric_tags takes an object, not a number"},
		{`{"instanceGroup": [{"kind": "KIND_TPU"}]}`, `1:29: kind has no value "KIND_TPU"; did you mean KIND_GPU?`},
		{`{"max_batch_size": 1.5}`, "1:20: max_batch_size takes a whole number, not 1.5"},
		{`{"name": "a"`, "1:13: JSON text ends early"},
		{`{"name": "a"} {}`, "1:15: text goes on after the configuration"},
		{`[]`, "1:1: the configuration takes a message in braces, not a list"},
		{"{\"name\":\n tru}", "2:2: not valid JSON: invalid character '}' in literal true (expecting 'e')"},
	} {
		_, err := modelconfig.ParseJSON([]byte(test.text))
		if !errors.Is(err, modelconfig.ErrInvalidConfig) {
			t.Errorf("ParseJSON(%s) = %v, want ErrInvalidConfig", test.text, err)
		} else if err.Error() != test.want {
			t.Errorf("ParseJSON(%s):\n got %s\nwant %s", test.text, err, test.want)
		}
	}
}

func TestJSONIsDeterministic(t *testing.T) {
	config := &modelconfig.Config{
		Name:       "m",
		MetricTags: map[string]string{"b": "2", "a": "1", "c": "3"},
		DynamicBatching: &modelconfig.DynamicBatching{
			MaxQueueDelayMicroseconds: 100,
			PriorityQueuePolicy:       map[uint64]modelconfig.QueuePolicy{10: {MaxQueueSize: 1}, 9: {}},
		},
		Input: []modelconfig.Input{{DataType: modelconfig.Datatype{Datatype: tensor.Bytes}, Dims: []int64{-1}}},
	}
	const want = `{"name":"m","input":[{"data_type":"TYPE_STRING","dims":["-1"]}],` +
		`"dynamic_batching":{"max_queue_delay_microseconds":"100","priority_queue_policy":{"9":{},"10":{"max_queue_size":1}}},` +
		`"metric_tags":{"a":"1","b":"2","c":"3"}}`
	for range 20 {
		if got := string(mustJSON(t, config)); got != want {
			t.Fatalf("JSON is %s\nwant %s", got, want)
		}
	}
}

func TestJSONRefusesNamelessEnum(t *testing.T) {
	config := &modelconfig.Config{InstanceGroup: []modelconfig.InstanceGroup{{Kind: 17}}}
	_, err := config.JSON()
	if !errors.Is(err, modelconfig.ErrInvalidConfig) || err.Error() != "value 17 of InstanceKind has no name" {
		t.Errorf("error is %v", err)
	}
}
