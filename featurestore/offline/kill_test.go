// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const killChildVariable = "MILLRACE_OFFLINE_KILL_CHILD"

// TestMain makes the test program the child that is killed, when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killChildVariable); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func killOptions(dir string) Options {
	return Options{Dir: dir, SegmentBytes: 64 << 10, GroupBytes: 8 << 10, CompactEvery: 2 * time.Millisecond, SegmentAge: 20 * time.Millisecond, MergeParts: 3, WaitWhenFull: -1}
}

// killChild appends until it is killed, and says which records are durable.
func killChild(dir string) error {
	ctx := context.Background()
	l, err := Open(ctx, killOptions(dir))
	if err != nil {
		return err
	}
	s, err := l.Declare(everyType)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		r := sample(i)
		r.ID = fmt.Sprintf("%d-%d", os.Getpid(), i)
		if i%4 == 3 {
			if err := s.AppendSync(ctx, &r); err != nil {
				return err
			}
			fmt.Println(r.ID)
		} else if err := s.Append(ctx, &r); err != nil {
			return err
		}
	}
}

// A process that appends and compacts is killed again and again. Every record it
// acknowledged is there once, and so are those it appended before that.
func TestKillLosesNothing(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	acknowledged := map[string]bool{}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	for range rounds {
		runAndKill(t, dir, rng.IntN(40), time.Duration(rng.IntN(150))*time.Millisecond, acknowledged)
		o := killOptions(dir)
		o.CompactEvery = -1
		l, err := Open(t.Context(), o)
		must(t, err)
		found := map[string]bool{}
		for _, r := range scanAll(t, l, Query{Stream: "predictions", Versions: AllVersions, Columns: []string{}}) {
			if found[r.ID] {
				t.Fatalf("record %s is there twice", r.ID)
			}
			found[r.ID] = true
		}
		for id := range acknowledged {
			pid, number, _ := strings.Cut(id, "-")
			var n int
			if _, err := fmt.Sscan(number, &n); err != nil {
				t.Fatal(err)
			}
			for i := max(0, n-3); i <= n; i++ {
				if before := fmt.Sprintf("%s-%d", pid, i); !found[before] {
					t.Fatalf("record %s is lost; %d are acknowledged and %d there", before, len(acknowledged), len(found))
				}
			}
		}
		must(t, l.Close())
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d records acknowledged over %d kills", len(acknowledged), rounds)
}

// runAndKill kills the child some time after its first lines.
func runAndKill(t *testing.T, dir string, lines int, after time.Duration, acknowledged map[string]bool) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killChildVariable+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	in := bufio.NewScanner(out)
	n := 0
	for in.Scan() {
		if line := in.Text(); strings.Contains(line, "-") && !strings.HasPrefix(line, "error") {
			acknowledged[line] = true
		} else {
			t.Errorf("the child says %q", line)
		}
		if n++; n == lines+1 {
			timer := time.AfterFunc(after, func() { _ = child.Process.Kill() }) // it may have ended
			defer timer.Stop()
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
}
