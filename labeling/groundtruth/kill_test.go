// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

const killVariable = "MILLRACE_GROUNDTRUTH_KILL_CHILD"

// TestMain makes the test program the child that is killed, when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killVariable); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func openKilled(dir string) (*offline.Log, *Collector, error) {
	log, err := offline.Open(context.Background(), offline.Options{Dir: filepath.Join(dir, "log"), SegmentBytes: 64 << 10,
		SegmentAge: 20 * time.Millisecond, CompactEvery: 5 * time.Millisecond, WaitWhenFull: -1})
	if err != nil {
		return nil, nil, err
	}
	c, err := OpenCollector(context.Background(), Options{Log: log})
	return log, c, err
}

// killFeedback is piece n; every seventh corrects the one three before it.
func killFeedback(n int) Feedback {
	f := Feedback{ID: fmt.Sprint("f", n), PredictionID: fmt.Sprint("p", n), Name: "n", Value: Number(float64(n))}
	if n%7 == 6 {
		f = killFeedback(n - 3)
		f.Kind, f.Value = KindCorrection, Number(float64(-n))
	}
	return f
}

// killChild submits until it is killed, says what was acknowledged, and sends some of it
// twice.
func killChild(dir string) error {
	_, c, err := openKilled(dir)
	if err != nil {
		return err
	}
	var next int
	if _, err := fmt.Sscan(os.Getenv(killVariable+"_NEXT"), &next); err != nil {
		return err
	}
	for size := 1; ; size = size%13 + 1 {
		var items []Feedback
		for n := max(0, next-2); n < next+size; n++ {
			items = append(items, killFeedback(n))
		}
		results, err := c.Submit(context.Background(), items)
		if err != nil {
			return err
		}
		for i, r := range results {
			if r.Err != nil {
				return fmt.Errorf("%+v: %w", items[i], r.Err)
			}
		}
		next += size
		fmt.Println(next)
	}
}

// TestKill: what was acknowledged is there after kill -9, each version once, and what was
// not may be sent again.
func TestKill(t *testing.T) {
	dir, next := t.TempDir(), 0
	r := rand.New(rand.NewPCG(4, 4))
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		next = killOnce(t, dir, next, 5+r.IntN(60))
		checkKilled(t, dir, next)
	}
}

// killOnce kills a child after some lines and returns what it had acknowledged.
func killOnce(t *testing.T, dir string, next, lines int) int {
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killVariable+"="+dir, fmt.Sprintf("%s_NEXT=%d", killVariable, next))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for line := 0; scan.Scan(); line++ {
		if _, err := fmt.Sscan(scan.Text(), &next); err != nil {
			t.Fatalf("child: %s", scan.Text())
		}
		if line == lines {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = child.Wait() // it was killed
	return next
}

func checkKilled(t *testing.T, dir string, next int) {
	t.Helper()
	log, c, err := openKilled(dir)
	if err != nil {
		t.Fatal(err)
	}
	scan, err := log.Scan(t.Context(), offline.Query{Stream: OutcomeStream, Versions: offline.AllVersions, Columns: outcomeNames()})
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for scan.Next() {
		var o Outcome
		if err := decodeOutcome(scan.Record(), &o); err != nil {
			t.Fatal(err)
		}
		times[o.ID+o.Value.String()]++
	}
	if err := scan.Close(); err != nil {
		t.Fatal(err)
	}
	var again []Feedback
	for n := range next {
		f := killFeedback(n)
		if key := f.ID + f.Value.String(); times[key] != 1 {
			t.Fatalf("of %d, %d (%s) is there %d times", next, n, key, times[key])
		}
		again = append(again, f)
	}
	again = again[max(0, len(again)-ItemsMax):]
	results, err := c.Submit(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Status != StatusDuplicate {
			t.Fatalf("%+v, sent again: %+v", again[i], r)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}
