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
	return Options{Dir: dir, SegmentBytes: 64 << 10, GroupBytes: 8 << 10, CompactEvery: 2 * time.Millisecond, SegmentAge: 20 * time.Millisecond, MergeParts: 3, WaitWhenFull: -1, HoldFromStart: true}
}

// killChild appends until it is killed, and says which records are durable and which
// it does not need to replay any more.
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
	for i := 0; ; i += 4 {
		var records [4]Record
		for j := range records {
			records[j] = sample(i + j)
			records[j].ID = fmt.Sprintf("%d-%d", os.Getpid(), i+j)
		}
		if i%8 == 0 {
			err = appendOneByOne(ctx, s, records[:])
		} else {
			var first uint64
			if first, err = s.AppendBatch(ctx, records[:]); err == nil {
				err = l.WaitDurable(ctx, first+3)
			}
		}
		if err != nil {
			return err
		}
		fmt.Println(records[3].ID)
		if durable := l.Durable(); i%64 == 0 && durable > 300 {
			fmt.Println("hold", durable-300)
			l.Hold(durable - 300)
		}
	}
}

func appendOneByOne(ctx context.Context, s *Stream, records []Record) error {
	last := len(records) - 1
	for i := range last {
		if err := s.Append(ctx, &records[i]); err != nil {
			return err
		}
	}
	return s.AppendSync(ctx, &records[last])
}

// A process that appends, compacts and lets held segments go is killed again and again.
// Every record it acknowledged is there once, and so are those it appended before that;
// and all that it held can be replayed.
func TestKillLosesNothing(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	killed := killedLog{acknowledged: map[string]bool{}}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	replayed, kills := 0, 0
	missing := func() bool { return len(killed.acknowledged) == 0 || replayed == 0 }
	for ; kills < rounds || missing() && kills < 20*rounds; kills++ { // a slow machine gets more
		killed.runAndKill(t, dir, rng.IntN(40), time.Duration(rng.IntN(150))*time.Millisecond)
		o := killOptions(dir)
		o.CompactEvery = -1
		l, err := Open(t.Context(), o)
		must(t, err)
		replayed += killed.check(t, l)
		must(t, l.Close())
	}
	if missing() {
		t.Error("nothing was acknowledged or replayed")
	}
	t.Logf("%d records acknowledged, replay from %d, over %d kills", len(killed.acknowledged), killed.hold+1, kills)
}

// killedLog is what the killed processes said.
type killedLog struct {
	acknowledged map[string]bool
	hold         uint64
}

func (k *killedLog) check(t *testing.T, l *Log) (replayed int) {
	t.Helper()
	found, bySequence := map[string]bool{}, map[uint64]string{}
	for _, r := range scanAll(t, l, Query{Stream: "predictions", Versions: AllVersions, Columns: []string{}}) {
		if found[r.ID] {
			t.Fatalf("record %s is there twice", r.ID)
		}
		found[r.ID], bySequence[r.Sequence] = true, r.ID
	}
	for id := range k.acknowledged {
		pid, number, _ := strings.Cut(id, "-")
		var n int
		if _, err := fmt.Sscan(number, &n); err != nil {
			t.Fatal(err)
		}
		for i := max(0, n-3); i <= n; i++ {
			if before := fmt.Sprintf("%s-%d", pid, i); !found[before] {
				t.Fatalf("record %s is lost; %d are acknowledged and %d there", before, len(k.acknowledged), len(found))
			}
		}
	}
	st := l.Stats()
	if st.ReplayFrom > k.hold+1 || l.Recovered().HeldDamage != nil {
		t.Fatalf("replay is from %d, and all behind %d was held: %v", st.ReplayFrom, k.hold, l.Recovered().HeldDamage)
	}
	next := st.ReplayFrom
	must(t, l.Replay(t.Context(), next-1, func(_ string, _ []Column, r *Record) error {
		if r.Sequence != next || bySequence[next] != r.ID {
			t.Fatalf("replayed %s with sequence %d, want %s with %d", r.ID, r.Sequence, bySequence[next], next)
		}
		next++
		return nil
	}))
	if next != l.Next() || l.Durable() != next-1 {
		t.Fatalf("replayed to %d, the next is %d", next, l.Next())
	}
	return int(next - st.ReplayFrom)
}

// runAndKill kills the child some time after its first lines.
func (k *killedLog) runAndKill(t *testing.T, dir string, lines int, after time.Duration) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killChildVariable+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	in := bufio.NewScanner(out)
	n := 0
	for in.Scan() {
		var hold uint64
		line := in.Text()
		switch n, _ := fmt.Sscanf(line, "hold %d", &hold); {
		case n == 1:
			k.hold = max(k.hold, hold)
		case strings.Contains(line, "-") && !strings.HasPrefix(line, "error"):
			k.acknowledged[line] = true
		default:
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
