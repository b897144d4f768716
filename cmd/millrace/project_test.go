// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const wholeProject = `name: cards
models: served
features: [a.yaml, b.yaml]
decisions: d.yaml
state: /var/state
materialize: false
server: {address: 127.0.0.1, http: 0, grpc: 9001, metrics: 9002}
online:
  memory_max: 4GiB
  redis: {url: "redis://${MILLRACE_TEST_HOST}:6379", addresses: ["a:1", "b:2"], prefix: cards, deadline: 20ms}
log: {retain: 90d, storage: archive}
generate: {path: payments.parquet, days: 30, customers: 10, terminals: 5, seed: 3, start: 2026-01-05}
replay: {source: payments, decision: card, caught: [block], label: is_fraud, from: 2026-01-10, to: 2026-02-01T12:00:00Z, speed: 60x}
`

func TestProject(t *testing.T) {
	t.Setenv("MILLRACE_TEST_HOST", "cache")
	p, err := parseProject("folder", "folder/millrace.yaml", []byte(wholeProject))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "cards" || p.Models != "folder/served" || len(p.Features) != 2 || p.Features[1] != "folder/b.yaml" ||
		p.Decisions[0] != "folder/d.yaml" || p.State != "/var/state" || p.Materialize {
		t.Errorf("project %+v", p)
	}
	if s := p.Server; s.HTTP != 0 || s.GRPC != 9001 || s.Metrics != 9002 || s.Address != "127.0.0.1" {
		t.Errorf("server %+v", s)
	}
	if o := p.Online; o.MemoryBytesMax != 4<<30 || o.Redis.URL != "redis://cache:6379" || len(o.Redis.Addresses) != 2 || o.Redis.Deadline != 20*time.Millisecond {
		t.Errorf("online %+v, %+v", o, o.Redis)
	}
	if p.Log.Retain != 90*24*time.Hour || p.Log.Storage != "folder/archive" {
		t.Errorf("log %+v", p.Log)
	}
	if g := p.Generate; g.Path != "folder/payments.parquet" || g.Days != 30 || g.Terminals != 5 || g.Seed != 3 || g.Start.Day() != 5 {
		t.Errorf("generate %+v", g)
	}
	if r := p.Replay; r.Speed != 60 || r.To.Hour() != 12 || r.Caught[0] != "block" || r.From.Day() != 10 {
		t.Errorf("replay %+v", r)
	}
}

func TestProjectDefaults(t *testing.T) {
	p, err := parseProject("shop", "shop/millrace.yaml", []byte("models: models\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "shop" || p.Features[0] != filepath.Join("shop", "features.yaml") || p.Decisions != nil || p.State != filepath.Join("shop", ".millrace", "state") ||
		p.Server.GRPC != defaultGRPCPort || !p.Materialize || p.Replay != nil || p.Generate != nil || p.Online.Redis != nil {
		t.Errorf("project %+v", p)
	}
}

// TestProjectMistakes: all of a file are reported, with their places.
func TestProjectMistakes(t *testing.T) {
	text := `modles: models
features: []
server: {http: 70000, grpc: many}
server: {}
online: {memory_max: lots, redis: {prefix: x}}
log: {retain: 3 days, storage: "ftp://bucket/log"}
replay:
  from: yesterday
  history: 3
  speed: fast
`
	_, err := parseProject(".", "millrace.yaml", []byte(text))
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for _, want := range []string{
		"millrace.yaml:1:1: modles: unknown key; did you mean models?",
		"millrace.yaml:2:11: features: the list is empty",
		`millrace.yaml:3:16: server.http: needs a whole number from 0 to 65535, not "70000"`,
		`millrace.yaml:3:29: server.grpc: needs a whole number`,
		"millrace.yaml:4:1: server: the key is there twice",
		"millrace.yaml:5:22: online.memory_max: needs a size such as 512MiB or 4GiB",
		"online.redis: url is missing",
		`millrace.yaml:6:15: log.retain: needs a duration such as`,
		"log.storage: needs a folder or s3://BUCKET/PREFIX",
		"millrace.yaml:8:3: replay.source: source is missing",
		`replay.from: "yesterday" is no time`,
		"replay.history: either from or history",
		`replay.speed: speed "fast"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestProjectBroken(t *testing.T) {
	for name, text := range map[string]string{
		"empty":    "",
		"list":     "- a\n",
		"syntax":   "models: [a\n",
		"brackets": strings.Repeat("[", 10_000),
		"indent":   strings.Repeat(" ", 1000) + "a: 1\n",
		"large":    "a: " + strings.Repeat("x", projectBytesMax),
		"binary":   "\xff\xfe",
		"two":      "models: a\n---\nmodels: b\n",
		"anchor":   "models: &a b\n",
		"nothing":  "models:\n",
		"time":     "log: {retain: \"\"}\n",
	} {
		if _, err := parseProject(".", "millrace.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), "millrace.yaml") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := loadProject(t.TempDir()); err == nil || !strings.Contains(err.Error(), "millrace init") {
		t.Errorf("a folder without a project: %v", err)
	}
}

// FuzzProject: whatever the file, there is a project or mistakes, and no panic.
func FuzzProject(f *testing.F) {
	f.Add([]byte(wholeProject))
	f.Add([]byte("replay: {source: [}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProject(".", "millrace.yaml", data)
		if (p == nil) == (err == nil) {
			t.Errorf("project %v, error %v", p, err)
		}
	})
}

func TestFlight(t *testing.T) {
	clock := newReplayClock(time.UnixMicro(0))
	f := newFlight(clock, 100)
	first, second := f.begin(t.Context(), 1000), f.begin(t.Context(), 1100)
	if now := clock.now().UnixMicro(); now != 1000 {
		t.Errorf("the clock is at %d, not at the oldest request", now)
	}
	admitted := make(chan int)
	go func() { admitted <- f.begin(t.Context(), 1101) }()
	f.end(second)
	if now := clock.now().UnixMicro(); now != 1000 || f.answered() != 1000 {
		t.Errorf("the clock is at %d, answered up to %d", now, f.answered())
	}
	select {
	case <-admitted:
		t.Error("a request too far ahead was admitted")
	default:
	}
	f.end(first)
	f.end(<-admitted)
	if now := clock.now().UnixMicro(); now != 1101 || f.answered() != 1101 {
		t.Errorf("the clock is at %d, answered up to %d", now, f.answered())
	}
}
