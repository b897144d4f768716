// SPDX-License-Identifier: Apache-2.0

package modelconfig_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

const datatypeList = "; known are TYPE_INVALID, TYPE_BOOL, TYPE_UINT8, TYPE_UINT16, TYPE_UINT32, TYPE_UINT64, TYPE_INT8," +
	" TYPE_INT16, TYPE_INT32, TYPE_INT64, TYPE_FP16, TYPE_FP32, TYPE_FP64, TYPE_STRING, TYPE_BF16"

func TestParseTextErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"nme: 'a'", `1:1: unknown field "nme" in the configuration; did you mean name?`},
		{"name: 'a'\n\n  input {\n    dtype: TYPE_FP32 }", `4:5: unknown field "dtype" in input; known are name, data_type, format, dims, reshape, ` +
			`is_shape_tensor, allow_ragged_batch, optional, is_non_linear_format_io`},
		{"instance_group { knd: KIND_CPU }", `1:18: unknown field "knd" in instance_group; did you mean kind?`},
		{"# é\nname: 'é' nam: 1", `2:11: unknown field "nam" in the configuration; did you mean name?`},
		{"response_cache { on: true }", `1:18: unknown field "on" in response_cache; known are enable`},
		{"input { data_type: FP32 }", "1:20: data_type has no value FP32" + datatypeList},
		{"input { data_type: TYPE_FLOAT32 }", "1:20: data_type has no value TYPE_FLOAT32" + datatypeList},
		{"instance_group { kind: 4 }", "1:24: kind has no value 4; known are KIND_AUTO, KIND_GPU, KIND_CPU, KIND_MODEL"},
		{"instance_group { kind: -1 }", "1:24: kind has no value -1; known are KIND_AUTO, KIND_GPU, KIND_CPU, KIND_MODEL"},
		{"name: 'a'\nname: 'b'", "2:1: name in the configuration is given more than once"},
		{"dynamic_batching {}\nsequence_batching {}",
			"2:1: sequence_batching in the configuration cannot be given together with dynamic_batching"},
		{"max_batch_size: 99999999999", "1:17: max_batch_size is out of range: 99999999999 does not fit in 32 bits with a sign"},
		{"response_cache { enable: yes }", "1:26: enable takes true or false, not yes"},
		{"name: a", "1:7: name takes a string in quotes, not a"},
		{"input { dims: '1' }", `1:15: dims takes a whole number, not "1"`},
		{"sequence_batching { direct { minimum_slot_utilization: 01 } }", "1:56: minimum_slot_utilization takes a number, not 01"},
		{"sequence_batching { direct { minimum_slot_utilization: 1e39 } }",
			"1:56: minimum_slot_utilization is out of range: 1e39 does not fit in a 32-bit float"},
		{"max_batch_size 1", "1:16: ':' is missing between max_batch_size and its value"},
		{"input { name: 'a'", "1:18: text ends inside a message, '}' is missing"},
		{"name:", "1:6: text ends where a value is expected"},
		{"name: 'abc\n'", "1:7: string is not closed on its line"},
		{"name: 'a\\qb'", "1:9: unknown escape \\q"},
		{"name: '\\xff'", "1:7: name is not valid UTF-8"},
		{"[a.b]: 1", "1:1: extensions are not supported, a field name is expected"},
		{"name: 'a'\n\xff", "2:1: text is not valid UTF-8"},
		{"input { dims: [1 2] }", "1:18: ',' or ']' is expected in a list"},
		{"metric_tags { key: 'a' } metric_tags { key: 'a' }", `1:45: key "a" is given more than once in metric_tags`},
		{"metric_tags { value: 'a' }", "1:13: an entry of metric_tags has no key"},
		{"metric_tags { key: 'a' vale: 'b' }", `1:24: unexpected "vale" in an entry of metric_tags, which has one key and one value`},
		{"name: '" + strings.Repeat("a", 10) + "' platform: " + strings.Repeat("b", 100),
			"1:30: platform takes a string in quotes, not " + strings.Repeat("b", 60) + "..."},
	} {
		_, err := modelconfig.ParseText([]byte(test.text))
		if !errors.Is(err, modelconfig.ErrInvalidConfig) {
			t.Errorf("ParseText(%q) = %v, want ErrInvalidConfig", test.text, err)
		} else if err.Error() != test.want {
			t.Errorf("ParseText(%q):\n got %s\nwant %s", test.text, err, test.want)
		}
	}
}

// TestParseTextReportsAll finds every mistake of meaning in one go, up to a bound.
func TestParseTextReportsAll(t *testing.T) {
	_, err := modelconfig.ParseText([]byte("nme: 'a'\nmax_batch_size: 'x'\ninput { dims: x }"))
	want := []string{"1:1: ", "2:17: ", "3:15: "}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d problems, want %d: %v", len(lines), len(want), err)
	}
	for i, prefix := range want {
		if !strings.HasPrefix(lines[i], prefix) {
			t.Errorf("problem %d is %q, want it at %s", i, lines[i], prefix)
		}
	}

	_, err = modelconfig.ParseText([]byte(strings.Repeat("bad: 1\n", 100_000)))
	lines = strings.Split(err.Error(), "\n")
	if len(lines) != modelconfig.ProblemsMax+1 || lines[modelconfig.ProblemsMax] != "and more problems" {
		t.Errorf("100000 mistakes give %d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

// TestParseTextOwn covers what the language allows and protobuf's Go reader does not.
func TestParseTextOwn(t *testing.T) {
	config := mustParse(t, "\v\fmodel_metrics { metric_control { histogram_options { buckets: [ - inf, -# sign\n2 ] } } }")
	buckets := config.ModelMetrics.MetricControl[0].HistogramOptions.Buckets
	if want := []float64{math.Inf(-1), -2}; !reflect.DeepEqual(buckets, want) {
		t.Errorf("buckets are %v, want %v", buckets, want)
	}
}

// TestEmptyIsUnset keeps nothing of an empty list or map, as if it were not there.
func TestEmptyIsUnset(t *testing.T) {
	fromText := mustParse(t, "input [] metric_tags [] parameters: []")
	fromJSON, err := modelconfig.ParseJSON([]byte(`{"input":[],"metric_tags":{},"parameters":null}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []*modelconfig.Config{fromText, fromJSON} {
		if !reflect.DeepEqual(got, &modelconfig.Config{}) {
			t.Errorf("empty fields read as %#v", got)
		}
	}
}

func TestReadersAreBounded(t *testing.T) {
	deepText := strings.Repeat("input {", 100_000)
	deepJSON := strings.Repeat(`{"input":[`, 100_000)
	manyText := "input { dims: [" + strings.Repeat("1,", modelconfig.ValuesMax) + "1] }"
	manyJSON := `{"input":[{"dims":[` + strings.Repeat("1,", modelconfig.ValuesMax) + `1]}]}`
	long := strings.Repeat(" ", modelconfig.SourceBytesMax+1)
	for _, test := range []struct {
		name, text, want string
		parse            func([]byte) (*modelconfig.Config, error)
	}{
		{"deep text", deepText, "nested deeper than 64 levels", modelconfig.ParseText},
		{"deep JSON", deepJSON, "nested deeper than 64 levels", modelconfig.ParseJSON},
		{"many values in text", manyText, "more than 200000 values", modelconfig.ParseText},
		{"many values in JSON", manyJSON, "more than 200000 values", modelconfig.ParseJSON},
		{"long text", long, "configuration has 4194305 bytes, at most 4194304 are read", modelconfig.ParseText},
		{"long JSON", long, "configuration has 4194305 bytes, at most 4194304 are read", modelconfig.ParseJSON},
	} {
		_, err := test.parse([]byte(test.text))
		if !errors.Is(err, modelconfig.ErrInvalidConfig) || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: error is %v, want %s", test.name, err, test.want)
		}
	}
}
