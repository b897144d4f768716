// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperVariable makes the test binary a process that writes runs to the log it names.
const helperVariable = "MILLRACE_RUNS_HELPER"

func TestMain(m *testing.M) {
	path := os.Getenv(helperVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	if err := helper(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// helper writes finished runs and one that it leaves running, says so, and waits.
func helper(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	for i := range helperRuns {
		w, err := s.Start(ctx, Run{Experiment: "many", Parameters: map[string]any{"i": i}})
		if err != nil {
			return err
		}
		if err := w.Finish(ctx, Result{Metrics: map[string]Metric{"m": {Value: float64(i)}}}); err != nil {
			return err
		}
	}
	w, err := s.Start(ctx, Run{Experiment: "killed", Parameters: map[string]any{"depth": 3}})
	if err != nil {
		return err
	}
	for step := range 5 {
		if err := w.LogMetrics(ctx, step, map[string]float64{"loss": float64(step)}); err != nil {
			return err
		}
	}
	fmt.Println(w.ID())
	_, err = bufio.NewReader(os.Stdin).ReadString('\n') // until it is killed
	return err
}

const helperRuns = 15

// TestKilledProcesses has processes write at once, kills them, and expects all that they
// had written, with the run that they were in marked as killed.
func TestKilledProcesses(t *testing.T) {
	if self().machine == "" {
		t.Skip("the system does not tell of processes")
	}
	s := openTest(t)
	ids := make([]string, 3)
	helpers := make([]*exec.Cmd, len(ids))
	for i := range helpers {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), helperVariable+"="+s.place)
		cmd.Stderr = os.Stderr
		_, err := cmd.StdinPipe() // held open, so that it waits
		must(t, err)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		helpers[i] = cmd
		line, err := bufio.NewReader(out).ReadString('\n')
		must(t, err)
		defer func() { _ = cmd.Process.Kill() }() // it may have been
		t.Cleanup(func() { _ = cmd.Wait() })
		ids[i] = strings.TrimSpace(line)
	}
	for _, id := range ids {
		r, err := s.Get(t.Context(), id)
		must(t, err)
		if r.Status != Running {
			t.Errorf("a process that lives: %s", r.Status)
		}
	}
	for _, cmd := range helpers {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // by the signal
	}
	list, err := s.List(t.Context(), Query{Status: Killed})
	must(t, err)
	if len(list) != len(ids) {
		t.Fatalf("%d runs are killed; want %d", len(list), len(ids))
	}
	for _, id := range ids {
		r, err := s.Get(t.Context(), id)
		must(t, err)
		if r.Status != Killed || r.Ended.IsZero() || len(r.Curves["loss"]) != 5 || r.Parameters["depth"] != int64(3) {
			t.Errorf("killed: %+v", r)
		}
	}
	if list, err := s.List(t.Context(), Query{Experiment: "many", Where: "metrics.m >= 0", Limit: 1000}); err != nil || len(list) != len(ids)*helperRuns {
		t.Errorf("%d runs, %v", len(list), err)
	}
}

// TestHeartbeat judges runs of machines that cannot be looked at, and wakes one that was
// taken for killed.
func TestHeartbeat(t *testing.T) {
	for _, c := range []struct {
		by   string
		age  time.Duration
		dead bool
	}{
		{self().String(), time.Hour, false},
		{"elsewhere|1|2", time.Second, false},
		{"elsewhere|1|2", HeartbeatAge + time.Second, true},
		{"|12|", time.Second, false},
		{"|12|", HeartbeatAge + time.Second, true},
		{"garbage", HeartbeatAge + time.Second, true},
	} {
		if got := isDead(c.by, c.age); got != c.dead {
			t.Errorf("%+v: %t", c, got)
		}
	}
	s := openTest(t)
	w, err := s.Start(t.Context(), Run{Experiment: "asleep"})
	must(t, err)
	must(t, s.transact(t.Context(), func(tx executor) error {
		_, err := tx.exec(t.Context(), `UPDATE runs SET owner = 'elsewhere|1|2', heartbeat = 1`)
		return err
	}))
	status := func() Status {
		r, err := s.Get(t.Context(), w.ID())
		must(t, err)
		return r.Status
	}
	if got := status(); got != Killed {
		t.Errorf("without a heartbeat: %s", got)
	}
	must(t, w.beat(t.Context()))
	if got := status(); got != Running {
		t.Errorf("after a heartbeat: %s", got)
	}
	must(t, w.Finish(t.Context(), Result{}))
	must(t, w.beat(t.Context()))
	if got := status(); got != Finished {
		t.Errorf("after the end: %s", got)
	}
}

// startPostgres starts a server of our own and returns its URL.
func startPostgres(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	must(t, err)
	if len(found) == 0 {
		t.Skip("no PostgreSQL server on this machine")
	}
	programs := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "pg") // the name of a socket must be short
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the server may still have held it
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(programs, name), args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C", "TZ=UTC")
		unprivileged(t, cmd, dir)
		return cmd
	}
	if out, err := command("initdb", "-D", filepath.Join(dir, "data"), "-U", "writer", "--no-sync", "-E", "UTF8", "-A", "trust").CombinedOutput(); err != nil {
		t.Skipf("no database can be made here: %v: %s", err, out)
	}
	server := command("postgres", "-D", filepath.Join(dir, "data"), "-k", dir, "-c", "listen_addresses=", "-F", "-c", "shared_buffers=8MB", "-c", "max_connections=5")
	must(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt) // it may have ended
		_ = server.Wait()                       // by that signal
	})
	address := (&url.URL{Scheme: "postgres", User: url.User("writer"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}).String()
	for deadline := time.Now().Add(time.Minute); ; {
		conn, err := pgx.Connect(t.Context(), address)
		if err == nil {
			must(t, conn.Close(t.Context()))
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v", err)
		}
		<-time.After(20 * time.Millisecond) // it says on no channel when it is ready
	}
}
