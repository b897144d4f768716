// SPDX-License-Identifier: Apache-2.0

package artifact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// store opens a store and returns a folder beside it to make things in.
func store(t testing.TB) (s *Store, work string) {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

// files makes files of a folder, which may be nested, and returns the folder.
func files(t testing.TB, dir string, content map[string]string) string {
	t.Helper()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func put(t testing.TB, s *Store, path string) Info {
	t.Helper()
	info, err := s.Put(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestFileIsAddressedByItsSHA256(t *testing.T) {
	s, work := store(t)
	info := put(t, s, filepath.Join(files(t, work, map[string]string{"a": "abc"}), "a"))
	const abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1
	if info != (Info{abc, 3, 1}) || !s.Has(abc) {
		t.Errorf("%+v", info)
	}
	if data, err := os.ReadFile(s.Path(abc)); err != nil || string(data) != "abc" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(work, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the file was not moved")
	}
}

func TestEqualFoldersMeet(t *testing.T) {
	s, work := store(t)
	content := map[string]string{"x/1": "one", "x/y/2": "two", "3": ""}
	first := put(t, s, files(t, filepath.Join(work, "a"), content))
	second := put(t, s, files(t, filepath.Join(work, "b"), content))
	if first != second || first.Files != 3 || first.Bytes != 6 || !first.Digest.IsTree() {
		t.Errorf("%+v and %+v", first, second)
	}
	content["3"] = "three"
	if other := put(t, s, files(t, filepath.Join(work, "c"), content)); other.Digest == first.Digest {
		t.Error("another content, the same digest")
	}
	if err := s.Verify(t.Context(), first.Digest); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(work); err != nil || len(left) != 1 {
		t.Errorf("%d things beside the store, %v", len(left), err)
	}
}

// A folder must not have the address of one whose names were shifted into each other.
func TestFolderDigestsTellNamesApart(t *testing.T) {
	seen := map[Digest]int{}
	for i, content := range []map[string]string{{"a": "b"}, {"ab": ""}, {"a/b": ""}, {"a": "", "b": ""}, {"a\nb": ""}, {"a\" \"b": ""}, {}} {
		dir := t.TempDir()
		info, err := Hash(t.Context(), files(t, dir, content))
		if err != nil {
			t.Fatal(err)
		}
		if j, ok := seen[info.Digest]; ok {
			t.Errorf("folders %d and %d have the same digest", i, j)
		}
		seen[info.Digest] = i
	}
}

func TestComposeSharesBytes(t *testing.T) {
	s, work := store(t)
	file := put(t, s, filepath.Join(files(t, work, map[string]string{"f": "file"}), "f"))
	folder := put(t, s, files(t, filepath.Join(work, "d"), map[string]string{"g/h": "deep"}))
	all, err := s.Compose(t.Context(), filepath.Join(work, "temp"), map[string]Digest{"one": file.Digest, "two": folder.Digest})
	if err != nil {
		t.Fatal(err)
	}
	want, err := Hash(t.Context(), files(t, t.TempDir(), map[string]string{"one": "file", "two/g/h": "deep"}))
	if err != nil || all != want {
		t.Errorf("%+v, want %+v, %v", all, want, err)
	}
	inner, _ := os.Stat(filepath.Join(s.Path(all.Digest), "one"))
	outer, _ := os.Stat(s.Path(file.Digest))
	if !os.SameFile(inner, outer) {
		t.Error("the bytes are there twice")
	}
	_, err = s.Compose(t.Context(), filepath.Join(work, "temp"), map[string]Digest{"../up": file.Digest})
	if !errors.Is(err, ErrContent) {
		t.Errorf("an entry outside the folder: %v", err)
	}
}

func TestWhatCannotBeAnArtifact(t *testing.T) {
	s, work := store(t)
	link := filepath.Join(work, "link")
	if err := os.Symlink("/etc/hostname", link); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(work, "folder", "pipe")
	files(t, work, map[string]string{"folder/a": "a"})
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Skip("no pipes here")
	}
	for _, path := range []string{link, filepath.Join(work, "folder")} {
		if _, err := s.Put(t.Context(), path); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := s.Put(t.Context(), filepath.Join(work, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	deep := filepath.Join(work, "deep", strings.Repeat("d/", DepthMax), "file")
	files(t, filepath.Dir(deep), map[string]string{"file": ""})
	if _, err := s.Put(t.Context(), filepath.Join(work, "deep")); !errors.Is(err, ErrContent) {
		t.Error(err)
	}
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	s, work := store(t)
	info := put(t, s, filepath.Join(files(t, work, map[string]string{"a": "abc"}), "a"))
	path := s.Path(info.Digest)
	if err := errors.Join(os.Chmod(path, 0o666), os.WriteFile(path, []byte("abd"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), info.Digest); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	put(t, s, filepath.Join(files(t, work, map[string]string{"a": "abc"}), "a"))
	if err := s.Verify(t.Context(), info.Digest); err != nil {
		t.Errorf("made again: %v", err)
	}
}

func TestCollect(t *testing.T) {
	s, work := store(t)
	var all []Digest
	for i := range 6 {
		dir := files(t, filepath.Join(work, "new"), map[string]string{"f": fmt.Sprint(i)})
		if i%2 == 0 {
			dir = filepath.Join(dir, "f")
		}
		d := put(t, s, dir).Digest
		all = append(all, d)
		if i < 4 {
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(s.Path(d), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	removed, err := s.Collect(t.Context(), time.Minute, func(d Digest) bool { return d == all[0] || d == all[1] })
	if err != nil || removed != 2 {
		t.Errorf("removed %d, %v", removed, err)
	}
	for i, d := range all {
		if s.Has(d) != (i != 2 && i != 3) {
			t.Errorf("artifact %d: there is %v", i, s.Has(d))
		}
	}
}

func TestManyPutTheSame(t *testing.T) {
	s, work := store(t)
	var wait sync.WaitGroup
	for i := range 16 {
		dir := files(t, filepath.Join(work, fmt.Sprint(i)), map[string]string{"a": "same", "b/c": "too"})
		wait.Go(func() {
			if _, err := s.Put(t.Context(), dir); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	all, err := s.List()
	if err != nil || len(all) != 1 || s.Verify(t.Context(), all[0]) != nil {
		t.Errorf("%v, %v", all, err)
	}
}

func TestInvalidDigests(t *testing.T) {
	s, _ := store(t)
	for _, d := range []Digest{"", "sha256:", "sha256:../../x", "md5:00", Digest("sha256:" + strings.Repeat("AB", 32)), Digest("tree:" + strings.Repeat("0", 62))} {
		if d.Valid() || s.Has(d) || !errors.Is(s.Remove(d), ErrNotFound) {
			t.Errorf("%q is taken for a digest", d)
		}
	}
}

func TestDigestsSeeEveryChange(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(files(t, dir, map[string]string{"data": "one"}), "data")
	old := time.Now().Add(-time.Hour)
	d := OpenDigests(filepath.Join(t.TempDir(), "digests.json"))
	hash := func(verify bool) Digest {
		t.Helper()
		got, err := d.Hash(t.Context(), path, verify)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := hash(false)
	if err := errors.Join(os.WriteFile(path, []byte("two"), 0o666), os.Chtimes(path, old, old)); err != nil {
		t.Fatal(err)
	}
	second := hash(false) // same size, and an old time
	if first == second {
		t.Error("a change was not seen")
	}
	// What is remembered is used, and not when all is to be read.
	s, err := stampOf(path)
	if err != nil {
		t.Fatal(err)
	}
	s.Digest = first
	d.remember(path, s)
	if hash(false) != first || hash(true) != second {
		t.Error("remembered, or verified, wrongly")
	}
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	if again := OpenDigests(d.path); len(again.mu.known) != 1 {
		t.Errorf("%d remembered after saving", len(again.mu.known))
	}
	folder, err := d.Hash(t.Context(), dir, true)
	want, err2 := Hash(t.Context(), dir)
	if err != nil || err2 != nil || folder != want.Digest {
		t.Errorf("%s, want %s, %v, %v", folder, want.Digest, err, err2)
	}
}
