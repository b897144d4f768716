// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestPipelineSwaps promotes into a server that runs, from a process of its own and from
// within, and goes back as the record says. The server has tokens: the commands give one, and
// the server's own process needs none.
func TestPipelineSwaps(t *testing.T) {
	ran := make(chan string, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ran <- r.URL.Path }))
	t.Cleanup(hook.Close)
	dir := pipelineWorld(t)
	saying(t, exitOK, "pipeline", "run") // version 1, before there is a server
	// Another one that is as good.
	writeText(t, "training.yaml", strings.Replace(worldTraining, "trees: 10", "trees: 12", 1))

	writeText(t, projectFile, worldProject+accessTokens)
	server := startProject(t, dir)
	wants(t, saying(t, exitFailure, "pipeline", "run", "--run", "nobody", "--param", "server="+server.addresses["grpc"]), "this changes what is served, so it needs the token of an operator", "--token-file")
	t.Setenv(tokenVariable, "operator-0123456789ab")
	address := server.addresses["grpc"]
	saying(t, exitOK, "pipeline", "run", "--run", "second", "--param", "server="+address)
	p := lastPromotion(t)
	if p.Version != 2 || p.Previous != 1 || p.Served != "swapped in by the server at "+address || p.Rollback != "millrace models swap fraud --version 1 --url "+address {
		t.Errorf("promotion %+v", p)
	}
	saying(t, exitOK, strings.Fields(p.Rollback)[1:]...)
	end(t, server)

	// The same by a trigger, in the server's own process.
	writeText(t, "training.yaml", strings.Replace(worldTraining, "trees: 10", "trees: 14", 1))
	text := strings.Replace(worldPipeline, "    parameters:\n", "    triggers: [{on: file, path: retrain}]\n    parameters:\n", 1)
	text = strings.Replace(text, `, server: "{{ params.server }}"`, "", 1) +
		"      tell: {uses: notify, needs: [promote], with: {url: \"" + hook.URL + "/{{ promote.decision }}/{{ promote.version }}\"}}\n"
	writeText(t, "pipeline.yaml", text)
	t.Setenv(tokenVariable, "")
	server = startProject(t, dir)
	wants(t, saying(t, exitFailure, "pipeline", "run"), "in use by another runner", "millrace up")
	writeText(t, "retrain", "please\n")
	if path := <-ran; path != "/promoted/3" {
		t.Errorf("told of %s", path)
	}
	if p := lastPromotion(t); p.By != "file" || p.Version != 3 || p.Previous != 1 || // rolled back to before the restart
		!strings.HasPrefix(p.Served, "swapped in by the server at 127.0.0.1:") {
		t.Errorf("promotion %+v", p)
	}
	end(t, server)
	writeText(t, "pipeline.yaml", worldPipeline)
	wants(t, saying(t, exitOK, "pipeline", "run"), "decision=unchanged") // the folder is free again
}

// end stops a server and waits for its end.
func end(t *testing.T, s *runningServer) {
	t.Helper()
	s.stop()
	if status := <-s.status; status != exitOK {
		t.Errorf("status %d", status)
	}
}

// TestUpRefusesPipelines: a mistake in a pipeline that would run by itself stops the start.
func TestUpRefusesPipelines(t *testing.T) {
	dir := pipelineWorld(t, `
  nightly:
    schedule: {cron: "0 25 * * *"}
    tasks: {a: {uses: command, with: {shell: "true"}}}
`)
	wants(t, saying(t, exitUsage, "up", dir, "--http-port=0", "--grpc-port=0", "--metrics-port=0"), "pipeline.yaml", "cron")
}

func lastPromotion(t *testing.T) promotion {
	t.Helper()
	all, err := readPromotions(".millrace/state")
	if err != nil || len(all) == 0 {
		t.Fatalf("promotions %v, %v", all, err)
	}
	return all[len(all)-1]
}
