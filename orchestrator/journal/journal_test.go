// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func open(t testing.TB, path string) (*Journal, []string) {
	t.Helper()
	var got []string
	j, _, err := Open(path, func(p []byte) error { got = append(got, string(p)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, got
}

// write makes a journal of n records and returns them.
func write(t testing.TB, path string, n int) (records []string) {
	t.Helper()
	j, _ := open(t, path)
	for i := range n {
		records = append(records, fmt.Sprintf(`{"record":%d,"text":%q}`, i, strings.Repeat("x", i*7%90)))
		end, err := j.Append([]byte(records[i]))
		if err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if err := j.Sync(end); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return records
}

func TestAppendAndReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	records := write(t, path, 50)
	j, got := open(t, path)
	if !slices.Equal(got, records) {
		t.Fatalf("read %d records, wrote %d", len(got), len(records))
	}
	if _, err := j.Append([]byte("one"), []byte("two")); err != nil {
		t.Fatal(err)
	}
	var beside []string
	if err := Read(path, func(p []byte) error { beside = append(beside, string(p)); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := append(slices.Clone(records), "one", "two"); !slices.Equal(beside, want) {
		t.Errorf("a reader beside the writer saw %d records, want %d", len(beside), len(want))
	}
}

func TestReadOfNoFileIsEmpty(t *testing.T) {
	err := Read(filepath.Join(t.TempDir(), "none"), func([]byte) error { return errors.New("a record") })
	if err != nil {
		t.Error(err)
	}
}

func TestPayloadsThatAreRefused(t *testing.T) {
	j, _ := open(t, filepath.Join(t.TempDir(), "journal"))
	for _, p := range [][]byte{nil, []byte("a\nb"), make([]byte, PayloadBytesMax+1)} {
		if _, err := j.Append([]byte("good"), p); !errors.Is(err, ErrPayload) {
			t.Errorf("%d bytes: %v", len(p), err)
		}
	}
	if j.Size() != int64(sumDigits+1+len(header)+1) {
		t.Error("a refused batch left something behind")
	}
}

// J2 and J3: cut at any byte, the records that are whole come back, and appending goes on.
func TestTornAtEveryByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	records := write(t, path, 12)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range data {
		if err := os.WriteFile(path, data[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		j, got := open(t, path)
		whole := max(bytes.Count(data[:cut], []byte{'\n'})-1, 0)
		if !slices.Equal(got, records[:whole]) {
			t.Fatalf("cut at byte %d: %d records, want %d", cut, len(got), whole)
		}
		if _, err := j.Append([]byte("after")); err != nil {
			t.Fatal(err)
		}
		_ = j.Close()
		j, got = open(t, path)
		if want := append(slices.Clone(records[:whole]), "after"); !slices.Equal(got, want) {
			t.Fatalf("cut at byte %d, then appended: %q", cut, got)
		}
		_ = j.Close()
	}
}

// growing is a file that another process appends to each time its end was read.
type growing struct{ parts [][]byte }

func (g *growing) Read(p []byte) (int, error) {
	if len(g.parts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, g.parts[0])
	if g.parts[0] = g.parts[0][n:]; n == 0 {
		g.parts = g.parts[1:]
		return 0, io.EOF
	}
	return n, nil
}

// A reader beside the writer leaves a line out of which it saw a part first and the rest later.
func TestReadWhileALineIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	records := write(t, path, 12)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range data {
		var got []string
		_, _, err := scan(path, &growing{[][]byte{data[:cut], data[cut:]}}, func(p []byte) error { got = append(got, string(p)); return nil })
		if err != nil || len(got) > len(records) || !slices.Equal(got, records[:len(got)]) {
			t.Fatalf("cut at byte %d: %d records, %v", cut, len(got), err)
		}
	}
}

func TestHoleOfLostWritesIsCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	records := write(t, path, 20)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte{'\n'})
	before := len(bytes.Join(lines[:11], nil))
	clear(data[before+3 : before+60])
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, got := open(t, path); !slices.Equal(got, records[:10]) {
		t.Errorf("%d records, want 10", len(got))
	}
}

func TestFlippedByteNamesThePlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	write(t, path, 20)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.IndexByte(data, '\n')+15] ^= 1
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, err = Open(path, func([]byte) error { return nil })
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "line 2 (byte 28)") {
		t.Errorf("%v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, data) {
		t.Error("the damaged file was changed")
	}
}

// Any damage is either reported or leaves a prefix.
func FuzzDamage(f *testing.F) {
	path := filepath.Join(f.TempDir(), "journal")
	records := write(f, path, 15)
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		f.Add(random.Uint32(), random.Uint32(), byte(random.Uint32()))
	}
	f.Fuzz(func(t *testing.T, at, cut uint32, flip byte) {
		damaged := bytes.Clone(data)
		damaged[int(at)%len(damaged)] ^= flip
		if cut%2 == 0 {
			damaged = damaged[:int(cut)%len(damaged)]
		}
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		var got []string
		j, _, err := Open(path, func(p []byte) error { got = append(got, string(p)); return nil })
		if err != nil {
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
				t.Fatal(err)
			}
			return
		}
		if len(got) > len(records) || !slices.Equal(got, records[:len(got)]) {
			t.Fatalf("not a prefix: %q", got)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	write(t, path, 200)
	j, _ := open(t, path)
	before := j.Size()
	err := j.Rewrite(func(emit func([]byte) error) error { return errors.Join(emit([]byte("a")), emit([]byte("b"))) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append([]byte("c")); err != nil {
		t.Fatal(err)
	}
	if j.Size() >= before {
		t.Errorf("%d bytes, before %d", j.Size(), before)
	}
	fault := errors.New("fault")
	if err := j.Rewrite(func(emit func([]byte) error) error { return fault }); !errors.Is(err, fault) {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, got := open(t, path); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("%q", got)
	}
}

// full is a file on a disk that is full after some bytes.
type full struct {
	*os.File
	room         int
	truncate     error
	syncs, syncF int
}

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.room -= n
	n, err := f.File.Write(p[:n])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

func (f *full) Truncate(size int64) error { return errors.Join(f.truncate, f.File.Truncate(size)) }

func (f *full) Sync() error {
	if f.syncs++; f.syncs == f.syncF {
		return syscall.EIO
	}
	return f.File.Sync()
}

// J4: a full disk loses nothing that was there, and work goes on when there is room.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, _ := open(t, path)
	disk := &full{File: j.mu.file.(*os.File), room: 40}
	j.mu.file = disk
	if _, err := j.Append([]byte("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(bytes.Repeat([]byte("y"), 100)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	disk.room = 1000
	if _, err := j.Append([]byte("second")); err != nil {
		t.Fatal(err)
	}
	disk.room, disk.truncate = 3, syscall.EIO
	if _, err := j.Append([]byte("third")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	disk.room = 1000
	if _, err := j.Append([]byte("fourth")); err == nil {
		t.Error("appended to a file whose end is not known")
	}
	_ = disk.Close()
	if _, got := open(t, path); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("%q", got)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	j, _ := open(t, filepath.Join(t.TempDir(), "journal"))
	j.mu.file = &full{File: j.mu.file.(*os.File), room: 1000, syncF: 1}
	end, err := j.Append([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := j.Sync(end); !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	}
	if _, err := j.Append([]byte("y")); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}

func TestManyGoroutines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j, _ := open(t, path)
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for i := range 20 {
				end, err := j.Append(fmt.Appendf(nil, "%d %d", g, i))
				if err == nil {
					err = j.Sync(end)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	_ = j.Close()
	_, got := open(t, path)
	next := make([]int, 8)
	for _, line := range got {
		var g, i int
		if _, err := fmt.Sscan(line, &g, &i); err != nil || next[g] != i {
			t.Fatalf("%q, want %d of goroutine %d", line, next[g], g)
		}
		next[g]++
	}
	if len(got) != 160 {
		t.Errorf("%d records", len(got))
	}
}
