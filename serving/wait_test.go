// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// waitFor yields until a condition holds. It fails the test after a minute, which is for
// what never comes: a busy machine may take seconds.
func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("a condition did not come true in a minute")
		}
	}
}

// queued is how many requests wait for a model.
func queued(ts *testServer, model string) int64 {
	answer, err := (&adminService{server: ts.Server}).ExplainBatching(context.Background(), &millracev1.ExplainBatchingRequest{Model: model})
	if err != nil {
		return -1
	}
	return answer.Queued
}

// held is how many requests hold a version of a model.
func held(ts *testServer, model string) (n int64) {
	versions, err := ts.repository.Versions(model)
	if err != nil {
		return -1
	}
	for _, v := range versions {
		n += v.InFlight
	}
	return n
}

func getBody(t testing.TB, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	t.Cleanup(http.DefaultClient.CloseIdleConnections) // another server may get this one's port
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
