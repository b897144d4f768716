// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/proto/inference"
)

func stringParameter(text string) *inference.ModelRepositoryParameter {
	return &inference.ModelRepositoryParameter{ParameterChoice: &inference.ModelRepositoryParameter_StringParam{StringParam: text}}
}

func bytesParameter(content string) *inference.ModelRepositoryParameter {
	return &inference.ModelRepositoryParameter{ParameterChoice: &inference.ModelRepositoryParameter_BytesParam{BytesParam: []byte(content)}}
}

type controlParameters = map[string]*inference.ModelRepositoryParameter

// TestControlRefusals holds loads and unloads to the protocol's codes and words.
func TestControlRefusals(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig,
		"broken/config.pbtxt": `backend: "failing" parameters { key: "fail_on" value { string_value: "load" } } parameters { key: "message" value { string_value: "bad weights" } }
			input { name: "X" data_type: TYPE_FP32 dims: [ 2 ] } output { name: "Y" data_type: TYPE_FP32 dims: [ 2 ] }`})
	load := func(model string, parameters controlParameters) error {
		_, err := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: model, Parameters: parameters})
		return err
	}
	unload := func(parameters controlParameters) error {
		_, err := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: "echo", Parameters: parameters})
		return err
	}
	_, loadNamed := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{RepositoryName: "r", ModelName: "echo"})
	_, unloadNamed := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{RepositoryName: "r", ModelName: "echo"})
	_, indexNamed := ts.inference.RepositoryIndex(testContext(t), &inference.RepositoryIndexRequest{RepositoryName: "r"})
	const noRepositoryName = "'repository_name' specification is not supported"
	for _, c := range []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"not in the repository", load("nope", nil), codes.Internal, "failed to load 'nope', failed to poll from model repository"},
		{"bad override", load("echo", controlParameters{"config": stringParameter(`{"max_batch_size":`)}), codes.Internal, "failed to load 'echo', failed to poll from model repository"},
		{"backend error", load("broken", nil), codes.InvalidArgument, "load failed for model 'broken': version 1 is at UNAVAILABLE state: Invalid argument: invalid model: bad weights;\n"},
		{"no name", load("", nil), codes.InvalidArgument, "Model name cannot be empty. Please enter a valid name to deploy."},
		{"blank name", load(" \t", nil), codes.InvalidArgument, "Model name cannot be empty. Please enter a valid name to deploy."},
		{"path in the name", load("../echo", nil), codes.InvalidArgument, "invalid model name '../echo', model name must not contain path traversal characters"},
		{"unknown parameter", load("echo", controlParameters{"p": stringParameter("")}), codes.InvalidArgument, "unrecognized load parameter 'p'."},
		{"parameter without a value", load("echo", controlParameters{"config": nil}), codes.InvalidArgument, "invalid value type for load parameter 'config', expected string_param."},
		{"file as a string", load("echo", controlParameters{"file:1/x": stringParameter("")}), codes.InvalidArgument, "invalid value type for load parameter 'file:1/x', expected bytes_param."},
		{"config as bytes", load("echo", controlParameters{"config": bytesParameter("{}")}), codes.InvalidArgument, "invalid value type for load parameter 'config', expected string_param."},
		{"file outside", load("echo", controlParameters{"config": stringParameter(`{}`), "file:../x": bytesParameter("")}), codes.Internal, "failed to load 'echo', failed to poll from model repository"},
		{"file of a long name", load("echo", controlParameters{"config": stringParameter(`{}`), "file:" + strings.Repeat("n", 256): bytesParameter("")}), codes.Internal, "failed to load 'echo', failed to poll from model repository"},
		{"load from a repository", loadNamed, codes.Unimplemented, noRepositoryName},
		{"unload from a repository", unloadNamed, codes.Unimplemented, noRepositoryName},
		{"index of a repository", indexNamed, codes.Unimplemented, noRepositoryName},
		{"unknown parameter of unload", unload(controlParameters{"p": stringParameter("")}), codes.InvalidArgument, "unrecognized unload parameter 'p'."},
		{"unload_dependents no boolean", unload(controlParameters{"unload_dependents": stringParameter("")}), codes.InvalidArgument, "invalid value type for 'unload_dependents' parameter, expected bool_param."},
	} {
		if status.Code(c.err) != c.code || status.Convert(c.err).Message() != c.text {
			t.Errorf("%s:\ngot  %v %q\nwant %v %q", c.name, status.Code(c.err), status.Convert(c.err).Message(), c.code, c.text)
		}
	}
	if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("echo", 1, 2)); err != nil {
		t.Errorf("what was served is not any more: %v", err)
	}
}

// TestControlModes: only the explicit mode takes loads and unloads by call.
func TestControlModes(t *testing.T) {
	for _, mode := range []repository.ControlMode{repository.ModeNone, repository.ModePoll} {
		ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) { o.Repository.Mode, o.Repository.LoadModels = mode, nil })
		_, loadErr := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: "echo"})
		_, unloadErr := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: "echo"})
		for _, err := range []error{loadErr, unloadErr} {
			if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "explicit model load / unload is not allowed if polling is enabled" {
				t.Errorf("mode %d: %v", mode, err)
			}
		}
		if got := ts.rest(t, "POST", "/v2/repository/models/echo/unload", ""); got.status != 503 {
			t.Errorf("mode %d, REST: %+v", mode, got)
		}
		if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("echo", 1, 2)); err != nil {
			t.Error(err)
		}
		ts.conn.Close()
		if err := ts.stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestLoadAndUnload over gRPC, with the index before and after.
func TestLoadAndUnload(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "other/config.pbtxt": identityConfig},
		func(o *Options) { o.Repository.LoadModels = []string{"echo"} })
	index := func(ready bool) string {
		t.Helper()
		got, err := ts.inference.RepositoryIndex(testContext(t), &inference.RepositoryIndexRequest{Ready: ready})
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		for _, m := range got.Models {
			rows = append(rows, fmt.Sprintf("%s/%s %s (%s)", m.Name, m.Version, m.State, m.Reason))
		}
		return strings.Join(rows, ", ")
	}
	if got, want := index(false), "echo/1 READY (), other/  ()"; got != want {
		t.Errorf("at first: %s, want %s", got, want)
	}
	if _, err := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: "other",
		Parameters: controlParameters{"config": stringParameter(`{"backend":"identity","max_batch_size":"16","input":[{"name":"X","data_type":"TYPE_FP32","dims":[2]}],"output":[{"name":"Y","data_type":"TYPE_FP32","dims":[2]}]}`)}}); err != nil {
		t.Fatal(err)
	}
	if config, err := ts.inference.ModelConfig(testContext(t), &inference.ModelConfigRequest{Name: "other"}); err != nil || config.Config.MaxBatchSize != 16 {
		t.Errorf("configuration of the call: %v, %v", config, err)
	}
	if got, want := index(true), "echo/1 READY (), other/1 READY ()"; got != want {
		t.Errorf("both: %s, want %s", got, want)
	}
	for _, model := range []string{"echo", "unheard of"} {
		if _, err := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: model,
			Parameters: controlParameters{"unload_dependents": {ParameterChoice: &inference.ModelRepositoryParameter_BoolParam{BoolParam: true}}}}); err != nil {
			t.Errorf("unload %s: %v", model, err)
		}
	}
	waitFor(t, func() bool { return index(false) == "echo/1 UNAVAILABLE (unloaded), other/1 READY ()" })
	if got, want := index(true), "other/1 READY ()"; got != want {
		t.Errorf("ready ones: %s, want %s", got, want)
	}
}

// TestRESTControl loads a model from nothing but the call, and unloads it.
func TestRESTControl(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig})
	const config = `{"backend":"identity","max_batch_size":2,"input":[{"name":"X","data_type":"TYPE_FP32","dims":[3]}],"output":[{"name":"Y","data_type":"TYPE_FP32","dims":[3],"label_filename":"labels.txt"}]}`
	quoted, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	labels := base64.StdEncoding.EncodeToString([]byte("low\nhigh\nmiddle\n"))
	for _, form := range []string{config, string(quoted)} {
		got := ts.rest(t, "POST", "/v2/repository/models/sent/load", `{"parameters":{"config":`+form+`,"file:labels.txt":"`+labels+`","file:1/x":""}}`)
		if got.status != 200 || got.body != "" {
			t.Fatalf("load: %+v", got)
		}
		got = ts.rest(t, "POST", "/v2/models/sent/infer", `{"inputs":[{"name":"X","datatype":"FP32","shape":[1,3],"data":[1,9,4]}],"outputs":[{"name":"Y","parameters":{"classification":1}}]}`)
		if got.status != 200 || !strings.Contains(got.body, `"data":["9.000000:1:high"]`) {
			t.Errorf("infer: %+v", got)
		}
	}
	index := ts.rest(t, "POST", "/v2/repository/index", "")
	if !sameJSON(t, index.body, `[{"name":"echo","version":"1","state":"READY"},{"name":"sent","version":"1","state":"READY"}]`) {
		t.Errorf("index: %+v", index)
	}
	for _, c := range []struct {
		path, body string
		status     int
		text       string
	}{
		{"models/sent/unload", `{"parameters":{"unload_dependents":1}}`, 400, "invalid value type for 'unload_dependents' parameter"},
		{"models/sent/unload", `{"parameters":{"p":true}}`, 400, "unrecognized unload parameter 'p'."},
		{"models/sent/unload", `{"parameters":{"unload_dependents":true}}`, 200, ""},
		{"models/nope/unload", ``, 200, ""},
		{"models/nope/load", ``, 500, "failed to load 'nope', failed to poll from model repository"},
		{"models/echo/load", `{"parameters":{"p":1}}`, 400, "unrecognized load parameter 'p'."},
		{"models/echo/load", `{"parameters":{"file:1/x":"?"}}`, 400, "load parameter 'file:1/x' must be a base64 string"},
		{"models/..%2Fecho/load", ``, 400, "path traversal"},
		{"index", `{"ready":true}`, 200, `[{"name":"echo","version":"1","state":"READY"}]`},
	} {
		if got := ts.rest(t, "POST", "/v2/repository/"+c.path, c.body); got.status != c.status || !strings.Contains(got.body, c.text) {
			t.Errorf("%s %s: %+v, want %d %s", c.path, c.body, got, c.status, c.text)
		}
	}
}
