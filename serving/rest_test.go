// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// restReply is what a REST call was answered, as it came over the wire.
type restReply struct {
	status int
	header http.Header
	body   string
}

// rest calls the REST face. Headers are pairs of name and value.
func (ts *testServer) rest(t testing.TB, method, path, body string, headers ...string) restReply {
	t.Helper()
	q, err := http.NewRequestWithContext(testContext(t), method, ts.http+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Accept-Encoding", "identity") // or else the client asks for gzip
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return restReply{answer.StatusCode, answer.Header, string(text)}
}

// sameJSON compares two JSON texts, numbers by their digits.
func sameJSON(t testing.TB, got, want string) bool {
	t.Helper()
	return reflect.DeepEqual(decodeJSON(t, got), decodeJSON(t, want))
}

func decodeJSON(t testing.TB, text string) (v any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// TestRESTDescriptions holds the descriptions of server and models to their exact
// JSON.
func TestRESTDescriptions(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig, "text/config.pbtxt": textConfig, "text/3/x": ""})
	for path, want := range map[string]string{
		"/v2": `{"name":"triton","version":"test","extensions":["classification","model_repository","model_repository(unload_dependents)","schedule_policy","model_configuration","parameters","statistics"]}`,
		"/v2/models/pair": `{"name":"pair","versions":["1"],"platform":"identity",
			"inputs":[{"name":"A","datatype":"INT32","shape":[-1,16]},{"name":"B","datatype":"INT32","shape":[-1,16]}],
			"outputs":[{"name":"C","datatype":"INT32","shape":[-1,16]},{"name":"D","datatype":"INT32","shape":[-1,16]}]}`,
		"/v2/models/text/versions/3": `{"name":"text","versions":["3"],"platform":"identity",
			"inputs":[{"name":"T","datatype":"BYTES","shape":[-1,-1]}],"outputs":[{"name":"U","datatype":"BYTES","shape":[-1,-1]}]}`,
	} {
		got := ts.rest(t, "GET", path, "")
		if got.status != 200 || got.header.Get("Content-Type") != "application/json" || !sameJSON(t, got.body, want) {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// TestRESTProbes: a probe is answered by its status alone.
func TestRESTProbes(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig})
	for path, want := range map[string]int{
		"/v2/health/live": 200, "/v2/health/ready": 200, "/v2/models/pair/ready": 200, "/v2/models/pair/versions/1/ready": 200,
		"/v2/models/pair/versions/2/ready": 400, "/v2/models/nope/ready": 400,
	} {
		if got := ts.rest(t, "GET", path, ""); got.status != want || got.body != "" {
			t.Errorf("%s: %+v, want status %d", path, got, want)
		}
		if got := ts.rest(t, "HEAD", path, ""); got.status != want {
			t.Errorf("HEAD %s: %d", path, got.status)
		}
	}
}

// TestRESTConfig: the whole normalised configuration, with names of enums, numbers
// of 64 bits as numbers, and zero values written out.
func TestRESTConfig(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig})
	got := ts.rest(t, "GET", "/v2/models/pair/config", "")
	config, ok := decodeJSON(t, got.body).(map[string]any)
	if got.status != 200 || !ok {
		t.Fatalf("%+v", got)
	}
	for name, want := range map[string]string{
		"name":             `"pair"`,
		"backend":          `"identity"`,
		"max_batch_size":   `8`,
		"version_policy":   `{"latest":{"num_versions":1}}`,
		"dynamic_batching": `{"preferred_batch_size":[8],"max_queue_delay_microseconds":0,"preserve_ordering":false,"priority_levels":0,"default_priority_level":0,"priority_queue_policy":{}}`,
		"model_warmup":     `[]`,
		"parameters":       `{}`,
	} {
		if !reflect.DeepEqual(config[name], decodeJSON(t, want)) {
			t.Errorf("%s is %v, want %s", name, config[name], want)
		}
	}
	first := config["input"].([]any)[0].(map[string]any)
	if first["data_type"] != "TYPE_INT32" || first["format"] != "FORMAT_NONE" || !reflect.DeepEqual(first["dims"], []any{json.Number("16")}) {
		t.Errorf("first input: %v", first)
	}
	if _, present := config["sequence_batching"]; present {
		t.Error("a part that is not set is there")
	}
}

// TestRESTStatistics counts rows and runs, as numbers.
func TestRESTStatistics(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "pair/config.pbtxt": pairConfig})
	const request = `{"inputs":[{"name":"X","datatype":"FP32","shape":[3,2],"data":[1,2,3,4,5,6]}]}`
	for range 2 {
		if got := ts.rest(t, "POST", "/v2/models/echo/infer", request); got.status != 200 {
			t.Fatal(got)
		}
	}
	for _, path := range []string{"/v2/models/echo/stats", "/v2/models/echo/versions/1/stats"} {
		models := decodeJSON(t, ts.rest(t, "GET", path, "").body).(map[string]any)["model_stats"].([]any)
		stats := models[0].(map[string]any)
		if len(models) != 1 || stats["name"] != "echo" || stats["version"] != "1" ||
			stats["inference_count"] != json.Number("6") || stats["execution_count"] != json.Number("2") {
			t.Errorf("%s: %v", path, models)
		}
		success := stats["inference_stats"].(map[string]any)["success"].(map[string]any)
		if _, isNumber := success["ns"].(json.Number); !isNumber || success["count"] != json.Number("2") {
			t.Errorf("success: %v", success)
		}
		size := stats["batch_stats"].([]any)[0].(map[string]any)
		if size["batch_size"] != json.Number("3") || size["compute_infer"].(map[string]any)["count"] != json.Number("2") {
			t.Errorf("batch size: %v", size)
		}
	}
	all := decodeJSON(t, ts.rest(t, "GET", "/v2/models/stats", "").body).(map[string]any)["model_stats"].([]any)
	if len(all) != 2 {
		t.Errorf("statistics of all models: %v", all)
	}
}

// TestRESTDatatypes sends elements of every datatype nested as the shape and reads
// them back flat, exact to the last digit.
func TestRESTDatatypes(t *testing.T) {
	cases := []struct{ datatype, nested, flat string }{
		{"BOOL", `[[true,false],[false,true]]`, `[true,false,false,true]`},
		{"UINT8", `[[0,1],[2,255]]`, `[0,1,2,255]`},
		{"UINT16", `[[0,1],[2,65535]]`, `[0,1,2,65535]`},
		{"UINT32", `[[0,1],[2,4294967295]]`, `[0,1,2,4294967295]`},
		{"UINT64", `[[0,1],[2,18446744073709551615]]`, `[0,1,2,18446744073709551615]`},
		{"INT8", `[[-128,1],[2,127]]`, `[-128,1,2,127]`},
		{"INT16", `[[-32768,1],[2,32767]]`, `[-32768,1,2,32767]`},
		{"INT32", `[[-2147483648,1],[2,2147483647]]`, `[-2147483648,1,2,2147483647]`},
		{"INT64", `[[-9223372036854775808,1],[2,9223372036854775807]]`, `[-9223372036854775808,1,2,9223372036854775807]`},
		{"FP16", `[[1,-0.5],[0.333251953125,65504]]`, `[1,-0.5,0.33325195,65504]`},
		{"BF16", `[[1,-0.5],[3.140625,1e38]]`, `[1,-0.5,3.140625,9.96921e+37]`},
		{"FP32", `[[0.1,-2.5e-3],[1e30,16777217]]`, `[0.1,-0.0025,1e+30,1.6777216e+07]`},
		{"FP64", `[[0.1,-2.5e-3],[1e300,16777217]]`, `[0.1,-0.0025,1e+300,1.6777217e+07]`},
		{"BYTES", `[["","a"],["grüße","\u0000\""]]`, `["","a","grüße","\u0000\""]`},
	}
	files := modelFiles{}
	for _, c := range cases {
		kind := strings.Replace(c.datatype, "BYTES", "STRING", 1)
		files[c.datatype+"/config.pbtxt"] = fmt.Sprintf(`backend: "identity" max_batch_size: 4
			input { name: "X" data_type: TYPE_%s dims: [ 2 ] } output { name: "Y" data_type: TYPE_%s dims: [ 2 ] }`, kind, kind)
	}
	ts := startServer(t, files)
	for _, c := range cases {
		for _, data := range []string{c.nested, c.flat} {
			got := ts.rest(t, "POST", "/v2/models/"+c.datatype+"/infer",
				fmt.Sprintf(`{"id":"i","inputs":[{"name":"X","shape":[2,2],"datatype":"%s","data":%s}]}`, c.datatype, data))
			want := fmt.Sprintf(`{"id":"i","model_name":"%s","model_version":"1","outputs":[{"name":"Y","datatype":"%s","shape":[2,2],"data":%s}]}`, c.datatype, c.datatype, c.flat)
			if got.status != 200 || got.body != want {
				t.Errorf("%s of %s:\ngot  %d %s\nwant %s", c.datatype, data, got.status, got.body, want)
			}
		}
	}
}

// TestRESTInferOptions: versions and aliases in the path, outputs, classification,
// parameters, and an answer without an id.
func TestRESTInferOptions(t *testing.T) {
	ts := startServer(t, modelFiles{"pair/config.pbtxt": pairConfig, "pair/1/x": "", "pair/2/x": "", "scalar/config.pbtxt": `backend: "identity"
		input { name: "X" data_type: TYPE_INT64 dims: [ -1 ] } output { name: "Y" data_type: TYPE_INT64 dims: [ -1 ] }`})
	if _, err := ts.admin.SetAlias(testContext(t), &millracev1.SetAliasRequest{Model: "pair", Alias: "best", Version: 2}); err != nil {
		t.Fatal(err)
	}
	inputs := fmt.Sprintf(`"inputs":[{"name":"B","datatype":"INT32","shape":[1,16],"data":[%s1]},{"name":"A","datatype":"INT32","shape":[1,16],"data":[%s7]}]`,
		strings.Repeat("0,", 15), strings.Repeat("2,", 15))
	for _, c := range []struct{ path, more, want string }{
		{"/v2/models/pair/versions/2/infer", `"outputs":[{"name":"D"}]`, fmt.Sprintf(`{"model_name":"pair","model_version":"2","outputs":[{"name":"D","datatype":"INT32","shape":[1,16],"data":[%s1]}]}`, strings.Repeat("0,", 15))},
		{"/v2/models/pair/versions/best/infer", `"parameters":{"priority":1,"timeout":1000000,"mine":"x","flag":true,"ratio":0.5,"big":18446744073709551615},"outputs":[{"name":"C","parameters":{"classification":2,"binary_data":true}}]`,
			`{"model_name":"pair","model_version":"2","outputs":[{"name":"C","datatype":"BYTES","shape":[1,2],"data":["7:15","2:0"]}]}`},
	} {
		got := ts.rest(t, "POST", c.path, "{"+inputs+","+c.more+"}")
		if got.status != 200 || got.body != c.want {
			t.Errorf("%s %s:\ngot  %d %s\nwant %s", c.path, c.more, got.status, got.body, c.want)
		}
	}
	got := ts.rest(t, "POST", "/v2/models/scalar/infer", ` { "inputs" : [ { "name":"X","datatype":"INT64","shape":[0] } ], "outputs": null } `)
	if got.status != 200 || !strings.Contains(got.body, `"shape":[0],"data":[]`) {
		t.Errorf("no elements: %+v", got)
	}
}

// TestRESTRefusals: every refusal is {"error": text} with the status of its code.
func TestRESTRefusals(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "repeat/config.pbtxt": repeatConfig, "unloaded/config.pbtxt": pairConfig,
		"blob/config.pbtxt": `backend: "identity" input { name: "X" data_type: TYPE_STRING dims: [ 1 ] } output { name: "Y" data_type: TYPE_STRING dims: [ 1 ] }`})
	if _, err := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: "unloaded"}); err != nil {
		t.Fatal(err)
	}
	const infer = "/v2/models/echo/infer"
	one := func(member string) string {
		return `{"inputs":[{"name":"X","datatype":"FP32","shape":[1,2]` + member + `}]}`
	}
	good := one(`,"data":[1,2]`)
	with := func(member string) string { return strings.TrimSuffix(good, "}") + "," + member + "}" }
	many := "[" + strings.Repeat("{},", requestTensorsMax) + "{}]"
	const parse = "failed to parse the request JSON buffer: "
	for _, c := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"GET", "/", "", 404, "no such endpoint: GET /"},
		{"GET", "/v3/models", "", 404, "no such endpoint: GET /v3/models"},
		{"POST", "/v2", "", 405, "/v2 takes the methods GET, HEAD, not POST"},
		{"GET", infer, "", 405, infer + " takes the methods POST, not GET"},
		{"GET", "/v2/models/nope", "", 404, "Request for unknown model: 'nope' is not found"},
		{"GET", "/v2/models/echo/versions/9", "", 404, "Request for unknown model: 'echo' version 9 is not found"},
		{"GET", "/v2/models/echo/versions/x/config", "", 400, "failed to get model version from specified version string 'x'"},
		{"GET", "/v2/models/echo/versions/-1/ready", "", 400, "invalid model version specified '-1'"},
		{"GET", "/v2/models/nope/stats", "", 400, "requested model 'nope' is not available"},
		{"GET", "/v2/models/echo/versions/9/stats", "", 400, "requested model version is not available for model 'echo'"},
		{"GET", "/v2/models/unloaded/versions/1", "", 503, "Request for unknown model: 'unloaded' version 1 is not at ready state"},
		{"POST", "/v2/models/nope/infer", good, 404, "Request for unknown model: 'nope' is not found"},
		{"POST", "/v2/models/%ff/infer", good, 404, "Request for unknown model: '\uFFFD' is not found"},
		{"POST", "/v2/models/repeat/infer", good, 501, "ModelInfer RPC doesn't support models with decoupled transaction policy"},
		{"POST", infer, "", 400, parse + "unexpected end of JSON input"},
		{"POST", infer, "garbage", 400, parse + "invalid character 'g'"},
		{"POST", infer, good + "]", 400, parse + "invalid character ']' after top-level value"},
		{"POST", infer, `[]`, 400, parse + "json: cannot unmarshal array"},
		{"POST", infer, `{"inputs":{}}`, 400, parse + "inputs and outputs must be lists of objects"},
		{"POST", infer, `{"inputs":` + many + `}`, 400, parse + "more than 4096 inputs or outputs"},
		{"POST", infer, `{"outputs":` + many + `}`, 400, parse + "more than 4096 inputs or outputs"},
		{"POST", infer, `{}`, 400, "[request id: <id_unknown>] expected 1 inputs but got 0 inputs for model 'echo'."},
		{"POST", infer, with(`"id":"7","outputs":[{"name":"Z"}]`), 400, "unexpected inference output 'Z' for model 'echo'"},
		{"POST", infer, with(`"id":"7","outputs":[{"name":"Y"},{"name":"Y"}]`), 400, "[request id: 7] output 'Y' already exists in request"},
		{"POST", infer, one(""), 400, "unable to find data for input tensor 'X' for model 'echo' in request."},
		{"POST", infer, one(`,"data":[1]`), 400, "Unable to parse 'data' of input 'X': "},
		{"POST", infer, one(`,"data":["a","b"]`), 400, "Unable to parse 'data' of input 'X': element 0: "},
		{"POST", infer, one(`,"data":[1,1e60]`), 400, "Unable to parse 'data' of input 'X': element 1: 1e60 is out of range for FP32"},
		{"POST", infer, strings.Replace(good, "FP32", "FP99", 1), 400, "invalid datatype 'FP99' for input 'X'"},
		{"POST", infer, strings.Replace(good, "FP32", "INT32", 1), 400, "[request id: <id_unknown>] inference input 'X' data-type is 'INT32', but model 'echo' expects 'FP32'"},
		{"POST", infer, strings.Replace(good, "[1,2]", "[-1,2]", 1), 400, "Unable to parse 'data' of input 'X': shape [-1,2]: dimension -1 is not specified"},
		{"POST", infer, strings.Replace(good, "[1,2]", "[4611686018427387904,2]", 1), 400, "Unable to parse 'data' of input 'X': shape [4611686018427387904,2]: element count overflows"},
		{"POST", infer, strings.Replace(good, "[1,2]", "["+strings.Repeat("1,", 64)+"2]", 1), 400, "input 'X' has more than 64 dimensions"},
		{"POST", infer, with(`"parameters":{"timeout":"soon"}`), 400, "invalid value type for 'timeout' parameter, expected int64_param."},
		{"POST", infer, with(`"parameters":{"triton_x":1}`), 400, "parameter keys starting with 'triton_' are reserved"},
		{"POST", infer, with(`"parameters":{"b":[1],"a":null}`), 400, "invalid value type for 'a' parameter, expected "},
		{"POST", infer, with(`"outputs":[{"name":"Y","parameters":{"classification":0}}]`), 400, "invalid value for 'classification' parameter, expected >= 0"},
		{"POST", infer, with(`"outputs":[{"name":"Y","parameters":{"classification":"2"}}]`), 400, "invalid value type for 'classification' parameter, expected int64_param"},
		{"POST", infer, with(`"outputs":[{"name":"Y","parameters":{"shared_memory_region":"r"}}]`), 501, "shared memory regions are not supported"},
		{"POST", infer, one(`,"parameters":{"shared_memory_region":"r"}`), 501, "shared memory regions are not supported"},
		{"POST", infer, one(`,"parameters":{"binary_data_size":8}`), 501, "binary tensor data is not supported over REST yet: "},
		{"POST", "/v2/repository/index", `{"ready":1}`, 400, parse},
	} {
		got := ts.rest(t, c.method, c.path, c.body)
		var failure struct{ Error string }
		if err := json.Unmarshal([]byte(got.body), &failure); err != nil || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: not a JSON error: %+v", c.method, c.path, got)
		}
		if got.status != c.status || !strings.HasPrefix(failure.Error, c.text) {
			t.Errorf("%s %s %.80s:\ngot  %d %q\nwant %d %q", c.method, c.path, c.body, got.status, failure.Error, c.status, c.text)
		}
	}
	if got := ts.rest(t, "POST", "/v2", ""); got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("a wrong method is answered with the header %v", got.header)
	}
	if got := ts.rest(t, "POST", infer, "{}"+good, binaryHeader, "2"); got.status != 501 || !strings.Contains(got.body, "binary tensor data is not supported over REST yet") {
		t.Errorf("binary data: %+v", got)
	}
	blob := textRequest([]byte("\x01\x00\x00\x00\xff"), 1)
	blob.ModelName, blob.Inputs[0].Name = "blob", "X"
	if _, err := ts.inference.ModelInfer(testContext(t), blob); err != nil {
		t.Errorf("any bytes over gRPC: %v", err)
	}
	if got := ts.rest(t, "POST", infer, good); got.status != 200 {
		t.Errorf("afterwards: %+v", got)
	}
}
