// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// fakeAdmin answers every call for the model "ranker" and writes down what it got.
type fakeAdmin struct {
	millracev1.UnimplementedAdminServer
	inference.UnimplementedGRPCInferenceServiceServer
	calls []string
}

func (a *fakeAdmin) called(format string, args ...any) {
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
}

func (a *fakeAdmin) ListModels(_ context.Context, r *millracev1.ListModelsRequest) (*millracev1.ListModelsResponse, error) {
	a.called("list %s", r.Model)
	return &millracev1.ListModelsResponse{Versions: []*millracev1.ModelVersion{{
		Model: "ranker", Version: 3, State: "READY", Current: true, Aliases: []string{"champion"}, Backend: "onnxruntime",
		Instances: 2, InFlight: 5, LoadMicros: 1500,
	}}}, nil
}

func (a *fakeAdmin) LoadVersion(_ context.Context, r *millracev1.LoadVersionRequest) (*millracev1.LoadVersionResponse, error) {
	a.called("load %s %d", r.Model, r.Version)
	return &millracev1.LoadVersionResponse{Steps: []*millracev1.Step{{Name: "warm up", Micros: 250}}}, nil
}

func (a *fakeAdmin) SwapVersion(_ context.Context, r *millracev1.SwapVersionRequest) (*millracev1.SwapVersionResponse, error) {
	a.called("swap %s %d %v", r.Model, r.Version, r.KeepOld)
	if r.Model != "ranker" {
		return nil, status.Error(codes.NotFound, "no such model")
	}
	return &millracev1.SwapVersionResponse{Model: r.Model, FromVersion: 2, ToVersion: 3, TotalMicros: 42_000,
		Steps: []*millracev1.Step{{Name: "flip", Micros: 1, Detail: "one pointer"}}}, nil
}

func (a *fakeAdmin) SetAlias(_ context.Context, r *millracev1.SetAliasRequest) (*millracev1.SetAliasResponse, error) {
	a.called("alias %s %s %d", r.Model, r.Alias, r.Version)
	return &millracev1.SetAliasResponse{PreviousVersion: 2}, nil
}

func (a *fakeAdmin) ExplainBatching(_ context.Context, r *millracev1.ExplainBatchingRequest) (*millracev1.ExplainBatchingResponse, error) {
	a.called("explain %s %d", r.Model, r.Version)
	return &millracev1.ExplainBatchingResponse{Model: r.Model, Version: 3, MaxBatchSize: 8, Instances: 2, Summary: "Requests find an idle instance.",
		Reasons:    []*millracev1.DispatchReason{{Reason: "idle", Meaning: "an instance was idle", Dispatches: 10, Rows: 12}},
		BatchSizes: []*millracev1.BatchSize{{Rows: 4, Dispatches: 1}},
		Latencies:  []*millracev1.LearnedLatency{{Rows: 8, MeanMicros: 300, PlannedMicros: 400, Observations: 9}}}, nil
}

func (a *fakeAdmin) RepositoryModelUnload(_ context.Context, r *inference.RepositoryModelUnloadRequest) (*inference.RepositoryModelUnloadResponse, error) {
	a.called("unload %s", r.ModelName)
	return &inference.RepositoryModelUnloadResponse{}, nil
}

func (a *fakeAdmin) ModelConfig(_ context.Context, r *inference.ModelConfigRequest) (*inference.ModelConfigResponse, error) {
	a.called("config %s %q", r.Name, r.Version)
	return &inference.ModelConfigResponse{Config: &inference.ModelConfig{Name: r.Name, MaxBatchSize: 8}}, nil
}

func (a *fakeAdmin) ModelStatistics(_ context.Context, r *inference.ModelStatisticsRequest) (*inference.ModelStatisticsResponse, error) {
	a.called("stats %s", r.Name)
	return &inference.ModelStatisticsResponse{ModelStats: []*inference.ModelStatistics{{
		Name: "ranker", Version: "3", InferenceCount: 30, ExecutionCount: 12,
		InferenceStats: &inference.InferStatistics{Success: &inference.StatisticDuration{Count: 4, Ns: 8000}},
	}}}, nil
}

func TestModels(t *testing.T) {
	admin := new(fakeAdmin)
	address := serveFake(t, func(s *grpc.Server) {
		millracev1.RegisterAdminServer(s, admin)
		inference.RegisterGRPCInferenceServiceServer(s, admin)
	})
	tests := []struct {
		args   string
		call   string
		status int
		text   []string
	}{
		{"list", "list ", exitOK, []string{"ranker  3", "READY", "champion", "onnxruntime", "1.5ms"}},
		{"list ranker --json", "list ranker", exitOK, []string{`"in_flight"`, `"current"`}},
		{"load ranker --version 3", "load ranker 3", exitOK, []string{"warm up", "250µs"}},
		{"swap ranker --version 3 --keep-old", "swap ranker 3 true", exitOK, []string{"ranker: version 2 -> version 3 in 42ms", "one pointer"}},
		{"swap other", "swap other 0 false", exitFailure, []string{"NotFound: no such model"}},
		{"unload ranker", "unload ranker", exitOK, []string{"unloading ranker"}},
		{"alias ranker champion 3", "alias ranker champion 3", exitOK, []string{"ranker alias champion -> version 3 (was version 2)"}},
		{"alias ranker champion --remove", "alias ranker champion 0", exitOK, []string{"removed (was version 2)"}},
		{"alias ranker champion", "", exitUsage, []string{"give either a VERSION or --remove"}},
		{"alias ranker champion 3 --remove", "", exitUsage, []string{"give either a VERSION or --remove"}},
		{"alias ranker champion none", "", exitUsage, []string{`version "none"`}},
		{"load ranker --version 0", "", exitUsage, []string{"a whole number above 0"}},
		{"explain-batching ranker", "explain ranker 0", exitOK, []string{"Requests find an idle instance.", "an instance was idle", "400µs"}},
		{"config ranker --version 2", `config ranker "2"`, exitOK, []string{`"max_batch_size"`}},
		{"stats", "stats ", exitOK, []string{"ranker", "2.5", "2µs"}},
		{"rollback ranker", "", exitFailure, []string{"the server does not offer this"}},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			admin.calls = nil
			args := append([]string{"models", "--url", address}, strings.Fields(test.args)...)
			status, stdout, stderr := runCommand(t, "", args...)
			if status != test.status {
				t.Errorf("status %d, want %d: %s", status, test.status, stderr)
			}
			if got := strings.Join(admin.calls, "; "); got != test.call {
				t.Errorf("the server was called with %q, want %q", got, test.call)
			}
			for _, text := range test.text {
				if !strings.Contains(stdout+stderr, text) {
					t.Errorf("output has no %q:\n%s%s", text, stdout, stderr)
				}
			}
		})
	}
}

func TestModelsJSONIsJSON(t *testing.T) {
	address := serveFake(t, func(s *grpc.Server) { millracev1.RegisterAdminServer(s, new(fakeAdmin)) })
	_, stdout, _ := runCommand(t, "", "models", "swap", "ranker", "--url", address, "--json")
	var answer map[string]any
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer["to_version"] != "3" {
		t.Errorf("%v in %q", err, stdout)
	}
}
