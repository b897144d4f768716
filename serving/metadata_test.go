// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/proto/inference"
)

// TestModelMetadata: shapes have the batch dimension, and every ready version is
// listed.
func TestModelMetadata(t *testing.T) {
	ts := startServer(t, modelFiles{
		"text/config.pbtxt": textConfig + `version_policy { all { } }`, "text/1/x": "", "text/10/x": "",
		"reshaped/config.pbtxt": `backend: "identity"
			input { name: "X" data_type: TYPE_FP16 dims: [ 4 ] reshape { shape: [ 2, 2 ] } }
			output { name: "Y" data_type: TYPE_FP16 dims: [ 4 ] reshape { shape: [ 2, 2 ] } }`,
	})
	for model, want := range map[string]string{
		"text": `name: "text" versions: "1" versions: "10" platform: "identity"
			inputs { name: "T" datatype: "BYTES" shape: -1 shape: -1 } outputs { name: "U" datatype: "BYTES" shape: -1 shape: -1 }`,
		"reshaped": `name: "reshaped" versions: "1" platform: "identity"
			inputs { name: "X" datatype: "FP16" shape: 4 } outputs { name: "Y" datatype: "FP16" shape: 4 }`,
	} {
		wanted := &inference.ModelMetadataResponse{}
		if err := prototext.Unmarshal([]byte(want), wanted); err != nil {
			t.Fatal(err)
		}
		got, err := ts.inference.ModelMetadata(testContext(t), &inference.ModelMetadataRequest{Name: model})
		if err != nil || !proto.Equal(got, wanted) {
			t.Errorf("%s: %v, %v", model, got, err)
		}
	}
	_, err := ts.inference.ModelMetadata(testContext(t), &inference.ModelMetadataRequest{Name: "text", Version: "2"})
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "Request for unknown model: 'text' version 2 is not found" {
		t.Error(err)
	}
}

// TestModelConfig: clients are told the completed configuration, with what its
// defaults stand for.
func TestModelConfig(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig})
	got, err := ts.inference.ModelConfig(testContext(t), &inference.ModelConfigRequest{Name: "echo", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	c := got.Config
	if c.Name != "echo" || c.MaxBatchSize != 8 || c.VersionPolicy.GetLatest().GetNumVersions() != 1 {
		t.Errorf("name, batch size or version policy: %v", c)
	}
	if !slices.Equal(c.GetDynamicBatching().GetPreferredBatchSize(), []int32{8}) {
		t.Errorf("preferred batch sizes: %v", c.GetDynamicBatching())
	}
	if !c.Optimization.GetInputPinnedMemory().GetEnable() || !c.Optimization.GetOutputPinnedMemory().GetEnable() {
		t.Errorf("optimization: %v", c.Optimization)
	}
	if len(c.InstanceGroup) != 1 || c.InstanceGroup[0].Name == "" || c.InstanceGroup[0].Count < 1 || c.InstanceGroup[0].Kind != inference.ModelInstanceGroup_KIND_CPU {
		t.Errorf("instance groups: %v", c.InstanceGroup)
	}
	if len(c.Input) != 1 || c.Input[0].DataType != inference.DataType_TYPE_FP32 || !slices.Equal(c.Input[0].Dims, []int64{2}) {
		t.Errorf("input: %v", c.Input)
	}
	if _, err := ts.inference.ModelConfig(testContext(t), &inference.ModelConfigRequest{Name: "nope"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

// TestModelStatistics counts rows, runs and failures apart.
func TestModelStatistics(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "other/config.pbtxt": identityConfig})
	for _, values := range [][]float32{{1, 2}, {1, 2, 3, 4}, {1, 2, 3, 4}} {
		if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("echo", values...)); err != nil {
			t.Fatal(err)
		}
	}
	bad := identityRequest("echo", 1, 2)
	bad.Inputs[0].Datatype = "INT32"
	if _, err := ts.inference.ModelInfer(testContext(t), bad); err == nil {
		t.Fatal("a wrong datatype is accepted")
	}
	got, err := ts.inference.ModelStatistics(testContext(t), &inference.ModelStatisticsRequest{Name: "echo"})
	if err != nil || len(got.ModelStats) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	s := got.ModelStats[0]
	if s.Name != "echo" || s.Version != "1" || s.InferenceCount != 5 || s.ExecutionCount != 3 || s.LastInference == 0 {
		t.Errorf("statistics: %v", s)
	}
	if s.InferenceStats.Success.Count != 3 || s.InferenceStats.Fail.Count != 1 || s.InferenceStats.Queue.Count != 3 || s.InferenceStats.Success.Ns == 0 {
		t.Errorf("requests: %v", s.InferenceStats)
	}
	if len(s.BatchStats) != 2 || s.BatchStats[0].BatchSize != 1 || s.BatchStats[1].BatchSize != 2 || s.BatchStats[1].ComputeInfer.Count != 2 {
		t.Errorf("batch sizes: %v", s.BatchStats)
	}
	if all, err := ts.inference.ModelStatistics(testContext(t), &inference.ModelStatisticsRequest{}); err != nil || len(all.ModelStats) != 2 {
		t.Errorf("all models: %v, %v", all, err)
	}
	for _, c := range []struct{ model, version, text string }{
		{"nope", "", "requested model 'nope' is not available"},
		{"echo", "7", "requested model version is not available for model 'echo'"},
	} {
		_, err := ts.inference.ModelStatistics(testContext(t), &inference.ModelStatisticsRequest{Name: c.model, Version: c.version})
		if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != c.text {
			t.Errorf("%s %s: %v", c.model, c.version, err)
		}
	}
}

// TestReadiness: a model that is not there is not ready, which is no error.
func TestReadiness(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "gone/config.pbtxt": identityConfig})
	if _, err := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: "gone"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		model, version string
		ready          bool
	}{{"echo", "", true}, {"echo", "1", true}, {"echo", "2", false}, {"gone", "", false}, {"gone", "1", false}, {"nope", "", false}} {
		got, err := ts.inference.ModelReady(testContext(t), &inference.ModelReadyRequest{Name: c.model, Version: c.version})
		if err != nil || got.Ready != c.ready {
			t.Errorf("%s version %q: %v, %v", c.model, c.version, got, err)
		}
	}
	if _, err := ts.inference.ModelReady(testContext(t), &inference.ModelReadyRequest{Name: "echo", Version: "one"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a version that is no number: %v", err)
	}
	live, err := ts.inference.ServerLive(testContext(t), &inference.ServerLiveRequest{})
	if err != nil || !live.Live {
		t.Errorf("live: %v, %v", live, err)
	}
}

// TestStrictReadiness: a model that fails to load keeps the server from being ready
// where that was asked for; the others are served all the same.
func TestStrictReadiness(t *testing.T) {
	for _, strict := range []bool{true, false} {
		ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "broken/config.pbtxt": "backend: 7"}, func(o *Options) { o.StrictReadiness = strict })
		got, err := ts.inference.ServerReady(testContext(t), &inference.ServerReadyRequest{})
		if err != nil || got.Ready != !strict {
			t.Errorf("strict %t: %v, %v", strict, got, err)
		}
		if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("echo", 1, 2)); err != nil {
			t.Error(err)
		}
		writeModels(t, ts.dir, modelFiles{"broken/config.pbtxt": identityConfig})
		if _, err := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: "broken"}); err != nil {
			t.Error(err)
		}
		if got, err = ts.inference.ServerReady(testContext(t), &inference.ServerReadyRequest{}); err != nil || !got.Ready {
			t.Errorf("strict %t, once all are loaded: %v, %v", strict, got, err)
		}
		if err := ts.stop(); err != nil {
			t.Error(err)
		}
		ts.conn.Close()
	}
}
