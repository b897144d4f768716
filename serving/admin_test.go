// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// answeredBy is the version that answers a request for version.
func answeredBy(t testing.TB, ts *testServer, version string) (string, error) {
	t.Helper()
	q := identityRequest("echo", 1, 2)
	q.ModelVersion = version
	answer, err := ts.inference.ModelInfer(testContext(t), q)
	return answer.GetModelVersion(), err
}

func expectVersion(t testing.TB, ts *testServer, asked, want string) {
	t.Helper()
	if got, err := answeredBy(t, ts, asked); err != nil || got != want {
		t.Errorf("version %q is answered by %q, %v; want %s", asked, got, err, want)
	}
}

func stepNames(steps []*millracev1.Step) (names []string) {
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return names
}

// TestAdmin walks through the life of a model with two versions.
func TestAdmin(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "echo/1/x": "", "echo/2/x": ""})
	ctx := testContext(t)
	expectVersion(t, ts, "", "2")

	loaded, err := ts.admin.LoadVersion(ctx, &millracev1.LoadVersionRequest{Model: "echo", Version: 1})
	if err != nil || loaded.AlreadyReady || !slices.Contains(stepNames(loaded.Steps), "warmup") {
		t.Fatalf("load: %v, %v", loaded, err)
	}
	if again, err := ts.admin.LoadVersion(ctx, &millracev1.LoadVersionRequest{Model: "echo", Version: 1}); err != nil || !again.AlreadyReady {
		t.Errorf("load again: %v, %v", again, err)
	}
	expectVersion(t, ts, "", "2")
	expectVersion(t, ts, "1", "1")

	if set, err := ts.admin.SetAlias(ctx, &millracev1.SetAliasRequest{Model: "echo", Alias: "stable", Version: 1}); err != nil || set.PreviousVersion != 0 {
		t.Fatalf("alias: %v, %v", set, err)
	}
	expectVersion(t, ts, "stable", "1")
	if set, err := ts.admin.SetAlias(ctx, &millracev1.SetAliasRequest{Model: "echo", Alias: "stable", Version: 2}); err != nil || set.PreviousVersion != 1 {
		t.Errorf("alias moved: %v, %v", set, err)
	}
	expectVersion(t, ts, "stable", "2")
	aliases, err := ts.admin.ListAliases(ctx, &millracev1.ListAliasesRequest{})
	if err != nil || len(aliases.Aliases) != 1 || aliases.Aliases[0].Model != "echo" || aliases.Aliases[0].Alias != "stable" || aliases.Aliases[0].Version != 2 {
		t.Errorf("aliases: %v, %v", aliases, err)
	}

	swapped, err := ts.admin.SwapVersion(ctx, &millracev1.SwapVersionRequest{Model: "echo", Version: 1, KeepOld: true})
	if err != nil || swapped.FromVersion != 2 || swapped.ToVersion != 1 || !slices.Contains(stepNames(swapped.Steps), "flip") {
		t.Fatalf("swap: %v, %v", swapped, err)
	}
	expectVersion(t, ts, "", "1")
	expectVersion(t, ts, "2", "2")
	back, err := ts.admin.Rollback(ctx, &millracev1.RollbackRequest{Model: "echo"})
	if err != nil || back.FromVersion != 1 || back.ToVersion != 2 || !slices.Contains(stepNames(back.Steps), "drain") || back.TotalMicros < 0 {
		t.Fatalf("rollback: %v, %v", back, err)
	}
	expectVersion(t, ts, "", "2")

	listed, err := ts.admin.ListModels(ctx, &millracev1.ListModelsRequest{Model: "echo"})
	if err != nil || len(listed.Versions) != 2 {
		t.Fatalf("list: %v, %v", listed, err)
	}
	if one := listed.Versions[0]; one.Version != 1 || one.State != "UNAVAILABLE" || one.Reason != "unloaded" || one.Current || one.Instances != 0 {
		t.Errorf("version 1: %v", one)
	}
	if two := listed.Versions[1]; two.Version != 2 || two.State != "READY" || !two.Current || two.Backend != "identity" || two.Instances < 1 || two.LoadedUnixMillis == 0 || !slices.Equal(two.Aliases, []string{"stable"}) {
		t.Errorf("version 2: %v", two)
	}

	if _, err := ts.admin.UnloadVersion(ctx, &millracev1.UnloadVersionRequest{Model: "echo", Version: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := answeredBy(t, ts, "stable"); status.Code(err) != codes.Unavailable {
		t.Errorf("an alias of an unloaded version: %v", err)
	}
	if _, err := ts.admin.SetAlias(ctx, &millracev1.SetAliasRequest{Model: "echo", Alias: "stable"}); err != nil {
		t.Error(err)
	}
	if _, err := answeredBy(t, ts, "stable"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a removed alias: %v", err)
	}
}

// TestAdminRefusals: each call says what is wrong.
func TestAdminRefusals(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "echo/1/x": "", "broken/config.pbtxt": "backend: 7"})
	ctx := testContext(t)
	refusal := func(_ any, err error) error { return err }
	for _, c := range []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"load of an unknown version", refusal(ts.admin.LoadVersion(ctx, &millracev1.LoadVersionRequest{Model: "echo", Version: 9})), codes.NotFound, "Request for unknown model: 'echo' version 9 is not found"},
		{"load of version 0", refusal(ts.admin.LoadVersion(ctx, &millracev1.LoadVersionRequest{Model: "echo"})), codes.NotFound, "Request for unknown model: 'echo' version 0 is not found"},
		{"load of an unknown model", refusal(ts.admin.LoadVersion(ctx, &millracev1.LoadVersionRequest{Model: "nope", Version: 1})), codes.Internal, "failed to load 'nope', failed to poll from model repository"},
		{"swap to an unknown version", refusal(ts.admin.SwapVersion(ctx, &millracev1.SwapVersionRequest{Model: "echo", Version: 9})), codes.NotFound, "Request for unknown model: 'echo' version 9 is not found"},
		{"path in the name", refusal(ts.admin.SwapVersion(ctx, &millracev1.SwapVersionRequest{Model: "a/b", Version: 1})), codes.InvalidArgument, "invalid model name 'a/b', model name must not contain path traversal characters"},
		{"rollback of the first", refusal(ts.admin.Rollback(ctx, &millracev1.RollbackRequest{Model: "echo"})), codes.FailedPrecondition, "model 'echo' has no previous version to roll back to"},
		{"unload of an unknown version", refusal(ts.admin.UnloadVersion(ctx, &millracev1.UnloadVersionRequest{Model: "echo", Version: 9})), codes.NotFound, "Request for unknown model: 'echo' version 9 is not found"},
		{"alias of an unknown version", refusal(ts.admin.SetAlias(ctx, &millracev1.SetAliasRequest{Model: "echo", Alias: "a", Version: 9})), codes.NotFound, "Request for unknown model: 'echo' version 9 is not found"},
		{"alias of an unknown model", refusal(ts.admin.SetAlias(ctx, &millracev1.SetAliasRequest{Model: "nope", Alias: "a", Version: 1})), codes.NotFound, "Request for unknown model: 'nope' is not found"},
		{"alias that is a number", refusal(ts.admin.SetAlias(ctx, &millracev1.SetAliasRequest{Model: "echo", Alias: "7", Version: 1})), codes.InvalidArgument, "invalid alias '7'"},
		{"aliases of an unknown model", refusal(ts.admin.ListAliases(ctx, &millracev1.ListAliasesRequest{Model: "nope"})), codes.NotFound, "model 'nope' was never loaded"},
		{"list of an unknown model", refusal(ts.admin.ListModels(ctx, &millracev1.ListModelsRequest{Model: "nope"})), codes.NotFound, "model 'nope' was never loaded"},
		{"explanation of an unknown version", refusal(ts.admin.ExplainBatching(ctx, &millracev1.ExplainBatchingRequest{Model: "echo", Version: 3})), codes.NotFound, "Request for unknown model: 'echo' version 3 is not found"},
	} {
		if status.Code(c.err) != c.code || !strings.HasPrefix(status.Convert(c.err).Message(), c.text) {
			t.Errorf("%s: %v, want %v %q", c.name, c.err, c.code, c.text)
		}
	}
	listed, err := ts.admin.ListModels(ctx, &millracev1.ListModelsRequest{})
	if err != nil || len(listed.Versions) != 2 || listed.Versions[0].Model != "broken" || listed.Versions[0].State != "UNAVAILABLE" || listed.Versions[0].Reason == "" {
		t.Errorf("all models: %v, %v", listed, err)
	}
	expectVersion(t, ts, "", "1")
}

// TestExplainBatching: the sum over reasons and over sizes is what was run, and the
// summary speaks of the reason that was most frequent.
func TestExplainBatching(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig, "repeat/config.pbtxt": repeatConfig,
		"single/config.pbtxt": strings.Replace(identityConfig, "dynamic_batching { }", "", 1)})
	explain := func(model string) *millracev1.ExplainBatchingResponse {
		t.Helper()
		answer, err := ts.admin.ExplainBatching(testContext(t), &millracev1.ExplainBatchingRequest{Model: model})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if got := explain("echo").Summary; got != "Nothing was run since the version was loaded." {
		t.Errorf("before: %s", got)
	}
	for _, model := range []string{"echo", "single"} {
		for range 5 {
			if _, err := ts.inference.ModelInfer(testContext(t), identityRequest(model, 1, 2, 3, 4)); err != nil {
				t.Fatal(err)
			}
		}
		got := explain(model)
		var dispatches, rows, sizes int64
		for _, reason := range got.Reasons {
			dispatches, rows = dispatches+reason.Dispatches, rows+reason.Rows
			if reason.Meaning == "" {
				t.Errorf("no meaning of %s", reason.Reason)
			}
		}
		for _, size := range got.BatchSizes {
			sizes += size.Dispatches * int64(size.Rows)
		}
		if dispatches != 5 || sizes != 10 || got.Queued != 0 || got.MaxBatchSize != 8 || got.Instances < 1 || got.Version != 1 {
			t.Errorf("%s: %v", model, got)
		}
		if !strings.HasPrefix(got.Summary, "5 runs of ") || !strings.Contains(got.Summary, "100 % of them: ") {
			t.Errorf("%s: %s", model, got.Summary)
		}
	}
	if got := explain("single").Summary; !strings.Contains(got, "To batch, set max_batch_size and dynamic_batching") {
		t.Errorf("single: %s", got)
	}
	if got := explain("repeat").Summary; got != "The model is decoupled: each request runs alone." {
		t.Errorf("decoupled: %s", got)
	}
	if _, err := ts.inference.RepositoryModelUnload(testContext(t), &inference.RepositoryModelUnloadRequest{ModelName: "echo"}); err != nil {
		t.Fatal(err)
	}
}
