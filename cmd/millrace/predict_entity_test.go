// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/serving/client"
)

const pythonClients = moduleRoot + "/examples/clients/python"

// TestEntities asks a served project about entities: with the command, with the Go client
// and with the clients in Python.
func TestEntities(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	if status, _, stderr := runCommand(t, "", "init", dir); status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	slowMachine(t, filepath.Join(dir, "decisions.yaml"))
	server := startProject(t, dir)
	grpcAddress, httpAddress := server.addresses["grpc"], server.addresses["http"]

	t.Run("predict", func(t *testing.T) { predictEntities(t, grpcAddress) })
	t.Run("predict-wrong", func(t *testing.T) { predictEntitiesWrong(t, grpcAddress) })
	t.Run("client", func(t *testing.T) { useClient(t, grpcAddress) })
	t.Run("python-http", func(t *testing.T) {
		python, err := exec.LookPath("python3")
		if err != nil {
			t.Skip("python3 is not installed")
		}
		usePython(t, python, "decide_http.py", "--url", "http://"+httpAddress)
	})
	t.Run("python-grpc", func(t *testing.T) {
		if testing.Short() {
			t.Skip("fetches Python packages")
		}
		usePython(t, foreigntest.Python(t, pythonClients+"/requirements.txt"), "decide_grpc.py", "--server", grpcAddress)
	})
	server.stop()
	if status := <-server.status; status != exitOK {
		t.Errorf("the server ended with status %d", status)
	}
}

// slowMachine gives decisions time, so that none is degraded for being late.
func slowMachine(t *testing.T, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	patient := strings.Replace(string(content), "budget: {total: 50ms}", "budget: {total: 1m}", 1)
	if patient == string(content) {
		t.Fatalf("%s has no budget of 50ms", file)
	}
	if err := os.WriteFile(file, []byte(patient), 0o644); err != nil {
		t.Fatal(err)
	}
}

func predictEntities(t *testing.T, address string) {
	args := []string{"predict", "--server", address, "--entity", "customer_id=7", "--fact", "order_id=p-1", "--fact", "amount=900", "--explain", "--request-id", "r1"}
	status, stdout, stderr := runCommand(t, "", args...)
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{"DECISION    review", "LARGE: a large order", "risk version 1", "prediction ", "FEATURE ", "over_mean "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	// The policy takes the order's id for the key: asked again, it is the same decision.
	status, stdout, stderr = runCommand(t, "", append(args, "--decision", "order", "--format", "json")...)
	var d decisionJSON
	if err := json.Unmarshal([]byte(stdout), &d); err != nil || status != exitOK {
		t.Fatalf("status %d, %v: %s%s", status, err, stdout, stderr)
	}
	if d.Decision != "review" || !d.Repeated || d.RequestID != "r1" || d.PredictionID == "" || d.Degraded {
		t.Errorf("decision %s", stdout)
	}
	// A key of an entity may be given as a fact too.
	status, stdout, stderr = runCommand(t, "", "predict", "--server", address, "--fact", "customer_id=7", "--fact", "order_id=p-2", "--fact", "amount=35", "--key", "k1")
	if status != exitOK || !strings.Contains(stdout, "DECISION    accept") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	status, stdout, stderr = runCommand(t, "", "predict", "--server", address, "--entity", "customer_id=7", "--fact", "amount=35", "--features", "risk")
	if status != exitOK || !strings.Contains(stdout, "orders_month") || !strings.Contains(stdout, "present") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
}

func predictEntitiesWrong(t *testing.T, address string) {
	for name, test := range map[string]struct {
		args   []string
		status int
		want   []string
	}{
		"fact":     {[]string{"--entity", "customer_id=7", "--fact", "amuont=3", "--fact", "order_id=x"}, exitUsage, []string{"--fact amuont: there is no such name; known: ", "amount", "--fact amount=VALUE is missing"}},
		"entity":   {[]string{"--entity", "client=7", "--fact", "amount=3", "--fact", "order_id=x"}, exitUsage, []string{"--entity client: there is no such name; known: customer_id", "--entity customer_id=VALUE is missing: it is of type int64"}},
		"type":     {[]string{"--entity", "customer_id=me", "--fact", "amount=3", "--fact", "order_id=x"}, exitUsage, []string{`--entity customer_id: "me" is not of type int64`}},
		"value":    {[]string{"--entity", "customer_id=7", "--fact", "amount=-3", "--fact", "order_id=x"}, exitFailure, []string{"amount"}},
		"decision": {[]string{"--entity", "customer_id=7", "--decision", "oder"}, exitUsage, []string{"--decision oder: the server has order"}},
		"service":  {[]string{"--entity", "customer_id=7", "--features", "rsik"}, exitUsage, []string{`feature service "rsik": the server has risk`}},
		"mixed":    {[]string{"--entity", "customer_id=7", "--model", "m", "--json", "x", "--features", "risk", "--explain"}, exitUsage, []string{"--model asks a model", "--format json", "--features reads features alone"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, stderr := runCommand(t, "", append([]string{"predict", "--server", address}, test.args...)...)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in %s", want, stderr)
				}
			}
		})
	}
}

// useClient uses the Go client as its users would.
func useClient(t *testing.T, address string) {
	c, err := client.Dial(t.Context(), address, client.Options{DecideTimeout: time.Minute, GetTimeout: time.Minute, PushTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	q := client.NewDecide("order").Int("customer_id", 8).Text("order_id", "c-1").Float("amount", 35)
	q.Key, q.Explain = "client-1", true
	first, err := c.Decide(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Decide(t.Context(), q)
	if err != nil || again.PredictionID != first.PredictionID || !again.Repeated || first.Repeated || len(first.Features) != 5 {
		t.Errorf("first %+v, again %+v, %v", first, again, err)
	}
	useStreams(t, c)

	get := client.NewGet("risk")
	get.Entities.Ints("customer_id", 9, 10)
	get.Request.Floats("amount", 1, 2)
	v, err := c.Get(t.Context(), get)
	if err != nil {
		t.Fatal(err)
	}
	month := v.Place("orders_month")
	if month < 0 || v.Number(0, month) != 40 || v.Number(1, month) != 0 || v.Number(1, v.Place("amount")) != 2 {
		t.Errorf("features %v: %v and %v; want 40 orders pushed, and none", v.Names, v.Numbers(0), v.Numbers(1))
	}
	if r, err := c.Infer(t.Context(), client.NewInfer("nobody")); err == nil {
		t.Errorf("a model that is not there answered %+v", r)
	}
}

// useStreams pushes 40 orders of customer 9, twice, and decides about 100 of customer 11.
func useStreams(t *testing.T, c *client.Client) {
	push, err := c.PushStream(t.Context(), "orders", client.PushStreamOptions{BatchEvents: 16, IDField: "order_id", Done: func(e *client.Event, err error) {
		if err != nil {
			t.Errorf("event %+v: %v", e, err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(-time.Minute)
	for i := range 80 {
		e := client.NewEvent().Text("order_id", "s-"+string(rune('a'+i%40))).Time("ordered_at", now.Add(time.Duration(i%40)*time.Second)).Int("customer_id", 9).Float("amount", 20)
		if err := push.Push(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := push.Close(); err != nil {
		t.Error(err)
	}
	if s := push.Stats(); s.Accepted != 80 || s.Duplicates != 40 || s.Failed != 0 {
		t.Errorf("pushed %+v, want 80 of which 40 are duplicates", s)
	}

	decide, err := c.DecideStream(t.Context(), 16)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for g := range 4 {
		running.Go(func() {
			for i := range 25 {
				id := string(rune('a'+g)) + "-" + string(rune('a'+i))
				amount, want := 30.0, "accept"
				if i%5 == 0 {
					amount, want = 5000, "review"
				}
				d, err := decide.Decide(t.Context(), client.NewDecide("order").Int("customer_id", 11).Text("order_id", id).Float("amount", amount))
				if err != nil {
					t.Errorf("order %s: %v", id, err)
				} else if d.Decision != want && amount > 500 {
					t.Errorf("order %s of %v: %s", id, amount, d.Decision)
				}
			}
		})
	}
	running.Wait()
	if err := decide.Close(); err != nil {
		t.Error(err)
	}
}

// usePython runs a client in Python twice with one key.
func usePython(t *testing.T, python, script string, server ...string) {
	ask := func(args ...string) string {
		args = append([]string{filepath.Join(pythonClients, script)}, append(args, server...)...)
		return string(foreigntest.Run(t, exec.CommandContext(t.Context(), python, args...)))
	}
	args := []string{"order", "customer_id=12", "order_id=" + script, "amount=900.0", "--key", script, "--timeout", "60", "--explain"}
	first, again := ask(args...), ask(args...)
	for _, want := range []string{"decision   review", "LARGE: a large order", "feature    amount 900"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	if strings.Contains(first, "repeated") || !strings.Contains(again, "repeated") {
		t.Errorf("first\n%sand again\n%s", first, again)
	}
	wrong := exec.CommandContext(t.Context(), python, append([]string{filepath.Join(pythonClients, script), "order", "customer_id=12", "amuont=3", "--timeout", "60"}, server...)...)
	wrong.Env = append(os.Environ(), "NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost")
	if output, err := wrong.CombinedOutput(); err == nil || !strings.Contains(string(output), "facts.amuont") {
		t.Errorf("a wrong fact: %v\n%s", err, output)
	}
}
