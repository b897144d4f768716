// SPDX-License-Identifier: Apache-2.0

package deflate

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/encoding"
)

// messages are of several kinds and sizes, past the window of 32 KiB.
func messages() [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	return [][]byte{{}, {7}, []byte("hello"), make([]byte, 1<<20), noise, bytes.Repeat([]byte("abcdefg"), 20_000)}
}

func compress(t *testing.T, c encoding.Compressor, message []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := c.Compress(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(message); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func decompress(c encoding.Compressor, compressed []byte) ([]byte, error) {
	r, err := c.Decompress(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	defer r.(io.Closer).Close()
	return io.ReadAll(r)
}

// TestAgainstZlib writes for zlib to read and reads what zlib wrote, several times
// so that pooled readers and writers take part.
func TestAgainstZlib(t *testing.T) {
	c := encoding.GetCompressor(Name)
	for range 3 {
		for _, message := range messages() {
			r, err := zlib.NewReader(bytes.NewReader(compress(t, c, message)))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, message) {
				t.Errorf("zlib reads %d bytes of %d: %v", len(got), len(message), err)
			}
			var theirs bytes.Buffer
			w := zlib.NewWriter(&theirs)
			w.Write(message)
			w.Close()
			if got, err := decompress(c, theirs.Bytes()); err != nil || !bytes.Equal(got, message) {
				t.Errorf("%d bytes read of %d that zlib wrote: %v", len(got), len(message), err)
			}
		}
	}
}

// TestMalformed: bad data is an error, and the pooled reader works again after it.
func TestMalformed(t *testing.T) {
	c := encoding.GetCompressor(Name)
	message := []byte(strings.Repeat("millrace ", 1000))
	good := compress(t, c, message)
	flipped := func(at int) []byte {
		bad := bytes.Clone(good)
		bad[at] ^= 0xff
		return bad
	}
	withDictionary := &bytes.Buffer{}
	w, err := zlib.NewWriterLevelDict(withDictionary, 6, []byte("millrace"))
	if err != nil {
		t.Fatal(err)
	}
	w.Write(message)
	w.Close()

	for what, bad := range map[string][]byte{
		"empty":            {},
		"header only":      good[:2],
		"truncated":        good[:len(good)/2],
		"without checksum": good[:len(good)-4],
		"bad header":       flipped(0),
		"bad block":        flipped(2),
		"bad checksum":     flipped(len(good) - 1),
		"not compressed":   message,
		"with dictionary":  withDictionary.Bytes(),
	} {
		if got, err := decompress(c, bad); err == nil {
			t.Errorf("%s: %d bytes and no error", what, len(got))
		}
		if got, err := decompress(c, good); err != nil || !bytes.Equal(got, message) {
			t.Errorf("after %s: %d bytes of %d: %v", what, len(got), len(message), err)
		}
	}
}

// TestStoppedReading: a reader closed in the middle of a message serves the next.
func TestStoppedReading(t *testing.T) {
	c := encoding.GetCompressor(Name)
	bomb := compress(t, c, make([]byte, 1<<20))
	if len(bomb) > 2048 {
		t.Fatalf("%d bytes after compression: not a test of expansion", len(bomb))
	}
	for range 3 {
		r, err := c.Decompress(bytes.NewReader(bomb))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.CopyN(io.Discard, r, 1000); n != 1000 || err != nil {
			t.Fatalf("read %d bytes: %v", n, err)
		}
		if err := r.(io.Closer).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := decompress(c, bomb); err != nil || len(got) != 1<<20 {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

// TestWriteError: the target's error comes out, and only once.
func TestWriteError(t *testing.T) {
	c := encoding.GetCompressor(Name)
	broken := errors.New("connection lost")
	for range 3 {
		w, err := c.Compress(failingWriter{broken})
		if err != nil {
			t.Fatal(err)
		}
		_, writeErr := w.Write(make([]byte, 10))
		if err := errors.Join(writeErr, w.Close()); !errors.Is(err, broken) {
			t.Errorf("error is %v, want %v", err, broken)
		}
		if got, err := decompress(c, compress(t, c, []byte("next"))); err != nil || string(got) != "next" {
			t.Errorf("next message is %q: %v", got, err)
		}
	}
}

func TestConcurrent(t *testing.T) {
	c := encoding.GetCompressor(Name)
	var running sync.WaitGroup
	for g := range 4 {
		running.Go(func() {
			for i := range 20 {
				message := bytes.Repeat([]byte{byte(g), byte(i)}, 500)
				if got, err := decompress(c, compress(t, c, message)); err != nil || !bytes.Equal(got, message) {
					t.Errorf("goroutine %d: another message came back: %v", g, err)
				}
			}
		})
	}
	running.Wait()
}

// TestSetLevel: the level takes effect on both compressors.
func TestSetLevel(t *testing.T) {
	defer func() {
		if err := SetLevel(zlib.DefaultCompression); err != nil {
			t.Error(err)
		}
	}()
	message := []byte(strings.Repeat("millrace ", 1000))
	sizeAt := func(name string, level int) int {
		if err := SetLevel(level); err != nil {
			t.Fatal(err)
		}
		return len(compress(t, encoding.GetCompressor(name), message))
	}
	if none, best := sizeAt(Name, 0), sizeAt(Name, 9); none <= len(message) || best >= len(message)/10 {
		t.Errorf("%d bytes become %d at level 0 and %d at level 9", len(message), none, best)
	}
	if none := sizeAt("gzip", 0); none <= len(message) {
		t.Errorf("gzip: %d bytes become %d at level 0", len(message), none)
	}
	for _, level := range []int{-2, 10} {
		if err := SetLevel(level); err == nil {
			t.Errorf("level %d is accepted", level)
		}
	}
}
