// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/serving"
	"github.com/millrace-ml/millrace/serving/access"
)

// TestAccessOfCommands gives commands no token, one of too small a role, a wrong one and the
// right one.
func TestAccessOfCommands(t *testing.T) {
	t.Chdir(t.TempDir())
	saying(t, exitOK, "init", "shop")
	project, err := os.ReadFile(filepath.Join("shop", projectFile))
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, filepath.Join("shop", projectFile), string(project)+accessTokens)
	writeText(t, "orders.csv", "order_id,ordered_at,customer_id,amount\nold-1,"+time.Now().UTC().Format(time.RFC3339Nano)+",7,20\n")
	writeText(t, "outcomes.csv", "prediction_id,name,value\n019a4b7e-8f0e-7c3a-9c1d-2f6f0f3a5b11,is_returned,true\n")
	for _, role := range accessRoles {
		writeText(t, role+".token", role+"-0123456789ab\n")
	}
	server := startProject(t, "shop")
	address := server.addresses["grpc"]
	const operator = "needs the token of an operator"
	const client = "needs the token of a client or an operator"
	for _, c := range []struct {
		command, needs, client string
	}{
		{"models alias risk best 1 --url " + address, operator, "shop is a client"},
		{"models swap risk --version 1 --url " + address, operator, "shop is a client"},
		{"features push orders orders.csv --server " + address, client, ""},
		{"feedback import outcomes.csv --server " + address, client, ""},
	} {
		command := strings.Fields(c.command)
		wants(t, saying(t, exitFailure, command...), c.needs, tokenAdvice)
		wants(t, saying(t, exitFailure, append(command, "--token-file", "stranger.token")...), "the token is none of console.tokens in millrace.yaml", tokenAdvice)
		wants(t, saying(t, exitFailure, append(command, "--token-file", "viewer.token")...), "wall is a viewer", c.needs)
		if c.client != "" {
			wants(t, saying(t, exitFailure, append(command, "--token-file", "client.token")...), c.client, c.needs)
		} else {
			saying(t, exitOK, append(command, "--token-file", "client.token")...)
		}
		saying(t, exitOK, append(command, "--token-file", "operator.token")...)
	}
	wants(t, saying(t, exitUsage, "models", "alias", "risk", "best", "1", "--url", address, "--token-file", "missing.token"), "--token-file: ")
	wants(t, saying(t, exitOK, "models", "list", "--url", address), "risk") // what reads is open
	t.Setenv(tokenVariable, "operator-0123456789ab")
	saying(t, exitOK, "models", "alias", "risk", "best", "1", "--url", address)
	t.Setenv(tokenVariable, "what\nis this")
	wants(t, saying(t, exitUsage, "models", "list", "--url", address), "$"+tokenVariable+": the token has what a header cannot carry")
	checkWho(t, server)
	checkChanges(t, address, server.addresses["http"])
	end(t, server)
}

// checkWho: the audit trail has the name of the token, whatever a caller says of itself.
func checkWho(t *testing.T, server *runningServer) {
	t.Helper()
	code, text := posted(t, server.addresses["http"], "/v1/decisions/order/rollout", `{"shadow_version": 1, "shadow_share": 1, "by": "somebody"}`)
	var said struct{ By, Error string }
	if err := json.Unmarshal([]byte(text), &said); err != nil || said.Error == "" && said.By != "anna, for somebody" {
		t.Errorf("%d %s, %v", code, text, err)
	}
	trail, err := os.ReadFile(filepath.Join("shop", ".millrace/state", auditFile))
	if err != nil || !strings.Contains(string(trail), `"who":"anna, for somebody"`) {
		t.Errorf("the audit trail: %s, %v", trail, err)
	}
}

// checkChanges: the audit trail has who changed models over the ports, what came of it, and
// nothing that was refused.
func checkChanges(t *testing.T, grpc, rest string) {
	t.Helper()
	t.Setenv(tokenVariable, "operator-0123456789ab")
	saying(t, exitFailure, "models", "swap", "risk", "--version", "77", "--url", grpc)
	if code, text := posted(t, rest, "/v2/repository/models/nowhere/load", "{}"); code < 400 {
		t.Errorf("a model that is not there is loaded: %d %s", code, text)
	}
	if code, text := posted(t, rest, "/v2/repository/models/risk/load", "{}"); code != 200 {
		t.Errorf("load: %d %s", code, text)
	}
	entries, err := (&auditTrail{state: filepath.Join("shop", ".millrace/state")}).Entries(100)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range slices.Backward(entries) { // the newest is first
		if e.Action != "rollout" {
			told = append(told, strings.Join([]string{e.Who, e.Action, e.Subject, e.Detail, e.Error}, "|"))
		}
	}
	want := []string{"anna|alias|risk|best is version 1|", "anna|swap|risk|version 1 in place of 1|", "anna|alias|risk|best is version 1|",
		"anna|swap|risk|version 77|", "anna|load|nowhere||HTTP status ", "anna|load|risk||"}
	if len(told) != len(want) {
		t.Fatalf("%d changes: %q", len(told), told)
	}
	for i := range want {
		if !strings.HasPrefix(told[i], want[i]) || strings.HasSuffix(told[i], "|") != (i != 3 && i != 4) {
			t.Errorf("change %d is %q, not %q", i, told[i], want[i])
		}
	}
}

// posted is the answer to an operator's request.
func posted(t *testing.T, address, path, body string) (code int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer operator-0123456789ab")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(all)
}

func TestCalledBy(t *testing.T) {
	for _, c := range [][3]string{{"", "", "api"}, {"", "ben", "ben"}, {"anna", "", "anna"}, {"anna", "anna", "anna"}, {"ci", "pipeline fraud", "ci, for pipeline fraud"}} {
		if got := calledBy(c[0], c[1]); got != c[2] {
			t.Errorf("%q: %s", c, got)
		}
	}
}

// TestTokenFor: the process's own secret goes to its own server alone.
func TestTokenFor(t *testing.T) {
	h := &taskHost{server: "[::]:8001", http: "10.0.0.1:8000", self: "own", token: "other"}
	for address, want := range map[string]string{
		"[::]:8001": "own", "localhost:8001": "own", "127.0.0.1:8001": "own", "10.0.0.1:8000": "own",
		"localhost:8000": "other", "elsewhere:8001": "other", "localhost:8002": "other", "nonsense": "other",
	} {
		if got := h.tokenFor(address); got != want {
			t.Errorf("%s is given the %s token", address, got)
		}
	}
	if got := (&taskHost{token: "other"}).tokenFor("localhost:8001"); got != "other" {
		t.Errorf("a command gives %q", got)
	}
}

// TestServeAccess: a server without a project takes tokens from a file.
func TestServeAccess(t *testing.T) {
	repository, dir := t.TempDir(), t.TempDir()
	writeText(t, filepath.Join(repository, "echo", "config.pbtxt"), echoConfig)
	writeText(t, filepath.Join(dir, "tokens"), "# who may\nanna operator operator-0123456789ab\nwall viewer viewer-0123456789ab\n")
	writeText(t, filepath.Join(dir, "bad"), "anna king operator-0123456789ab\nben\n")
	writeText(t, filepath.Join(dir, "operator.token"), "operator-0123456789ab")
	said := saying(t, exitUsage, "serve", "--model-repository", repository, "--access-file", filepath.Join(dir, "bad"))
	if wants(t, said, `:1: no role "king"`, ":2: has 1 words"); strings.Contains(said, "operator-0123456789ab") {
		t.Errorf("it tells a secret: %s", said)
	}
	server := startServer(t, "--model-repository", repository, "--model-control-mode=explicit", "--access-file", filepath.Join(dir, "tokens"))
	load := func(token string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+server.addresses["http"]+"/v2/repository/models/echo/load", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	for token, want := range map[string]int{"": 401, "stranger-0123456789ab": 401, "viewer-0123456789ab": 403, "operator-0123456789ab": 200} {
		if got := load(token); got != want {
			t.Errorf("a load by %q: %d", token, got)
		}
	}
	wants(t, saying(t, exitFailure, "models", "unload", "echo", "--url", server.addresses["grpc"]), "one of the server's --access-file", tokenAdvice)
	saying(t, exitOK, "models", "unload", "echo", "--url", server.addresses["grpc"], "--token-file", filepath.Join(dir, "operator.token"))
	end(t, server)
}

// TestWarnOpen: who listens for others without tokens is told so once.
func TestWarnOpen(t *testing.T) {
	listen := func(address string) net.Listener {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	local, all := listen("127.0.0.1:0"), listen("0.0.0.0:0")
	tokens := []access.Token{{Name: "anna", Role: access.Operator, Secret: "operator-0123456789ab"}}
	for name, c := range map[string]struct {
		options serving.Options
		tokens  []access.Token
		want    int
	}{
		"this machine":      {serving.Options{HTTP: local, GRPC: local, Metrics: all}, nil, 0},
		"others":            {serving.Options{HTTP: all, GRPC: all}, nil, 1},
		"others, by gRPC":   {serving.Options{GRPC: all}, nil, 1},
		"others, by tokens": {serving.Options{HTTP: all, GRPC: all}, tokens, 0},
	} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		g, err := access.New(access.Options{Tokens: c.tokens, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		warnOpen(log, g, &c.options, "--access-file")
		if got := strings.Count(out.String(), "there are no tokens"); got != c.want {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}

// TestProjectOpens reads what needs no token.
func TestProjectOpens(t *testing.T) {
	p, err := parseProject(".", projectFile, []byte("server: {open: [feedback, pushes]}\n"))
	if err != nil || len(p.Server.Open) != 2 || p.Server.Open[0] != access.Feedback || p.Server.Open[1] != access.Pushes {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := parseProject(".", projectFile, []byte("server: {open: change}\n")); err == nil || !strings.Contains(err.Error(), `there is no "change" to open: there are feedback and pushes`) {
		t.Errorf("%v", err)
	}
}
