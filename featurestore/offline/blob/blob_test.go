// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// server is an S3 store in memory, of somebody else's making, that fails when told to.
type server struct {
	*httptest.Server
	requests atomic.Int64
	// fault answers a request in the store's place and says so.
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

const bucket = "history"

func newServer(t testing.TB) *server {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	handler := gofakes3.New(backend).Server()
	s := &server{}
	// With TLS, as in earnest; without it the library signs the data piece by piece, which
	// this store does not know for parts.
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if f := s.fault.Load(); f != nil && (*f)(w, r) {
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// core is the library itself.
func (s *server) core(t testing.TB) *minio.Core {
	t.Helper()
	core, err := minio.NewCore(s.Listener.Addr().String(), &minio.Options{Creds: someone, Region: "us-east-1", Secure: true, Transport: s.Client().Transport})
	must(t, err)
	return core
}

func (s *server) fail(f func(http.ResponseWriter, *http.Request) bool) { s.fault.Store(&f) }

func (s *server) url(path string) string {
	return "s3://" + bucket + "/" + path + "?region=us-east-1&endpoint=" + s.Listener.Addr().String()
}

var someone = credentials.NewStaticV4("key", "secret", "")

func open(t testing.TB, srv *server, path string, o Options) offline.Storage {
	t.Helper()
	o.Credentials, o.Transport = someone, srv.Client().Transport
	if o.Attempts == 0 {
		o.Attempts = 2
	}
	s, err := Open(t.Context(), srv.url(path), o)
	must(t, err)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content is so many bytes that do not repeat.
func content(n int) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func put(t testing.TB, s offline.Storage, name string, data []byte) {
	t.Helper()
	must(t, s.Put(t.Context(), name, func(w io.Writer) error {
		for rest := data; len(rest) > 0; {
			n := min(len(rest), 700_001)
			if k, err := w.Write(rest[:n]); err != nil || k != n {
				return fmt.Errorf("%d of %d written: %w", k, n, err)
			}
			rest = rest[n:]
		}
		return nil
	}))
}

func listed(t testing.TB, s offline.Storage, prefix string) []string {
	t.Helper()
	found, err := s.List(t.Context(), prefix)
	must(t, err)
	var names []string
	for _, o := range found {
		names = append(names, fmt.Sprint(o.Name, " ", o.Bytes))
	}
	slices.Sort(names)
	return names
}

func TestObjects(t *testing.T) {
	srv := newServer(t)
	s, other := open(t, srv, "/a/b/", Options{PartBytes: partBytesMin}), open(t, srv, "", Options{})
	sizes := map[string]int{"x/small": 100, "x/part": partBytesMin, "xy": partBytesMin + 1, "x/large": 2*partBytesMin + 12345}
	for name, n := range sizes {
		put(t, s, name, content(n))
	}
	put(t, other, "beside", []byte("other"))
	if got, want := listed(t, s, "x"), []string{"x/large 10498105", "x/part 5242880", "x/small 100", "xy 5242881"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	if got := listed(t, other, "a/b/x/"); len(got) != 3 {
		t.Errorf("listed %q", got)
	}
	for name, n := range sizes {
		o, err := s.Get(t.Context(), name)
		must(t, err)
		got, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
		if err != nil || !bytes.Equal(got, content(n)) {
			t.Errorf("%s: %d bytes, want %d: %v", name, len(got), n, err)
		}
		must(t, o.Close())
	}
	put(t, s, "x/small", content(7))
	if got := listed(t, s, "x/small"); !slices.Equal(got, []string{"x/small 7"}) {
		t.Errorf("replaced: %q", got)
	}
	must(t, s.Delete(t.Context(), "x/small"))
	must(t, s.Delete(t.Context(), "x/small"))
	unsaid, err := Open(t.Context(), strings.Replace(srv.url("a/b"), "region=us-east-1&", "", 1), Options{Credentials: someone, Transport: srv.Client().Transport})
	must(t, err) // the library asks for the region
	if got := listed(t, unsaid, "x/p"); len(got) != 1 {
		t.Errorf("listed %q", got)
	}
	if _, err := s.Get(t.Context(), "x/small"); !errors.Is(err, offline.ErrNotFound) || !strings.Contains(err.Error(), "x/small") {
		t.Errorf("deleted: %v", err)
	}
	if got := listed(t, s, "x/small"); len(got) != 0 {
		t.Errorf("deleted: %q", got)
	}
}

// Reads at any place are right, and small ones next to each other share requests.
func TestReadAt(t *testing.T) {
	srv := newServer(t)
	s := open(t, srv, "p", Options{BlockBytes: 4 << 10, CacheBlocks: 3})
	data := content(100_000)
	put(t, s, "o", data)
	o, err := s.Get(t.Context(), "o")
	must(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		offset, n := rng.IntN(len(data)+100), rng.IntN(9000)
		b := make([]byte, n)
		got, err := o.ReadAt(b, int64(offset))
		want := data[min(offset, len(data)):min(offset+n, len(data))]
		if !bytes.Equal(b[:got], want) || (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF {
			t.Fatalf("%d bytes at %d: %d, %v; want %d", n, offset, got, err, len(want))
		}
	}
	if _, err := o.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("an offset below 0")
	}
	before := srv.requests.Load()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 4096 {
				var b [1]byte
				if _, err := o.ReadAt(b[:], int64(8192+i)); err != nil || b[0] != data[8192+i] {
					t.Errorf("byte %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := srv.requests.Load() - before; n > 2 {
		t.Errorf("%d requests for one block", n)
	}
	must(t, o.Close())
	if _, err := o.ReadAt(make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("read after Close: %v", err)
	}
}

// A put that fails leaves nothing that can be seen, in one request or in parts.
func TestPutIsAllOrNothing(t *testing.T) {
	srv := newServer(t)
	s := open(t, srv, "p", Options{PartBytes: partBytesMin})
	put(t, s, "kept", []byte("before"))
	fault := errors.New("no more")
	for _, n := range []int{10, 2*partBytesMin + 10} {
		err := s.Put(t.Context(), "kept", func(w io.Writer) error {
			if _, err := w.Write(content(n)); err != nil {
				return err
			}
			return fault
		})
		if !errors.Is(err, fault) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Put(ctx, "kept", func(w io.Writer) error {
		cancel()
		_, err := w.Write(content(10))
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, part := range []string{"POST", "PUT"} {
		srv.fail(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == part {
				answer(w, http.StatusNotImplemented, "NotImplemented")
			}
			return r.Method == part
		})
		err := s.Put(t.Context(), "kept", func(w io.Writer) error {
			_, err := w.Write(content(partBytesMin + 10))
			return err
		})
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "kept") {
			t.Errorf("%s fails: %v", part, err)
		}
	}
	srv.fault.Store(nil)
	if got := listed(t, s, ""); !slices.Equal(got, []string{"kept 6"}) {
		t.Errorf("there are %q", got)
	}
	if n := len(uploads(t, srv)); n != 0 {
		t.Errorf("%d uploads were left behind", n)
	}
}

func uploads(t testing.TB, srv *server) []minio.ObjectMultipartInfo {
	t.Helper()
	found, err := srv.core(t).ListMultipartUploads(t.Context(), bucket, "", "", "", "", 100)
	must(t, err)
	return found.Uploads
}

// answer writes an error as S3 does.
func answer(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s, says the test</Message></Error>", code, code)
}

// What a crash left behind goes when it is old, and only below the prefix.
func TestOldUploadsAreRemoved(t *testing.T) {
	srv := newServer(t)
	for _, name := range []string{"p/left", "q/left"} {
		_, err := srv.core(t).NewMultipartUpload(t.Context(), bucket, name, minio.PutObjectOptions{})
		must(t, err)
	}
	open(t, srv, "p", Options{})
	if n := len(uploads(t, srv)); n != 2 {
		t.Fatalf("%d uploads, want both: they are new", n)
	}
	open(t, srv, "p", Options{Now: func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }})
	if left := uploads(t, srv); len(left) != 1 || left[0].Key != "q/left" {
		t.Errorf("there are %+v", left)
	}
}

// Answers that end early, and a store that is busy, are tried again.
func TestTriedAgain(t *testing.T) {
	srv := newServer(t)
	s := open(t, srv, "p", Options{Attempts: 4})
	data := content(300_000)
	put(t, s, "o", data)
	var left atomic.Int64
	srv.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if left.Add(-1) < 0 {
			return false
		}
		if r.Method != http.MethodGet || r.Header.Get("Range") == "" {
			answer(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		}
		w.Header().Set("Content-Length", "300000")
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(make([]byte, 1000))
		panic(http.ErrAbortHandler)
	})
	left.Store(2)
	put(t, s, "again", data)
	left.Store(2)
	o, err := s.Get(t.Context(), "o")
	must(t, err)
	for _, n := range []int{100, 300_000} {
		left.Store(2)
		b := make([]byte, n)
		if _, err := o.ReadAt(b, 0); err != nil || !bytes.Equal(b, data[:n]) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	left.Store(1 << 30)
	if _, err := o.ReadAt(make([]byte, 299_000), 7); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a store that never answers: %v", err)
	}
	left.Store(0)
	if _, err := o.ReadAt(make([]byte, 299_000), 7); err != nil {
		t.Errorf("a store that is back: %v", err)
	}
	must(t, o.Close())
}

// The answer to a completed upload may be lost: the object is there all the same.
func TestLostAnswer(t *testing.T) {
	srv := newServer(t)
	s := open(t, srv, "p", Options{PartBytes: partBytesMin, Attempts: 1})
	lose := true
	var inner func(http.ResponseWriter, *http.Request) bool
	handler := srv.Config.Handler
	inner = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") || !lose {
			return false
		}
		lose = false
		handler.ServeHTTP(httptest.NewRecorder(), r)
		answer(w, http.StatusNotImplemented, "Lost")
		return true
	}
	srv.fail(inner)
	data := content(partBytesMin + 100)
	put(t, s, "o", data)
	if lose {
		t.Error("no answer was lost")
	}
	if got := listed(t, s, ""); !slices.Equal(got, []string{fmt.Sprint("o ", len(data))}) {
		t.Errorf("there are %q", got)
	}
}

func TestErrors(t *testing.T) {
	srv := newServer(t)
	host, transport := srv.Listener.Addr().String(), srv.Client().Transport
	for _, c := range []struct {
		url  string
		says string
	}{
		{"http://bucket/x", "scheme"}, {"s3://key:hunter2@bucket/x", "credentials"}, {"s3:///x", "bucket"}, {"s3://B_/x", "bucket"},
		{"s3://bucket/x?access_key=1", `parameter "access_key"`}, {"s3://bucket?insecure=maybe", "true or false"}, {"s3://bucket?endpoint=http://x", "without https"},
		{"s3://bucket?region=a&region=b", "once"}, {"s3://bucket/%zz", "not a URL"}, {"s3://bucket?a=%zz", "malformed"}, {"s3://bucket?endpoint=a:b:c&insecure=true", "a:b:c"},
	} {
		_, err := Open(t.Context(), c.url, Options{Credentials: someone})
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", c.url, err, c.says)
		}
	}
	expect := func(err, kind error, says ...string) {
		t.Helper()
		if !errors.Is(err, kind) {
			t.Errorf("%v, want one that is %v", err, kind)
		}
		for _, s := range says {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("%v does not say %q", err, s)
			}
		}
	}
	_, err := Open(t.Context(), strings.Replace(srv.url("x"), bucket, "another", 1), Options{Credentials: someone, Transport: transport})
	expect(err, ErrNoBucket, "s3://another/x/ at "+host)
	_, err = Open(t.Context(), "s3://bucket/x?insecure=true&endpoint=127.0.0.1:1", Options{Credentials: someone, Attempts: 1})
	expect(err, ErrUnavailable, "127.0.0.1:1")
	if _, err = Open(t.Context(), srv.url("x"), Options{PartBytes: 1, BlockBytes: 1, CacheBlocks: -1, Attempts: 99, Timeout: -1}); err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("options: %v", err)
	}

	s := open(t, srv, "x", Options{})
	srv.fail(func(w http.ResponseWriter, _ *http.Request) bool {
		answer(w, http.StatusForbidden, "AccessDenied")
		return true
	})
	_, err = Open(t.Context(), srv.url("x"), Options{Credentials: someone, Transport: transport})
	expect(err, ErrDenied, "s3://history/x/ at "+host)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	_, err = Open(t.Context(), srv.url("x"), Options{Transport: transport})
	expect(err, ErrDenied, "there are no credentials")
	_, err = s.List(t.Context(), "")
	expect(err, ErrDenied, "list")
	_, err = s.Get(t.Context(), "o")
	expect(err, ErrDenied, "open o")
	expect(s.Delete(t.Context(), "o"), ErrDenied, "delete o")
	expect(s.Put(t.Context(), "o", func(io.Writer) error { return nil }), ErrDenied, "store o")
	srv.fault.Store(nil)

	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	seen := ""
	srv.fail(func(_ http.ResponseWriter, r *http.Request) bool {
		seen = r.Header.Get("Authorization")
		return false
	})
	_, err = Open(t.Context(), srv.url("x"), Options{Transport: transport})
	must(t, err)
	if !strings.Contains(seen, "Credential=key/") {
		t.Errorf("signed by %q", seen)
	}
}
