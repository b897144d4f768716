// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

const killChildVariable = "MILLRACE_LABELING_KILL_CHILD"

// TestMain makes the test program the child that is killed, when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killChildVariable); dir != "" {
		fmt.Println("error", killChild(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killLabels is how many tasks a child labels: more than are waited for, and few enough that
// there are some for the next one.
const killLabels = 300

// killChild labels until it is killed, or its standard input ends, and says what was
// acknowledged.
func killChild(dir string) error {
	ctx := context.Background()
	l, err := offline.Open(ctx, offline.Options{Dir: dir})
	if err != nil {
		return err
	}
	s, err := Open(ctx, Options{Log: l})
	if err != nil {
		return err
	}
	for i := range killLabels {
		got, err := s.Lease(ctx, "colors", "ada", 2)
		if err != nil || len(got) == 0 {
			return fmt.Errorf("no task: %w", err)
		}
		id := got[0].Task.ID
		if _, err := s.Submit(ctx, Submission{Project: "colors", Task: id, Annotator: "ada", Value: Choose("red"), Comment: fmt.Sprint(i)}); err != nil {
			return err
		}
		fmt.Println("said", id)
		if i%7 == 6 {
			if _, err := s.Undo(ctx, "colors", "ada", id); err != nil {
				return err
			}
			fmt.Println("undid", id)
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return fmt.Errorf("was not killed: %w", err)
}

// TestKillLosesNothing kills a process that labels, again and again: what it acknowledged
// is there, and the task that it had is still with whom it was (A1, A6).
func TestKillLosesNothing(t *testing.T) {
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	dir, c := t.TempDir(), newClock()
	l := openLog(t, dir, c)
	s := openStore(t, l, c)
	define(t, s, colors())
	must(s.Add(t.Context(), "colors", numbered(2000)))(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for round := range rounds {
		last := labelAndKill(t, dir, 20+13*round, said)
		l, err := offline.Open(t.Context(), offline.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		s := must(Open(t.Context(), Options{Log: l}))(t)
		for id, is := range said {
			// What the child did after the last line that was read is not known: it may have
			// taken the last one back, and labelled again what it had taken back.
			v := must(s.Task("colors", id))(t)
			if is && v.Status != StatusDone && id != last {
				t.Errorf("round %d: task %s is %s, though its label was acknowledged", round, id, v.Status)
			}
			if id == last { // now it is known, and stays so in the next rounds
				said[id] = v.Status == StatusDone
			}
		}
		if held := must(s.Lease(t.Context(), "colors", "bob", 1))(t); len(held) != 1 || said[held[0].Task.ID] {
			t.Errorf("round %d: bob gets %v, which ada has labelled", round, ids(held))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// labelAndKill runs a child until it has said so many lines, and says which task was last.
func labelAndKill(t *testing.T, dir string, lines int, said map[string]bool) (last string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), killChildVariable+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := child.StdinPipe(); err != nil { // open until it is killed
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for scan := bufio.NewScanner(out); scan.Scan(); {
		what, id, _ := strings.Cut(scan.Text(), " ")
		if what == "error" {
			t.Errorf("child: %s", id)
		}
		said[id], last = what == "said", id
		if lines--; lines == 0 {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed, which is an error
	return last
}
