// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// startFeatures serves the shop until the test ends or stop is called.
func (s *shop) startFeatures() *runningServer {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	s.t.Cleanup(stop)
	logReader, logWriter := io.Pipe()
	status := make(chan int, 1)
	go func() {
		args := s.words("serve --http-port=0 --grpc-port=0 --metrics-port=0 --log-format=json --http-address=127.0.0.1 --grpc-address=127.0.0.1 --metrics-address=127.0.0.1 " + exitTimeout + withState)
		status <- execute(ctx, args, strings.NewReader(""), io.Discard, logWriter)
		logWriter.Close()
	}()
	server := &runningServer{addresses: map[string]string{}, stop: stop, status: status}
	lines := bufio.NewScanner(logReader)
	for lines.Scan() {
		var line struct{ Msg, Face, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			s.t.Fatalf("log line %s: %v", lines.Text(), err)
		}
		switch line.Msg {
		case "listening":
			server.addresses[line.Face] = line.Address
		case "ready":
			go io.Copy(io.Discard, logReader) // ends when the server does
			return server
		}
	}
	s.t.Fatalf("the server ended with status %d before it was ready", <-status)
	return nil
}

// TestFeaturesServe serves, pushes files, reads over both faces, and stops.
func TestFeaturesServe(t *testing.T) {
	s := newShop(t)
	s.must("materialize" + withState)
	server := s.startFeatures()
	at := " --server " + server.addresses["grpc"]
	now := time.Now().UTC().Format(time.RFC3339)

	s.write("new.csv", fmt.Sprintf("payment_id,at,customer_id,paid,extra\n10,%s,7,5,x\n11,%s,7,-5,x\n12,2090-01-01,7,5,x\n10,%s,7,5,x\n", now, now, now))
	status, stdout, stderr := s.run("push payments DIR/new.csv --column amount=paid" + at)
	if status != exitFailure || !strings.Contains(stderr, "DIR/new.csv: 2 of 4 events were refused") {
		t.Errorf("push: status %d: %s", status, stderr)
	}
	s.has(stdout, "payments: 4 events, 2 accepted (1 of them known already), 2 refused, 0 bad rows left out;", "3 amount -5 is below the minimum of 0 no", "4 at lies")

	s.write("profiles.jsonl", fmt.Sprintf(`{"at": %q, "customer_id": 7, "country": "de", "name": "p-1"}`+"\n", now))
	var answer pushed
	if err := json.Unmarshal([]byte(s.must("push profiles DIR/profiles.jsonl --id name --rate 1000 --json"+at)), &answer); err != nil || answer.Accepted != 1 || answer.Refused != 0 {
		t.Errorf("push to a source without ids: %v: %+v", err, answer)
	}
	s.has(s.must("get fraud --entity customer_id=7 --fact amount=3"+at), "amount 3 present", "spending__payments_1d 1 present "+now, `profile__country "de" present `+now)
	s.has(s.must("get profile:country spending:mean_3650d --entity customer_id=9"+at), "profile:country - not found", "spending:mean_3650d - not found")

	for _, test := range []struct {
		line   string
		status int
		text   string
	}{
		{"push shops DIR/new.csv", exitUsage, `source "shops": the server has payments, profiles`},
		{"push payments DIR/none.csv", exitFailure, "none.csv"},
		{"push payments DIR/new.csv --column amonut=paid", exitUsage, "--column amonut: source payments has no such field"},
		{"push payments DIR/new.csv --id extra", exitUsage, "--id: the id of source payments is its field payment_id"},
		{"push profiles DIR/profiles.jsonl --id nick", exitUsage, "has no such column"},
		{"get risk --entity customer_id=7", exitUsage, `feature service "risk": the server has fraud`},
		{"get spending:median --entity customer_id=7", exitFailure, `view spending has no feature "median"`},
		{"get fraud --entity customer_id=7 --fact amount=-1", exitFailure, "request.amount[0]: -1 is below the minimum of 0"},
	} {
		if status, _, stderr := s.run(test.line + at); status != test.status || !strings.Contains(stderr, test.text) {
			t.Errorf("%s: status %d, want %d; %q is not in\n%s", test.line, status, test.status, test.text, stderr)
		}
	}
	s.besideServer()
	s.feast(server)
	s.openStream(server)
	server.stop()
	if status := <-server.status; status != exitOK {
		t.Errorf("the server ended with status %d", status)
	}
	s.has(s.must("get fraud --entity customer_id=7 --fact amount=3"+withState), "spending__payments_1d 1 present "+now)
}

// besideServer runs commands on the state folder that the server has: those that read its
// log work, those that write are refused with what to do instead.
func (s *shop) besideServer() {
	s.t.Helper()
	for _, test := range []struct{ line, text string }{
		{"get fraud --entity customer_id=7 --fact amount=3" + withState, "stop that, or ask the server: the same command with --server"},
		{"materialize" + withState, "stop that, or send the server its events: millrace features push"},
		{"log compact --state DIR/state", "stop that: a server that runs compacts by itself"},
		{"log repair --state DIR/state", "stop that first"},
	} {
		if status, _, stderr := s.run(test.line); status != exitFailure || !strings.Contains(stderr, "a server or another command has it; "+test.text) {
			s.t.Errorf("%s: a state folder that is open: status %d: %s", test.line, status, stderr)
		}
	}
	s.has(s.must("log stats --state DIR/state"), "source.payments payment_id int64, at timestamp, customer_id int64, amount float64, is_fraud bool")
	s.has(s.must("verify"+withState), "0 vectors, 0 computed again, 0 of them differ")
	s.has(s.must("history spending --entity customer_id=7 --no-inputs --log DIR/state"+withDefinitions), "2025-04-01T12:00:00Z 2 2 15 15")
}

// openStream leaves a stream of reads open, which must not hold up the server's end.
func (s *shop) openStream(server *runningServer) {
	s.t.Helper()
	client := featuresClient{clientOptions{url: server.addresses["grpc"], timeout: time.Minute}}
	ctx, features, done, err := client.dial(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(done)
	stream, err := features.StreamGet(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := stream.Send(&millracev1.GetRequest{Service: "risk", RequestId: "1"}); err != nil {
		s.t.Fatal(err)
	}
	if answer, err := stream.Recv(); err != nil || answer.RequestId != "1" || !strings.Contains(answer.Error, "risk") {
		s.t.Errorf("stream: %v, %v", answer, err)
	}
}

// feast reads as Feast's clients do, and looks at health and metrics.
func (s *shop) feast(server *runningServer) {
	s.t.Helper()
	ask := func(method, url, body, want string) {
		s.t.Helper()
		request, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			s.t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			s.t.Errorf("%s: %d, %v; %q is not in %s", url, response.StatusCode, err, want, text)
		}
	}
	ask("POST", "http://"+server.addresses["http"]+"/get-online-features", `{"feature_service": "fraud", "entities": {"customer_id": [7, 9], "amount": [1, 2]}}`, `"values":["de","unknown"]`)
	ask("GET", "http://"+server.addresses["http"]+"/v2/health/ready", "", "")
	ask("GET", "http://"+server.addresses["metrics"]+"/metrics", "", "millrace_feature_events_total")
}

// TestFeaturesRedis keeps the states in a Redis.
func TestFeaturesRedis(t *testing.T) {
	s := newShop(t)
	server := miniredis.RunT(t)
	server.RequireAuth("secret")
	t.Setenv(redisPasswordVariable, "secret")
	shared := withState + " --redis redis://" + server.Addr()
	s.has(s.must("materialize"+shared), "payments 3 0 0 0 0 0")
	if len(server.Keys()) == 0 {
		t.Error("Redis has no states")
	}
	s.has(s.must("get fraud --entity customer_id=7 --fact amount=3 --fact at=2025-04-01T18:00:00Z"+shared), "spending__payments_1d 2 present 2025-04-01T12:00:00Z")
}
